"""`smtp-smol audit` on what a real Postfix wrote: its log and its Maildir, after mail in each TLS mode. Counts are exact.

Run like interop.py. Postfix runs as root in a folder and on ports of its own; nothing of the system's is touched."""

import json
import os

from harness import PATIENCE, binary, main, run, succeed, test, wait_for
from postfix import Postfix

SETTINGS = """
myhostname = mx.example.net
mydestination = example.net
mynetworks =
local_recipient_maps =
local_transport = virtual:
virtual_mailbox_domains = example.net
virtual_mailbox_base = {folder}
virtual_mailbox_maps = static:mail/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_sender_restrictions = check_sender_access inline:{{ {{spam.example = REJECT spam}} }}
smtpd_tls_cert_file = {folder}/tls.pem
smtpd_tls_key_file = {folder}/tls.pem
smtpd_tls_security_level = may
smtpd_tls_loglevel = LOGLEVEL
smtpd_tls_received_header = yes
smtpd_tls_ask_ccert = yes
smtpd_peername_lookup = no
"""


class Receiver(Postfix):
    """A mail server with TLS."""

    def __init__(self, loglevel=1):
        super().__init__(SETTINGS.replace("LOGLEVEL", str(loglevel)))
        succeed("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mx.example.net",
                "-keyout", str(self.folder / "key.pem"), "-out", str(self.folder / "cert.pem"))
        pem = (self.folder / "key.pem").read_bytes() + (self.folder / "cert.pem").read_bytes()
        (self.folder / "tls.pem").write_bytes(pem)
        os.chmod(self.folder / "tls.pem", 0o600)

    def swaks(self, *options, code=0):
        done, printed = run("swaks", "--server", f"127.0.0.1:{self.port}", "--helo", "client.example", *options)
        assert done == code, f"swaks exited {done}:\n{printed}"

    def delivered(self, count):
        wait_for(f"{count} messages in the Maildir", lambda: len(list(self.folder.glob("mail/new/*"))) == count)
        wait_for("the queue to be empty", lambda: self.log.read_text().count(": removed") == count)
        # The last session's end is logged by another process.
        wait_for("every session's end", lambda: self.log.read_text().count("]: connect from") ==
                 self.log.read_text().count("]: disconnect from"))

    def audit(self, *options):
        return json.loads(succeed(binary(), "audit", "--json", "--internal", *options))


def messages(report, verdict="wanted"):
    mail = next(mail for mail in report["inbound"]["mail"] if mail["verdict"] == verdict)
    return {key: mail[key] for key in ("tls", "plaintext", "unknown")}, dict(mail["versions"])


def send_in_every_mode(postfix):
    """Eleven messages: six over TLS (four of 1.3, two of 1.2), five in plaintext; one refused, in plaintext."""
    to = ("--to", "u@example.net")
    postfix.swaks("--from", "s@a.example", *to, "--tls", "--tls-protocol", "tlsv1_3")
    postfix.swaks("--from", "s@a.example", *to, "--tls", "--tls-protocol", "tlsv1_2")
    postfix.swaks("--from", "s@b.example", *to, "--tls", "--tls-protocol", "tlsv1_2")
    postfix.swaks("--from", "s@b.example", *to)
    postfix.swaks("--from", "s@spam.example", *to, code=24)
    # Several messages a session, pipelined, from sessions side by side.
    succeed("smtp-source", "-s", "2", "-m", "4", "-l", "2000", "-f", "s@c.example", "-t", "u@example.net", "-M",
            "client.example", f"inet:127.0.0.1:{postfix.port}")
    for _ in range(3):
        postfix.swaks("--from", "s@d.example", *to, "--tls", "--tls-protocol", "tlsv1_3")


