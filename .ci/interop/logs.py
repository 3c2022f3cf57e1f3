"""`smtp-smol audit` on logs that real mail servers wrote a moment ago: Exim, OpenSMTPD and Sendmail, after mail in each TLS
mode. Counts are exact. Postfix is in audit.py.

As packages these servers exclude one another, so that Debian's are unpacked into a folder, and each runs from there: as root,
in a mount namespace with users and devices of its own, on a port of 127.0.0.1. Nothing of the system's is touched."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import harness
from harness import PATIENCE, ROOT, binary, free_port, main, run, succeed, test, wait_for

PLACE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "mail-programs"
USERS = {"root": 0, "nobody": 65534, "opensmtpd": 901, "opensmtpq": 902, "smmta": 903, "smmsp": 904, "Debian-exim": 905,
         "mail": 8, "u": 906}


def unpacked(package, *more):
    """The folder in which a package lies with all that it needs and the machine lacks."""
    folder = PLACE / package
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "debs").mkdir(parents=True)
        # What would be installed: its libraries are among it.
        code, plan = run("apt-get", "-s", "install", "--no-install-recommends", package, *more, timeout=120)
        assert code == 0, plan
        names = sorted(set(re.findall(r"^Inst (\S+)", plan, re.M)) | {package, *more})
        done = subprocess.run(["apt-get", "download", *names], cwd=folder / "debs", timeout=300, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout.decode()
        for deb in (folder / "debs").glob("*.deb"):
            succeed("dpkg-deb", "-x", str(deb), str(folder))
        (folder / "done").touch()
    return folder


class Server:
    """A server in a folder of its own. `self.log` is its log."""

    def __init__(self, package, *more):
        self.programs = unpacked(package, *more)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{package}-"))
        os.chmod(self.folder, 0o755)
        for name in ("dev", "spool", "mail", "log", "empty", "etc"):
            (self.folder / name).mkdir()
            os.chmod(self.folder / name, 0o755)
        self.log = self.folder / "maillog"
        self.port = free_port()
        succeed("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=mx.example.net",
                "-keyout", str(self.folder / "key.pem"), "-out", str(self.folder / "cert.pem"))
        os.chmod(self.folder / "key.pem", 0o600)
        lines = [f"{name}:x:{number}:{number}::{self.folder}/empty:/bin/false" for name, number in USERS.items()]
        (self.folder / "etc/passwd").write_text("\n".join(lines) + "\n")
        (self.folder / "etc/group").write_text("".join(f"{name}:x:{number}:\n" for name, number in USERS.items()))

    def start(self, command, mounts=()):
        """Runs a program that stays in the foreground, with what it says to syslog in the log."""
        self.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.syslog.bind(str(self.folder / "dev/log"))
        os.chmod(self.folder / "dev/log", 0o666)
        threading.Thread(target=self._listen_to_syslog, daemon=True).start()
        lines = ["set -e"]
        for device in ("null", "zero", "random", "urandom"):
            (self.folder / "dev" / device).touch()
            lines.append(f"mount --bind /dev/{device} {self.folder}/dev/{device}")
        lines += [f"mount --rbind {self.folder}/dev /dev", f"mount --bind {self.folder}/etc/passwd /etc/passwd",
                  f"mount --bind {self.folder}/etc/group /etc/group", *mounts,
                  "exec " + " ".join(map(str, command))]
        libraries = ":".join(str(path) for path in (self.programs / "usr/lib/x86_64-linux-gnu", self.programs / "usr/lib",
                             self.programs / "lib/x86_64-linux-gnu", self.programs / f"usr/lib/{os.uname().machine}-linux-gnu"))
        self.printed = open(self.folder / "printed", "wb")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines)], stdin=subprocess.DEVNULL,
            stdout=self.printed, stderr=subprocess.STDOUT, start_new_session=True,
            env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libraries})
        wait_for("the server to listen", self._listens)

    def _listen_to_syslog(self):
        """As a syslog server writes it: without the priority, with the host's name."""
        with open(self.log, "a") as log:
            while True:
                try:
                    line = self.syslog.recv(65536).decode("utf-8", "replace").rstrip("\n\0")
                except OSError:
                    return
                stamp, text = re.fullmatch(r"<\d+>(.{15}) (.*)", line, re.S).groups()
                log.write(f"{stamp} mx {text}\n")
                log.flush()

    def _listens(self):
        assert self.process.poll() is None, "the server ended:\n" + self.last_words()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def last_words(self):
        texts = [path.read_text(errors="replace") for path in (self.folder / "printed", self.log) if path.exists()]
        return "\n".join(text[-3000:] for text in texts)

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure is not None:
            print("    the server's last words:", self.last_words())
        if hasattr(self, "process"):
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.syslog.close()
            self.printed.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def swaks(self, *options, code=0):
        done, printed = run("swaks", "--server", f"127.0.0.1:{self.port}", "--helo", "client.example", *options)
        assert done == code, f"swaks exited {done}, not {code}:\n{printed}"

    def send_in_every_mode(self, refused):
        """Eleven messages: six over TLS (four of 1.3, two of 1.2), five in plaintext; one refused, in plaintext."""
        to = ("--to", "u@example.net")
        self.swaks("--from", "s@a.example", *to, "--tls", "--tls-protocol", "tlsv1_3")
        self.swaks("--from", "s@a.example", *to, "--tls", "--tls-protocol", "tlsv1_2")
        self.swaks("--from", "s@b.example", *to, "--tls", "--tls-protocol", "tlsv1_2")
        self.swaks("--from", "s@b.example", *to)
        self.swaks("--from", "s@spam.example", "--to", refused, code=24)
        for _ in range(4):
            self.swaks("--from", "s@c.example", *to)
        for _ in range(3):
            self.swaks("--from", "s@d.example", *to, "--tls", "--tls-protocol", "tlsv1_3")

    def tells_what_was_sent(self, log, kind):
        report = json.loads(succeed(binary(), "audit", "--json", "--internal", str(log)))
        mail = {mail["verdict"]: mail for mail in report["inbound"]["mail"]}
        wanted, unwanted = mail["wanted"], mail["unwanted"]
        found = [wanted[key] for key in ("tls", "plaintext", "unknown")]
        assert found == [6, 5, 0], (found, report)
        assert dict(wanted["versions"]) == {"TLS1.3": 4, "TLS1.2": 2}, report
        assert [unwanted[key] for key in ("tls", "plaintext", "unknown")] == [0, 1, 0], report
        lost = {sender["sender"]: (sender["lost"], sender["of"]) for sender in report["inbound"]["heaviest"]}
        assert lost == {"c.example": (4, 4), "b.example": (1, 2)}, lost
        assert report["sources"][0]["kind"] == kind and report["lines"]["unread"] == 0, report
        assert report["not_counted"]["broken"] == 0, report


