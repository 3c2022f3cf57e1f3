#!/usr/bin/env python3
"""Runs every example against real clients and servers: Python's smtplib, swaks, curl, and Postfix's smtp-sink. And the
snippets of docs/testing.md. The folder of the built examples is the argument; `$SMTP_MIO` is the program."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import re
import select
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci/interop"))

from harness import free_port  # noqa: E402

BUILT = pathlib.Path(sys.argv[1]).resolve()
TESTS = []
TEXT = "Subject: Hi\r\n\r\n.dot\r\nHello.\r\n"


def test(function):
    TESTS.append(function)
    return function


class Running:
    """An example that listens; its lines can be read one by one."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.held = b""
        self.address = self.line().removeprefix("listening on ")
        self.host, port = self.address.rsplit(":", 1)
        self.port = int(port)

    def line(self, seconds=20):
        end = time.monotonic() + seconds
        while b"\n" not in self.held:
            assert time.monotonic() < end, f"no line came; there is {self.held!r}, and {self.process.poll()=}"
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                self.held += self.process.stdout.read() or b""
        line, self.held = self.held.split(b"\n", 1)
        return line.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()
        self.process.stderr.close()


def example(name, *arguments):
    return Running(BUILT / name, *arguments)


@contextlib.contextmanager
def client(server):
    with smtplib.SMTP(server.host, server.port, local_hostname="client.example", timeout=20) as smtp:
        yield smtp


def certificate(folder):
    files = folder / "mx.crt", folder / "mx.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", files[0],
                    "-keyout", files[1]], check=True, capture_output=True)
    return files


def refused(function, code):
    try:
        function()
    except smtplib.SMTPResponseException as error:
        assert error.smtp_code == code, error
    except smtplib.SMTPRecipientsRefused as error:
        assert {said for said, _ in error.recipients.values()} == {code}, error
    else:
        raise AssertionError(f"accepted, and not refused with {code}")


def gateways(folder, name):
    files = certificate(folder)
    with example(name, "127.0.0.1:0", "example.net", *files) as server:
        with client(server) as smtp:
            left = smtp.sendmail("ann@example.org", ["ben@example.net", "eve@example.com"], TEXT)
            assert left == {"eve@example.com": (550, b"5.7.1 No mail for that domain here")}, left
        told = json.loads(server.line())
        assert told == {"from": "ann@example.org", "to": ["ben@example.net"], "octets": len(TEXT),
                        "tls": "not-tried", "version": None}, told
        swaks = subprocess.run(["swaks", "--server", server.address, "--tls", "--from", "ann@example.org", "--to",
                                "ben@EXAMPLE.net", "--body", "hello"], capture_output=True, text=True, timeout=60)
        assert swaks.returncode == 0, swaks.stdout + swaks.stderr
        told = json.loads(server.line())
        assert (told["tls"], told["version"], told["to"]) == ("used", "TLS1.3", ["ben@EXAMPLE.net"]), told
    # An error names the file, and what it has to be.
    wrong = subprocess.run([BUILT / name, "127.0.0.1:0", "example.net", files[0], files[0]], capture_output=True, text=True)
    assert wrong.returncode == 1 and "mx.crt: " in wrong.stderr and "private key" in wrong.stderr, wrong.stderr


@test
def gateway_smol(folder):
    gateways(folder, "gateway")


@test
def gateway_mio(folder):
    gateways(folder, "gateway-mio")


class Scram:
    """SCRAM-SHA-256 (RFC 7677) for smtplib's auth()."""

    def __init__(self, user, password):
        self.password, self.bare, self.step = password, f"n={user},r=clientnonce", 0

    def __call__(self, challenge=None):
        self.step += 1
        if self.step == 1:
            return "n,," + self.bare
        if self.step > 2:
            assert challenge.decode() == "v=" + base64.b64encode(self.signature).decode()
            return ""
        first = challenge.decode()
        part = dict(field.split("=", 1) for field in first.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(part["s"]), int(part["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = "c=biws,r=" + part["r"]
        message = ",".join([self.bare, first, final]).encode()
        proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.sha256(key).digest(), message, "sha256")))
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return final + ",p=" + base64.b64encode(proof).decode()


