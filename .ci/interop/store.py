#!/usr/bin/env python3
"""What `serve` takes and how it keeps it: domains, the Maildir and its line ends, a disk that is full."""

import errno
import ipaddress
import os
import pathlib
import re
import smtplib
import subprocess
import time

from harness import PATIENCE, Raw, Server, binary, free_port, main, run, test
from texts import DOTS, TEXTS

EIGHT_BIT = TEXTS["8 bits"]
FROM, TO, OTHER = "alice@client.example", "bob@mx.example.net", "carol@mx.example.net"


def send(server, to, text=DOTS, options=()):
    """Gives the refused recipients."""
    with smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example", timeout=PATIENCE) as client:
        return client.sendmail(FROM, to, text, mail_options=options)


@test
def mail_for_other_domains_is_refused():
    with Server("--domain", "mx.example.net", "--domain", "b.example") as server:
        refused = send(server, [TO, "x@c.example", "y@B.EXAMPLE"])
        assert refused == {"x@c.example": (550, b"5.7.1 Mail for this domain is not taken here")}, refused
        mail = server.mail()
        mail.must_be(DOTS, "ESMTP", FROM)
        assert mail.delivered_to == [TO, "y@B.EXAMPLE"], mail.stored[:300]
        try:
            send(server, ["x@c.example"])
            raise AssertionError("taken")
        except smtplib.SMTPRecipientsRefused:
            pass
        # RFC 5321 section 4.5.1.
        with Raw(server) as client:
            client.ask(b"EHLO client.example", b"250")
            client.ask(b"MAIL FROM:<>", b"250")
            client.ask(b"RCPT TO:<PostMaster>", b"250")
        server.stop()
        outcomes = [record["outcome"] for record in server.ledger()]
        assert outcomes == ["accepted", "refused", "abandoned"], outcomes


@test
def nobody_sets_up_a_server_that_swallows_all_mail_by_mistake():
    for options in (("--listen", "0.0.0.0:0"), ("--listen", "[::]:0", "--domain", "*"),
                    ("--proxy", "127.0.0.1:0", "--proxy-from", "127.0.0.1")):
        code, printed = run(binary(), "serve", "--deliver", "discard", *options)
        assert code == 2 and "--domain NAME" in printed, printed
    with Server("--listen", "0.0.0.0:0", "--domain", "*", "--domain", "*") as server:
        assert "mail for any recipient is taken" in server.printed(), server.printed()
        assert send(server, ["x@c.example"]) == {}


def links():
    """The link-local addresses of this machine, each with its link; there may be none."""
    for line in pathlib.Path("/proc/net/if_inet6").read_text().splitlines():
        digits, _, _, scope, _, link = line.split()
        if scope == "20":
            yield f"{ipaddress.IPv6Address(int(digits, 16))}%{link}"


@test
def listeners_share_a_port_and_are_named_as_people_write_them():
    port = free_port()
    listen = ("--listen", f"0.0.0.0:{port}", "--listen", f"[::]:{port}", "--domain", "mx.example.net")
    with Server("--listen", "127.0.0.1:0", listen=listen) as server:
        for host in ("127.0.0.1", "::1"):
            with smtplib.SMTP(host, port, local_hostname="client.example", timeout=PATIENCE) as client:
                assert client.sendmail(FROM, [TO], DOTS) == {}, host
        server.mails(2)
    with Server(listen=("--listen", f"localhost:{port}")) as server:
        assert server.port == port, server.printed()
        assert send(server, [TO]) == {}
    for address in links():
        with Server("--listen", f"[{address}]:{port}", "--domain", "mx.example.net") as server:
            with smtplib.SMTP(address, port, local_hostname="client.example", timeout=PATIENCE) as client:
                assert client.sendmail(FROM, [TO], DOTS) == {}, address
            server.mails(1)


@test
def a_file_says_whom_it_is_for_and_its_lines_end_as_wanted():
    for option, newline in (("", b"\n"), ("?newline=lf", b"\n"), ("?newline=crlf", b"\r\n")):
        with Server() as server:
            server.stop()
            server.command[server.command.index("--deliver") + 1] += option
            server.restart(15)
            assert send(server, [TO, OTHER], EIGHT_BIT, ["BODY=8BITMIME"]) == {}
            mail = server.mail()
            assert mail.newline == newline and mail.delivered_to == [TO, OTHER], mail.stored[:300]
            assert mail.stored.endswith(EIGHT_BIT.replace(b"\r\n", newline)), mail.stored[-300:]
            # RFC 5321 section 7.2: the trace field does not tell.
            assert mail.recipient is None and TO not in mail.received, mail.received


