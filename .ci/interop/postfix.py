"""A Postfix that lives for one test: as root, in a folder and on ports of its own; nothing of the system's is touched."""

import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import free_port, run, wait_for

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
config_directory = {folder}/etc
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
"""

MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
postlog   unix-dgram n - n - 1 postlogd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
local     unix - n n - - local
virtual   unix - n n - - virtual
lmtp      unix - - n - - lmtp
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
tlsmgr    unix - - n 1000? 1 tlsmgr
"""


class Postfix:
    """With these settings beside those above; `{folder}`, `{uid}` and `{gid}` in them stand for its own. `services` are lines
    of master.cf, of which `{other}` is a second port."""

    def __init__(self, settings, services=""):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postfix-"))
        os.chmod(self.folder, 0o755)
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir()
        user = pwd.getpwnam("postfix")
        nobody = pwd.getpwnam("nobody")
        os.chown(self.folder / "data", user.pw_uid, user.pw_gid)
        os.chown(self.folder / "mail", nobody.pw_uid, nobody.pw_gid)
        self.port, self.other = free_port(), free_port()
        values = dict(folder=self.folder, port=self.port, other=self.other, uid=nobody.pw_uid, gid=nobody.pw_gid)
        (self.folder / "etc/main.cf").write_text((MAIN_CF + settings).format(**values))
        (self.folder / "etc/master.cf").write_text((MASTER_CF + services).format(**values))
        self.log = self.folder / "mail.log"
        # What looks through the queue after a crash is no process of root's.
        self.log.touch()
        self.log.chmod(0o666)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, failure, *_):
        run("postfix", "-c", str(self.folder / "etc"), "stop", timeout=60)
        if failure is not None and self.log.exists():
            print("    Postfix's last words:", *self.log.read_text().splitlines()[-25:], sep="\n      ")
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, what):
        # What it starts keeps its standard error: not a pipe, which would never end.
        said = self.folder / "said"
        with said.open("wb") as out:
            done = subprocess.run(["postfix", "-c", str(self.folder / "etc"), what], stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out, timeout=60)
        log = "\n".join(self.log.read_text().splitlines()[-20:]) if self.log.exists() else ""
        assert done.returncode == 0, f"postfix {what} exited {done.returncode}\n{said.read_text()}\n{log}"

    def master(self):
        """The process id of its master, whose group are all of its processes."""
        return int((self.folder / "queue/pid/master.pid").read_text())

    def kill(self):
        """All of it at once, without a word."""
        os.killpg(self.master(), signal.SIGKILL)
        wait_for("Postfix to be gone", lambda: not self._listens())

    def start(self):
        # Its own check looks through the queue, in which those that were killed may not have come to rest.
        for left in (7, 6, 5, 4, 3, 2, 1, 0):
            try:
                self.command("start")
                break
            except AssertionError:
                if not left:
                    raise
                time.sleep(1)
        wait_for("Postfix to listen", self._listens)

    def _listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
