#!/usr/bin/env python3
"""Mail programs that are not ours, against `smtp-smol serve`: each message must lie in the Maildir to the byte.

    python3 .ci/interop/interop.py [WORD ...]      runs the tests whose names contain a word, or all

Needs swaks, Postfix's smtp-source and posttls-finger, openssl and curl; nothing of Python but its own library.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
import time

import loss  # noqa: F401 - its tests run with these
import roles  # noqa: F401 - likewise
from harness import PATIENCE, Raw, Server, main, run, succeed, test, tls_context, wait_for
from texts import DOTS, TEXTS

os.environ["PATH"] += ":/usr/sbin"  # where Debian puts smtp-source
FROM, TO = "alice@client.example", "bob@mx.example.net"


def file_of(server, text):
    path = server.folder / "text"
    path.write_bytes(text)
    return str(path)


def swaks(server, *options):
    # swaks adds the last line end itself.
    return succeed("swaks", "--server", "127.0.0.1", "--port", str(server.port), "--helo", "client.example",
                   "--from", FROM, "--to", TO, "--data", "@" + file_of(server, DOTS.removesuffix(b"\r\n")), *options)


def smtp(server, starttls=False):
    client = smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example", timeout=PATIENCE)
    if starttls:
        client.starttls(context=tls_context())
    return client


def the_outcome(server, wanted, messages=1):
    """After the end: the ledger has a line a transaction, each with this TLS outcome. Gives its records."""
    server.stop()
    records = server.ledger()
    assert len(records) == messages, f"{len(records)} lines in the ledger, not {messages}: {records}"
    for record in records:
        assert wanted in json.dumps(record), f"no outcome {wanted} in {record}"
    return records


@test
def swaks_plain():
    with Server() as server:
        swaks(server)
        server.mail().must_be(DOTS, "ESMTP", FROM, TO)
        the_outcome(server, "not-tried")


@test
def swaks_starttls():
    with Server() as server:
        printed = swaks(server, "--tls")
        assert "TLS started" in printed, printed
        server.mail().must_be(DOTS, "ESMTPS", FROM, TO)
        the_outcome(server, "used")


@test
def swaks_pipelined():
    with Server() as server:
        swaks(server, "--pipeline")
        swaks(server, "--pipeline", "--tls")
        first, second = sorted(server.mails(2), key=lambda mail: mail.protocol)
        first.must_be(DOTS, "ESMTP", FROM, TO)
        second.must_be(DOTS, "ESMTPS", FROM, TO)


@test
def openssl_s_client_starttls():
    for version in ("-tls1_2", "-tls1_3"):
        with Server() as server:
            client = subprocess.Popen(
                ["openssl", "s_client", "-starttls", "smtp", "-name", "client.example", "-connect", server.address,
                 version, "-crlf", "-quiet", "-ign_eof"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            watchdog = threading.Timer(PATIENCE, client.kill)
            watchdog.start()
            try:
                replies = []

                def ask(line, code):
                    client.stdin.write(line + b"\n")
                    client.stdin.flush()
                    while not replies or not re.match(rb"%s " % code, replies[-1]):
                        replies.append(client.stdout.readline())
                        assert replies[-1], f"ended before {code!r}: {replies}"

                ask(b"EHLO client.example", b"250")
                replies.clear()
                ask(f"MAIL FROM:<{FROM}>".encode(), b"250")
                replies.clear()
                ask(f"RCPT TO:<{TO}>".encode(), b"250")
                ask(b"DATA", b"354")
                replies.clear()
                ask(b"Subject: s_client\n\n..\n.", b"250")
                ask(b"QUIT", b"221")
                # A TLS connection that ended without close_notify would be an error to it.
                assert client.wait(PATIENCE) == 0, client.returncode
            finally:
                watchdog.cancel()
                client.kill()
                client.wait()
            mail = server.mail()
            mail.must_be(b"Subject: s_client\r\n\r\n.\r\n", "ESMTPS", FROM, TO)
            assert {"-tls1_2": "TLS1.2", "-tls1_3": "TLS1.3"}[version] in mail.received, mail.received
            the_outcome(server, "used")


@test
def openssl_is_refused_tls_1_1():
    with Server() as server:
        code, printed = run("openssl", "s_client", "-starttls", "smtp", "-connect", server.address, "-tls1_1",
                            "-cipher", "ALL:@SECLEVEL=0", "-quiet")
        assert code != 0, printed


@test
def curl_plain_and_starttls():
    for options, protocol, outcome in (((), "ESMTP", "not-tried"), (("--ssl-reqd", "--insecure"), "ESMTPS", "used")):
        with Server() as server:
            succeed("curl", "--silent", "--show-error", "--url", f"smtp://{server.address}/client.example",
                    "--mail-from", FROM, "--mail-rcpt", TO, "--upload-file", file_of(server, DOTS), *options)
            server.mail().must_be(DOTS, protocol, FROM, TO)
            the_outcome(server, outcome)


@test
def smtplib_sends_each_kind_of_text():
    for starttls, protocol in ((False, "ESMTP"), (True, "ESMTPS")):
        for name, text in TEXTS.items():
            with Server() as server:
                with smtp(server, starttls) as client:
                    options = ["BODY=8BITMIME"] if name == "8 bits" else []
                    client.sendmail(FROM, TO, text, mail_options=options)
                server.mail().must_be(text, protocol, FROM, TO)


@test
def smtplib_sends_many_on_a_connection():
    for starttls in (False, True):
        with Server() as server:
            with smtp(server, starttls) as client:
                for number, text in enumerate(TEXTS.values()):
                    client.sendmail("" if number == 0 else FROM, f"user{number}@mx.example.net", text)
                client.rset()
                client.sendmail(FROM, ["x@mx.example.net", "y@mx.example.net"], b"to two\r\n")
            mails = {mail.recipient: mail for mail in server.mails(len(TEXTS) + 1)}
            for number, text in enumerate(TEXTS.values()):
                mails[f"user{number}@mx.example.net"].must_be(text, sender="" if number == 0 else FROM)
            # More than one recipient is told to none of them (RFC 5321 7.2).
            mails[None].must_be(b"to two\r\n", sender=FROM)
            records = the_outcome(server, "used" if starttls else "not-tried", len(TEXTS) + 1)
            assert all("client.example" in json.dumps(record) for record in records), records


@test
def smtp_source_1000_messages_of_a_file_over_20_connections():
    with Server() as server:
        # smtp-source turns LF to CRLF and stuffs dots, adds an empty line, and puts a number before each recipient.
        succeed("smtp-source", "-d", "-m", "1000", "-s", "20", "-N", "-f", FROM, "-t", TO,
                "-F", file_of(server, DOTS.replace(b"\r\n", b"\n")), server.address, timeout=300)
        mails = server.mails(1000)
        for mail in mails:
            mail.must_be(DOTS + b"\r\n", sender=FROM)
        assert len({mail.recipient for mail in mails}) == 1000, "each message has a recipient of its own"
        assert len({mail.id for mail in mails}) == 1000, "each message has an id of its own"
        the_outcome(server, "not-tried", 1000)


@test
def smtp_source_1000_messages_of_4096_octets_20_at_a_time():
    with Server() as server:
        succeed("smtp-source", "-m", "1000", "-s", "20", "-l", "4096", "-N", "-f", FROM, "-t", TO, server.address,
                timeout=300)
        mails = server.mails(1000)
        fields = re.compile(rb"From: <[^>]*>\r\nTo: <[^>]*>\r\nDate: [^\r\n]*\r\nMessage-Id: (<[^>]*>)\r\n\r\n")
        body = b"".join(b"%d%s\r\n" % (n % 10, b"X" * 77) for n in range(1, 52)) + b"X" * 16 + b"\r\n"
        ids = set()
        for mail in mails:
            text = mail.text
            found = fields.match(text)
            assert found, f"not the fields of smtp-source: {text[:300]!r}"
            ids.add(found[1])
            mail.must_be(text[:found.end()] + body, sender=FROM)
        assert len(ids) == 1000, f"{len(ids)} Message-Ids"
        the_outcome(server, "not-tried", 1000)


@test
def posttls_finger_sees_tls():
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "main.cf").write_text(
            f"compatibility_level = 3.6\nmyhostname = client.example\nqueue_directory = {folder}\n"
            f"data_directory = {folder}\nsmtp_tls_session_cache_database =\n")
        for level in ("may", "encrypt"):
            printed = succeed("posttls-finger", "-c", "-l", level, "-Lsummary", f"[127.0.0.1]:{server.port}",
                              env={"MAIL_CONFIG": folder})
            assert re.search(r"TLS connection established to \S+: TLSv1\.[23] with cipher", printed), printed


@test
def tls_off_offers_none():
    with Server("--tls", "off") as server:
        with smtp(server) as client:
            client.ehlo()
            assert not client.has_extn("starttls"), client.esmtp_features
            code, _ = client.docmd("STARTTLS")
            assert 500 <= code < 600, code
            client.sendmail(FROM, TO, DOTS)
        server.mail().must_be(DOTS, "ESMTP")
        the_outcome(server, "not-offered")


@test
def tls_require_refuses_mail_in_plaintext():
    """RFC 3207 section 4."""
    with Server("--tls", "require") as server:
        with Raw(server) as client:
            assert b"STARTTLS" in client.ask(b"EHLO client.example", b"250")
            for command in (f"MAIL FROM:<{FROM}>".encode(), b"RCPT TO:<%s>" % TO.encode(), b"DATA", b"VRFY bob"):
                client.ask(command, b"530 5.7.0 ")
            for command in (b"NOOP", b"RSET", b"HELO client.example"):
                client.ask(command, b"250")
            client.ask(b"QUIT", b"221")
        code, printed = run("swaks", "--server", "127.0.0.1", "--port", str(server.port), "--from", FROM, "--to", TO)
        assert code != 0 and "530 5.7.0" in printed, printed
        server.mails(0)
        swaks(server, "--tls")
        server.mail().must_be(DOTS, "ESMTPS", FROM, TO)


@test
def what_is_sent_behind_starttls_is_never_a_command():
    """Commands in the same segment as STARTTLS, whole or in part: no reply to them, ever, and the session ends."""
    tails = (b"MAIL FROM:<evil@injected.example>\r\n", b"MAIL FROM:<evil@inj", b"\r\n", b"QUIT\r\n",
             b"RSET\r\nMAIL FROM:<evil@injected.example>\r\nRCPT TO:<bob@mx.example.net>\r\nDATA\r\nSubject: evil\r\n\r\n.\r\n",
             b"NOOP\r\n" * 60_000)
    with Server() as server:
        for tail in tails:
            with Raw(server) as client:
                client.ask(b"EHLO client.example", b"250")
                try:
                    client.send(b"STARTTLS\r\n" + tail)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it hung up already
                rest = client.rest()
                replies = [line for line in rest.split(b"\r\n") if line]
                # 220 may have gone out already; after it, nothing in plaintext but a farewell that ends the session.
                assert len(replies) <= 2 and not any(line.startswith(b"250") for line in replies), replies
        # A handshake right behind an injected command must not succeed either: what was injected would count.
        with Raw(server) as client:
            client.ask(b"EHLO client.example", b"250")
            client.send(b"STARTTLS\r\nMAIL FROM:<evil@injected.example>\r\n")
            if client.reply().startswith(b"220"):
                try:
                    client.start_tls()
                except OSError:  # ssl.SSLError among them
                    pass
                else:
                    client.ask(b"RCPT TO:<bob@mx.example.net>", b"503")
                    raise AssertionError("the handshake went on although plaintext lay behind STARTTLS")
        # And the server is alive, and clean.
        swaks(server, "--tls")
        server.mail().must_be(DOTS, "ESMTPS", FROM, TO)
        server.stop()
        assert "injected.example" not in server.ledger_file.read_text()


@test
def starttls_forgets_what_was_said_before():
    """RFC 3207 section 4.2: after the handshake as after the greeting."""
    with Server() as server, Raw(server) as client:
        client.ask(b"EHLO before.example", b"250")
        client.ask(b"STARTTLS", b"220")
        client.start_tls()
        client.ask(f"MAIL FROM:<{FROM}>".encode(), b"503")
        assert b"STARTTLS" not in client.ask(b"EHLO after.example", b"250")
        client.ask(b"STARTTLS", b"5")
        client.ask(f"MAIL FROM:<{FROM}>".encode(), b"250")
        client.ask(b"RCPT TO:<bob@mx.example.net>", b"250")
        client.ask(b"DATA", b"354")
        client.send(b".\r\n")
        client.expect(b"250")
        client.ask(b"QUIT", b"221")
        mail = server.mail()
        mail.must_be(b"", "ESMTPS", FROM, TO)
        assert mail.received.startswith("from after.example "), mail.received


@test
def look_alikes_do_not_end_the_text():
    """CRLF . CRLF does, and nothing else; a text with a bare CR or LF is refused once, after its true end."""
    for end in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r\n\x00.\r\n"):
        with Server() as server, Raw(server) as client:
            client.ask(b"EHLO client.example", b"250")
            client.ask(f"MAIL FROM:<{FROM}>".encode(), b"250")
            client.ask(b"RCPT TO:<bob@mx.example.net>", b"250")
            client.ask(b"DATA", b"354")
            client.send(b"Subject: x\r\n\r\ntext" + end + b"MAIL FROM:<evil@smuggled.example>\r\n"
                        b"RCPT TO:<bob@mx.example.net>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n")
            client.expect(b"5")
            client.ask(b"NOOP", b"250")  # in step
            client.ask(b"QUIT", b"221")
            server.mails(0)


@test
def a_line_is_printed_for_each_message():
    for options in ((), ("--json",)):
        with Server(*options) as server:
            swaks(server)
            plain = server.mail()
            swaks(server, "--tls")
            encrypted = next(mail for mail in server.mails(2) if mail.id != plain.id)
            server.stop()
            for mail, channel in ((plain, ("plaintext", "not-tried")), (encrypted, ("TLS1.", "TLS1."))):
                lines = [line for line in server.out if mail.id in line]
                assert len(lines) == 1, f"{len(lines)} lines on stdout name {mail.id}:\n{server.printed()}"
                for word in ("127.0.0.1", FROM, TO):
                    assert word in lines[0], f"no {word} in {lines[0]}"
                assert any(word in lines[0] for word in channel), lines[0]
                if options:
                    assert isinstance(json.loads(lines[0]), dict)


@test
def the_ledger_counts_by_tls_outcome():
    """One JSON line a transaction; the figures are those of what was sent."""
    with Server() as server:
        with smtp(server) as client:
            for _ in range(3):
                client.sendmail(FROM, [TO, "carol@mx.example.net"], DOTS)
        with smtp(server, starttls=True) as client:
            for _ in range(2):
                client.sendmail(FROM, TO, DOTS)
        with Raw(server) as client:  # tries TLS and fails at it
            client.ask(b"EHLO failing.example", b"250")
            client.ask(b"STARTTLS", b"220")
            client.send(b"this is not a ClientHello\r\n")
            client.rest()
        server.stop()
        records = [json.dumps(record) for record in server.ledger()]
        used = [record for record in records if '"used"' in record]
        plain = [record for record in records if '"not-tried"' in record]
        assert (len(used), len(plain)) == (2, 3), records
        for record in used:
            assert re.search(r"TLS1\.[23]", record) and re.search(r"TLS\d*_\w+", record), record
        for record in used + plain:
            for word in ("127.0.0.1", "client.example"):
                assert word in record, f"no {word} in {record}"
        failed = [record for record in records if '"failed"' in record]
        assert len(failed) <= 1 and len(records) == 5 + len(failed), records


@test
def sigterm_lets_a_message_in_flight_complete():
    for how in (signal.SIGTERM, signal.SIGINT):
        with Server() as server, Raw(server) as idle, Raw(server) as busy:
            idle.ask(b"EHLO idle.example", b"250")
            busy.ask(b"EHLO busy.example", b"250")
            busy.ask(f"MAIL FROM:<{FROM}>".encode(), b"250")
            busy.ask(b"RCPT TO:<bob@mx.example.net>", b"250")
            busy.ask(b"DATA", b"354")
            busy.send(b"Subject: in flight\r\n\r\n")
            time.sleep(0.3)
            server.process.send_signal(how)
            idle.expect(b"421")
            assert idle.rest() == b""
            wait_for("the port to be closed", lambda: not connects(server))
            busy.send(b"and here\r\n.\r\n")
            busy.expect(b"250")
            assert busy.rest()[:3] in (b"421", b""), "the session goes on after SIGTERM"
            # A supervisor may send SIGTERM twice: the end stays an orderly one.
            server.stop()
            server.mail().must_be(b"Subject: in flight\r\n\r\nand here\r\n", "ESMTP", FROM, TO)


def connects(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), 1).close()
    except OSError:
        return False
    return True


@test
def kill_9_loses_nothing_acknowledged():
    text = b"Subject: kept\r\n\r\n" + b".line\r\n" * 2000
    with Server() as server:
        acknowledged, begun = [], []

        def load(lane):
            try:
                client = smtp(server)
                for number in range(100_000):
                    recipient = f"{lane}-{number}@mx.example.net"
                    begun.append(recipient)
                    client.sendmail(FROM, recipient, text)
                    acknowledged.append(recipient)
            except (smtplib.SMTPException, OSError):
                pass  # the server was killed, as it should be

        lanes = [threading.Thread(target=load, args=(lane,)) for lane in range(8)]
        for lane in lanes:
            lane.start()
        try:
            wait_for("200 messages to be acknowledged", lambda: len(acknowledged) >= 200)
        finally:
            server.process.kill()
        for lane in lanes:
            lane.join(PATIENCE)
        server.process.wait(PATIENCE)
        kept = {mail.recipient: mail for mail in server.mails(len(list((server.maildir / "new").iterdir())))}
        for mail in kept.values():
            mail.must_be(text, sender=FROM)  # nothing half-written
        lost = set(acknowledged) - set(kept)
        assert not lost, f"acknowledged, and lost: {sorted(lost)[:5]} and {len(lost)} in all"
        assert set(kept) <= set(begun)
        print(f"     {len(acknowledged)} messages acknowledged before kill -9, {len(kept)} kept")
        server.stop = lambda: None  # it is dead already


if __name__ == "__main__":
    missing = [tool for tool in ("swaks", "smtp-source", "posttls-finger", "openssl", "curl") if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"interop: not installed: {', '.join(missing)}; .ci/run installs them")
    main()