EXIM = """
exim_path = {program}
primary_hostname = mx.example.net
exim_user = Debian-exim
exim_group = Debian-exim
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
tls_certificate = {folder}/cert.pem
tls_privatekey = {folder}/exim.pem
tls_advertise_hosts = *
host_lookup =
rfc1413_hosts =
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny ! domains = example.net
       message = no relay
  accept
begin routers
here:
  driver = accept
  domains = example.net
  transport = nowhere
begin transports
nowhere:
  driver = appendfile
  file = /dev/null
  user = Debian-exim
"""


@test
def the_log_of_an_exim_says_what_was_sent():
    with Server("exim4-daemon-light") as exim:
        key = exim.folder / "exim.pem"
        shutil.copy(exim.folder / "key.pem", key)
        for path in (key, exim.folder / "spool", exim.folder / "log"):
            os.chown(path, USERS["Debian-exim"], USERS["Debian-exim"])
        conf = exim.folder / "etc/exim.conf"
        program = exim.programs / "usr/sbin/exim4"
        conf.write_text(EXIM.format(folder=exim.folder, port=exim.port, program=program))
        os.chmod(conf, 0o644)
        exim.start([program, "-bdf", "-C", conf])
        exim.send_in_every_mode("u@other.example")
        log = exim.folder / "log/mainlog"
        wait_for("every delivery", lambda: log.read_text().count(" Completed") == 11)
        exim.tells_what_was_sent(log, "Exim log")


