"""Mail programs that are not ours, against `smtp-smol serve` as a submission server, inside TLS, and as an LMTP server."""

import os
import pathlib
import re
import signal
import smtplib
import socket
import subprocess
import tempfile

from harness import PATIENCE, Raw, Server, binary, run, succeed, test, tls_context, wait_for
from texts import DOTS

FROM, TO, OTHER = "alice@client.example", "bob@mx.example.net", "carol@mx.example.net"
PASSWORD = "a long pass phrase"


class Submission(Server):
    """A submission server that knows alice, by a record, and dave, by his password; on a second port TLS comes first."""

    def __init__(self, *options):
        self.users = pathlib.Path(tempfile.mkdtemp(prefix="interop-")) / "users"
        line = succeed(binary(), "user", "alice", stdin=PASSWORD.encode() + b"\n")
        assert re.fullmatch(r"alice:SCRAM-SHA-256\$10000:\S+\$\S+:\S+\n", line), line
        self.users.write_text("# people\n" + line + "dave:{PLAIN}" + PASSWORD + "\n")
        super().__init__("--role", "submission", "--users", str(self.users), "--implicit-tls", "127.0.0.1:0", *options)
        found = re.search(r"127\.0\.0\.1:(\d+) as \S+, TLS first", self.printed())
        self.tls_port = int(found[1])

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self.users.unlink()
        self.users.parent.rmdir()

    def text(self):
        path = self.folder / "text"
        path.write_bytes(DOTS.removesuffix(b"\r\n"))
        return f"@{path}"

    def swaks(self, *options, port=None):
        return run("swaks", "--server", "127.0.0.1", "--port", str(port or self.port), "--helo", "client.example",
                   "--from", FROM, "--to", TO, "--data", self.text(), *options)


@test
def swaks_submits():
    for mechanism in ("PLAIN", "LOGIN"):
        for user in ("alice", "dave"):
            with Submission() as server:
                auth = ("--auth", mechanism, "--auth-user", user, "--auth-password", PASSWORD)
                code, printed = server.swaks("--tls", *auth)
                assert code == 0, printed
                code, printed = server.swaks("--tls-on-connect", *auth, port=server.tls_port)
                assert code == 0, printed
                for mail in server.mails(2):
                    mail.must_be(DOTS, "ESMTPSA", FROM, TO)
                server.stop()
                taken = [line for line in server.out if " id=" in line]
                assert len(taken) == 2 and all(f" user=<{user}> " in line for line in taken), server.out


@test
def who_does_not_authenticate_submits_nothing():
    auth = ("--auth", "PLAIN", "--auth-user")
    with Submission() as server:
        for options, told in (
            (("--tls",), "530 5.7.0 Authentication required"),
            ((), "530 5.7.0 Authentication required"),
            # Not offered in plaintext.
            ((*auth, "alice", "--auth-password", PASSWORD), "did not advertise authentication"),
            (("--tls", *auth, "alice", "--auth-password", "wrong"), "535 5.7.8"),
            (("--tls", *auth, "nobody", "--auth-password", PASSWORD), "535 5.7.8"),
        ):
            code, printed = server.swaks(*options)
            assert code != 0 and told in re.sub(r"\s+", " ", printed), printed
        # RFC 4954 section 4: in plaintext it is not looked at.
        with Raw(server) as client:
            client.ask(b"EHLO client.example", b"250")
            client.ask(b"AUTH PLAIN AGFsaWNlAHg=", b"538 5.7.11")
            client.ask(b"AUTH PLAIN ???", b"538 5.7.11")
        server.mails(0)


@test
def curl_submits():
    text = os.path.join(tempfile.gettempdir(), f"interop-{os.getpid()}")
    pathlib.Path(text).write_bytes(DOTS)
    features = succeed("curl", "--version")
    mechanisms = ["PLAIN", "LOGIN"] + (["SCRAM-SHA-256"] if "gsasl" in features.lower() else [])
    try:
        for mechanism in mechanisms:
            with Submission() as server:
                for url, options in ((f"smtp://127.0.0.1:{server.port}", ("--ssl-reqd",)),
                                     (f"smtps://127.0.0.1:{server.tls_port}", ())):
                    succeed("curl", "--silent", "--show-error", "--insecure", "--url", url + "/client.example",
                            "--user", f"alice:{PASSWORD}", "--login-options", f"AUTH={mechanism}",
                            "--mail-from", FROM, "--mail-rcpt", TO, "--upload-file", text, *options)
                for mail in server.mails(2):
                    mail.must_be(DOTS, "ESMTPSA", FROM, TO)
    finally:
        os.unlink(text)