@test
def submission(folder):
    files = certificate(folder)
    with example("submission", "127.0.0.1:0", *files) as server:
        with client(server) as smtp:
            smtp.ehlo()
            assert not smtp.has_extn("auth")
            smtp.starttls(context=ssl._create_unverified_context())
            smtp.ehlo()
            assert set(smtp.esmtp_features["auth"].split()) == {"PLAIN", "SCRAM-SHA-256"}, smtp.esmtp_features
            refused(lambda: smtp.sendmail("ann@example.org", ["ben@example.net"], TEXT), 530)
            refused(lambda: smtp.login("ann", "crayon"), 535)
            refused(lambda: smtp.login("eve", "pencil"), 535)
            smtp.auth("SCRAM-SHA-256", Scram("ann", "pencil"))
            refused(lambda: smtp.sendmail("ben@example.org", ["cyd@example.net"], TEXT), 553)
            smtp.sendmail("ann@example.org", ["cyd@example.net"], TEXT)
        told = json.loads(server.line())
        assert (told["user"], told["to"], told["protocol"]) == ("ann", ["cyd@example.net"], "ESMTPSA"), told
        message = folder / "message"
        message.write_bytes(TEXT.encode())
        curl = subprocess.run(["curl", "-sS", "--ssl-reqd", "-k", "--user", "ben:crayon", "--login-options", "AUTH=PLAIN",
                               f"smtp://{server.address}/client.example", "--mail-from", "ben@example.org", "--mail-rcpt",
                               "cyd@example.net", "-T", message], capture_output=True, text=True, timeout=60)
        assert curl.returncode == 0, curl.stderr
        assert json.loads(server.line())["user"] == "ben"


@test
def filters(folder):
    kept = folder / "kept"
    with example("filter", "127.0.0.1:0", kept) as server, client(server) as smtp:
        refused(lambda: smtp.sendmail("a@example.org", ["b@example.net"], "Subject: Lottery\r\n\r\nYou win.\r\n"), 554)
        smtp.sendmail("a@example.org", ["b@example.net"], TEXT)
    [file] = kept.iterdir()
    head, _, rest = file.read_bytes().partition(b"X-Filtered: by example\r\n")
    assert rest == TEXT.encode() and head.startswith(b"Received: from client.example ([127.0.0.1])\r\n"), head
    assert b"\r\n for <b@example.net>;\r\n" in head, head


