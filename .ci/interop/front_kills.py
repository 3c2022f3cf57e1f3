"""The links of a chain around `serve` under load: restarted, stopped, and killed by kill -9, each in turn. What was acknowledged is
there, and nothing twice that a missing reply does not explain."""

import os
import random
import re
import signal
import smtplib
import threading
import time

from chain import Dovecot, Haproxy, front, mail_server
from front_faults import BOB, FROM, client
from harness import PATIENCE, test, wait_for

ROUNDS = int(os.environ.get("FRONT_ROUNDS", "2"))  # of killing each link


class Load:
    """Clients that do as a mail queue does: each message is sent until it is acknowledged. Knows how often it may lie there."""

    def __init__(self, port, lanes=4):
        self.port, self.going, self.lock = port, True, threading.Lock()
        self.acknowledged, self.uncertain = set(), {}
        self.lanes = [threading.Thread(target=self._lane, args=(lane,), daemon=True) for lane in range(lanes)]
        for lane in self.lanes:
            lane.start()

    def _lane(self, lane):
        number, smtp = 0, None
        while self.going:
            number += 1
            name = f"m{lane}x{number}y"
            while self.going:
                sent = False
                try:
                    smtp = smtp or client(self.port)
                    if smtp.mail(FROM)[0] == 250 and smtp.rcpt(BOB)[0] == 250:
                        smtp.putcmd("data")
                        if smtp.getreply()[0] == 354:
                            sent = True
                            smtp.send(f"Subject: {name}\r\n\r\n{'x' * 50}\r\n".encode() * 1 + b"line\r\n" * 500 + b".\r\n")
                            code, words = smtp.getreply()
                            if code == 250:
                                with self.lock:
                                    self.acknowledged.add(name)
                                time.sleep(0.02)  # or the queue behind it grows for as long as this runs
                                break
                            # "It did not answer": the front cannot know, and says so.
                            sent = words.startswith(b"4.4.2")
                    self._unsure(name, sent)
                    smtp.rset()
                except (OSError, smtplib.SMTPException, ValueError):
                    self._unsure(name, sent)
                    if smtp:
                        smtp.close()
                    smtp = None
                time.sleep(0.02)

    def _unsure(self, name, sent):
        with self.lock:
            self.uncertain[name] = self.uncertain.get(name, 0) + sent

    def stop(self):
        self.going = False
        for lane in self.lanes:
            lane.join(PATIENCE)
            assert not lane.is_alive(), "a client hangs"

    def must_be_stored(self, dovecot, postfix):
        """Everything acknowledged is there, and nothing more often than the replies that were missing explain. What the mail
        server itself delivers twice, after it was killed, has the same number there."""
        read, found = set(), {}

        def stored():
            # Of a message that a delivery agent still had open when its server failed, Postfix says "skipped, still being delivered",
            # and leaves it in its queue until something else comes.
            postfix.command("flush")
            time.sleep(0.3)
            for path in dovecot.paths("bob"):
                if path not in read:
                    read.add(path)
                    file = path.read_bytes()
                    name = re.search(rb"^Subject: (\S+)\r?$", file, re.M)[1].decode()
                    number = re.search(rb"by mx\.example\.net \(Postfix\) with \S+ id (\w+)", file)[1]
                    found.setdefault(name, set()).add(number)
            return found

        wait_for("everything acknowledged to arrive", lambda: self.acknowledged <= set(stored()), timeout=90 + 6 * ROUNDS)
        time.sleep(1)
        doubled = {name: len(numbers) for name, numbers in stored().items()
                   if len(numbers) > self.uncertain.get(name, 0) + (name in self.acknowledged)}
        assert not doubled, f"doubled: {doubled}, {self.uncertain}"
        return len(self.acknowledged), sum(map(len, stored().values())) - len(stored())


@test
def postfix_restarted_stopped_and_killed_under_load():
    with (Dovecot() as dovecot, mail_server(dovecot) as postfix,
          front(f"smtp://127.0.0.1:{postfix.port}", "--announce", "xclient", "--next-hop-wait", "2s", "--next-hop-retry", "1s") as server):
        load = Load(server.port)
        time.sleep(1)
        postfix.command("stop")
        postfix.start()
        time.sleep(1)
        os.killpg(postfix.master(), signal.SIGSTOP)

        def told():
            began = time.monotonic()
            with client(server.port) as smtp:
                return smtp.mail("other@client.example")[0], time.monotonic() - began

        # Whether it gets a connection that lay idle or a new one: it hears of it. Then it is known.
        code, took = told()
        assert code == 451 and took < 10, (code, took)
        wait_for("word that it is down", lambda: "the next hop is down" in server.printed())
        for _ in range(5):
            code, took = told()
            assert code == 451 and took < 1, (code, took)
        os.killpg(postfix.master(), signal.SIGCONT)
        time.sleep(1)
        postfix.kill()
        postfix.start()
        before_that = len(load.acknowledged)
        wait_for("mail to go through again", lambda: len(load.acknowledged) > before_that + 5)
        load.stop()
        acknowledged, twice = load.must_be_stored(dovecot, postfix)
        print(f"     {acknowledged} messages acknowledged, all there, {twice} twice")


@test
def kill_9_of_each_link_in_turn_loses_nothing():
    with (Dovecot() as dovecot, mail_server(dovecot) as postfix,
          front(f"smtp://127.0.0.1:{postfix.port}", "--announce", "xclient", "--next-hop-wait", "2s", behind_proxy=True) as one,
          front(f"smtp://127.0.0.1:{postfix.port}", "--announce", "xclient", "--next-hop-wait", "2s", behind_proxy=True) as two,
          Haproxy(one.port, two.port) as haproxy):
        # The port stays the same when it starts again.
        for server in (one, two):
            server.command[server.command.index("--proxy") + 1] = f"127.0.0.1:{server.port}"

        def haproxy_anew():
            haproxy.kill()
            haproxy.start()

        def postfix_anew():
            postfix.kill()
            postfix.start()

        def dovecot_anew():
            dovecot.kill()
            dovecot.start()

        links = (haproxy_anew, lambda: one.restart(signal.SIGKILL), postfix_anew, lambda: two.restart(signal.SIGKILL),
                 dovecot_anew)
        load = Load(haproxy.port)
        for _ in range(ROUNDS):
            for anew in links:
                time.sleep(random.uniform(0.1, 0.5))
                before_that = len(load.acknowledged)
                anew()
                wait_for("mail to go through again", lambda: len(load.acknowledged) > before_that, timeout=60)
        load.stop()
        acknowledged, twice = load.must_be_stored(dovecot, postfix)
        print(f"     {acknowledged} messages acknowledged in {ROUNDS * len(links)} kills, all there, {twice} twice")
