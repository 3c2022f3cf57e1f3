//! The servers that are compared: how each is found, installed and started.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that runs.
pub struct Peer {
    pub address: SocketAddr,
    child: Child,
    /// The master of Postfix leaves the work to others.
    with_children: bool,
}

/// Where the pieces lie.
pub struct Place {
    pub folder: PathBuf,
    /// This folder of programs: floor, bare and mailin are built beside this one.
    pub programs: PathBuf,
    pub smtp_mio: PathBuf,
}

pub const NAMES: [&str; 8] =
    ["floor", "smtp-mio", "smtp-smol", "mailin-embedded", "smtp-sink", "go-smtp", "aiosmtpd", "postfix"];

const GO_SMTP: &str = include_str!("go-smtp.go");

const AIOSMTPD: &str = "
import asyncio, ssl, sys
from aiosmtpd.smtp import SMTP
class Handler:
    async def handle_DATA(self, server, session, envelope):
        return '250 2.0.0 Ok'
async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[2], sys.argv[3])
    make = lambda: SMTP(Handler(), hostname='aiosmtpd.example', tls_context=tls)
    server = await asyncio.get_running_loop().create_server(make, '127.0.0.1', int(sys.argv[1]), backlog=4096)
    await server.serve_forever()
asyncio.run(main())
";

impl Place {
    /// Makes a certificate, and installs what is not there. `None` for a peer that cannot be had here.
    pub fn prepare(folder: &Path, smtp_mio: PathBuf) -> io::Result<Self> {
        let programs = std::env::current_exe()?.parent().unwrap_or(Path::new(".")).to_owned();
        let made = rcgen::generate_simple_self_signed(vec!["load.example".into()]).map_err(io::Error::other)?;
        fs::write(folder.join("cert.pem"), made.cert.pem())?;
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
        // Not by the name of what it imports: a script's own folder comes first.
        fs::write(folder.join("with-aiosmtpd.py"), AIOSMTPD)?;
        fs::write(folder.join("go-smtp.go"), GO_SMTP)?;
        Ok(Self { folder: folder.to_owned(), programs, smtp_mio })
    }