@test
def binary_text_is_not_taken_where_line_ends_are_not_kept():
    """RFC 3030 section 3: BINARYMIME is not announced, so no text comes that a change of line ends would damage."""
    with Server() as server, Raw(server) as client:
        assert b"BINARYMIME" not in client.ask(b"EHLO client.example", b"250")
        client.ask(b"MAIL FROM:<a@client.example> BODY=BINARYMIME", b"555 5.5.4")
        # A chunk of other text is checked: a LF by itself is no line end (RFC 5321 section 2.3.8).
        client.ask(b"MAIL FROM:<a@client.example>", b"250")
        client.ask(f"RCPT TO:<{TO}>".encode(), b"250")
        client.send(b"BDAT 9 LAST\r\nX: y\n\nz\r\n")
        client.expect(b"554 5.6.0")
        server.mails(0)


@test
def a_full_disk_is_told_and_gets_over():
    if os.geteuid() != 0:
        print("     (skipped: mounting a small disk takes root)")
        return
    with Server() as server:
        server.stop()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(server.maildir)], check=True)
        try:
            server.restart(15)
            filler = server.maildir / "filler"
            with smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example", timeout=PATIENCE) as client:
                assert client.sendmail(FROM, [TO], DOTS) == {}
                with filler.open("wb", buffering=0) as file:
                    try:
                        while file.write(bytes(4096)):
                            pass
                    except OSError as error:
                        assert error.errno == errno.ENOSPC, error
                for text in (DOTS, DOTS + b"more\r\n" * 300_000):
                    try:
                        client.sendmail(FROM, [TO], text)
                        raise AssertionError("taken")
                    except smtplib.SMTPDataError as refusal:
                        assert refusal.smtp_code == 452 and refusal.smtp_error.startswith(b"4.3.1 "), refusal
                assert not list((server.maildir / "tmp").iterdir()), "half a message is left"
                filler.unlink()
                assert client.sendmail(FROM, [TO], DOTS) == {}
            for mail in server.mails(2):
                mail.must_be(DOTS, "ESMTP", FROM, TO)
            server.stop()
            outcomes = [re.sub("accepted", "ok", record["outcome"]) for record in server.ledger()]
            assert outcomes == ["ok", "deferred", "deferred", "ok"], outcomes
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
            subprocess.run(["umount", str(server.maildir)], check=True)


def fails_at_tls(server, source):
    """STARTTLS, and an alert in the place of a handshake."""
    with smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example", source_address=(source, 0)) as client:
        client.ehlo()
        assert client.has_extn("starttls"), "offered"
        assert client.docmd("STARTTLS")[0] == 220
        client.sock.sendall(b"\x15\x03\x01\x00\x02\x02\x30")
        while client.sock.recv(100):
            pass
        client.close()


@test
def who_cannot_do_with_starttls_is_not_offered_it_for_a_while():
    """RFC 7435: mail that comes in plaintext is better than none."""
    old, good = "127.0.0.8", "127.0.0.9"

    def offered(server, source):
        with smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example", source_address=(source, 0)) as client:
            client.ehlo()
            there = client.has_extn("starttls")
            assert client.sendmail(FROM, [TO], DOTS) == {}
            return there

    with Server("--withhold-starttls", "4s") as server:
        for _ in range(2):
            fails_at_tls(server, old)
        assert not offered(server, old) and offered(server, good)
        time.sleep(4.2)
        assert offered(server, old), "it expires"
        server.stop()
        assert "not offered STARTTLS, since handshakes had failed: 1 message of 1 sender" in server.printed(), server.printed()
        accepted = [record["tls"] for record in server.ledger() if record["outcome"] == "accepted"]
        assert [tls["outcome"] for tls in accepted] == ["failed-then-plaintext", "not-tried", "not-tried"], accepted
    with Server("--withhold-starttls", "off") as server:
        for _ in range(3):
            fails_at_tls(server, old)
        assert offered(server, old)
    with Server("--starttls-off-for", "127.0.0.8/32") as server:
        assert not offered(server, old) and offered(server, good)
        server.stop()
        assert [record["tls"]["outcome"] for record in server.ledger()] == ["not-offered", "not-tried"]


if __name__ == "__main__":
    main()
