//! Who talks before the greeting (RFC 5321 3.1, 4.3.1). For the tests of an adapter, which have its `server` and a handler that tells
//! of faults.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use smtp_proto::Leniency;
use smtp_proto::server::{Config, FaultKind, Timeouts};
use smtp_proto::tls::Policy;

use super::{Tell, server};

/// All that is said to a client that has sent these octets before the server takes the connection up, and the faults that
/// were told of.
fn early(config: Config) -> (String, Vec<FaultKind>) {
    let mut server = server(config.tls(Policy::Off).shared());
    let address = server.listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let mut client = TcpStream::connect(address).expect("connected: the listener has a queue");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    client.write_all(b"EHLO client.example\r\nQUIT\r\n").expect("written");
    let handle = server.handle();
    let (tell, faults) = channel();
    let running = thread::spawn(move || server.run(move |_| Tell(tell.clone())));
    let mut said = String::new();
    client.read_to_string(&mut said).expect("the end");
    drop(client);
    handle.shut_down();
    running.join().expect("no panic").expect("no error");
    (said, faults.try_iter().filter(|kind| *kind != FaultKind::Pipelining).collect())
}

/// RFC 5321 3.1, 4.3.1: behind a pause there is no greeting for who does not wait for it; without one nobody can say who
/// did, so it is noted and served.
#[test]
fn who_speaks_before_the_greeting_is_refused_behind_a_pause_and_served_without() {
    let config = || Config::new("mx.example.net").expect("a name");
    let mut pause = Timeouts::default();
    pause.greet_pause = Duration::from_secs(3600);
    let (said, faults) = early(config().timeouts(pause));
    assert_eq!(said, "554 5.5.1 Spoke before the greeting; closing\r\n");
    assert_eq!(faults, [FaultKind::EarlyTalker]);
    let let_pass = config().timeouts(pause).lenient(Leniency::EarlyTalkers.into());
    for (config, noted) in [(config(), FaultKind::EarlyTalker), (let_pass, FaultKind::Lenient(Leniency::EarlyTalkers))]
    {
        let (said, faults) = early(config);
        assert!(said.starts_with("220 ") && said.ends_with("\r\n221 2.0.0 Bye\r\n"), "{said}");
        assert_eq!(faults, [noted]);
    }
}

/// RFC 5321 4.3.1: who waits is greeted when the pause is over.
#[test]
fn who_waits_is_greeted_after_the_pause() {
    let mut pause = Timeouts::default();
    pause.greet_pause = Duration::from_millis(30);
    let config = Config::new("mx.example.net").expect("a name").tls(Policy::Off).timeouts(pause);
    let mut server = server(config.shared());
    let address = server.listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    let handle = server.handle();
    let (tell, faults) = channel();
    let running = thread::spawn(move || server.run(move |_| Tell(tell.clone())));
    let mut client = TcpStream::connect(address).expect("connected");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let mut greeting = [0; 30];
    let n = client.read(&mut greeting).expect("a greeting");
    assert!(greeting[..n].starts_with(b"220 "));
    client.write_all(b"QUIT\r\n").expect("written");
    let mut said = String::new();
    client.read_to_string(&mut said).expect("the end");
    assert!(said.ends_with("221 2.0.0 Bye\r\n"), "{said}");
    handle.shut_down();
    running.join().expect("no panic").expect("no error");
    assert_eq!(faults.try_iter().collect::<Vec<_>>(), []);
}
