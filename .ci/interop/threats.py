#!/usr/bin/env python3
"""What peers try (docs/security.md), where only a socket can show it. Against `smtp-smol serve`."""

import socket
import ssl

from harness import PATIENCE, Raw, Server, main, test, tls_context

HELLO, MAIL = b"EHLO client.example", b"MAIL FROM:<alice@client.example>"
RCPT = b"RCPT TO:<bob@mx.example.net>"
TEXT = b"Subject: whole\r\n\r\nyes\r\n"


def begin(client, starttls=False):
    client.ask(HELLO, b"250")
    if starttls:
        client.ask(b"STARTTLS", b"220")
        client.start_tls()
        client.ask(HELLO, b"250")


def is_well(server, count=1):
    """The server goes on, and has so many messages."""
    with Raw(server) as client:
        begin(client, True)
        client.ask(MAIL, b"250")
        client.ask(RCPT, b"250")
        client.ask(b"DATA", b"354")
        client.ask(TEXT + b".", b"250")
        client.ask(b"QUIT", b"221")
    for mail in server.mails(count):
        mail.must_be(TEXT)


@test
def plaintext_between_220_and_the_handshake_is_no_command():
    """RFC 3207 section 4: after 220 only TLS; what else comes is not answered, and ends the connection."""
    with Server() as server:
        for line in (b"NOOP\r\n", b"MAIL FROM:<evil@injected.example>\r\n", b"EHLO client.example\r\nQUIT\r\n", b"\r\n"):
            with Raw(server) as client:
                begin(client)
                client.ask(b"STARTTLS", b"220")
                client.send(line)
                rest = client.rest()
                # At most a TLS alert (record type 21), never words of SMTP.
                assert rest == b"" or rest[0] == 21, rest
        is_well(server)


@test
def an_endless_client_hello_is_cut_off():
    """Handshake records that announce a ClientHello of 16 MB: given up long before."""
    with Server() as server, Raw(server) as client:
        begin(client)
        client.ask(b"STARTTLS", b"220")
        fragment = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + bytes(0x4000 - 4)
        sent = 0
        try:
            for _ in range(2000):
                client.send(fragment)
                sent += len(fragment)
        except OSError:
            pass
        assert sent < 8 << 20, f"{sent} octets of ClientHello were taken"
        is_well(server)


@test
def a_handshake_that_is_abandoned_ends_the_connection():
    with Server() as server:
        for octets in (b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
            with Raw(server) as client:
                begin(client)
                client.ask(b"STARTTLS", b"220")
                client.send(octets)
                client.socket.shutdown(socket.SHUT_WR)
                rest = client.rest()
                assert rest == b"" or rest[0] == 21, rest
        is_well(server)
        server.stop()
        outcomes = [record["tls"] for record in server.ledger()]
        assert "used" in str(outcomes[-1]), outcomes


@test
def the_end_of_tls_inside_text_completes_nothing():
    """close_notify, or the end of TCP without it, in text and in a chunk: not stored; plaintext after it is not read."""
    with Server() as server:
        for last in (b"DATA\r\n" + TEXT, b"DATA\r\n" + TEXT + b".\r", b"BDAT 1000 LAST\r\n" + TEXT, b"BDAT 10\r\n0123456789"):
            for notify in (True, False):
                with Raw(server) as client:
                    begin(client, True)
                    client.ask(MAIL, b"250")
                    client.ask(RCPT, b"250")
                    client.send(last)
                    if last.startswith(b"DATA"):
                        client.expect(b"354")
                    client.file.close()
                    if notify:
                        client.socket.settimeout(PATIENCE)
                        try:
                            plain = client.socket.unwrap()
                        except (ssl.SSLError, OSError):
                            client.file = client.socket.makefile("rb")
                            continue
                        try:
                            plain.sendall(b"\n.\r\nQUIT\r\n" * 3)
                            assert plain.recv(1000) == b"", "plaintext behind close_notify was answered"
                        except OSError:
                            pass
                        client.socket = plain
                    else:
                        # TCP alone ends, as whoever is in between can make it.
                        raw = socket.socket(fileno=client.socket.detach())
                        raw.shutdown(socket.SHUT_WR)
                        raw.settimeout(PATIENCE)
                        while raw.recv(4096):
                            pass
                        client.socket = raw
                    client.file = client.socket.makefile("rb")
        is_well(server)


@test
def a_client_that_means_another_protocol_gets_no_handshake():
    """RFC 7301: ALPN names and SMTP not among them; with it, or with no ALPN at all, all is well."""
    with Server() as server:
        for names, welcome in ((["http/1.1"], False), (["h2", "imap"], False), (["h2", "smtp"], True), ([], True)):
            with Raw(server) as client:
                begin(client)
                client.ask(b"STARTTLS", b"220")
                client.file.close()
                context = tls_context()
                if names:
                    context.set_alpn_protocols(names)
                try:
                    client.socket = context.wrap_socket(client.socket)
                    made = True
                except (ssl.SSLError, OSError):
                    made = False
                client.file = client.socket.makefile("rb")
                assert made == welcome, f"ALPN {names}: handshake {made}"
                if made:
                    client.ask(HELLO, b"250")


@test
def last_words_arrive():
    """A peer that sends on and on still gets the 421: no reset eats it."""
    for flood in (b"XYZZY\r\n" * 40_000, b"NOOP\r\n" * 40_000, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 40_000,
                  b"x" * 400_000):
        with Server() as server, Raw(server) as client:
            if not flood.startswith(b"GET"):
                begin(client)
            client.socket.settimeout(PATIENCE)
            try:
                client.send(flood)
            except OSError:
                pass
            replies = client.rest().split(b"\r\n")
            assert replies[-1] == b"" and replies[-2].startswith(b"421"), (flood[:10], replies[-3:])
            assert len(replies) < 250, len(replies)


@test
def replies_that_are_not_read_stop_the_reading():
    """Good commands without end, and nobody reads the replies: the server takes some, then no more, then goes on."""
    lines = (MAIL + b"\r\n" + (RCPT + b"\r\n") * 999 + b"RSET\r\n") * 10
    for starttls in (False, True):
        with Server() as server, Raw(server) as client:
            begin(client, starttls)
            client.socket.settimeout(3)
            sent = 0
            try:
                while sent < 256 << 20:
                    sent += client.socket.send(lines[sent % len(lines):])
            except (TimeoutError, ssl.SSLWantWriteError):
                pass
            assert sent < 64 << 20, f"{sent} octets were taken, with no reply read"
            is_well(server)


@test
def a_name_in_the_handshake_is_not_logged_raw():
    """SNI is input: a name with a line end in it does no harm, whether the library takes it or not."""
    with Server() as server:
        for name in ("mx.example.net", "a" * 60 + ".example", "x--y.example"):
            with Raw(server) as client:
                begin(client)
                client.ask(b"STARTTLS", b"220")
                client.file.close()
                client.socket = tls_context().wrap_socket(client.socket, server_hostname=name)
                client.file = client.socket.makefile("rb")
                client.ask(HELLO, b"250")
                client.ask(MAIL, b"250")
                client.ask(RCPT, b"250")
                client.ask(b"DATA", b"354")
                client.ask(TEXT + b".", b"250")
        server.stop()
        assert all(line.isprintable() for line in server.ledger_file.read_text().splitlines())
        assert len(server.ledger()) == 3


if __name__ == "__main__":
    main()
