"""The founding question over sockets: ledgers, rehearsals and classes of client certificates, counted exactly."""

import collections
import fcntl
import json
import os
import pty
import re
import signal
import smtplib
import socket
import subprocess
import tempfile
import termios

from harness import PATIENCE, Server, binary, run, succeed, test, tls_context, wait_for
from postfix import Postfix

TO = "bob@mx.example.net"
TEXT = b"Subject: x\r\n\r\nhello\r\n"


# Mail that is handed to it goes to the server under test. It tries again when it is told to.
NULL_CLIENT = """
myhostname = out.client.example
mydestination =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:PORT
smtp_dns_support_level = disabled
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_tls_security_level = LEVEL
smtp_tls_loglevel = 1
"""


class NullClient(Postfix):
    def __init__(self, server, level):
        super().__init__(NULL_CLIENT.replace("PORT", str(server.port)).replace("LEVEL", level))

    def send(self, sender):
        succeed("swaks", "--server", f"127.0.0.1:{self.port}", "--from", sender, "--to", TO)

    def logged(self, words, count=1):
        wait_for(f"{count} times {words} in Postfix's log", lambda: self.log.read_text().count(words) == count)

    def flush_until_sent(self, count):
        def sent():
            self.command("flush")
            return self.log.read_text().count("status=sent") == count
        wait_for(f"{count} messages to be sent", sent)


def audit(server):
    """What `audit` makes of the ledger: of wanted mail under each policy how much would be lost, of how much."""
    answer = json.loads(succeed(binary(), "audit", "--json", "--internal", str(server.ledger_file)))["inbound"]
    wanted = {part["policy"]: part["wanted"] for part in answer["what_if"]}
    answer["lost"] = {policy: (part["lost"]["messages"], part["of"]["messages"]) for policy, part in wanted.items()}
    return answer


def client(server, starttls=False, **tls):
    connection = smtplib.SMTP("127.0.0.1", server.port, local_hostname="mail.client.example", timeout=PATIENCE)
    if starttls:
        context = tls_context()
        if tls:
            context.load_cert_chain(**tls)
        connection.starttls(context=context)
    return connection


def send(server, sender, recipient=TO, text=TEXT, **options):
    """Gives the reply to what was refused, or None."""
    connection = client(server, **options)
    try:
        connection.sendmail(sender, recipient, text)
    except smtplib.SMTPRecipientsRefused as refused:
        [reply] = refused.recipients.values()
        return reply
    finally:
        connection.close()
    return None


def report(server, *lines):
    """Asks the running server for its report, and waits until these are in it."""
    before = len(server.err)
    server.process.send_signal(signal.SIGUSR1)
    for line in lines:
        wait_for(f"{line!r} in the report", lambda: any(line in printed for printed in server.err[before:]))


def last_report(server):
    """What the server prints at its end."""
    server.stop()
    [start] = [number for number, line in enumerate(server.err) if line.startswith("since ")][-1:]
    return "\n".join(server.err[start:])


@test
def rehearsal_asks_once_remembers_after_kill_9_and_refuses_nobody():
    with Server("--tls", "rehearse=4s", "--rehearse-except", "friend.example") as server:
        # The exempt, and those with TLS, are not asked.
        assert send(server, "a@mail.friend.example") is None
        assert send(server, "a@tls.example", starttls=True) is None
        # In plaintext: asked, with the reason, and at once again.
        for _ in range(2):
            code, words = send(server, "a@plain.example")
            assert code == 450 and words.startswith(b"4.7.0") and b"TLS" in words, (code, words)
        assert send(server, "a@adapts.example")[0] == 450
        assert send(server, "a@gone.example")[0] == 450
        # A thread of its own writes the ledger: a line may be on its way when the reply has come.
        wait_for("its line", lambda: any(record["sender_domain"] == "gone.example" for record in server.ledger()))
        server.restart(signal.SIGKILL)
        # With TLS: accepted at once. In plaintext: after the delay, and from then on.
        assert send(server, "a@adapts.example", starttls=True) is None
        wait_for("the delay to be over", lambda: send(server, "a@plain.example") is None)
        assert send(server, "a@plain.example") is None
        server.stop()
        server.mails(6 - 1)
        told = collections.Counter(
            (record["sender_domain"], record["outcome"], record.get("rehearsal")) for record in server.ledger())
        del told["plain.example", "deferred", "asked"]  # as often as it was tried
        assert told == {
            ("mail.friend.example", "accepted", None): 1,
            ("tls.example", "accepted", None): 1,
            ("adapts.example", "deferred", "asked"): 1,
            ("gone.example", "deferred", "asked"): 1,
            ("adapts.example", "accepted", "came-with-tls"): 1,
            ("plain.example", "accepted", "came-in-plaintext"): 1,
            ("plain.example", "accepted", None): 1,
        }, told


