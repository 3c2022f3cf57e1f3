#!/usr/bin/env python3
"""TLS as others do it: servers with certificates that nobody would buy, clients of another age, a load balancer in front."""

import pathlib
import shutil
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading

from harness import HOSTNAME, Server, binary, free_port, main, run, succeed, test, tls_context, wait_for

MESSAGE = b"Subject: hello\r\n\r\nIt works.\r\n"


class Folder:
    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="interop-tls-"))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def certificate(folder, kind):
    """A self-signed certificate of this kind, for HOSTNAME; files of certificate and key."""
    made, key, request = folder / f"{kind}.pem", folder / f"{kind}.key", folder / f"{kind}.csr"
    keys = {"rsa1024": ["rsa:1024"], "p521": ["ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"]}
    new = ["openssl", "req", "-nodes", "-newkey", *keys.get(kind, ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]),
           "-keyout", str(key), "-subj", f"/CN={HOSTNAME}"]
    if kind == "v1":
        # Without a single extension it is one of version 1.
        succeed(*new, "-out", str(request))
        succeed("openssl", "x509", "-req", "-in", str(request), "-signkey", str(key), "-days", "30", "-out", str(made))
    else:
        # openssl says CA:TRUE of itself.
        succeed(*new, "-x509", "-days", "30", "-addext", f"subjectAltName=DNS:{HOSTNAME}", "-out", str(made))
    return made, key


