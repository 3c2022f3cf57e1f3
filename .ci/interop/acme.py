#!/usr/bin/env python3
"""`serve` and its certificate by ACME, from pebble, Let's Encrypt's authority for tests: had, used, renewed, and what is when
the authority is not there, is another one, or does not take the name for ours."""

import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.request

from chain import answers
from harness import HOSTNAME, PATIENCE, Server, free_port, main, succeed, test, wait_for

LIFE = 36  # seconds of a certificate, of which the last third is for renewing it


class Pebble:
    """The authority, and the name server that it asks: every name is this machine."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pebble-"))
        self.tls_port, self.port, self.management, self.dns, self.dns_management = (free_port() for _ in range(5))
        self.directory = f"https://localhost:{self.port}/dir"
        self.processes = []
        certificate, key = self.folder / "ca.crt", self.folder / "ca.key"
        succeed("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext",
                "basicConstraints=critical,CA:FALSE", "-keyout", str(key), "-out", str(certificate))
        self.ca = certificate
        (self.folder / "config.json").write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(certificate), "privateKey": str(key), "httpPort": free_port(), "tlsPort": self.tls_port,
            "certificateValidityPeriod": LIFE}}))

    def start(self):
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1"}
        dns = ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{self.dns}", "-management", f"127.0.0.1:{self.dns_management}",
               "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
        pebble = ["pebble", "-config", str(self.folder / "config.json"), "-dnsserver", f"127.0.0.1:{self.dns}"]
        with (self.folder / "log").open("ab") as log:
            for command in (dns, pebble):
                self.processes.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        # The name server too: an order before it is there would count as refused, and the next one come in a quarter of an hour.
        wait_for("pebble", lambda: all(map(answers, (self.dns, self.dns_management, self.port, self.management))))
        return self

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        self.stop()
        log = self.folder / "log"
        if failure is not None and log.exists():
            print("    pebble's last words:", *log.read_text().splitlines()[-15:], sep="\n      ")
        shutil.rmtree(self.folder, ignore_errors=True)

    def root(self):
        """What it signs by, which is another one each time that it starts."""
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(f"https://localhost:{self.management}/roots/0", context=context, timeout=PATIENCE) as root:
            return root.read().decode()

    def front(self, *options, **more):
        acme = ("--tls-acme-directory", self.directory, "--tls-acme-ca", str(self.ca), "--tls-acme-contact", "me@example.org",
                "--tls-acme-listen", f"127.0.0.1:{self.tls_port}", "--log", "info")
        return Server(*acme, *options, **more)


def shown(server, context, name=HOSTNAME):
    """The certificate that a client gets by STARTTLS."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
        lines = plain.makefile("rb")
        assert lines.readline().startswith(b"220 ")
        for said in (b"EHLO client.example\r\n", b"STARTTLS\r\n"):
            plain.sendall(said)
            while lines.readline()[3:4] == b"-":
                pass
        with context.wrap_socket(plain, server_hostname=name) as tls:
            return tls.getpeercert(binary_form=True), tls.getpeercert()


def anybody():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def count(server, words):
    return sum(words in line for line in server.err)


@test
def a_certificate_comes_is_renewed_and_stays_whatever_happens():
    with Pebble() as pebble, pebble.front() as server:
        # The authority is not there: mail is taken all the same, with what the server has made for itself.
        wait_for("a word about it", lambda: count(server, "no certificate for"))
        own, _ = shown(server, anybody())
        pebble.start()
        verified = ssl.create_default_context(cadata=pebble.root())

        def good():
            try:
                return shown(server, verified)
            except ssl.SSLError:
                return None

        # Orders that failed meanwhile are tried again after 5, 10, 20 s.
        first, fields = wait_for("a certificate that verifies", good, timeout=3 * PATIENCE)
        assert first != own and ("DNS", HOSTNAME) in fields["subjectAltName"], fields
        [file] = server.folder.glob("smtp-smol/acme/localhost/*.pem")
        assert file.name == f"{HOSTNAME}.pem" and file.stat().st_mode & 0o777 == 0o600
        # It is renewed before it expires, and clients get the new one without a restart.
        second, _ = wait_for("the renewed one", lambda: (found := good()) and found[0] != first and found, timeout=LIFE + PATIENCE)
        # What there is is used again, and not ordered anew.
        pebble.stop()
        failures = count(server, "no certificate for")
        server.restart(15)
        assert shown(server, anybody())[0] == second
        # The authority is gone when the time has come: the old one stays.
        wait_for("a word about it", lambda: count(server, "no certificate for"), timeout=LIFE + PATIENCE)
        assert failures and shown(server, anybody())[0] == second


@test
def a_name_that_is_not_ours_is_told_and_another_client_is_told_nothing():
    with Pebble() as pebble:
        pebble.start()
        # The authority connects elsewhere, where nobody is.
        with pebble.front("--tls-acme-listen", f"127.0.0.1:{free_port()}") as server:
            # Of whoever else connects there, the certificate is not shown to one.
            try:
                with socket.create_connection(("127.0.0.1", pebble.tls_port), PATIENCE) as plain, anybody().wrap_socket(plain):
                    raise AssertionError("a handshake without the protocol of the challenge")
            except (ssl.SSLError, ConnectionResetError):
                pass
            wait_for("a certificate", lambda: count(server, "a certificate for"))
        pebble.tls_port = free_port()
        with pebble.front() as server:
            wait_for("the authority's words", lambda: count(server, "is not taken for ours"))
            line = next(line for line in server.err if "is not taken for ours" in line)
            assert HOSTNAME in line and "the next try is in 900 s" in line, line


if __name__ == "__main__":
    main()