@test
def rehearsal_asks_for_each_recipient():
    """One recipient is new, the other has been asked before: the message goes to one, and comes again for the other."""
    with Server("--tls", "rehearse=4s") as server:
        assert send(server, "a@plain.example", "one@mx.example.net")[0] == 450
        wait_for("the delay to be over", lambda: send(server, "a@plain.example", "one@mx.example.net") is None)
        connection = client(server)
        refused = connection.sendmail("a@plain.example", ["one@mx.example.net", "two@mx.example.net"], TEXT)
        assert list(refused) == ["two@mx.example.net"] and refused["two@mx.example.net"][0] == 450, refused
        connection.quit()
        last = last_report(server)
        accepted, deferred = server.ledger()[-2:]
        assert (accepted["outcome"], accepted["recipients"], accepted.get("rehearsal")) == ("accepted", 1, None)
        assert (deferred["outcome"], deferred["recipients"], deferred["rehearsal"]) == ("deferred", 1, "asked")
        assert accepted["envelope"] != deferred["envelope"]
        assert "of 2 asked to come again, 0 came with TLS, 1 in plaintext, 1 not (yet)" in last, last


@test
def wanted_and_unwanted_mail_and_end_to_end_protection_are_told_apart():
    pgp = b"Content-Type: multipart/encrypted;\r\n protocol=\"application/pgp-encrypted\"\r\n\r\nx\r\n"
    with Server("--unwanted-if", "X-Spam-Flag=YES") as server:
        for number in range(7):
            send(server, f"a@s{number}.example", text=b"X-Spam-Flag: YES\r\n" + TEXT)
        for number in range(5):
            send(server, f"a@tls{number}.example", starttls=True)
        send(server, "a@pgp.example", text=pgp)
        send(server, "a@plain.example")
        lines = ["Of 7 wanted messages ", ", 2 (29 %, 95 % interval ", " from 2 senders came without TLS.", "  unwanted: 7 of 7 without TLS",
                 "of 2 that came in plaintext 1 were encrypted from end to end", "  requiring tls: 2 of 7 lost",
                 "  pgp.example: 1 of 1 without TLS"]
        report(server, *lines)
        last = last_report(server)
        assert all(line in last for line in lines), last
        kinds = collections.Counter((record["verdict"], record["end_to_end"]) for record in server.ledger())
        assert kinds == {("unwanted", "none"): 7, ("wanted", "none"): 6, ("wanted", "pgp-mime"): 1}, kinds


