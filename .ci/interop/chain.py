"""What stands before and behind `serve` in the tests of front.py: HAProxy, Postfix, Dovecot; each for one test, as root."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import PATIENCE, Server, free_port, wait_for
from postfix import Postfix

DOMAIN, USERS = "mx.example.net", ("alice", "bob", "carol", "full")
# What a Postfix has that takes mail for a domain and hands it to Dovecot. Its own machine may relay by it.
MAIL_SERVER = """
myhostname = mx.example.net
mydestination =
mynetworks = 127.0.0.1/32
virtual_mailbox_domains = mx.example.net, utf8.example
virtual_mailbox_maps = inline:{{ {{alice@mx.example.net=x}}, {{bob@mx.example.net=x}}, {{carol@mx.example.net=x}}, {{bøb@utf8.example=utf8/}} }}
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
virtual_transport = lmtp:unix:DOVECOT
transport_maps = inline:{{ utf8.example=virtual: }}
message_size_limit = 30000000
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_authorized_xforward_hosts = 127.0.0.1
smtpd_client_connection_count_limit = 0
local_header_rewrite_clients =
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
"""
BEHIND_PROXY = "127.0.0.1:{other} inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy\n"


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Program:
    """A program that stays in the foreground, in a process group of its own."""

    def __init__(self, *command, ready):
        self.command, self.ready = command, ready
        self.process = None

    def start(self):
        # After it was killed, what it had begun may still be in its way.
        for left in (4, 3, 2, 1, 0):
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                wait_for(f"{self.command[0]} to listen", self._up)
                return
            except AssertionError:
                if not left or self.process.poll() is None:
                    raise
            time.sleep(1)

    def _up(self):
        assert self.process.poll() is None, f"{self.command[0]} exited {self.process.returncode}"
        return self.ready()

    def signal(self, what):
        os.killpg(self.process.pid, what)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()


class Dovecot(Program):
    """LMTP on a Unix socket, into Maildirs; the user `full` has no room."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.folder.chmod(0o755)
        self.socket, nobody = self.folder / "lmtp", pwd.getpwnam("nobody")
        (self.folder / "users").write_text("".join(
            f"{user}::{nobody.pw_uid}:{nobody.pw_gid}::{self.folder}/mail/{user}::"
            f"{'userdb_quota_rule=*:storage=1B' if user == 'full' else ''}\n" for user in USERS))
        (self.folder / "mail").mkdir()
        os.chown(self.folder / "mail", nobody.pw_uid, nobody.pw_gid)
        (self.folder / "dovecot.conf").write_text(f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/dovecot.log
protocols = lmtp
ssl = no
listen = 127.0.0.1
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_plugins = quota
mail_save_crlf = yes
recipient_delimiter =
auth_username_format = %n
passdb {{
  driver = passwd-file
  args = username_format=%n {self.folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {self.folder}/users
}}
plugin {{
  quota = maildir:User quota
  quota_grace = 0
}}
service lmtp {{
  process_limit = 20
  unix_listener {self.socket} {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
""")
        super().__init__("dovecot", "-F", "-c", str(self.folder / "dovecot.conf"), ready=self._ready)

    def _ready(self):
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.settimeout(2)
                client.connect(str(self.socket))
                return client.recv(100).startswith(b"220")
            except OSError:
                return False

    def kill(self):
        super().kill()
        (self.folder / "run/master.pid").unlink(missing_ok=True)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, failure, *_):
        self.stop()
        log = self.folder / "dovecot.log"
        if failure is not None and log.exists():
            print("    Dovecot's last words:", *log.read_text().splitlines()[-15:], sep="\n      ")
        shutil.rmtree(self.folder, ignore_errors=True)

    def paths(self, user):
        """The files in the Maildir of a user."""
        new = self.folder / "mail" / user / "Maildir/new"
        return sorted(new.iterdir()) if new.is_dir() else []

    def files(self, user):
        """The messages of a user, as they are stored."""
        return [path.read_bytes() for path in self.paths(user)]

    def mails(self, user, count):
        """The messages, of which there are so many: the fields on top, and the text below them."""
        wait_for(f"{count} messages for {user}", lambda: len(self.files(user)) >= count, timeout=60)
        mails = [taken_apart(file) for file in self.files(user)]
        assert len(mails) == count, f"{len(mails)} messages for {user}, not {count}"
        return mails


def taken_apart(stored):
    """The trace fields that servers have put on top, and what was sent."""
    field = re.compile(rb"(?:Return-Path|X-Original-To|Delivered-To|Received):[^\n]*\n(?:[ \t][^\n]*\n)*")
    fields, at = [], 0
    while found := field.match(stored, at):
        fields.append(" ".join(found[0].decode().split()))
        at = found.end()
    return fields, stored[at:].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class Haproxy(Program):
    """In TCP mode, with PROXY headers of version 2, before one or more fronts."""

    def __init__(self, *ports):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="haproxy-"))
        self.port = free_port()
        servers = "".join(f"    server front{port} 127.0.0.1:{port} send-proxy-v2 check inter 200ms fall 1 rise 1 "
                          f"check-send-proxy\n" for port in ports)
        (self.folder / "haproxy.cfg").write_text(f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    retries 3
    option redispatch
frontend smtp
    bind 127.0.0.1:{self.port}
    default_backend fronts
backend fronts
    balance roundrobin
{servers}""")
        super().__init__("haproxy", "-db", "-f", str(self.folder / "haproxy.cfg"), ready=lambda: answers(self.port))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def front(deliver, *options, behind_proxy=False, **more):
    """`serve` before a next hop; its certificate is its own work."""
    listen = ("--proxy", "127.0.0.1:0", "--proxy-from", "127.0.0.1") if behind_proxy else ("--listen", "127.0.0.1:0")
    return Server(*options, listen=listen, deliver=deliver, **more)


def mail_server(dovecot, more="", services=""):
    return Postfix(MAIL_SERVER.replace("DOVECOT", str(dovecot.socket)) + more, services)
