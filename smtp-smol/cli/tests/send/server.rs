//! A server that follows a setup, in a thread of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server is like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    /// Lines of its reply to EHLO.
    pub(crate) offers: &'static [&'static str],
    /// What it says instead of yes to lines that begin so; `GREETING` and `TEXT` are its own words.
    pub(crate) refuses: &'static [(&'static str, &'static str)],
    /// Its lines end in LF alone.
    pub(crate) bare_lf: bool,
    /// After 220 to STARTTLS it hangs up.
    pub(crate) once: bool,
}

/// A server that runs as long as the test.
pub(crate) struct Server {
    address: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let said = Arc::new(Mutex::new(Vec::new()));
        let server = Self { address, said: said.clone() };
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // What goes wrong here the program under test reports.
                let _ = serve(&socket, setup, &said);
            }
        });
        server
    }

    /// Something else that listens there.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, said: Arc::default() }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The lines that clients said, texts left out.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().expect("said").clone()
    }
}

fn serve(socket: &TcpStream, setup: Setup, said: &Mutex<Vec<String>>) -> std::io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let reply_to = |line: &str, yes: &str| {
        let no = setup.refuses.iter().find(|(start, _)| line.starts_with(start));
        no.map_or_else(|| yes.to_owned(), |(_, reply)| (*reply).to_owned())
    };
    let mut out = socket;
    let mut say = |reply: &str| {
        let end = if setup.bare_lf { "\n" } else { "\r\n" };
        out.write_all(format!("{reply}{end}").as_bytes())
    };
    say(&reply_to("GREETING", "220 mx.example.net"))?;
    let mut lines = BufReader::new(socket).lines();
    let mut in_text = false;
    let mut challenges = 0;
    while let Some(line) = lines.next().transpose()? {
        if in_text {
            if line == "." {
                in_text = false;
                say(&reply_to("TEXT", "250 2.0.0 taken"))?;
            }
            continue;
        }
        said.lock().expect("said").push(line.clone());
        let verb = line.split(' ').next().unwrap_or_default();
        let ehlo: String = setup.offers.iter().map(|offer| format!("250-{offer}\r\n")).collect();
        let yes = match verb {
            "EHLO" => format!("250-mx.example.net\r\n{ehlo}250 HELP"),
            "DATA" => "354 go on".to_owned(),
            "STARTTLS" => "220 go on".to_owned(),
            "QUIT" => "221 bye".to_owned(),
            "AUTH" if line == "AUTH LOGIN" => {
                challenges = 2;
                "334 VXNlcm5hbWU6".to_owned()
            }
            "AUTH" => "235 2.7.0 welcome".to_owned(),
            _ if challenges == 2 => {
                challenges = 1;
                "334 UGFzc3dvcmQ6".to_owned()
            }
            _ if challenges == 1 => {
                challenges = 0;
                "235 2.7.0 welcome".to_owned()
            }
            _ => "250 2.0.0 ok".to_owned(),
        };
        let reply = reply_to(&line, &yes);
        say(&reply)?;
        in_text = verb == "DATA" && reply.starts_with('3');
        if verb == "QUIT" || setup.once && verb == "STARTTLS" {
            return Ok(());
        }
    }
    Ok(())
}