OPENSMTPD = """
pki "here" cert "{folder}/cert.pem"
pki "here" key "{folder}/key.pem"
listen on 127.0.0.1 port {port} tls pki "here" hostname mx.example.net
action "here" mda "cat >/dev/null" user u
action "tls" relay host smtp://{tls}
action "plain" relay host smtp://{plain}
match from any for domain "example.net" action "here"
match from any for domain "tls.example" action "tls"
match from any for domain "plain.example" action "plain"
"""


def start_opensmtpd(smtpd, tls="127.0.0.1:1", plain="127.0.0.1:1"):
    """Where it relays to, inside TLS and without."""
    conf = smtpd.folder / "etc/smtpd.conf"
    conf.write_text(OPENSMTPD.format(folder=smtpd.folder, port=smtpd.port, tls=tls, plain=plain))
    # Its places are compiled in.
    mounts = ["for d in /var/spool /var/lib /run; do mount -t tmpfs -o mode=755 none $d; done",
              "mkdir -p /var/lib/opensmtpd/empty /var/spool/smtpd; chmod 711 /var/spool/smtpd",
              "mount -t tmpfs -o mode=755 none /usr/libexec && mkdir /usr/libexec/opensmtpd",
              f"mount --bind {smtpd.programs}/usr/libexec/opensmtpd /usr/libexec/opensmtpd",
              # It greets a client when it knows its name, and asks name servers before /etc/hosts: an answer that is late or lost
              # would be a greeting that is.
              'mkdir -p "$(dirname "$(readlink -m /etc/resolv.conf)")"; [ -e /etc/resolv.conf ] || touch /etc/resolv.conf',
              f"echo lookup file >{smtpd.folder}/etc/resolv.conf; mount --bind {smtpd.folder}/etc/resolv.conf /etc/resolv.conf"]
    smtpd.start([smtpd.programs / "usr/sbin/smtpd", "-F", "-f", conf], mounts)


@test
def the_log_of_an_opensmtpd_says_what_was_sent():
    """Debian 12's does not come to an end with any handshake of a client's, so that mail over TLS is that which it sends."""
    with harness.Server("--domain", "*", "--domain", "*") as tls, \
            harness.Server("--tls", "off", "--domain", "*", "--domain", "*") as plain, Server("opensmtpd") as smtpd:
        start_opensmtpd(smtpd, tls.address, plain.address)
        for sender in ("b", "c", "c"):
            smtpd.swaks("--from", f"s@{sender}.example", "--to", "u@example.net")
        smtpd.swaks("--from", "s@spam.example", "--to", "u@other.example", code=24)
        # A recipient that is refused beside one that is not.
        smtpd.swaks("--from", "s@c.example", "--to", "u@example.net,u@other.example")
        # A client that knows no cipher of the server's.
        run("openssl", "s_client", "-connect", f"127.0.0.1:{smtpd.port}", "-starttls", "smtp", "-tls1_2", "-cipher",
            "PSK-AES128-CBC-SHA256", "-psk", "00", timeout=PATIENCE)
        smtpd.swaks("--from", "s@d.example", "--to", "x@tls.example,y@tls.example")
        smtpd.swaks("--from", "s@d.example", "--to", "x@plain.example")
        wait_for("every delivery", lambda: smtpd.log.read_text().count('result="Ok"') == 3)
        wait_for("every session's end", lambda: smtpd.log.read_text().count(" smtp disconnected ") ==
                 smtpd.log.read_text().count(" smtp connected "))
        report = json.loads(succeed(binary(), "audit", "--json", "--internal", str(smtpd.log)))
        inbound = {mail["verdict"]: mail for mail in report["inbound"]["mail"]}
        out = report["outbound"]["mail"][0]
        assert (inbound["wanted"]["tls"], inbound["wanted"]["plaintext"], inbound["unwanted"]["plaintext"]) == (0, 6, 1), report
        assert report["inbound"]["what_if"][0]["wanted"]["of"]["recipients"] == 7, report
        assert sum(mail["failed"] for mail in inbound.values()) + inbound["wanted"]["after_failure"] == 1, report
        lost = {sender["sender"]: (sender["lost"], sender["of"]) for sender in report["inbound"]["heaviest"]}
        assert lost == {"c.example": (3, 3), "b.example": (1, 1), "d.example": (2, 2)}, lost
        assert (out["tls"], out["plaintext"], out["versions"]) == (1, 1, [["TLS1.3", 1]]), report
        assert report["outbound"]["what_if"][0]["wanted"]["of"]["recipients"] == 3, report
        assert report["sources"][0]["kind"] == "OpenSMTPD log" and report["lines"]["unread"] == 0, report


