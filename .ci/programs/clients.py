#!/usr/bin/env python3
"""Mail programs and libraries that people have, as clients of `smtp-smol serve`: what they send must be kept to the octet.

    python .ci/programs/clients.py [WORD ...]      runs the tests whose names contain a word, or all

Needs Debian's packages that `.ci/run packages` installs, and in target/ the packages of npm and PyPI that its step
`programs` puts there. On every client three ways in: to a server for anyone in plaintext, and with a password to a
submission server, by STARTTLS and inside TLS. A way that a program does not have is left out beside it.
"""

import email
import email.policy
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

from harness import PATIENCE, ROOT, Server, binary, free_port, main, run, succeed, test, wait_for  # noqa: E402

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
JAVA_MAIL = "/usr/share/java/javax.mail.jar"
PYTHON, NPM = TARGET / "venv/bin/python", TARGET / "npm"
FROM, TO, OTHER, PASSWORD = "alice@client.example", "bob@mx.example.net", "carol@mx.example.net", "a long pass phrase"
BODY = "Grüße aus Köln.\r\n.\r\n..\r\n.leading dot\r\n\r\nFrom here on:\r\ntab\there\r\nlast line\r\n"
TEXT = ("From: Alice <alice@client.example>\r\nTo: bob@mx.example.net\r\nSubject: of programs\r\n"
        "Date: Thu, 26 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@client.example>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + BODY).encode()


class Authority:
    """An authority, and a certificate by it for localhost and 127.0.0.1."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="programs-"))
        self.ca, self.cert, self.key = (self.folder / name for name in ("ca.crt", "server.crt", "server.key"))
        new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        succeed(*new, "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", str(self.folder / "ca.key"),
                "-out", str(self.ca))
        succeed(*new, "-subj", "/CN=localhost", "-keyout", str(self.key), "-out", str(self.folder / "request"))
        names = self.folder / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        succeed("openssl", "x509", "-req", "-in", str(self.folder / "request"), "-CA", str(self.ca), "-CAkey",
                str(self.folder / "ca.key"), "-CAcreateserial", "-days", "2", "-extfile", str(names), "-out", str(self.cert))
        self.users = self.folder / "users"
        self.users.write_text(succeed(binary(), "user", "alice", stdin=PASSWORD.encode() + b"\n"))
        self.text = self.folder / "text"
        self.text.write_bytes(TEXT)
        self.text_lf = self.folder / "text.lf"
        self.text_lf.write_bytes(TEXT.replace(b"\r\n", b"\n"))


AUTHORITY = None


def authority():
    global AUTHORITY
    AUTHORITY = AUTHORITY or Authority()
    return AUTHORITY


def mx(*options):
    return Server("--domain", "mx.example.net", "--cert", str(authority().cert), "--key", str(authority().key), *options)


def submission(*options):
    server = Server("--role", "submission", "--users", str(authority().users), "--cert", str(authority().cert),
                    "--key", str(authority().key), "--implicit-tls", "127.0.0.1:0", *options)
    server.tls_port = int(re.search(r"127\.0\.0\.1:(\d+) as \S+, TLS first", server.printed())[1])
    return server


def environment(to=TO):
    return {"FROM": FROM, "TO": to, "CA": str(authority().ca), "HOME": str(authority().folder), "PASSWORD": PASSWORD}


def every_way(send, mechanisms=("PLAIN",), recipients=2, same=True, tls=True, plain="ESMTP", options=()):
    """`send(port, mode, login)` in each way; `login` is (user, password, mechanism) or (). What is kept is TEXT, or where
    the program writes the message itself, what it was given to say."""
    def right(mail, protocol):
        if same:
            mail.must_be(TEXT, protocol, FROM)
        else:
            assert (mail.protocol, mail.sender) == (protocol, FROM), mail.stored[:400]
            assert said(mail) == BODY.replace("\r\n", "\n"), mail.stored

    to = [TO, OTHER][:recipients]
    with mx(*options) as server:
        send(server.port, "plain", (), to)
        mail = server.mail()
        right(mail, plain)
        assert mail.delivered_to == to, mail.delivered_to
    for mechanism in mechanisms:
        with submission(*options) as server:
            login = ("alice", PASSWORD, mechanism)
            send(server.port, "starttls", login, to)
            if tls:
                send(server.tls_port, "tls", login, to)
            for mail in server.mails(2 if tls else 1):
                right(mail, "ESMTPSA")


def said(mail):
    """The text of a message as its reader sees it."""
    message = email.message_from_bytes(mail.text, policy=email.policy.default)
    return message.get_content().replace("\r\n", "\n")


def script(*command):
    def send(port, mode, login, to):
        succeed(*map(str, command), str(port), mode, str(authority().text), *login, env=environment(",".join(to)))
    return send


@test
def nodemailer():
    module = NPM / "mail.mjs"  # where node looks for packages
    shutil.copy(HERE / "sources/mail.mjs", module)
    every_way(script("node", module), mechanisms=("PLAIN", "LOGIN"))


@test
def ruby_net_smtp():
    every_way(script("ruby", HERE / "sources/mail.rb"), mechanisms=("PLAIN", "LOGIN"))


@test
def perl_net_smtp():
    every_way(script("perl", HERE / "sources/mail.pl"), mechanisms=("PLAIN", "LOGIN"))


@test
def php_phpmailer():
    every_way(script("php", HERE / "sources/mail.php"), mechanisms=("PLAIN", "LOGIN"))


@test
def java_mail():
    classes = authority().folder / "classes"
    succeed("javac", "-cp", JAVA_MAIL, "-d", str(classes), str(HERE / "sources/Mail.java"))
    every_way(script("java", "-XX:TieredStopAtLevel=1", "-cp", f"{JAVA_MAIL}:{classes}", "Mail"), mechanisms=("PLAIN", "LOGIN"))


@test
def python_twisted():
    every_way(script(PYTHON, HERE / "sources/twisted_mail.py"))


@test
def python_aiosmtplib():
    every_way(script(PYTHON, HERE / "sources/aiosmtplib_mail.py"), mechanisms=("PLAIN", "LOGIN"))


def by_msmtp(port, mode, login, to):
    tls = {"plain": ["--tls=off"], "starttls": ["--tls=on", "--tls-starttls=on"], "tls": ["--tls=on", "--tls-starttls=off"]}
    command = ["msmtp", "--host=localhost", f"--port={port}", "--domain=client.example", *tls[mode],
               f"--tls-trust-file={authority().ca}", f"--from={FROM}"]
    if login:
        command += [f"--auth={login[2].lower()}", f"--user={login[0]}", f"--passwordeval=echo '{login[1]}'"]
    succeed(*command, *to, stdin=authority().text_lf.read_bytes())


@test
def msmtp():
    every_way(by_msmtp, mechanisms=("PLAIN", "LOGIN", "SCRAM-SHA-256"))


@test
def s_nail():
    def send(port, mode, login, to):
        # A password in a URL is given as RFC 3986 section 2.1 has it.
        account = f"{login[0]}:{login[1].replace(' ', '%20')}@" if login else ""
        options = ["-Sv15-compat", f"-Smta={'smtps' if mode == 'tls' else 'smtp'}://{account}localhost:{port}",
                   f"-Sfrom={FROM}", "-Shostname=client.example", f"-Stls-ca-file={authority().ca}", "-Stls-verify=strict", "-Sttycharset=utf-8",
                   f"-Ssmtp-auth={login[2].lower() if login else 'none'}", *(["-Ssmtp-use-starttls"] if mode == "starttls" else [])]
        succeed("s-nail", "-:/", *options, "-r", FROM, "-s", "of programs", *to, stdin=BODY.replace("\r\n", "\n").encode(),
                env={"LC_ALL": "C.UTF-8", **environment()})
    # Where there is nothing to ask for it says HELO.
    every_way(send, mechanisms=("PLAIN", "LOGIN"), same=False, plain="SMTP")


def by_neomutt(port, mode, login, to):
    user = f"{login[0]}@" if login else ""
    settings = [f'set smtp_url="{"smtps" if mode == "tls" else "smtp"}://{user}localhost:{port}/"',
                f'set ssl_starttls={"yes" if mode == "starttls" else "no"}', f'set ssl_force_tls={"no" if mode == "plain" else "yes"}',
                f'set ssl_ca_certificates_file="{authority().ca}"', f'set certificate_file="{authority().ca}"',
                f'set from="{FROM}"', "set use_envelope_from=yes", f'set envelope_from_address="{FROM}"', 'set hostname="client.example"', "set copy=no",
                "set charset=utf-8", 'set send_charset="utf-8"', "unset record", "set folder=/tmp"]
    if login:
        settings.append(f'set smtp_pass="{login[1]}"')
    options = [part for setting in settings for part in ("-e", setting)]
    succeed("neomutt", "-n", "-F", "/dev/null", *options, "-s", "of programs", "--", *to,
            stdin=BODY.replace("\r\n", "\n").encode(), env={"LC_ALL": "C.UTF-8", "TERM": "dumb", **environment()})


@test
def neomutt():
    """By itself it picks the best mechanism that is offered: with GSASL that may be SCRAM-SHA-256-PLUS."""
    every_way(by_neomutt, same=False)


@test
def what_keeps_to_the_rules_is_served_alike_where_they_are_relaxed():
    names = ("devices", "bare-cr-text", "nul-text", "dots-in-local-part", "utf8-without-smtputf8")
    lenient = [part for name in names for part in ("--lenient", name)]
    every_way(by_msmtp, options=lenient)
    every_way(by_neomutt, same=False, options=lenient)


class Pop3:
    """A mailbox with one message, for one client."""

    def __init__(self, text):
        self.text = text
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        peer, _ = self.socket.accept()
        with peer, peer.makefile("rwb") as wire:
            def say(octets):
                wire.write(octets)
                wire.flush()
            say(b"+OK ready\r\n")
            for line in wire:
                verb = line.split()[0].upper()
                if verb in (b"USER", b"PASS", b"DELE", b"NOOP", b"RSET"):
                    say(b"+OK\r\n")
                elif verb == b"CAPA":
                    say(b"+OK\r\nUSER\r\nTOP\r\n.\r\n")
                elif verb == b"STAT":
                    say(b"+OK 1 %d\r\n" % len(self.text))
                elif verb == b"LIST":
                    say(b"+OK\r\n1 %d\r\n.\r\n" % len(self.text) if len(line.split()) == 1 else b"+OK 1 %d\r\n" % len(self.text))
                elif verb in (b"RETR", b"TOP"):
                    say(b"+OK\r\n" + re.sub(rb"^\.", b"..", self.text, flags=re.M) + b".\r\n")
                elif verb == b"QUIT":
                    say(b"+OK\r\n")
                    return
                else:
                    say(b"-ERR not here\r\n")


@test
def fetchmail_hands_on():
    """From a mailbox elsewhere to the server here, as people who fetch their mail do; it adds a Received field of its own."""
    with mx() as server:
        pop3, folder = Pop3(TEXT), authority().folder
        rc = folder / "fetchmailrc"
        rc.write_text(f'poll 127.0.0.1 service {pop3.port} proto pop3 user "u" pass "p" is "bob@mx.example.net" here\n'
                      f'  smtphost "127.0.0.1/{server.port}" smtpname "bob@mx.example.net" no rewrite sslproto "" fetchall\n')
        rc.chmod(0o600)
        code, printed = run("fetchmail", "--fetchmailrc", str(rc), "--nosyslog", "--nobounce", "--pidfile", str(folder / "pid"),
                            "--idfile", str(folder / "ids"), env={**environment(), "FETCHMAILHOME": str(folder)})
        assert code == 0, printed
        mail = server.mail()
        assert mail.text.endswith(b"\r\n\r\n" + BODY.encode()), mail.stored


@test
def stunnel_before_the_server():
    """TLS ends before the server; who the client is comes by a PROXY header. It is no plaintext."""
    with Server("--domain", "mx.example.net", "--proxy-from", "127.0.0.1", "--proxy-tls-before",
                listen=("--listen", "127.0.0.1:0", "--proxy", "127.0.0.1:0")) as server:
        port = int(re.search(r"127\.0\.0\.1:(\d+) as \S+, a PROXY header first", server.printed())[1])
        folder = pathlib.Path(tempfile.mkdtemp(prefix="stunnel-"))
        front = free_port()
        pem = folder / "pem"
        pem.write_bytes(authority().cert.read_bytes() + authority().key.read_bytes())
        conf = folder / "conf"
        conf.write_text(f"foreground = yes\npid =\n[smtps]\naccept = 127.0.0.1:{front}\nconnect = 127.0.0.1:{port}\n"
                        f"cert = {pem}\nprotocol = proxy\n")
        stunnel = subprocess.Popen(["stunnel4", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            def listens():
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", front)) == 0
            wait_for("stunnel", listens)
            succeed(PYTHON, HERE / "sources/aiosmtplib_mail.py", str(front), "tls", str(authority().text), env=environment())
        finally:
            stunnel.terminate()
            stunnel.wait(PATIENCE)
            shutil.rmtree(folder)
        mail = server.mail()
        # With TLS, of which no more is known.
        assert (mail.text, mail.protocol) == (TEXT, "ESMTPS"), mail.stored
        server.stop()
        hops = [line["tls"]["outcome"] for line in server.ledger() if line["outcome"] == "accepted"]
        assert hops == ["used"], (hops, mail.received)


if __name__ == "__main__":
    try:
        main()
    finally:
        if AUTHORITY:
            shutil.rmtree(AUTHORITY.folder, ignore_errors=True)
