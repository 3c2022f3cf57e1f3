"""What goes through `serve` to the next hop beside the text: TLS on the way there, what is asked of a message, chunks."""

import pathlib
import smtplib
import ssl
import tempfile

from chain import front
from front_faults import BOB, FROM
from harness import PATIENCE, Raw, succeed, test, tls_context, wait_for
from hop import Hop

# Not an address: that is never TLS unless it is asked for, and has a certificate seldom.
NAME = "localhost"
OFFERS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS", "AUTH PLAIN", "SIZE 1000000", "STARTTLS")


class Authority:
    """An authority, and the context of a server that has a certificate of its for NAME."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        self.file, key, request = folder / "ca.pem", folder / "ca.key", folder / "request"
        made, made_key = folder / "made.pem", folder / "made.key"
        new = ("openssl", "req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        succeed(*new, "-x509", "-keyout", str(key), "-subj", "/CN=Authority", "-days", "30", "-out", str(self.file))
        succeed(*new, "-keyout", str(made_key), "-subj", f"/CN={NAME}", "-out", str(request))
        (folder / "extensions").write_text(f"subjectAltName=DNS:{NAME}\nbasicConstraints=CA:FALSE\n")
        succeed("openssl", "x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey", str(key), "-CAcreateserial",
                "-days", "30", "-extfile", str(folder / "extensions"), "-out", str(made))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(made, made_key)
        return self

    def __exit__(self, *_):
        self.folder.cleanup()


def inside_tls(server):
    """A client whose own hop is TLS."""
    smtp = smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example", timeout=PATIENCE)
    smtp.starttls(context=tls_context())
    smtp.ehlo()
    return smtp


@test
def with_verify_mail_goes_by_tls_alone_and_to_whom_the_authority_knows():
    with Authority() as authority, Authority() as other, Hop(offers=OFFERS, tls=authority.context) as hop:
        place = f"smtp://{NAME}:{hop.port}?tls=verify"
        with front(place, "--next-hop-ca", str(authority.file)) as server, inside_tls(server) as smtp:
            assert smtp.has_extn("requiretls"), "the next hop offers it, and its certificate verifies"
            # RFC 8689 section 4.2.1. As the client said it, and in TLS.
            assert smtp.sendmail(FROM, [BOB], b"Subject: x\r\n\r\nhello\r\n", mail_options=["REQUIRETLS"]) == {}
            assert hop.commands[-3:] == [f"MAIL FROM:<{FROM}> size=21 REQUIRETLS", f"RCPT TO:<{BOB}>", "DATA"], hop.commands
            # Over a hop in plaintext it is not offered (RFC 8689 section 3).
            with smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example", timeout=PATIENCE) as plain:
                plain.ehlo()
                assert not plain.has_extn("requiretls")
            assert all(command.split()[0] in ("EHLO", "STARTTLS", "QUIT", "MAIL", "RCPT", "DATA") for command in hop.commands)
        # Where it need not verify, nothing is promised.
        with front(f"smtp://{NAME}:{hop.port}?tls=offer") as server, inside_tls(server) as smtp:
            assert not smtp.has_extn("requiretls")
            assert smtp.sendmail(FROM, [BOB], b"Subject: x\r\n\r\nhello\r\n") == {}
            assert smtp.docmd("MAIL", f"FROM:<{FROM}> REQUIRETLS")[0] == 555
        hop.commands.clear()
        # Of another authority; and for another name.
        for trusted, named in ((other, NAME), (authority, "127.0.0.1")):
            place = f"smtp://{named}:{hop.port}?tls=verify"
            with front(place, "--next-hop-ca", str(trusted.file)) as server:
                told = wait_for("a word about it", lambda: [line for line in server.err if "the next hop is down" in line])
                assert "certificate" in told[0], told
        assert not any(command.startswith("MAIL") for command in hop.commands), hop.commands


@test
def what_is_asked_of_a_message_goes_on_as_it_was_said():
    with Hop(offers=OFFERS) as hop, front(f"smtp://127.0.0.1:{hop.port}") as server, Raw(server) as raw:
        said = raw.ask(b"EHLO client.example", b"250")
        assert b"DSN" in said and b"AUTH" not in said, said
        # RFC 3461, RFC 1870, RFC 6152, RFC 4954 section 5.
        mail = f"MAIL FROM:<{FROM}> RET=HDRS ENVID=QQ+2B314159 SIZE=500 BODY=8BITMIME"
        rcpt = f"RCPT TO:<{BOB}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@Example.net"
        for line in (mail, rcpt):
            raw.ask(line.encode(), b"250")
        raw.ask(b"RSET", b"250")
        wait_for("both", lambda: rcpt in hop.commands)
        assert mail in hop.commands, hop.commands
        # For whom it is not: what is only said for this hop's sake is left out where nobody knows it.
        hop.stop()
        hop.offers = ("PIPELINING", "8BITMIME")
        hop.start()
        raw.ask(f"MAIL FROM:<{FROM}> SIZE=500".encode(), b"250")
        assert hop.commands[-1] == f"MAIL FROM:<{FROM}>", hop.commands