    /// Starts a peer on a free port; `many` connections will be made at once.
    pub fn start(&self, name: &str, many: usize) -> io::Result<Peer> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (certificate, key) = (self.folder.join("cert.pem"), self.folder.join("key.pem"));
        let mut with_children = false;
        let mut command = match name {
            "floor" => {
                let mut command = Command::new(self.programs.join("floor"));
                command.arg(port.to_string()).args([&certificate, &key]);
                command
            }
            // One loop: all are compared on one core, or as many threads as they need by their nature.
            "smtp-mio" => {
                let mut command = Command::new(&self.smtp_mio);
                command.args(["sink", "--threads", "1", "--listen", &format!("127.0.0.1:{port}")]);
                command
            }
            // The least that is made of the library: `serve` does more.
            "smtp-smol" => {
                let mut command = Command::new(self.programs.join("bare"));
                command.arg(format!("127.0.0.1:{port}")).args([&certificate, &key]);
                command
            }
            "mailin-embedded" => {
                let mut command = Command::new(self.programs.join("mailin"));
                command.args([port.to_string(), (many + 1).to_string()]).args([&certificate, &key]);
                command
            }
            "smtp-sink" => {
                let mut command = Command::new("smtp-sink");
                command.args(["-u", "nobody", "-m", &(many + 100).to_string(), &format!("127.0.0.1:{port}"), "4096"]);
                command
            }
            "go-smtp" => {
                let mut command = Command::new(self.go()?);
                command.env("GOMAXPROCS", "1").arg(port.to_string()).args([&certificate, &key]);
                command
            }
            "aiosmtpd" => {
                let mut command = Command::new(self.python()?);
                command.arg(self.folder.join("with-aiosmtpd.py")).arg(port.to_string()).args([&certificate, &key]);
                command
            }
            "postfix" => {
                with_children = true;
                self.postfix(port, &certificate, &key)?
            }
            _ => return Err(io::Error::other(format!("no peer {name}"))),
        };
        let words = self.folder.join(format!("{name}.words"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&words)?).spawn()?;
        let mut peer = Peer { address: SocketAddr::from(([127, 0, 0, 1], port)), child, with_children };
        for _ in 0..200 {
            if TcpStream::connect(peer.address).is_ok() {
                return Ok(peer);
            }
            if let Some(status) = peer.child.try_wait()? {
                let words = fs::read_to_string(words)?;
                let last = words.trim_end().lines().last().unwrap_or_default();
                return Err(io::Error::other(format!("{name} ended at once: {status}: {last}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::other(format!("{name} does not listen")))
    }

    /// A Python of its own with aiosmtpd in it.
    fn python(&self) -> io::Result<PathBuf> {
        let python = self.folder.join("venv/bin/python");
        if !python.exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(self.folder.join("venv")))?;
            run(Command::new(&python).args(["-m", "pip", "install", "-q", "aiosmtpd"]))?;
        }
        Ok(python)
    }

    /// Built from the library as Debian has it.
    fn go(&self) -> io::Result<PathBuf> {
        let program = self.folder.join("go-smtp");
        if !program.exists() {
            let mut go = Command::new("go");
            go.envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode")])
                .env("GOCACHE", self.folder.join("go-cache"));
            run(go.args(["build", "-o"]).arg(&program).arg(self.folder.join("go-smtp.go")))?;
        }
        Ok(program)
    }

    /// A Postfix in a folder of its own, whose smtpd throws everything away.
    fn postfix(&self, port: u16, certificate: &Path, key: &Path) -> io::Result<Command> {
        let folder = self.folder.join(format!("postfix-{port}"));
        for part in ["etc", "spool", "data"] {
            fs::create_dir_all(folder.join(part))?;
        }
        run(Command::new("chown").args(["postfix"]).arg(folder.join("data")))?;
        let show = |path: &Path| path.display().to_string();
        let main = [
            "compatibility_level = 3.6".to_owned(),
            format!("queue_directory = {}", show(&folder.join("spool"))),
            format!("data_directory = {}", show(&folder.join("data"))),
            "maillog_file_prefixes = /".to_owned(),
            format!("maillog_file = {}", show(&folder.join("log"))),
            "smtpd_recipient_restrictions =".to_owned(),
            "smtpd_relay_restrictions = reject_unauth_destination".to_owned(),
            "mydestination = load.example".to_owned(),
            "inet_interfaces = 127.0.0.1".to_owned(),
            "inet_protocols = ipv4".to_owned(),
            "smtpd_tls_security_level = may".to_owned(),
            "smtpd_tls_session_cache_timeout = 0".to_owned(),
            "smtpd_tls_loglevel = 0".to_owned(),
            "tls_random_source = dev:/dev/urandom".to_owned(),
            "smtpd_client_connection_count_limit = 0".to_owned(),
            "smtpd_peername_lookup = no".to_owned(),
            format!("smtpd_tls_cert_file = {}", show(certificate)),
            format!("smtpd_tls_key_file = {}", show(key)),
        ];
        fs::write(folder.join("etc/main.cf"), main.join("\n") + "\n")?;
        let master = format!(
            "127.0.0.1:{port} inet n - n - 20 smtpd\n\
             pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
             rewrite unix - - n - - trivial-rewrite\ntlsmgr unix - - n 1000? 1 tlsmgr\nanvil unix - - n - 1 anvil\n\
             postlog unix-dgram n - n - 1 postlogd\nproxymap unix - - n - - proxymap\n\
             bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
             error unix - - n - - error\nretry unix - - n - - error\nlocal unix - n n - - local\n\
             smtp unix - - n - - smtp\nshowq unix n - n - - showq\n"
        );
        fs::write(folder.join("etc/master.cf"), master)?;
        let etc = folder.join("etc");
        run(Command::new("postfix").arg("-c").arg(&etc).arg("check"))?;
        let mut command = Command::new("/usr/lib/postfix/sbin/master");
        command.arg("-c").arg(&etc).arg("-d");
        Ok(command)
    }
}

impl Peer {
    /// CPU seconds that it has used, user and system, from the operating system's own clock of the process.
    pub fn cpu(&self) -> f64 {
        self.processes().into_iter().map(cpu_of).sum()
    }

    /// Resident memory, KiB.
    pub fn resident(&self) -> f64 {
        let of = |pid: u32| -> Option<f64> {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        self.processes().into_iter().filter_map(of).sum()
    }

    fn processes(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        if self.with_children {
            let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
            all.extend(entries.filter_map(|entry| {
                let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
                (parent == self.child.id()).then_some(pid)
            }));
        }
        all
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The master of Postfix ends its children when it is asked, not when it is killed.
        let pid = i32::try_from(self.child.id()).unwrap_or_default();
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} failed: {status}"))) }
}

/// The CPU clock of another process, in nanoseconds (clock_getcpuclockid(3)); /proc counts in hundredths.
fn cpu_of(pid: u32) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut clock = 0;
    // SAFETY: both write to what they are given, and fail where the process is gone.
    let failed = unsafe {
        libc::clock_getcpuclockid(i32::try_from(pid).unwrap_or_default(), &mut clock) != 0
            || libc::clock_gettime(clock, &mut time) != 0
    };
    if failed { 0.0 } else { time.tv_sec as f64 + time.tv_nsec as f64 / 1e9 }
}