class Smtp:
    """A server that has STARTTLS by this certificate, and takes every message."""

    def __init__(self, made, key):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        self.context.load_cert_chain(made, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.taken = []

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        # Wakes the thread. Closed under it, the listener's descriptor could be the next server's by the time that it is asked.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(30)
        self.listener.close()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            try:
                self.talk(connection)
            except (OSError, ssl.SSLError):
                pass

    def talk(self, connection):
        connection.settimeout(20)
        file, secret = connection.makefile("rwb"), False
        file.write(b"220 hi\r\n")
        file.flush()
        while line := file.readline():
            verb = line.strip().upper().split(b" ")[0]
            answer = {b"EHLO": b"250 hi\r\n" if secret else b"250-hi\r\n250 STARTTLS\r\n", b"STARTTLS": b"220 go\r\n",
                      b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"250 ok\r\n")
            file.write(answer)
            file.flush()
            if verb == b"STARTTLS":
                connection = self.context.wrap_socket(connection, server_side=True)
                file, secret = connection.makefile("rwb"), True
            elif verb == b"DATA":
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += file.readline()
                self.taken.append((secret, text[:-3]))
                file.write(b"250 taken\r\n")
                file.flush()
            elif verb == b"QUIT":
                return


def send(port, *options, code=0):
    done, printed = run(binary(), "send", "--server", f"127.0.0.1:{port}", "--from", "a@example.org",
                        "--to", "b@example.net", *options, "-", stdin=MESSAGE)
    assert done == code, f"exit code {done}, not {code}: {printed}"
    return printed


@test
def any_certificate_is_taken_where_none_is_depended_on():
    with Folder() as folder:
        for kind in ("p256", "rsa1024", "v1", "p521"):
            made, key = certificate(folder, kind)
            with Smtp(made, key) as server:
                for policy in ("opportunistic", "require"):
                    send(server.port, "--tls", policy)
                assert server.taken == [(True, MESSAGE)] * 2, f"{kind}: {server.taken}"


@test
def a_servers_own_certificate_can_be_trusted_and_no_other():
    with Folder() as folder:
        made, key = certificate(folder, "p256")
        other, _ = certificate(folder, "other")
        with Smtp(made, key) as server:
            verify = ("--tls", "verify", "--tls-name")
            send(server.port, *verify, HOSTNAME, "--ca", str(made))
            assert server.taken == [(True, MESSAGE)], server.taken
            printed = send(server.port, *verify, "mx.example.org", "--ca", str(made), code=75)
            assert "for another name" in printed, printed
            printed = send(server.port, *verify, HOSTNAME, "--ca", str(other), code=75)
            assert "an authority's, which is not trusted" in printed, printed
        # A key that proves nothing verifies for nothing, whoever says that it is trusted.
        made, key = certificate(folder, "rsa1024")
        with Smtp(made, key) as server:
            printed = send(server.port, "--tls", "verify", "--tls-name", HOSTNAME, "--ca", str(made), code=75)
            assert server.taken == [], printed


@test
def clients_of_another_age_are_recorded_as_that():
    with Server("--log", "info") as server:
        for version, told in (("-tls1", "TLS1.0"), ("-tls1_1", "TLS1.1")):
            code, printed = run("openssl", "s_client", "-starttls", "smtp", version, "-cipher", "ALL:@SECLEVEL=0",
                                "-connect", server.address)
            assert code != 0 and "protocol version" in printed, printed
        server.stop()
        lines = [line for line in server.ledger() if line["outcome"] == "handshake-failed"]
        assert [line["tls"]["offered_version"] for line in lines] == ["TLS1.0", "TLS1.1"], lines
        assert lines[0]["tls"]["reason"] == "refused: offers TLS 1.0 at most", lines
        failed = [line for line in server.err if "the TLS handshake failed" in line]
        assert len(failed) == 2 and all(" INFO " in line and "offers TLS 1." in line for line in failed), server.err


@test
def the_self_made_certificate_has_the_name_of_the_host():
    with Server() as server:
        subject = succeed("sh", "-c", f"openssl s_client -starttls smtp -connect {server.address} </dev/null 2>/dev/null"
                                      " | openssl x509 -noout -subject -issuer")
        assert subject.count(f"CN = {HOSTNAME}") == 2, subject


class HaProxy:
    """A load balancer that ends TLS."""

    def __init__(self, folder, backend, how, made, key, authority=None):
        self.port = free_port()
        both = folder / "both.pem"
        both.write_bytes(made.read_bytes() + key.read_bytes())
        ask = f"ca-file {authority} verify optional crt-ignore-err all" if authority else ""
        self.config = folder / "haproxy.cfg"
        self.config.write_text(f"""
defaults
    mode tcp
    timeout connect 10s
    timeout client 30s
    timeout server 30s
frontend mail
    bind 127.0.0.1:{self.port} ssl crt {both} {ask}
    default_backend mx
backend mx
    server one 127.0.0.1:{backend} {how} check inter 200ms
""")

    def __enter__(self):
        self.process = subprocess.Popen(["haproxy", "-db", "-f", str(self.config)], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_for("HAProxy", self.listens)
        return self

    def listens(self):
        assert self.process.poll() is None, "HAProxy did not start"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def mail(self, context=None):
        with smtplib.SMTP_SSL("127.0.0.1", self.port, local_hostname="c.example", context=context or tls_context()) as client:
            client.sendmail("a@example.org", ["b@example.net"], MESSAGE)


def behind(port, *more):
    return Server("--tls", "require", "--proxy", f"127.0.0.1:{port}", "--proxy-from", "127.0.0.1", "--domain", "example.net",
                  "--log", "info", *more)


@test
def tls_that_ended_at_haproxy_counts_as_it_tells():
    with Folder() as folder:
        made, key = certificate(folder, "balancer")
        client, client_key = certificate(folder, "client")
        port = free_port()
        with behind(port) as server, HaProxy(folder, port, "send-proxy-v2-ssl-cn proxy-v2-options ssl-cipher", made, key, client) as balancer:
            balancer.mail()
            context = tls_context()
            context.load_cert_chain(client, client_key)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            balancer.mail(context)
            server.stop()
            mails = server.mails(2)
            records = server.ledger()
            # The check of whether the server is there is no mistake of anyone's.
            assert not any(" WARN " in line for line in server.err), server.err
        assert [mail.protocol for mail in mails] == ["ESMTPS"] * 2, mails
        told = [record["tls"] for record in records]
        assert [tls["told_by"] for tls in told] == ["proxy"] * 2 and [tls["outcome"] for tls in told] == ["used"] * 2, told
        assert sorted(tls["version"] for tls in told) == ["TLS1.2", "TLS1.3"], told
        assert any("(TLS1.3)" in mail.received and "tls TLS_AES_" in mail.received for mail in mails), mails[0].received
        assert any("(TLS1.2)" in mail.received and "tls ECDHE-" in mail.received for mail in mails), mails[1].received
        assert [tls.get("client_certificate") for tls in told] == [None, "verified"], told


@test
def tls_that_ended_at_haproxy_without_a_word_is_a_setting():
    with Folder() as folder:
        made, key = certificate(folder, "balancer")
        for how in ("send-proxy", "send-proxy-v2"):
            port = free_port()
            with behind(port, "--proxy-tls-before") as server, HaProxy(folder, port, how, made, key) as balancer:
                balancer.mail()
                server.stop()
                assert server.mail().protocol == "ESMTPS"
                tls = server.ledger()[0]["tls"]
                assert tls == {"outcome": "used", "told_by": "proxy"}, tls
            port = free_port()
            with behind(port) as server, HaProxy(folder, port, how, made, key) as balancer:
                try:
                    balancer.mail()
                    raise AssertionError("plaintext was taken")
                except (smtplib.SMTPSenderRefused, smtplib.SMTPResponseException) as refused:
                    assert refused.smtp_code == 530, refused


if __name__ == "__main__":
    main()
