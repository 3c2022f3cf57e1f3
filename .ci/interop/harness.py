"""What the tests in interop.py stand on: the server under test, its Maildir, a raw client, and the runner."""

import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 30  # seconds that anything may take, unless it says otherwise
HOSTNAME = "mx.example.net"


def binary():
    """The server to test: $SMTP_SMOL, or what cargo built last."""
    if os.environ.get("SMTP_SMOL"):
        return os.environ["SMTP_SMOL"]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / "release/smtp-smol", target / "debug/smtp-smol") if path.exists()]
    if not built:
        sys.exit("interop: no smtp-smol binary; run `cargo build` first, or set SMTP_SMOL")
    return str(max(built, key=lambda path: path.stat().st_mtime))


def run(*command, stdin=b"", env=None, timeout=PATIENCE):
    """Runs a program to its end. Gives its exit code and everything that it printed."""
    done = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
        env={**os.environ, **(env or {})},
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def succeed(*command, **options):
    """Like `run`, for a program that must succeed. Gives what it printed."""
    code, printed = run(*command, **options)
    assert code == 0, f"{command[0]} exited {code}:\n{printed}"
    return printed


def wait_for(what, condition, timeout=PATIENCE):
    """Waits until `condition()` gives something true, and gives that."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout} s in vain for {what}")


# Below the ports that the system gives to whoever asks for any: a port from among those could be somebody's own end of a
# connection by the time that it is listened on.
PORTS = itertools.cycle(random.sample(range(12_000, 32_000), 20_000))


def free_port():
    """A port of 127.0.0.1 that nobody has, and that is given once."""
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """`smtp-smol serve` on a port of its own, with a folder of its own; removed again at the end."""

    def __init__(self, *options, ledger=True, listen=("--listen", "127.0.0.1:0"), deliver=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="interop-"))
        self.maildir, self.ledger_file = self.folder / "mail", self.folder / "ledger.jsonl"
        command = [binary(), "serve", *listen, "--hostname", HOSTNAME,
                   "--deliver", deliver or f"maildir:{self.maildir}", *options]
        if ledger:
            command += ["--ledger", str(self.ledger_file)]
        self.command = command
        home = {"HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder),
                "XDG_CONFIG_HOME": str(self.folder)}
        self.environment = {**os.environ, **home}
        self.out, self.err = [], []
        self._start()

    def _start(self):
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for reader in self.readers:
            reader.start()
        self.port = wait_for("the port the server listens on", self._listening)
        self.address = f"127.0.0.1:{self.port}"

    def restart(self, how):
        """Ends the server by this signal, if it runs, and starts it anew with the same folder."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(PATIENCE)
        for reader in self.readers:
            reader.join(PATIENCE)
        self.out.clear()
        self.err.clear()
        self._start()

    @staticmethod
    def _read(pipe, lines):
        for line in pipe:
            lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    def _listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server exited {self.process.returncode} at once:\n{self.printed()}")
        found = re.search(r"^listening on 127\.0\.0\.1:([1-9]\d*)", self.printed(), re.M)
        return found and int(found[1])

    def printed(self):
        return "\n".join(self.out + self.err)

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        try:
            if failure is None:
                self.stop()
            elif self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        finally:
            if failure is not None:
                print("    the server's last words:", *(self.out[-10:] + self.err[-10:]), sep="\n      ")
            shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, how=signal.SIGTERM, code=0):
        """Asks the server to end, and checks how it did."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        assert self.process.wait(PATIENCE) == code, f"exit code {self.process.returncode}:\n{self.printed()}"
        for reader in self.readers:
            reader.join(PATIENCE)

    def mails(self, count):
        """The messages in new/, of which there must be so many. All are acknowledged by now, so there is no waiting."""
        mails = [Mail(path.read_bytes()) for path in sorted((self.maildir / "new").iterdir())]
        assert len(mails) == count, f"{len(mails)} messages in the Maildir, not {count}"
        return mails

    def mail(self):
        return self.mails(1)[0]

    def ledger(self):
        """The ledger's records; the server writes a record after its reply, hence ask after `stop`."""
        return [json.loads(line) for line in self.ledger_file.read_text().splitlines()]


