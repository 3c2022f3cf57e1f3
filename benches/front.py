#!/usr/bin/env python3
"""What a front costs: smtp-sink alone, and behind smtp-smol serve, nginx's mail proxy, and a Postfix that relays.

    python3 benches/front.py target/release/smtp-smol [ROUNDS]
    python3 benches/front.py target/release/smtp-smol idle

As root, on Debian with postfix, nginx and libnginx-mod-mail. CPU is user and system time of the processes in front, beside
that of smtp-sink, by the operating system's account, for 4 KiB messages over 10 connections. Latency is that of one message
after the other on one connection, from MAIL to the last answer. Medians of the rounds, all servers in turn in each.
With `idle`: the memory of a connection that has said EHLO and waits, before a next hop and without one, in plaintext and within TLS.
"""

import contextlib
import http.server
import os
import pathlib
import pwd
import resource
import shutil
import signal
import smtplib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci/interop"))
os.environ["PATH"] += ":/usr/sbin"
from harness import free_port  # noqa: E402
from hop import Hop  # noqa: E402
from postfix import Postfix  # noqa: E402

MESSAGES, ONE_BY_ONE = 4_000, 300
TICKS = os.sysconf("SC_CLK_TCK")
TEXT = b"Subject: load\r\n\r\n" + (b"x" * 70 + b"\r\n") * 56


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as client:
        return client.recv(100).startswith(b"220")
    return False


def wait_until(port):
    for _ in range(200):
        if answers(port):
            return
        time.sleep(0.05)
    raise SystemExit(f"nobody answers on port {port}")


def family(pid):
    """A process and those that it has started."""
    everyone = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    parents = {}
    for each in everyone:
        with contextlib.suppress(OSError):
            parents[each] = int(pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()[1])
    found = {pid}
    while more := {each for each, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu(pid):
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            # Those that have ended and were waited for count with their parent.
            total += sum(int(fields[at]) for at in (11, 12, 13, 14))
    return total / TICKS


@contextlib.contextmanager
def program(*command, port):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(port)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def smtp_smol(binary, sink, folder):
    port = free_port()
    with program(binary, "serve", "--listen", f"127.0.0.1:{port}", "--tls", "off", "--state", str(folder), "--hostname",
                 "front.example", "--deliver", f"smtp://127.0.0.1:{sink}", "--max-connections", "12000", port=port) as pid:
        yield port, pid


@contextlib.contextmanager
def nginx(sink, folder):
    class Answer(http.server.BaseHTTPRequestHandler):
        """Asked once a connection where to go."""

        def do_GET(self):
            self.send_response(200)
            for name, value in (("Auth-Status", "OK"), ("Auth-Server", "127.0.0.1"), ("Auth-Port", str(sink))):
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    asked = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=asked.serve_forever, daemon=True).start()
    port = free_port()
    (folder / "nginx.conf").write_text(f"""
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
worker_processes 2;
error_log {folder}/nginx.log;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
mail {{
    server_name front.example;
    auth_http 127.0.0.1:{asked.server_port}/;
    server {{
        listen 127.0.0.1:{port};
        protocol smtp;
        smtp_auth none;
        xclient off;
        smtp_capabilities PIPELINING 8BITMIME "SIZE 50000000";
    }}
}}
""")
    with program("nginx", "-c", str(folder / "nginx.conf"), port=port) as pid:
        yield port, pid
    asked.shutdown()


@contextlib.contextmanager
def postfix(sink, _):
    settings = f"""
myhostname = front.example
mydestination =
relay_domains = load.example
relay_transport = smtp:[127.0.0.1]:{sink}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
"""
    with Postfix(settings) as server:
        yield server.port, server.master()


def load(port):
    subprocess.run(["smtp-source", "-s", "10", "-m", str(MESSAGES), "-l", "4096", "-d", "-f", "a@client.example", "-t", "b@load.example",
                    f"127.0.0.1:{port}"], check=True, timeout=300)


def latency(port):
    times = []
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=60) as client:
        client.ehlo()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ONE_BY_ONE):
            began = time.perf_counter()
            client.mail("a@client.example")
            client.rcpt("b@load.example")
            client.data(TEXT)
            times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def settle(pid):
    """Until what was accepted has gone on: a relay with a queue is not done when the client is."""
    before = -1.0
    while (now := cpu(pid)) != before:
        before = now
        time.sleep(0.5)
    return now