@test
def the_ledger_is_rotated_and_a_line_cut_by_a_crash_costs_itself_alone():
    with Server() as server:
        send(server, "a@one.example")
        wait_for("the line", lambda: server.ledger_file.stat().st_size)
        old = server.ledger_file.with_suffix(".1")
        server.ledger_file.rename(old)
        server.process.send_signal(signal.SIGHUP)
        wait_for("the new file", server.ledger_file.exists)
        send(server, "a@two.example")
        wait_for("the line", lambda: server.ledger_file.stat().st_size)
        server.process.kill()
        server.process.wait(PATIENCE)
        whole = server.ledger_file.read_bytes()
        server.ledger_file.write_bytes(whole + whole[: len(whole) // 2])
        server.restart(signal.SIGKILL)
        send(server, "a@three.example")
        server.stop()
        assert [json.loads(line)["sender_domain"] for line in old.read_bytes().splitlines()] == ["one.example"]
        first, cut, last = server.ledger_file.read_bytes().splitlines()
        assert (json.loads(first)["sender_domain"], json.loads(last)["sender_domain"]) == ("two.example", "three.example")
        assert cut == whole[: len(whole) // 2]


@test
def client_certificates_are_sorted_and_never_required():
    with Server() as made:
        folder = made.folder
        openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]

        def certificate(name, *options):
            succeed(*openssl, "-subj", f"/CN={name}", "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.crt",
                    *options)
            return {"certfile": f"{folder}/{name}.crt", "keyfile": f"{folder}/{name}.key"}

        certificate("authority")
        certificate("stranger")
        usage = ("-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:FALSE")
        issued = {name: certificate(name, *usage, "-CA", f"{folder}/{by}.crt", "-CAkey", f"{folder}/{by}.key")
                  for name, by in (("known", "authority"), ("unknown", "stranger"))}
        itself = certificate("itself")
        with Server("--client-ca", f"{folder}/authority.crt") as server:
            for sender, tls in (("none", {}), ("itself", itself), ("known", issued["known"]), ("unknown", issued["unknown"])):
                assert send(server, f"a@{sender}.example", starttls=True, **tls) is None
            server.mails(4)
            last = last_report(server)
            classes = {record["sender_domain"]: record["tls"]["client_certificate"] for record in server.ledger()}
            assert classes == {"none.example": "none", "itself.example": "self-signed", "known.example": "verified",
                               "unknown.example": "untrusted"}, classes
            assert "requiring certificate: 1 of 4 lost" in last, last
            assert "requiring verified-certificate: 3 of 4 lost" in last, last


@test
def mail_of_every_program_in_each_tls_mode_is_counted_exactly():
    with Server("--implicit-tls", "127.0.0.1:0") as server:
        tls_first = re.search(r"127\.0\.0\.1:(\d+) as \S+, TLS first", server.printed())[1]
        swaks = ["swaks", "--server", "127.0.0.1", "--port", str(server.port), "--helo", "mail.swaks.example", "--to", TO]
        succeed(*swaks, "--from", "a@swaks.example")
        for protocol in ("tlsv1_2", "tlsv1_3"):
            succeed(*swaks, "--from", "a@swaks.example", "--tls", "--tls-protocol", protocol)
        succeed("swaks", "--server", "127.0.0.1", "--port", tls_first, "--helo", "mail.swaks.example", "--to", TO, "--from",
                "a@swaks.example", "--tls-on-connect")
        succeed("smtp-source", "-m", "20", "-s", "4", "-f", "a@source.example", "-t", TO, server.address)
        # A Postfix that never uses TLS, one that does where it is offered, and one that insists on it.
        for level in ("none", "may", "encrypt"):
            with NullClient(server, level) as postfix:
                for _ in range(3):
                    postfix.send(f"a@{level}.postfix.example")
                postfix.send(f"a@{level}.example")
                postfix.logged("status=sent", 4)
        # A client that knows no cipher of the server's, and comes back in plaintext: one message.
        run("openssl", "s_client", "-connect", server.address, "-starttls", "smtp", "-tls1_2", "-cipher",
            "PSK-AES128-CBC-SHA256", "-psk", "00")
        wait_for("the line of it", lambda: "handshake-failed" in server.ledger_file.read_text())
        succeed(*swaks, "--from", "a@falls-back.example")
        succeed(*swaks, "--from", "a@tls.example", "--tls")
        server.mails(38)
        last = last_report(server)
        assert len(server.ledger()) == 39, "a line an attempt"
        for line in ("Of 38 wanted messages ", ", 26 (68 %, 95 % interval ", " from 5 senders came without TLS.", "requiring tls1.2: 26 of 38 lost",
                     "requiring tls1.3: 27 of 38 lost", "requiring certificate: 38 of 38 lost",
                     "  source.example: 20 of 20 without TLS", "  swaks.example: 1 of 4 without TLS",
                     "  postfix.example: 3 of 9 without TLS", "  none.example: 1 of 1 without TLS",
                     "  falls-back.example: 1 of 1 without TLS"):
            assert line in last, last
        # And the same from the ledger, afterwards.
        told = audit(server)
        assert told["lost"] == {"tls": (26, 38), "tls1.2": (26, 38), "tls1.3": (27, 38), "certificate": (38, 38),
                                "verified-certificate": (38, 38)}, told
        wanted = told["mail"][0]
        assert (wanted["verdict"], wanted["tls"], wanted["plaintext"], wanted["after_failure"]) == ("wanted", 12, 26, 1), told
        assert [mail["failed"] for mail in told["mail"]] == [0, 0, 0], told
        lost = {sender["sender"]: (sender["lost"], sender["of"]) for sender in told["heaviest"]}
        assert lost == {"source.example": (20, 20), "postfix.example": (3, 9), "none.example": (1, 1), "swaks.example": (1, 4),
                        "falls-back.example": (1, 1)}, lost


@test
def the_queue_of_a_postfix_comes_through_a_rehearsal_however_it_comes_back():
    with Server("--tls", "rehearse=4s") as server, NullClient(server, "none") as postfix:
        # It comes back in plaintext, too soon at first.
        postfix.send("a@plain.example")
        postfix.logged("status=deferred")
        [line] = [line for line in postfix.log.read_text().splitlines() if "status=deferred" in line]
        assert "450 4.7.0" in line and "TLS" in line and "try again" in line, line
        postfix.flush_until_sent(1)
        # It has learnt TLS meanwhile.
        postfix.send("a@adapts.example")
        wait_for("it to be asked", lambda: any('"adapts.example"' in line and "asked" in line
                                               for line in server.ledger_file.read_text().splitlines()))
        succeed("postconf", "-c", str(postfix.folder / "etc"), "-e", "smtp_tls_security_level = may")
        postfix.command("reload")
        postfix.flush_until_sent(2)
        assert {mail.sender for mail in server.mails(2)} == {"a@plain.example", "a@adapts.example"}
        last = last_report(server)
        assert "of 2 asked to come again, 1 came with TLS, 1 in plaintext, 0 not (yet)" in last, last
        assert "Of 2 wanted messages " in last and ", 1 (50 %, 95 % interval " in last, last
        told = audit(server)
        assert told["lost"]["tls"] == (1, 2), told
        assert told["rehearsal"] == {"with_tls": 1, "in_plaintext": 1, "not_again": 0}, told


@test
def sighup_opens_the_ledger_and_reads_the_certificate_anew_and_ends_nothing():
    with Server(ledger=False) as server:
        server.process.send_signal(signal.SIGHUP)
        send(server, "a@still-there.example")
        server.mails(1)

    def shown(port):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
            plain.recv(1000)
            plain.sendall(b"EHLO client.example\r\n")
            plain.recv(10000)
            plain.sendall(b"STARTTLS\r\n")
            plain.recv(1000)
            with tls_context().wrap_socket(plain) as encrypted:
                return encrypted.getpeercert(binary_form=True)

    with tempfile.TemporaryDirectory() as folder:
        def renew():
            succeed("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=mx.example.net", "-keyout", f"{folder}/key", "-out", f"{folder}/cert")
        renew()
        with Server("--cert", f"{folder}/cert", "--key", f"{folder}/key") as server:
            first = shown(server.port)
            renew()
            assert shown(server.port) == first
            server.process.send_signal(signal.SIGHUP)
            wait_for("the new certificate", lambda: shown(server.port) != first)


@test
def a_terminal_that_is_closed_takes_no_mail_with_it():
    """The server leads a session of its own on a terminal, which goes: SIGHUP, and neither stdout nor stderr any more."""
    ours, its = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [binary(), "serve", "--listen", "127.0.0.1:0", "--hostname", "mx.example.net", "--deliver", f"maildir:{folder}/mail",
             "--state", folder, "--log", "info"],
            stdin=its, stdout=its, stderr=its, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(its, termios.TIOCSCTTY, 0))
        try:
            os.close(its)
            printed = b""
            while not (found := re.search(rb"listening on 127\.0\.0\.1:(\d+)", printed)):
                printed += os.read(ours, 4096)
            os.close(ours)
            for number in range(1, 4):
                with smtplib.SMTP("127.0.0.1", int(found[1]), "mail.client.example", PATIENCE) as connection:
                    assert connection.docmd("XNONSENSE")[0] == 500
                    connection.sendmail("a@client.example", TO, TEXT)
                process.send_signal(signal.SIGUSR1)
                assert len(os.listdir(f"{folder}/mail/new")) == number
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()


@test
def a_full_disk_under_the_ledger_stops_no_mail_and_is_said_once():
    with Server("--ledger", "/dev/full", ledger=False) as server:
        for number in range(3):
            assert send(server, f"a@s{number}.example") is None
        server.mails(3)
        last = last_report(server)
        assert "Of 3 wanted messages " in last and ", 3 (100 %" in last, last
        assert sum("the ledger cannot be written" in line for line in server.err) == 1, server.err


@test
def a_ledger_written_by_somebody_else_is_read_with_care():
    with Server() as server:
        assert send(server, "a@good.example") is None
        server.stop()
        [good] = server.ledger_file.read_text().splitlines()
        hostile = [dict(json.loads(good), sender_domain=name) for name in
                   ("\x1b[2Jx.example", "a\nOf 1 wanted messages", "\u202emoc.example", "a" * 100_000, "\0")]
        with server.ledger_file.open("ab") as ledger:
            for line in hostile:
                ledger.write(json.dumps(line).encode() + b"\n")
            ledger.write(b"[" * 100_000 + b"\n" + b"\xff\xfe\0\n" + b'{"outcome":' + b"9" * 1000 + b"}\n" + good.encode()[:50])
        code, printed = run(binary(), "audit", "--internal", str(server.ledger_file))
        assert code == 0 and "\x1b" not in printed and "\u202e" not in printed, printed
        answer = json.loads(succeed(binary(), "audit", "--json", "--internal", str(server.ledger_file)))
        assert answer["inbound"]["what_if"][0]["wanted"]["of"]["messages"] == 1, answer
        assert answer["not_counted"]["broken"] == len(hostile) + 4, answer["not_counted"]


@test
def with_tls_off_or_required_nothing_is_guessed():
    with Server("--tls", "off") as server:
        send(server, "a@plain.example")
        assert "no wanted message" in last_report(server)
    with Server("--tls", "require") as server:
        connection = client(server)
        assert connection.mail("a@plain.example")[0] == 530
        connection.quit()
        send(server, "a@tls.example", starttls=True)
        told = last_report(server)
        # The one that was turned away came back with TLS, as far as its network shows.
        assert "Of 1 wanted message " in told and ", none came without TLS" in told, told
        assert [record["outcome"] for record in server.ledger()] == ["tls-required", "accepted"]
