#!/usr/bin/env python3
"""`smtp-smol send` to mail servers that people have, and mail that such servers relay or proxy to `smtp-smol serve`.

    python .ci/programs/servers.py [WORD ...]      runs the tests whose names contain a word, or all
"""

import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop")]

import logs  # noqa: E402
from clients import BODY, FROM, NPM, OTHER, PASSWORD, TEXT, TO, authority, environment, mx, script  # noqa: E402
from harness import PATIENCE, TESTS, binary, free_port, main, succeed, wait_for  # noqa: E402

TESTS.clear()  # those of the files that this one takes from
from harness import test  # noqa: E402


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def send(port, *options, to=(TO,), text=TEXT, code=0):
    """Gives each recipient's record."""
    command = [binary(), "send", "--json", "--helo", "client.example", "--from", FROM, "--server", f"localhost:{port}",
               "--ca", str(authority().ca), *(part for name in to for part in ("--to", name)), *options, "-"]
    done = subprocess.run(command, input=text, capture_output=True, timeout=PATIENCE, env={**os.environ, **environment(), "SMTP_PASSWORD": PASSWORD})
    assert done.returncode == code, f"exit code {done.returncode}, not {code}: {done.stdout.decode()}{done.stderr.decode()}"
    return json.loads(done.stdout)["recipients"]


class Program:
    """A program that runs until the end of the block."""

    def __init__(self, *command, **options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="programs-"))
        self.command, self.options = command, options

    def __enter__(self):
        command = [str(part).replace("{folder}", str(self.folder)) for part in self.command]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        **self.options)
        return self

    def __exit__(self, failure, *_):
        self.process.terminate()
        printed = self.process.communicate(timeout=PATIENCE)[0]
        if failure is not None:
            print("    its last words:", printed.decode("utf-8", "replace")[-2000:])
        shutil.rmtree(self.folder, ignore_errors=True)


@test
def send_to_smtp_server_of_npm():
    module = NPM / "sink.mjs"
    shutil.copy(HERE / "sources/sink.mjs", module)
    with Program("node", module, "{folder}", authority().cert, authority().key, env={**os.environ, **environment()}) as sink:
        port = int(sink.process.stdout.readline())
        for count, options in enumerate((("--tls", "opportunistic"), ("--tls", "verify"), ("--tls", "verify", "--auth", "alice"))):
            records = send(port, *options, to=(TO, "nobody@mx.example.net", OTHER), code=69)
            assert [record["outcome"] for record in records] == ["accepted", "never", "accepted"], records
            kept = json.loads((sink.folder / f"{count}.json").read_text())
            assert kept == {"from": FROM, "to": [TO, OTHER], "tls": True, "user": "alice" if len(options) > 2 else None}, kept
            assert (sink.folder / str(count)).read_bytes() == TEXT


@test
def send_to_haraka():
    port = free_port()
    config = pathlib.Path(tempfile.mkdtemp(prefix="haraka-"))
    try:
        (config / "config").mkdir()
        (config / "queue").mkdir()
        shutil.copy(NPM / "node_modules/Haraka/config/connection.ini", config / "config")
        for name, text in (("smtp.ini", f"listen=127.0.0.1:{port}\nnodes=0\n"), ("me", "mx.example.net\n"),
                           ("host_list", "mx.example.net\n"), ("plugins", "tls\nrcpt_to.in_host_list\nqueue/test\n"),
                           ("tls.ini", f"key={authority().key}\ncert={authority().cert}\n"), ("loglevel", "NOTICE\n")):
            (config / "config" / name).write_text(text)
        with Program("node", NPM / "node_modules/Haraka/bin/haraka", "-c", config, cwd=NPM,
                     env={**os.environ, "TMPDIR": str(config)}) as haraka:
            wait_for("Haraka", lambda: haraka.process.poll() is not None or answers(port))
            for options in (("--tls", "never"), ("--tls", "verify")):
                records = send(port, *options, to=(TO, "x@other.example"), code=69)
                assert [record["outcome"] for record in records] == ["accepted", "never"], records
                kept = [path for path in config.glob("mail_*")]
                assert len(kept) == 1, kept
                # It puts fields of its own on top, and ends lines with LF.
                assert kept[0].read_bytes().replace(b"\r\n", b"\n").endswith(TEXT.replace(b"\r\n", b"\n")), kept[0].read_bytes()
                kept[0].unlink()
    finally:
        shutil.rmtree(config, ignore_errors=True)