class Mail:
    """A message as it lies in the Maildir: the fields that the server put on top, and the text as it came."""

    def __init__(self, stored):
        self.stored = stored
        found = re.match(rb"Return-Path: <([^\r\n]*)>\r?\n((?:Delivered-To: [^\r\n]*\r?\n)+)"
                         rb"Received: ((?:[^\r\n]*\r?\n[ \t])*[^\r\n]*)\r?\n", stored)
        assert found, f"no Return-Path, Delivered-To and Received on top of {stored[:300]!r}"
        self.sender, self.received = found[1].decode(), " ".join(found[3].decode().split())
        self.delivered_to = re.findall(r"^Delivered-To: (.*?)\r?$", found[2].decode(), re.M)
        self.text = stored[found.end():]
        # Stored with LF for CRLF, and nothing else changed: what was sent can be told.
        self.newline = b"\r\n" if b">\r\n" in stored[:found.start(2)] else b"\n"
        if self.newline == b"\n":
            assert b"\r\n" not in stored, "lines end in two ways"
            self.text = self.text.replace(b"\n", b"\r\n")
        with_word = re.search(r"\bwith (\S+)", self.received)
        self.protocol = with_word and with_word[1]
        recipient = re.search(r"\bfor <([^>]*)>", self.received)
        self.recipient = recipient and recipient[1]
        identity = re.search(r"\bid ([^\s;]+)", self.received)
        self.id = identity and identity[1]

    def must_be(self, text, protocol=None, sender=None, recipient=None):
        """The text is these bytes, whether line ends are stored as they came or as LF."""
        if self.text != text:
            at = next((i for i, (a, b) in enumerate(zip(self.text, text)) if a != b), min(len(self.text), len(text)))
            around = slice(max(0, at - 40), at + 40)
            raise AssertionError(f"stored {len(self.text)} octets, not {len(text)}; they part at {at}: "
                                 f"{self.text[around]!r}, not {text[around]!r}")
        for name, wanted in (("protocol", protocol), ("sender", sender), ("recipient", recipient)):
            assert wanted is None or getattr(self, name) == wanted, f"{name} {getattr(self, name)}, not {wanted}"
        if self.protocol == "ESMTPS":
            assert re.search(r"\(TLS1\.[23]\).* tls TLS\S+", self.received), f"no TLS version and cipher in {self.received}"
        assert f"by {HOSTNAME} " in self.received, self.received


class Raw:
    """A client that sends exactly what it is told to, for what no mail client would."""

    def __init__(self, server, greeting=b"220"):
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        self.file = self.socket.makefile("rb")
        if greeting:
            self.expect(greeting)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def reply(self):
        lines = []
        while not lines or lines[-1][3:4] == b"-":
            lines.append(self.file.readline())
            if not lines[-1]:
                break
        return b"".join(lines)

    def expect(self, start):
        reply = self.reply()
        assert reply.startswith(start), f"reply {reply!r}, not {start!r}"
        return reply

    def ask(self, command, start):
        self.send(command + b"\r\n")
        return self.expect(start)

    def rest(self):
        """Everything until the server closes. A reset counts as closed."""
        try:
            return self.file.read()
        except ConnectionResetError:
            return b""

    def start_tls(self):
        """The handshake, after 220. Nothing may have been read ahead."""
        self.file.close()
        self.socket = tls_context().wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")


def tls_context():
    """The server's certificate is its own work: taken as it is."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


TESTS = []


def test(function):
    TESTS.append(function)
    return function


def main():
    """Runs the tests whose names contain one of the arguments, or all. The last line counts them."""
    wanted = sys.argv[1:]
    passed = failed = 0
    for function in TESTS:
        name = function.__name__.replace("_", " ")
        if wanted and not any(word in function.__name__ or word in name for word in wanted):
            continue
        began = time.monotonic()
        try:
            function()
        except Exception:
            failed += 1
            print(f"FAIL {name}")
            traceback.print_exc(file=sys.stdout)
        else:
            passed += 1
            print(f"ok   {name} ({time.monotonic() - began:.1f} s)")
        sys.stdout.flush()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
