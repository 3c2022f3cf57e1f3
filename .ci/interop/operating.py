#!/usr/bin/env python3
"""The commands of docs/operating.md, each as it stands there, from an untouched Postfix to the front and back again. Paths and
ports are those of a Postfix that lives for this test, and `systemctl` starts the program itself."""

import os
import pathlib
import re
import smtplib
import subprocess
import tempfile
import textwrap

from chain import Dovecot, mail_server
from harness import PATIENCE, ROOT, binary, free_port, main, run, succeed, test, tls_context, wait_for

PAGE = (ROOT / "docs/operating.md").read_text()

SYSTEMCTL = """
set -euo pipefail
systemctl() {
    [ "$1" != daemon-reload ] || return 0
    [ "$2" = smtp-smol ] || exit 9
    case $1 in
    stop | restart) kill "$(cat STATE/pid)" && while kill -0 "$(cat STATE/pid)" 2>/dev/null; do sleep 0.1; done ;;
    esac
    case $1 in
    start | restart)
        smtp-smol serve --config CONFIG/smtp-smol.toml </dev/null >STATE/log 2>&1 &
        echo $! >STATE/pid
        for _ in $(seq 100); do grep -q '^listening' STATE/log && break; sleep 0.1; done
        ;;
    esac
}
"""


def blocks(kind):
    return [textwrap.dedent(block) for _, block in re.findall(rf"^( *)```{kind}\n(.*?)^\1```$", PAGE, re.M | re.S)]


def banner(port):
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE) as client:
        client.ehlo()
        return client.ehlo_resp.decode()


def with_certificate(dovecot, folder):
    """A Postfix with STARTTLS, as Debian's has from the start."""
    made, key = f"{folder}/made.pem", f"{folder}/made.key"
    succeed("openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", key, "-subj", "/CN=mx.example.net", "-days", "30",
            "-addext", "subjectAltName=DNS:mx.example.net", "-out", made)
    return mail_server(dovecot, f"smtpd_tls_cert_file = {made}\nsmtpd_tls_key_file = {key}\nsmtpd_tls_security_level = may\n")


def shown(port):
    """The certificate that a client is shown."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE) as client:
        client.starttls(context=tls_context())
        return client.sock.getpeercert(binary_form=True)


@test
def from_an_untouched_postfix_to_the_front_and_back():
    with tempfile.TemporaryDirectory() as folder, Dovecot() as dovecot, with_certificate(dovecot, folder) as postfix:
        folder = pathlib.Path(folder)
        config, state, programs = folder / "etc", folder / "state", folder / "bin"
        for made in (config, state, programs):
            made.mkdir()
        (programs / "smtp-smol").symlink_to(binary())
        public, second, trial = postfix.port, free_port(), free_port()
        places = {
            "/etc/postfix": str(postfix.folder / "etc"), "/etc/smtp-smol": str(config), "/etc/systemd/system": str(folder / "units"), "/var/lib/smtp-smol": str(state),
            "smtp/inet": f"127.0.0.1:{public}/inet", "s/^smtp /": f"s/^127.0.0.1:{public} /", "10025": str(second),
            "2525": str(trial), '["0.0.0.0:25", "[::]:25"]': f'"127.0.0.1:{public}"',
        }
        master = postfix.folder / "etc/master.cf"
        untouched, log, seen, certificate = master.read_bytes(), state / "log", [], shown(public)
        environment = {**os.environ, "MAIL_CONFIG": str(postfix.folder / "etc"), "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin"}
        log.touch()
        try:
            for block in blocks("sh"):
                for there, here in places.items():
                    block = block.replace(there, here)
                script = SYSTEMCTL.replace("STATE", str(state)).replace("CONFIG", str(config)) + block
                with (folder / "said").open("w+") as said:
                    done = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                          env=environment, timeout=PATIENCE)
                    said.seek(0)
                    printed = said.read()
                assert done.returncode == 0, f"{block}\nexited {done.returncode}:\n{printed}\n{log.read_text()}"
                seen.append(printed)
                if "postconf -MX" in block or "require" in block:
                    wait_for("the front on port 25", lambda: "LIMITS RCPTMAX" in banner(public))
                    assert shown(public) == certificate, "another one than Postfix's"
                    with smtplib.SMTP("127.0.0.1", public, local_hostname="client.example", timeout=PATIENCE) as client:
                        if "require" in block:
                            client.ehlo()
                            assert client.mail("me@example.org")[0] == 530, "it has sent by TLS, and is not in the list"
                            client.starttls(context=tls_context())
                        assert client.sendmail("me@example.org", ["bob@mx.example.net"], "Subject: live\r\n\r\nhello\r\n") == {}
        finally:
            run("bash", "-c", f"kill $(cat {state}/pid) 2>/dev/null")
        assert any("User unknown" in printed and "refused" in printed for printed in seen), seen
        assert any("TLS" in printed and "2" in printed for printed in seen[-3:]), seen
        # As it was.
        assert master.read_bytes() == untouched
        wait_for("Postfix on port 25", lambda: "ETRN" in banner(public) and "LIMITS" not in banner(public))
        with smtplib.SMTP("127.0.0.1", public, local_hostname="client.example", timeout=PATIENCE) as client:
            assert client.sendmail("me@example.org", ["bob@mx.example.net"], "Subject: back\r\n\r\nhello\r\n") == {}
        # In plaintext, and by TLS where it is required.
        subjects = sorted(re.search(rb"^Subject: ([^\r\n]*)", text, re.M)[1] for _, text in dovecot.mails("bob", 4))
        assert subjects == [b"back", b"hello", b"live", b"live"], subjects


@test
def the_example_for_haproxy_is_one():
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        [example] = blocks("haproxy")
        file.write(example)
        file.flush()
        succeed("haproxy", "-c", "-f", file.name)


@test
def the_settings_shown_can_be():
    for block in blocks("toml"):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('hostname = "mx.example.net"\ndeliver = "smtp://127.0.0.1:10025"\nannounce = "xclient"\n' + block)
            file.flush()
            succeed(binary(), "check-config", file.name)


@test
def a_socket_of_systemds_starts_it():
    """As systemd itself does, which listens until somebody connects."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        serve = [binary(), "serve", "--listen", "systemd:mx", "--domain", "mx.example.net", "--tls", "off", "--deliver", f"maildir:{folder}/mail"]
        activate = subprocess.Popen(["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=mx", *serve],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            assert b"Listening on" in activate.stderr.readline()
            for _ in range(2):
                with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE) as client:
                    assert client.sendmail("me@example.org", ["bob@mx.example.net"], "Subject: x\r\n\r\nhello\r\n") == {}
            assert len(list(pathlib.Path(folder, "mail/new").iterdir())) == 2
        finally:
            # It has become the server.
            activate.terminate()
            assert activate.wait(PATIENCE) == 0


if __name__ == "__main__":
    main()
