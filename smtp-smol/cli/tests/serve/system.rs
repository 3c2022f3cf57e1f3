//! How the server stands to the system: descriptors, supervisors, users.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::program::{Client, PATIENCE, Program};

/// By way of a shell, which does `first` and then becomes the server.
fn by_shell(folder: &std::path::Path, first: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let serve = format!("{first}; exec {} serve --tls off \"$@\"", env!("CARGO_BIN_EXE_smtp-smol"));
    command.args(["-c", &serve, "sh"]).args(arguments).current_dir(folder);
    command.env("HOME", folder).env("XDG_STATE_HOME", folder);
    command
}

const DISCARD: [&str; 4] = ["--listen", "127.0.0.1:0", "--deliver", "discard"];

#[test]
fn without_descriptors_it_waits_and_gets_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(&mut by_shell(folder.path(), "ulimit -n 40", &DISCARD), 1);
    let address = program.address(0);
    let mut first = Client::connect(&address);
    assert!(first.reply().starts_with("220 "));
    let crowd: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(&address).expect("in the backlog")).collect();
    program.wait_for("a word about it", |said| said.iter().any(|line| line.contains("cannot be accepted")));
    // Whoever is connected is served meanwhile, and nobody fills the log.
    assert!(first.say("EHLO client.example").starts_with("250"));
    std::thread::sleep(Duration::from_millis(300));
    drop(crowd);
    assert!(Client::connect(&address).deliver("EHLO client.example").starts_with("250 "));
    program.signal(Signal::TERM);
    assert_eq!(program.ends_within(PATIENCE), Some(0));
    program.wait_for("the report", |said| said.iter().any(|line| line.starts_with("since ")));
    assert!(program.said.iter().filter(|line| line.contains("cannot be accepted")).count() == 1, "{:?}", program.said);
}

#[test]
fn it_takes_sockets_from_its_supervisor_and_tells_it_when_it_is_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let notices = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
    notices.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = socket.local_addr().expect("an address").to_string();
    let first = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=mx";
    let arguments = ["--listen", "systemd:mx", "--domain", "mx.example.net", "--deliver", "discard"];
    let mut command = by_shell(folder.path(), first, &arguments);
    command.stdin(OwnedFd::from(socket)).env("NOTIFY_SOCKET", folder.path().join("notify"));
    let mut program = Program::start(&mut command, 1);
    let heard = || {
        let mut octets = [0; 100];
        let n = notices.recv(&mut octets).expect("a notice");
        String::from_utf8_lossy(&octets[..n]).into_owned()
    };
    assert_eq!(heard().trim(), "READY=1");
    assert!(Client::connect(&address).deliver("EHLO client.example").starts_with("250 "));
    program.signal(Signal::TERM);
    assert_eq!(heard().trim(), "STOPPING=1");
    assert_eq!(program.ends_within(PATIENCE), Some(0));
}

/// As root, which CI is; anybody else is told that it takes root.
#[test]
fn it_gives_up_its_rights_once_it_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = by_shell(folder.path(), ":", &[&DISCARD[..], &["--user", "nobody"]].concat());
    if !rustix::process::geteuid().is_root() {
        let output = command.output().expect("it runs");
        assert!(String::from_utf8_lossy(&output.stderr).contains("only root can become another user"));
        return;
    }
    let program = Program::start(&mut command, 1);
    assert!(Client::connect(&program.address(0)).deliver("EHLO client.example").starts_with("250 "));
    let tasks = std::fs::read_dir(format!("/proc/{}/task", program.child.id())).expect("its threads");
    let mut threads = 0;
    for task in tasks {
        let status = std::fs::read_to_string(task.expect("a thread").path().join("status")).expect("its status");
        for who in ["Uid:", "Gid:"] {
            let line = status.lines().find(|line| line.starts_with(who)).expect(who);
            assert!(line.split_whitespace().skip(1).all(|id| id != "0"), "{line}");
        }
        threads += 1;
    }
    assert!(threads > 2, "{threads}");
}