def once(start, folder):
    sink = free_port()
    with program("smtp-sink", "-u", "nobody", f"127.0.0.1:{sink}", "4096", port=sink) as sink_pid:
        if start is None:
            latency(sink)
            before = cpu(sink_pid)
            load(sink)
            return 0.0, (settle(sink_pid) - before) * 1e6 / MESSAGES, latency(sink)
        with start(sink, folder) as (port, pid):
            latency(port)
            before, sink_before = settle(pid), settle(sink_pid)
            load(port)
            own, sinks = settle(pid) - before, settle(sink_pid) - sink_before
            return own * 1e6 / MESSAGES, sinks * 1e6 / MESSAGES, latency(port)


def resident(pid):
    """KiB of anonymous memory."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def raise_descriptor_limit():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def idle(binary, deliver, starttls, folder):
    """KiB of a connection, of 1,500; some before them have made the process need what all share."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def ask(client, command, end=b"250 "):
        client.sendall(command)
        lines = [b"-"]
        while not lines[-1].startswith(end):
            lines = client.recv(2000).splitlines()

    def connect(at):
        client = socket.create_connection(("127.0.0.1", port), 30, source_address=(f"127.0.1.{1 + at % 100}", 0))
        client.recv(200)
        ask(client, b"EHLO idle.example\r\n")
        if starttls:
            ask(client, b"STARTTLS\r\n", b"220 ")
            client = context.wrap_socket(client)
            ask(client, b"EHLO idle.example\r\n")
        return client

    port = free_port()
    with program(binary, "serve", "--listen", f"127.0.0.1:{port}", "--state", str(folder), "--hostname", "front.example",
                 "--deliver", deliver, "--max-connections", "12000", port=port) as pid:
        for client in [connect(at) for at in range(200)]:
            client.close()
        first = [connect(at) for at in range(300)]
        before = resident(pid)
        more = [connect(at) for at in range(1_500)]
        each = (resident(pid) - before) / len(more)
        for client in first + more:
            client.close()
        return each


def all_idle(binary):
    raise_descriptor_limit()
    with Hop() as hop:
        for name, deliver in (("before a next hop", f"smtp://127.0.0.1:{hop.port}"), ("without one", "discard")):
            for starttls in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    each = idle(binary, deliver, starttls, folder)
                print(f"{name}, {'within TLS' if starttls else 'plaintext'}: {each:.2f} KiB an idle connection")


def crowd(binary, folder):
    """10,000 idle connections and 200 busy ones through one front."""
    raise_descriptor_limit()
    sink, idle = free_port(), []
    with (program("smtp-sink", "-u", "nobody", "-m", "1000", f"127.0.0.1:{sink}", "4096", port=sink),
          smtp_smol(binary, sink, folder) as (port, pid)):
        load(port)
        before = resident(pid)
        for at in range(10_000):
            client = socket.create_connection(("127.0.0.1", port), 30, source_address=(f"127.0.1.{1 + at % 100}", 0))
            client.recv(200)
            client.sendall(b"EHLO idle.example\r\n")
            client.recv(500)
            idle.append(client)
        each = (resident(pid) - before) / len(idle)
        began = time.monotonic()
        subprocess.run(["smtp-source", "-s", "200", "-m", "4000", "-l", "4096", "-d", "-f", "a@client.example", "-t", "b@load.example",
                        f"127.0.0.1:{port}"], check=True, timeout=300)
        took = time.monotonic() - began
        idle[0].sendall(b"NOOP\r\n")
        assert idle[0].recv(100).startswith(b"250"), "an idle connection is gone"
        print(f"10,000 idle connections: {each:.1f} KiB each; 4,000 messages over 200 others meanwhile: {4000 / took:.0f} a second")
        for client in idle:
            client.close()


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    if sys.argv[2:] == ["idle"]:
        all_idle(binary)
        return
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    servers = {"smtp-sink alone": None, "smtp-smol serve": lambda sink, folder: smtp_smol(binary, sink, folder), "nginx": nginx,
               "Postfix": postfix}
    figures = {name: [] for name in servers}
    for _ in range(rounds):
        for name, start in servers.items():
            folder = pathlib.Path(tempfile.mkdtemp(prefix="front-"))
            os.chmod(folder, 0o755)
            try:
                figures[name].append(once(start, folder))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    print(f"{'':18}{'own CPU, us':>14}{'of smtp-sink':>14}{'latency, ms':>14}   (medians of {rounds}; a message of 4 KiB)")
    for name, measured in figures.items():
        print(f"{name:18}" + "".join(f"{statistics.median(column):14.2f}" for column in zip(*measured)))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="front-"))
    try:
        crowd(binary, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    assert pwd.getpwnam("postfix")
    main()