RELAY = """
begin routers
on:
  driver = manualroute
  domains = example.net
  transport = away
  route_list = * 127.0.0.1::{next}
  self = send
begin transports
away:
  driver = smtp
  hosts_require_tls = {tls}
  hosts_avoid_tls = {plain}
  helo_data = client.example
  allow_localhost
"""


@test
def mail_through_exim_in_each_tls_mode():
    """It takes mail from `send`, and hands it on to `serve`: inside TLS, and in plaintext where it is told to."""
    for tls in (True, False):
        with mx("--domain", "example.net") as server, \
                logs.Server("exim4-daemon-light") as exim:
            key = exim.folder / "exim.pem"
            shutil.copy(exim.folder / "key.pem", key)
            for path in (key, exim.folder / "spool", exim.folder / "log"):
                os.chown(path, logs.USERS["Debian-exim"], logs.USERS["Debian-exim"])
            conf, program = exim.folder / "etc/exim.conf", exim.programs / "usr/sbin/exim4"
            settings = logs.EXIM.split("begin routers")[0] + RELAY
            conf.write_text(settings.format(folder=exim.folder, port=exim.port, program=program, next=server.port,
                                            tls="*" if tls else "", plain="" if tls else "*"))
            os.chmod(conf, 0o644)
            exim.start([program, "-bdf", "-C", conf])
            to = ("u@example.net", "v@example.net")
            records = send(exim.port, "--tls", "require", to=(*to, "x@other.example"), code=69)
            assert [record["outcome"] for record in records] == ["accepted", "accepted", "never"], records
            log = exim.folder / "log/mainlog"
            wait_for("the delivery", lambda: " Completed" in log.read_text())
            mail = server.mail()
            assert mail.text.endswith(b"\r\n\r\n" + BODY.encode()), mail.stored
            assert mail.delivered_to == list(to), mail.delivered_to
            assert mail.protocol == ("ESMTPS" if tls else "ESMTP"), mail.received
            server.stop()
            hops = [line["tls"]["outcome"] for line in server.ledger() if line["outcome"] == "accepted"]
            assert hops == ["used" if tls else "not-tried"], hops
            assert told(server.ledger_file) == told(server.maildir), (told(server.ledger_file), told(server.maildir))


def told(source):
    """What the audit says of wanted mail: over TLS, in plaintext, unknown."""
    report = json.loads(succeed(binary(), "audit", "--json", "--internal", str(source)))
    wanted = next(mail for mail in report["inbound"]["mail"] if mail["verdict"] == "wanted")
    return [wanted[key] for key in ("tls", "plaintext", "unknown")]


NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
events {{ worker_connections 64; }}
mail {{
  server_name mx.example.net;
  auth_http 127.0.0.1:{guide}/;
  ssl_certificate {cert}; ssl_certificate_key {key};
  smtp_capabilities 8BITMIME PIPELINING;
  server {{ listen 127.0.0.1:{front}; protocol smtp; smtp_auth none; starttls on; xclient on; }}
}}
"""


class Guide(http.server.BaseHTTPRequestHandler):
    """Says where mail goes."""

    def do_GET(self):
        self.send_response(200)
        for field in (("Auth-Status", "OK"), ("Auth-Server", "127.0.0.1"), ("Auth-Port", str(self.server.next))):
            self.send_header(*field)
        self.end_headers()

    def log_message(self, *_):
        pass


@test
def nginx_mail_proxy_says_by_xclient_who_the_client_is():
    """From a network that is trusted; the hop that counts is the client's to the proxy, of which XCLIENT tells no TLS."""
    with mx("--trust", "127.0.0.0/8") as server:
        guide = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guide)
        guide.next = server.port
        threading.Thread(target=guide.serve_forever, daemon=True).start()
        folder, front = pathlib.Path(tempfile.mkdtemp(prefix="nginx-")), free_port()
        os.chmod(folder, 0o755)
        conf = folder / "conf"
        conf.write_text(NGINX.format(folder=folder, guide=guide.server_port, front=front, cert=authority().cert,
                                     key=authority().key))
        try:
            with Program("/usr/sbin/nginx", "-c", conf, "-p", folder) as nginx:
                wait_for("nginx", lambda: nginx.process.poll() is not None or answers(front))
                script("ruby", HERE / "sources/mail.rb")(front, "plain", (), [TO])
                mail = server.mail()
                mail.must_be(TEXT, sender=FROM)
        finally:
            guide.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
        server.stop()
        record = server.ledger()[-1]
        assert (record["outcome"], record["helo"]) == ("accepted", "client.example"), record


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(authority().folder, ignore_errors=True)