SENDMAIL = """
divert(-1)
include(`{cf}/m4/cf.m4')
OSTYPE(`linux')
divert(0)
define(`confDOMAIN_NAME', `mx.example.net')
define(`QUEUE_DIR', `{folder}/spool')
define(`STATUS_FILE', `{folder}/statistics')
define(`HELP_FILE', `{folder}/helpfile')
define(`ALIAS_FILE', `{folder}/aliases')
define(`confPID_FILE', `{folder}/pid')
define(`confTO_IDENT', `0')
define(`confSERVER_CERT', `{folder}/cert.pem')
define(`confSERVER_KEY', `{folder}/key.pem')
define(`confCACERT', `{folder}/cert.pem')
define(`confCACERT_PATH', `{folder}/empty')
define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit,GroupReadableKeyFile')
define(`confDEF_USER_ID', `u:u')
define(`LOCAL_MAILER_PATH', `/bin/true')
define(`LOCAL_MAILER_ARGS', `true')
define(`LOCAL_MAILER_FLAGS', `Sn9')
LOCAL_DOMAIN(`example.net')
FEATURE(`accept_unresolvable_domains')
FEATURE(`nocanonify')
FEATURE(`no_default_msa')
DAEMON_OPTIONS(`Port={port}, Addr=127.0.0.1, Name=MTA')
MAILER(`local')
MAILER(`smtp')
"""


@test
def the_log_of_a_sendmail_says_what_was_sent():
    with Server("sendmail-bin", "sendmail-cf", "m4") as sendmail:
        (sendmail.folder / "aliases").write_text("postmaster: u\n")
        cf = sendmail.programs / "usr/share/sendmail/cf"
        source = sendmail.folder / "etc/sendmail.mc"
        source.write_text(SENDMAIL.format(folder=sendmail.folder, port=sendmail.port, cf=cf))
        m4 = next(str(path) for path in (sendmail.programs / "usr/bin/m4", pathlib.Path("/usr/bin/m4")) if path.exists())
        conf = sendmail.folder / "etc/sendmail.cf"
        done = subprocess.run([m4, f"-I{cf}", f"-D_CF_DIR_={cf}/", str(source)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=PATIENCE,
                              env={"LD_LIBRARY_PATH": str(sendmail.programs / "usr/lib/x86_64-linux-gnu")})
        assert done.returncode == 0, done.stderr.decode()
        conf.write_bytes(done.stdout)
        program = sendmail.programs / "usr/libexec/sendmail/sendmail"
        # Without DNS: names are those of a file.
        (sendmail.folder / "etc/hosts").write_text("127.0.0.1 localhost mx.example.net\n")
        mounts = [f"mount --bind {sendmail.folder}/etc/hosts /etc/hosts", f"{program} -C {conf} -bi"]
        sendmail.start([program, "-C", conf, "-bD", "-L", "sm-mta"], mounts)
        sendmail.send_in_every_mode("no@example.net")
        wait_for("what became of each", lambda: sendmail.log.read_text().count(" mailer=local,") >= 11)
        sendmail.tells_what_was_sent(sendmail.log, "Sendmail log")


if __name__ == "__main__":
    main()