@test
def neomutt_submits():
    """By the best mechanism that is offered by default."""
    with Submission() as server:
        settings, certificate = server.folder / "muttrc", next(server.folder.rglob("*.pem"))
        settings.write_text(f"""
set smtp_url="smtp://alice@127.0.0.1:{server.port}"
set smtp_pass="{PASSWORD}"
set ssl_starttls=yes ssl_force_tls=yes ssl_verify_host=no ssl_verify_dates=no certificate_file={certificate}
set from="{FROM}" record=""
""")
        succeed("neomutt", "-n", "-F", str(settings), "-s", "hello", TO, stdin=b"text\n", env={"HOME": str(server.folder)})
        assert server.mail().protocol == "ESMTPSA"


@test
def send_submits_by_scram_bound_to_the_channel():
    """Our own client: by SCRAM-SHA-256-PLUS, which needs TLS 1.3 on both sides, and is offered where it is asked for."""
    with Submission("--auth-mechanisms", "SCRAM-SHA-256-PLUS,SCRAM-SHA-256") as server:
        for port, options in ((server.port, ()), (server.tls_port, ("--implicit-tls",))):
            printed = succeed(binary(), "send", "--server", f"127.0.0.1:{port}", "--tls", "require", "--auth", "alice",
                              "--from", FROM, "--to", TO, "--helo", "client.example", "-v", *options, "-",
                              stdin=DOTS, env={"SMTP_PASSWORD": PASSWORD})
            assert "AUTH SCRAM-SHA-256-PLUS" in printed, printed
        for mail in server.mails(2):
            mail.must_be(DOTS, "ESMTPSA", FROM, TO)


@test
def openssl_s_client_inside_tls():
    """An MX with TLS from the first octet: the greeting comes inside."""
    with Server("--implicit-tls", "127.0.0.1:0") as server:
        port = re.search(r"127\.0\.0\.1:(\d+) as \S+, TLS first", server.printed())[1]
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-crlf", "-quiet", "-ign_eof"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert client.stdout.readline().startswith(b"220 "), "no greeting"
            lines = f"EHLO client.example\nMAIL FROM:<{FROM}>\nRCPT TO:<{TO}>\nBDAT 9 LAST\nX: y\n\n.\nQUIT\n"
            printed, _ = client.communicate(lines.encode(), PATIENCE)
        finally:
            client.kill()
            client.wait()
        assert b"STARTTLS" not in printed and printed.endswith(b"221 2.0.0 Bye\r\n"), printed
        assert re.search(rb"^250 2.0.0 Ok: taken as", printed, re.M), printed
        server.mail().must_be(b"X: y\r\n\r\n.", "ESMTPS", FROM, TO)
        # RFC 5321 section 3.1: who sends his first command with the end of the handshake talks before the greeting.
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
            plain.sendall(b"EHLO client.example\r\n")
            with plain.makefile("rb") as replies:
                rest = replies.read()
        assert rest == b"" or rest[0] == 21, rest


def lmtp_clients(server, path):
    """Ways to bring mail by LMTP, by TCP and by a Unix socket."""
    text = server.folder / "text"
    text.write_bytes(DOTS.removesuffix(b"\r\n"))
    swaks = ("swaks", "--protocol", "LMTP", "--helo", "client.example", "--from", FROM, "--to", f"{TO},{OTHER}",
             "--data", f"@{text}")
    printed = succeed(*swaks, "--server", "127.0.0.1", "--port", str(server.port))
    assert printed.count("250 2.0.0 Ok: taken as") == 2, printed
    printed = succeed(*swaks, "--socket", str(path))
    assert printed.count("250 2.0.0 Ok: taken as") == 2, printed
    for place in (("127.0.0.1", server.port), (str(path), 0)):
        with smtplib.LMTP(*place, local_hostname="client.example") as client:
            # It reads one reply to the text.
            assert client.sendmail(FROM, [TO], DOTS) == {}
    succeed("smtp-source", "-L", "-c", "-m", "2", "-s", "1", "-f", FROM, "-t", TO, f"inet:127.0.0.1:{server.port}")
    return 4, 2


