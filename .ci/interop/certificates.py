#!/usr/bin/env python3
"""The certificates of `serve`, as two kinds of clients and certbot see them: RSA beside ECDSA, by name, and renewed. And those
by ACME."""

import os
import pathlib
import re
import shutil
import ssl
import subprocess
import tempfile

from acme import anybody, shown  # its tests run with these
from harness import HOSTNAME, PATIENCE, Raw, Server, main, succeed, test, wait_for

OTHER = "mail.example.org"
KEYS = {"rsa": ["rsa:2048"], "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}


class Folder:
    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="certificates-"))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def made(certificate, key, name, kind):
    """A self-signed certificate of a kind for a name."""
    succeed("openssl", "req", "-x509", "-nodes", "-newkey", *KEYS[kind], "-keyout", str(key), "-subj", f"/CN={name}",
            "-days", "30", "-addext", f"subjectAltName=DNS:{name}", "-out", str(certificate))
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def handshake(server, name, *options):
    """What openssl says of the certificate that it gets: whose it is, and how the server signed."""
    done = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", server.address, "-servername", name, *options],
                          input=b"QUIT\r\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE)
    printed = done.stdout.decode("utf-8", "replace")
    found = re.search(r"subject=CN = (\S+)", printed), re.search(r"Peer signature type: (\S+)", printed)
    assert all(found), f"{name} {options}: {printed}"
    return found[0][1], found[1][1]


@test
def rsa_and_ecdsa_side_by_side_and_several_names():
    with Folder() as folder:
        options, kinds = [], {(HOSTNAME, "ecdsa"), (HOSTNAME, "rsa"), (OTHER, "rsa"), (OTHER, "ecdsa")}
        for name, kind in sorted(kinds):
            certificate, key = folder / f"{name}-{kind}.pem", folder / f"{name}-{kind}.key"
            made(certificate, key, name, kind)
            options += ["--cert", str(certificate), "--key", str(key)]
        with Server(*options) as server:
            for name in (HOSTNAME, OTHER):
                for version in ("-tls1_3", "-tls1_2"):
                    assert handshake(server, name, version, "-sigalgs", "ECDSA+SHA256") == (name, "ECDSA")
                    rsa = handshake(server, name, version, "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256")
                    assert rsa[0] == name and rsa[1].startswith("RSA"), rsa
                # Clients of TLS 1.2 may say it by their ciphers.
                assert handshake(server, name, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256") == (name, "ECDSA")
                assert handshake(server, name, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")[1].startswith("RSA")
            # Of a name that nobody has here, the first.
            assert handshake(server, "elsewhere.example")[0] == sorted(kinds)[0][0]


@test
def what_certbot_renews_is_shown_without_a_restart():
    """Its files are links into an archive, which are changed one after the other."""
    with Folder() as folder:
        live, archive = folder / "live", folder / "archive"
        live.mkdir()
        archive.mkdir()

        def renew(number, between=lambda: None):
            certificate, key = archive / f"fullchain{number}.pem", archive / f"privkey{number}.pem"
            octets = made(certificate, key, HOSTNAME, "ecdsa" if number % 2 else "rsa")
            for link, file in (("privkey.pem", key), ("fullchain.pem", certificate)):
                (live / "new").symlink_to(file)
                os.rename(live / "new", live / link)
                if link == "privkey.pem":
                    between()
            return octets

        first = renew(1)
        with Server("--cert", str(live / "fullchain.pem"), "--key", str(live / "privkey.pem")) as server:
            assert shown(server, anybody())[0] == first
            # A session that is under way is not disturbed.
            with Raw(server) as raw:
                raw.ask(b"EHLO client.example", b"250")
                raw.ask(b"STARTTLS", b"220")
                raw.start_tls()

                def halfway():
                    # The new key is not that of the old certificate: what was read before stays, and it is told.
                    wait_for("a word about it", lambda: "it must be the key of" in server.printed())
                    assert shown(server, anybody())[0] == first

                second = renew(2, halfway)
                wait_for("the new certificate", lambda: shown(server, anybody())[0] == second)
                raw.ask(b"EHLO client.example", b"250")
            third = renew(3)
            wait_for("the next one", lambda: shown(server, anybody())[0] == third)


if __name__ == "__main__":
    main()