@test
def relay(_):
    program = os.environ["SMTP_MIO"]
    rules = ["--fail", "RCPT=450 4.2.1 Busy, says the next server:0.5", "--deliver", "json"]
    sink = subprocess.Popen([program, "sink", "--listen", "127.0.0.1:0", *rules], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
    try:
        hop = json.loads(sink.stdout.readline())["listening"]
        with example("relay", "127.0.0.1:0", hop) as server, client(server) as smtp:
            left = smtp.sendmail("a@example.org", ["b@example.net", "c@example.net"], TEXT)
            assert left == {"c@example.net": (450, b"4.2.1 Busy, says the next server")}, left
            told = json.loads(sink.stdout.readline())
            assert (told["from"], told["to"], told["text"]) == ("a@example.org", ["b@example.net"], TEXT), told
            sink.terminate()
            sink.wait(10)
            refused(lambda: smtp.sendmail("a@example.org", ["b@example.net"], TEXT), 451)
    finally:
        sink.kill()
        sink.wait(10)
        sink.stdout.close()


def many(name):
    """A client that sends 1,000 messages, to a server of other people's."""
    port = free_port()
    # Postfix's; it does not run as root.
    sink = subprocess.Popen(["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "100"], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        done = subprocess.run([BUILT / name, f"127.0.0.1:{port}", "1000"], capture_output=True, text=True, timeout=100)
        assert done.returncode == 0 and done.stdout.startswith("1000 of 1000 accepted in "), done
    finally:
        sink.terminate()
        sink.wait(10)


@test
def pool(_):
    many("pool")


@test
def mailing(_):
    many("mailing")


@test
def by_hand(_):
    with example("by_hand", "127.0.0.1:0") as server:
        for _ in range(2):
            with client(server) as smtp:
                smtp.sendmail("a@example.org", ["b@example.net", "c@example.net"], TEXT)
            assert server.line() == f"{len(TEXT)} octets for 2 recipients"


@test
def tokio_driver(folder):
    files = certificate(folder)
    with example("tokio_driver", "serve", "127.0.0.1:0", *files) as server:
        with client(server) as smtp:
            smtp.sendmail("a@example.org", ["b@example.net"], TEXT)
        assert server.line() == 'a@example.org to ["b@example.net"], tls not-tried'
        with client(server) as smtp:
            smtp.starttls(context=ssl._create_unverified_context())
            smtp.sendmail("a@example.org", ["b@example.net"], TEXT)
        assert server.line() == 'a@example.org to ["b@example.net"], tls used'
        # What comes behind STARTTLS is never a command, nor the beginning of a handshake (RFC 3207 4).
        with socket.create_connection((server.host, server.port), 20) as raw:
            raw.recv(1000)
            raw.sendall(b"EHLO a.example\r\n")
            raw.recv(1000)
            raw.sendall(b"STARTTLS\r\nRSET\r\n")
            said = b"".join(iter(lambda: raw.recv(1000), b""))
            assert b"250" not in said, said
        command = [BUILT / "tokio_driver", "send", server.address, files[0], "d@example.org", "e@example.net"]
        sent = subprocess.run(command, input=TEXT.encode(), capture_output=True, timeout=60)
        assert sent.returncode == 0 and b"Accepted" in sent.stdout and b"tls used" in sent.stdout, sent
        assert server.line() == 'd@example.org to ["e@example.net"], tls used'
    # And with another server, in plaintext.
    program = os.environ["SMTP_MIO"]
    sink = subprocess.Popen([program, "sink", "--listen", "127.0.0.1:0", "--tls", "off", "--deliver", "json"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        command[2] = json.loads(sink.stdout.readline())["listening"]
        sent = subprocess.run(command, input=TEXT.encode(), capture_output=True, timeout=60)
        assert b"Accepted" in sent.stdout and b"tls not-offered" in sent.stdout, sent
        assert json.loads(sink.stdout.readline())["text"] == TEXT
    finally:
        sink.terminate()
        sink.wait(10)
        sink.stdout.close()


@test
def tokio_embedded(_):
    done = subprocess.run([BUILT / "tokio_embedded"], capture_output=True, text=True, timeout=60)
    expected = '23 octets from ann@example.org to ["ben@example.net"]\n1 recipient accepted\n'
    assert (done.returncode, done.stdout) == (0, expected), done


@test
def snippets(folder):
    """docs/testing.md: each shell and Python snippet is run as it stands, with the program in the path."""
    page = (ROOT / "docs/testing.md").read_text()
    found = re.findall(r"^```(sh|python)\n(.*?)^```$", page, re.M | re.S)
    assert {kind for kind, _ in found} == {"sh", "python"}
    (folder / "smtp-mio").symlink_to(pathlib.Path(os.environ["SMTP_MIO"]).resolve())
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    for kind, text in found:
        if kind == "python":
            text += "\nimport tempfile\nwith sink() as s:\n    test_a_message_arrives(s)\nprint('ok')\n"
            text = text.replace("@pytest.fixture\n", "@contextlib.contextmanager\n").replace("import pytest\n", "import contextlib\n")
        command = ["bash", "-eu"] if kind == "sh" else [sys.executable, "-"]
        done = subprocess.run(command, input=text, text=True, cwd=folder, env=environment, capture_output=True, timeout=60)
        assert done.returncode == 0 and done.stdout.strip(), f"{text}\n{done}"


def main():
    failed = []
    for function in TESTS:
        if sys.argv[2:] and function.__name__ not in sys.argv[2:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            try:
                function(pathlib.Path(folder))
                print(f"ok      {function.__name__} ({time.monotonic() - began:.1f} s)")
            except Exception as error:
                failed.append(function.__name__)
                print(f"FAILED  {function.__name__}: {repr(error)[:2000]}")
    longest = {"tokio_driver": 150}
    for file in ROOT.glob("smtp-*/**/examples/**/*.rs"):
        if "target" not in file.parts and (lines := len(file.read_text().splitlines())) > longest.get(file.parent.name, 80):
            failed.append(file.name)
            print(f"FAILED  {file.relative_to(ROOT)} has {lines} lines: an example is to be read at a glance")
    sys.exit(1 if failed else 0)


main()