@test
def the_log_and_the_maildir_of_a_postfix_say_what_was_sent():
    with Receiver() as postfix:
        send_in_every_mode(postfix)
        postfix.delivered(11)
        log = postfix.audit(str(postfix.log))
        assert messages(log) == ({"tls": 6, "plaintext": 5, "unknown": 0}, {"TLS1.3": 4, "TLS1.2": 2}), log
        assert messages(log, "unwanted")[0] == {"tls": 0, "plaintext": 1, "unknown": 0}, log
        lost = {sender["sender"]: (sender["lost"], sender["of"]) for sender in log["inbound"]["heaviest"]}
        assert lost == {"c.example": (4, 4), "b.example": (1, 2)}, lost
        mail = postfix.audit(str(postfix.folder / "mail"), "--by", "mx.example.net")
        assert messages(mail) == ({"tls": 6, "plaintext": 5, "unknown": 0}, {"TLS1.3": 4, "TLS1.2": 2}), mail
        assert mail["inbound"]["what_if"][0]["wanted"]["lost"]["messages"] == 5, mail
        # Everything is of this machine: without being asked to, audit leaves it out.
        code, printed = run(binary(), "audit", "--json", str(postfix.log))
        assert code == 0 and json.loads(printed)["inbound"] is None, printed


@test
def a_postfix_that_does_not_log_tls_is_understood_by_how_sessions_end():
    with Receiver(loglevel=0) as postfix:
        send_in_every_mode(postfix)
        postfix.delivered(11)
        log = postfix.audit(str(postfix.log))
        assert messages(log) == ({"tls": 6, "plaintext": 5, "unknown": 0}, {"unknown": 6}), log


@test
def a_handshake_that_fails_and_comes_back_in_plaintext_is_one_message():
    with Receiver() as postfix:
        # A client that knows no cipher of the server's.
        run("openssl", "s_client", "-connect", f"127.0.0.1:{postfix.port}", "-starttls", "smtp", "-tls1_2", "-cipher",
            "PSK-AES128-CBC-SHA256", "-psk", "00", timeout=PATIENCE)
        postfix.swaks("--from", "s@old.example", "--to", "u@example.net")
        postfix.delivered(1)
        log = postfix.audit(str(postfix.log))
        wanted = next(mail for mail in log["inbound"]["mail"] if mail["verdict"] == "wanted")
        assert (wanted["plaintext"], wanted["after_failure"]) == (1, 1), log
        assert [mail["failed"] for mail in log["inbound"]["mail"]] == [0, 0, 0], log


@test
def access_tables_let_those_pass_that_would_be_silenced_and_no_others():
    """RFC 3207 is for all but those in the tables: `audit` makes them from this Postfix's own log, and it reads them."""
    with Receiver() as postfix:
        to = ("--to", "u@example.net")
        postfix.swaks("--from", "s@a.example", *to, "--tls")
        postfix.swaks("--from", "s@b.example", *to)
        postfix.delivered(2)
        # Both came from this machine's network, of which one has TLS: the network is not silenced, the sender is.
        access = postfix.folder / "etc/plaintext"
        postfix.audit("--exceptions", str(access), "--exceptions-as", "postfix", str(postfix.log))
        table = {ending: (postfix.folder / f"etc/plaintext.{ending}").read_text() for ending in ("clients", "senders")}
        entries = {ending: [line for line in text.splitlines() if line and line[0] != "#"] for ending, text in table.items()}
        assert entries == {"clients": [], "senders": ["b.example OK"]}, entries
        # What the table says is to be put into main.cf.
        lines = [line[4:] for line in table["clients"].splitlines() if line.startswith("#   ")]
        settings = "\n".join(line for line in lines if "what stands there now" not in line)
        main_cf = postfix.folder / "etc/main.cf"
        main_cf.write_text(main_cf.read_text() + "\n" + settings + "\n")
        postfix.command("reload")
        wait_for("the settings to be read", lambda: "reload" in postfix.log.read_text())

        def said(*options, code):
            done, printed = run("swaks", "--server", f"127.0.0.1:{postfix.port}", "--helo", "client.example", *to, *options)
            assert done == code, f"swaks exited {done}:\n{printed}"
            return printed

        said("--from", "s@b.example", code=0)
        said("--from", "s@news.b.example", code=0)
        refused = said("--from", "s@c.example", code=24)
        assert "530 5.7.0" in refused or "530 5.7.1" in refused, refused
        said("--from", "s@c.example", "--tls", code=0)
        # The same by network: who comes from one in the table needs no TLS, whatever the sender.
        (postfix.folder / "etc/plaintext.clients").write_text("127.0.0.0/24 OK\n")
        postfix.command("reload")
        wait_for("the table to be read", lambda: run("swaks", "--server", f"127.0.0.1:{postfix.port}", "--helo",
                 "client.example", *to, "--from", "s@c.example")[0] == 0)


if __name__ == "__main__":
    main()