@test
def lmtp_by_tcp_and_unix_socket():
    """RFC 2033: an answer for each recipient, and one message."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="interop-"))
    path = folder / "lmtp"
    with Server("--role", "lmtp", "--listen", f"unix:{path}") as server:
        assert path.is_socket()
        ours, source = lmtp_clients(server, path)
        mails = server.mails(ours + source)
        by_us = [mail for mail in mails if mail.text == DOTS]
        assert len(by_us) == ours
        for mail in by_us:
            mail.must_be(DOTS, "LMTP", FROM)
        # RFC 5321 section 7.2: no field tells one recipient of another.
        assert sorted(mail.recipient or "" for mail in by_us) == ["", "", TO, TO]
        local = [mail for mail in by_us if "127.0.0.1" not in mail.received]
        assert len(local) == 2 and all("0.0.0.0" not in mail.received for mail in local)
        with Raw(server) as client:
            client.ask(b"EHLO client.example", b"500 5.5.1")
            client.ask(b"LHLO client.example", b"250")
            client.ask(f"MAIL FROM:<{FROM}>".encode(), b"250")
            client.ask(b"DATA", b"503 5.5.1")
        server.stop()
        assert not path.exists(), "the socket is left over"
        records = server.ledger()
        accepted = [record for record in records if record["outcome"] == "accepted"]
        assert len(accepted) == ours + source, records
        assert [record["recipients"] for record in accepted[:ours]] == [2, 2, 1, 1], accepted
        assert {record["peer"] for record in accepted} == {"127.0.0.1", "unix"}, accepted
    folder.rmdir()


@test
def a_unix_socket_of_a_server_that_was_killed_is_replaced():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="interop-"))
    path = folder / "lmtp"
    options = ("serve", "--role", "lmtp", "--deliver", "discard", "--state", str(folder), "--listen", f"unix:{path}")
    with Server("--role", "lmtp", "--listen", f"unix:{path}") as server:
        # Somebody listens there.
        code, printed = run(binary(), *options)
        assert code == 2 and f"--listen unix:{path}:" in printed, printed
        server.restart(9)
        with smtplib.LMTP(str(path), 0, local_hostname="client.example") as client:
            assert client.sendmail(FROM, [TO], DOTS) == {}
        server.mail().must_be(DOTS, "LMTP", FROM, TO)
    path.write_text("a file of somebody's")
    code, printed = run(binary(), *options)
    assert code == 2 and path.read_text() == "a file of somebody's", printed
    for left in sorted(folder.rglob("*"), reverse=True):
        left.unlink()
    folder.rmdir()


@test
def roles_whose_options_do_not_fit_are_told_the_mend():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="interop-"))
    users, empty = folder / "users", folder / "empty"
    users.write_text("alice:{PLAIN}x\n")
    empty.write_text("alice:x\n")
    try:
        for options, told in (
            (("--role", "submission"), "name a file of users with --users"),
            (("--users", str(users)), "add --role submission"),
            (("--role", "lmtp", "--users", str(users)), "add --role submission"),
            (("--role", "submission", "--users", str(users), "--tls", "off"), "inside TLS only"),
            (("--role", "submission", "--users", str(folder / "none")), "--users"),
            (("--role", "submission", "--users", str(empty)), "line 1: not of the form"),
            (("--role", "lmtp", "--tls", "rehearse"), "a rehearsal asks other mail servers"),
            (("--implicit-tls", "127.0.0.1:0", "--tls", "off"), "there is no TLS with --tls off"),
            (("--role", "msa"), "possible values: mx, submission, lmtp"),
            (("--listen", "unix:"), "give unix:PATH"),
            (("--listen", "unix:/nowhere/at/all"), "in a folder that can be written"),
            (("--greet-pause", "5m"), "from 1 s to 4 m"),
            (("--lenient", "bare-lf"), "did you mean bare-lf-text?"),
        ):
            code, printed = run(binary(), "serve", "--deliver", "discard", "--state", str(folder / "state"), *options)
            assert code == 2 and told in printed, (options, code, printed)
    finally:
        for left in sorted(folder.rglob("*"), reverse=True):
            left.rmdir() if left.is_dir() else left.unlink()
        folder.rmdir()


@test
def a_device_is_served_by_name():
    # What a printer says is refused, with the rule that it broke; with its leniencies it is served, logged and counted.
    words = b"HELO my_printer\r\nMAIL FROM: scan\r\nRCPT TO:office@example.net\r\nDATA\r\n", b"a\n.\nb\r\n.\r\nQUIT\r\n"
    with Server() as server, Raw(server) as client:
        client.send(words[0])
        codes = [client.reply()[:3] for _ in range(4)]
        assert codes == [b"501", b"501", b"501", b"503"] or codes == [b"501", b"501", b"503", b"503"], codes
    with Server("--lenient", "devices", "--log", "info") as server:
        with Raw(server) as client:
            client.send(words[0])
            assert [client.reply()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
            client.send(words[1])
            assert [client.reply()[:3] for _ in range(2)] == [b"250", b"221"]
        for name in ("helo-name", "space-after-colon", "bare-brackets", "no-domain", "bare-lf-text"):
            wait_for(name, lambda: any("let pass" in line and name in line for line in server.err))
        server.process.send_signal(signal.SIGUSR1)
        counted = "let pass by --lenient: space-after-colon 1, bare-lf-text 1, bare-brackets 2, helo-name 1, no-domain 1"
        wait_for("the counts", lambda: any(counted in line for line in server.err))


@test
def who_talks_before_the_greeting_gets_none():
    with Server("--greet-pause", "5") as server:
        with Raw(server, greeting=None) as client:
            client.send(b"EHLO client.example\r\n")
            assert client.rest() == b"554 5.5.1 Spoke before the greeting; closing\r\n"
        # Who waits does not wait in vain.
        with smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example") as client:
            client.starttls(context=tls_context())
            assert client.sendmail(FROM, [TO], DOTS) == {}
        server.mail().must_be(DOTS, "ESMTPS", FROM, TO)
