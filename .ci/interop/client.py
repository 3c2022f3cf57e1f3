#!/usr/bin/env python3
"""`smtp-smol send` against servers that are not ours: each message must arrive to the byte, each failure be told as it is.

    python .ci/interop/client.py [WORD ...]      runs the tests whose names contain a word, or all

Needs Postfix, Dovecot with LMTP, openssl, and a Python with aiosmtpd; as root, since Postfix and Dovecot want to be.
"""

import asyncio
import json
import logging
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import warnings

import aiosmtpd.controller
import aiosmtpd.smtp

from harness import PATIENCE, binary, free_port, main, run, succeed, test, wait_for
from lookups import NameServer
from texts import DOTS, TEXTS

os.environ["PATH"] += ":/usr/sbin"  # where Debian puts Postfix and Dovecot
FROM, TO, USER, PASSWORD = "alice@client.example", "bob@mx.example.net", "alice", "correct horse"
ALL = {**TEXTS, "empty": b""}


def send(*options, text=DOTS, to=(TO,), code=0, sender=FROM, env=None):
    """Sends, checks the exit code, and gives each recipient's record."""
    command = [binary(), "send", "--json", "--helo", "client.example", "--from", sender]
    for recipient in to:
        command += ["--to", recipient]
    done = subprocess.run([*command, *options, "-"], input=text, capture_output=True, timeout=PATIENCE,
                          env={**os.environ, **(env or {})})
    words = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == code, f"exit code {done.returncode}, not {code}: {words}"
    records = json.loads(done.stdout)["recipients"]
    assert [record["to"] for record in records] == list(to), records
    for record in records:
        record["words"] = words
    return records


def outcomes(records):
    return [record["outcome"] for record in records]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


SUBMISSION = """
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
submission_relay_trusted = no
disable_plaintext_auth = no
service submission-login {{
  inet_listener submission {{
    port = {port}
  }}
}}
service anvil {{
  unix_listener anvil {{
    mode = 0666
  }}
}}
"""


class Folder:
    """A folder of its own for a server that runs as several users; with an authority and a certificate by it."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="client-"))
        self.path.chmod(0o755)
        self.ca, self.certificate, self.key = (self.path / name for name in ("ca.crt", "server.crt", "server.key"))
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        authority = str(self.path / "ca.key")
        succeed(*new, "-subj", "/CN=authority", "-keyout", authority, "-out", str(self.ca))
        succeed(*new, "-subj", "/CN=server", "-keyout", str(self.key), "-out", str(self.certificate),
                "-CA", str(self.ca), "-CAkey", authority, "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", "subjectAltName=IP:127.0.0.1,DNS:mx.example.net")
        self.started, self.stops = [], []
        return self

    def __exit__(self, failure, *_):
        for stop in self.stops:
            run(*stop)
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        if failure is not None:
            for log in self.path.glob("*.log"):
                print(f"    {log.name}:", *log.read_text(errors="replace").splitlines()[-25:], sep="\n      ")
        shutil.rmtree(self.path, ignore_errors=True)

    def start(self, port, *command):
        log = (self.path / f"{port}.log").open("wb")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.started.append(process)

        def up():
            assert process.poll() is None, f"{command[0]} exited {process.returncode}"
            return answers(port)

        wait_for(f"{command[0]} to listen", up)
        return port

    def sink(self, *options):
        """Postfix's smtp-sink."""
        port = free_port()
        return self.start(port, "smtp-sink", "-u", "nobody", *options, f"127.0.0.1:{port}", "10")

    def dovecot(self, relay=None):
        """LMTP over TCP and a Unix socket, and an authentication server for Postfix. Gives the port and the socket. With the port
        of a relay also submission, at `self.submission`."""
        port, lmtp = free_port(), self.path / "lmtp"
        self.submission = free_port()
        submission = relay and SUBMISSION.format(port=self.submission, relay=relay)
        nobody = pwd.getpwnam("nobody")
        (self.path / "users").write_text("".join(
            f"{user}:{{PLAIN}}{PASSWORD}:{nobody.pw_uid}:{nobody.pw_gid}::{self.path}/mail/{user}::{extra}\n"
            for user, extra in (("alice", ""), ("bob", ""), ("full", "userdb_quota_rule=*:storage=1B"))))
        mail = self.path / "mail"
        mail.mkdir()
        os.chown(mail, nobody.pw_uid, nobody.pw_gid)
        (self.path / "dovecot.conf").write_text(f"""
base_dir = {self.path}/run
state_dir = {self.path}/state
log_path = {self.path}/dovecot.log
protocols = lmtp {"submission" if relay else ""}
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
auth_mechanisms = plain login scram-sha-1 scram-sha-256
auth_username_format = %n
passdb {{
  driver = passwd-file
  args = username_format=%n {self.path}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {self.path}/users
}}
plugin {{
  quota = maildir:User quota
  quota_grace = 0
}}
service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
  unix_listener {lmtp} {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener {self.path}/auth {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
{submission or ""}
""")
        self.start(port, "dovecot", "-F", "-c", str(self.path / "dovecot.conf"))
        return port, lmtp

    def postfix(self, *settings):
        """smtpd with all that it needs to deliver into Maildirs. Gives its port."""
        port, config, mail = free_port(), self.path / "postfix", self.path / "virtual"
        nobody, owner = pwd.getpwnam("nobody"), pwd.getpwnam("postfix")
        for folder, uid in ((config, 0), (mail, nobody.pw_uid), (self.path / "data", owner.pw_uid), (self.path / "queue", 0)):
            folder.mkdir()
            os.chown(folder, uid, 0)
        (config / "main.cf").write_text("\n".join((
            "compatibility_level = 3.6", "myhostname = mx.example.net", "inet_interfaces = 127.0.0.1",
            "inet_protocols = ipv4", "mydestination =", "mynetworks =", "alias_maps =", "alias_database =",
            f"queue_directory = {self.path}/queue", f"data_directory = {self.path}/data",
            f"maillog_file = {self.path}/postfix.log", f"maillog_file_prefixes = {self.path}",
            # Nothing is added or rewritten but the trace fields.
            "local_header_rewrite_clients =", "virtual_mailbox_domains = mx.example.net",
            f"virtual_mailbox_base = {mail}",
            "virtual_mailbox_maps = inline:{{bob@mx.example.net=bob/},{carol@mx.example.net=carol/}}",
            f"virtual_uid_maps = static:{nobody.pw_uid}", f"virtual_gid_maps = static:{nobody.pw_gid}",
            "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination",
            "smtpd_tls_security_level = may", f"smtpd_tls_cert_file = {self.certificate}",
            f"smtpd_tls_key_file = {self.key}", *settings, "")))
        services = ["cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr",
                    "rewrite unix - - n - - trivial-rewrite", "anvil unix - - n - 1 anvil", "virtual unix - n n - - virtual",
                    "postlog unix-dgram n - n - 1 postlogd", "proxymap unix - - n - - proxymap"]
        services += [f"{name} unix - - n - 0 bounce" for name in ("bounce", "defer", "trace")]
        services += [f"{name} unix - - n - - error" for name in ("error", "retry")]
        (config / "master.cf").write_text("\n".join((f"127.0.0.1:{port} inet n - n - - smtpd", *services, "")))
        # Its master is not the process that is started here.
        self.stops.append(("postfix", "-c", str(config), "stop"))
        return self.start(port, "postfix", "-c", str(config), "start-fg")

    def stored(self, place, count):
        """What a server has stored in this Maildir, with its own fields taken off the top."""
        new = self.path / place / "new"
        wait_for(f"{count} messages in {place}", lambda: new.is_dir() and len(list(new.iterdir())) >= count)
        mails = [path.read_bytes().replace(b"\r\n", b"\n") for path in new.iterdir()]
        assert len(mails) == count, f"{len(mails)} messages, not {count}"
        field = re.compile(rb"(?:Return-Path|X-Original-To|Delivered-To|Received):[^\n]*\n(?:[ \t][^\n]*\n)*")
        texts = []
        for mail in mails:
            at = 0
            while found := field.match(mail, at):
                at = found.end()
            texts.append(mail[at:])
        return sorted(texts)


def of_files(texts):
    return sorted(text.replace(b"\r\n", b"\n") for text in texts)


class Store:
    """What aiosmtpd asks about each step. Keeps the envelopes that it has accepted."""

    def __init__(self):
        self.envelopes, self.logins = [], []

    async def handle_RCPT(self, server, session, envelope, address, options):
        for word, reply in (("never", "550 5.1.1 no such user"), ("later", "450 4.2.1 come again")):
            if address.startswith(word):
                return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        if any(to.startswith("drop") for to in envelope.rcpt_tos):
            server.transport.abort()
            await asyncio.sleep(0)
            return "451 4.3.0 gone"
        self.envelopes.append(envelope)
        return "250 2.0.0 stored"

    def authenticate(self, server, session, envelope, mechanism, data):
        self.logins.append(mechanism)
        right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return aiosmtpd.smtp.AuthResult(success=right, handled=False)  # it says 235 or 535 itself


class Aiosmtpd:
    """aiosmtpd in this process."""

    def __init__(self, hostname="127.0.0.1", port=0, **options):
        self.store = Store()
        if options.get("auth_required"):
            options["authenticator"] = self.store.authenticate
        self.controller = aiosmtpd.controller.Controller(
            self.store, hostname=hostname, port=port or free_port(), **options)
        self.port = self.controller.port
        self.address = f"{hostname}:{self.port}"

    def __enter__(self):
        self.controller.start()
        return self

    def __exit__(self, *_):
        self.controller.stop()

    def texts(self):
        return [envelope.original_content or b"" for envelope in self.store.envelopes]


def context(folder):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder.certificate, folder.key)
    return made


@test
def aiosmtpd_every_text_plain_and_encrypted():
    with Folder() as folder, Aiosmtpd(tls_context=context(folder)) as server:
        for options, version in ((("--tls", "never"), None), ((), "TLSv1.3"), (("--tls", "require"), "TLSv1.3"),
                                 (("--tls", "verify", "--ca", str(folder.ca)), "TLSv1.3")):
            server.store.envelopes.clear()
            for text in ALL.values():
                [record] = send("--server", server.address, *options, text=text)
                assert record["outcome"] == "accepted" and "250 2.0.0 stored" in record["reply"], record
                assert bool(record["tls"].get("version")) == bool(version), record
            assert server.texts() == list(ALL.values()), options


@test
def aiosmtpd_mixed_verdicts_and_a_connection_that_is_lost():
    with Aiosmtpd() as server:
        where = ("--server", server.address)
        records = send(*where, to=(TO, "never@x.example", "carol@x.example"), code=69)
        assert outcomes(records) == ["accepted", "never", "accepted"] and "550 5.1.1" in records[1]["reply"], records
        records = send(*where, to=("later@x.example", TO, "never@x.example"), code=75)
        assert outcomes(records) == ["later", "accepted", "never"] and "450 4.2.1" in records[0]["reply"], records
        assert outcomes(send(*where, to=("never@x.example",), code=69)) == ["never"]
        assert [envelope.rcpt_tos for envelope in server.store.envelopes] == [[TO, "carol@x.example"], [TO]]
        # RFC 5321 4.5.3.2.6: the text is sent, and no reply came. Nobody knows; it is said so.
        records = send(*where, to=("drop@x.example", TO), code=75)
        assert outcomes(records) == ["unknown", "unknown"], records


@test
def nothing_is_sent_in_plaintext_where_tls_is_required():
    with Folder() as folder, Folder() as other:
        with Aiosmtpd() as server:
            for policy in (("require",), ("verify", "--ca", str(folder.ca))):
                [record] = send("--server", server.address, "--tls", *policy, code=75)
                assert record["outcome"] == "later" and "TLS is required" in record["reply"], record
            assert not server.store.envelopes
        with Aiosmtpd(tls_context=context(folder)) as server:
            for more in (("--ca", str(other.ca)), ("--ca", str(folder.ca), "--tls-name", "other.example")):
                [record] = send("--server", server.address, "--tls", "verify", *more, code=75)
                assert record["outcome"] == "later" and "certificate" in record["reply"], record
                assert "--ca" in record["reply"], record
            assert not server.store.envelopes


@test
def a_password_is_never_sent_in_plaintext():
    env = {"SMTP_PASSWORD": PASSWORD}
    with Folder() as folder:
        options = {"auth_require_tls": False, "auth_required": True}
        with Aiosmtpd(**options) as server:
            [record] = send("--server", server.address, "--auth", USER, code=69, env=env)
            assert "not shown without TLS" in record["reply"] and "--plaintext-auth" in record["reply"] and not server.store.logins, record
            # Unless it is asked for, by name.
            send("--server", server.address, "--auth", USER, "--plaintext-auth", env=env)
            assert len(server.store.logins) == 1, server.store.logins
        with Aiosmtpd(tls_context=context(folder), auth_required=True) as server:
            send("--server", server.address, "--auth", USER, "--tls", "require", env=env)
            [record] = send("--server", server.address, "--auth", USER, "--tls", "require", code=69,
                            env={"SMTP_PASSWORD": "wrong"})
            assert "credentials" in record["reply"] and "wrong" not in record["words"], record
            assert server.texts() == [DOTS]


@test
def postfix_every_text_by_data_and_by_bdat():
    # Postfix ends the header itself where a text has none: those are not for it.
    texts = {name: text for name, text in TEXTS.items() if text.startswith(b"Subject: ")}
    with Folder() as folder:
        server = ("--server", f"127.0.0.1:{folder.postfix()}")
        sent = 0
        for options in (("--tls", "never"), ("--no-chunking", "--tls", "never"), ("--no-chunking",),
                        ("--tls", "verify", "--ca", str(folder.ca))):
            for text in texts.values():
                [record] = send(*server, *options, text=text)
                assert record["outcome"] == "accepted" and "queued as" in record["reply"], record
                assert bool(record["tls"].get("version")) == ("never" not in options), record
                sent += 1
        assert folder.stored("virtual/bob", sent) == of_files([*texts.values()] * 4)
        printed = subprocess.run([binary(), "send", "-v", "--from", FROM, "--to", TO, *server, "-"], input=DOTS,
                                 capture_output=True, timeout=PATIENCE).stderr.decode()
        assert "C: BDAT" in printed and "STARTTLS" in printed and "-- TLS" in printed, printed
        records = send(*server, to=(TO, "nobody@mx.example.net", "carol@mx.example.net"), code=69)
        assert outcomes(records) == ["accepted", "never", "accepted"], records
        assert folder.stored("virtual/carol", 1) == of_files([DOTS])


@test
def postfix_with_sasl():
    env = {"SMTP_PASSWORD": PASSWORD}
    with Folder() as folder:
        folder.dovecot()
        port = folder.postfix("smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot",
                              f"smtpd_sasl_path = {folder.path}/auth", "smtpd_tls_auth_only = no",
                              "smtpd_sasl_security_options = noanonymous",
                              "smtpd_client_restrictions = permit_sasl_authenticated, reject")
        server = ("--server", f"127.0.0.1:{port}", "--tls", "verify", "--ca", str(folder.ca))
        done = subprocess.run([binary(), "send", "-v", "--from", FROM, "--to", TO, *server, "--auth", USER, "-"],
                              input=DOTS, capture_output=True, timeout=PATIENCE, env={**os.environ, **env})
        printed = done.stderr.decode()
        assert done.returncode == 0 and "SCRAM-SHA-256" in printed and PASSWORD not in printed, printed
        [record] = send(*server, "--auth", USER, code=69, env={"SMTP_PASSWORD": "wrong"})
        assert record["outcome"] == "never" and "535" in record["reply"], record
        [record] = send(*server, code=69)
        assert record["outcome"] == "never", record
        assert folder.stored("virtual/bob", 1) == of_files([DOTS])


@test
def dovecot_lmtp_answers_for_each_recipient():
    with Folder() as folder:
        port, path = folder.dovecot()
        texts = list(TEXTS.values())
        for place in (f"127.0.0.1:{port}", f"unix:{path}"):
            for text in texts:
                [record] = send("--lmtp", "--server", place, text=text, to=("bob@mx.example.net",))
                assert record["outcome"] == "accepted", record
            # One is refused before the text and one after it (RFC 2033 4.2).
            records = send("--lmtp", "--server", place, code=69,
                           to=[f"{user}@mx.example.net" for user in ("alice", "stranger", "full")])
            assert outcomes(records) == ["accepted", "never", "never"], records
            assert "550" in records[1]["reply"] and "552" in records[2]["reply"], records
        assert folder.stored("mail/bob/Maildir", 2 * len(texts)) == of_files(texts * 2)
        assert folder.stored("mail/alice/Maildir", 2) == of_files([DOTS] * 2)


@test
def smtp_sink_in_its_error_modes():
    hard, soft, cut, closing = "-f", "-r", "-q", "-Q"
    cases = [(hard, "CONNECT", "never", 69), (hard, "MAIL", "never", 69), (hard, "RCPT", "never", 69),
             (hard, "DATA", "never", 69), (hard, ".", "never", 69),
             (soft, "CONNECT", "later", 75), (soft, "MAIL", "later", 75), (soft, "RCPT", "later", 75),
             (soft, "DATA", "later", 75), (soft, ".", "later", 75)]
    for step in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA"):
        cases += [(cut, step, "later", 75), (closing, step, "later", 75)]
    # Cut off after the text, nobody knows; a 421 is a reply.
    cases += [(cut, ".", "unknown", 75), (closing, ".", "later", 75)]
    with Folder() as folder:
        wrong = []
        for mode, step, outcome, code in cases:
            port = folder.sink(mode, step)
            try:
                [record] = send("--server", f"127.0.0.1:{port}", code=code)
                assert record["outcome"] == outcome, record
            except AssertionError as error:
                wrong.append(f"{mode} {step}: {error}")
        # EHLO refused: HELO serves (RFC 5321 3.2).
        assert outcomes(send("--server", f"127.0.0.1:{folder.sink(hard, 'EHLO')}")) == ["accepted"]
        # Without pipelining, without ESMTP, and as LMTP.
        for options, more in ((("-p",), ()), (("-e",), ()), (("-L",), ("--lmtp",))):
            assert outcomes(send("--server", f"127.0.0.1:{folder.sink(*options)}", *more)) == ["accepted"]
        assert not wrong, "\n".join(wrong)


@test
def mail_exchangers_are_found_by_dns():
    with NameServer() as dns, Aiosmtpd() as server:
        to_dns = ("--dns", dns.address, "--port", str(server.port))
        # RFC 5321 5.1: the lowest preference first; it refuses connections, so the next serves.
        [record] = send(*to_dns, to=("bob@two.example",))
        assert record["outcome"] == "accepted" and record["server"].startswith("up.example "), record
        # Without an MX the address serves.
        [record] = send(*to_dns, to=("bob@up.example",))
        assert record["server"].startswith("up.example "), record
        # A refusal is final: no other exchanger is asked.
        assert outcomes(send(*to_dns, to=("never@two.example",), code=69)) == ["never"]
        # RFC 7505; no such domain; and a name server in trouble.
        for domain, outcome, words, code in (("null.example", "never", "RFC 7505", 69), ("missing.example", "never", "5.1.2", 69),
                                             ("broken.example", "later", "4.4.3", 75), ("down.example", "later", "refused", 75)):
            [record] = send(*to_dns, to=(f"bob@{domain}",), code=code)
            assert record["outcome"] == outcome and words in record["reply"], record
        # A domain a transaction.
        server.store.envelopes.clear()
        records = send(*to_dns, to=("a@two.example", "b@up.example", "c@TWO.example", "d@null.example"), code=69)
        assert outcomes(records) == ["accepted", "accepted", "accepted", "never"], records
        assert [envelope.rcpt_tos for envelope in server.store.envelopes] == [
            ["a@two.example", "c@TWO.example"], ["b@up.example"]]


@test
def mistakes_are_named_with_the_option_its_value_and_the_mend():
    with tempfile.TemporaryDirectory() as folder:
        message, other = pathlib.Path(folder) / "message.eml", pathlib.Path(folder) / "unix.eml"
        message.write_bytes(DOTS)
        other.write_bytes(b"Subject: x\r\n\r\nunix\n")
        base = {"--from": FROM, "--to": TO, "--server": "127.0.0.1:1"}

        def mistaken(words, *more, file=message, env=None, **changed):
            options = {**base, **{f"--{name.rstrip('_')}": value for name, value in changed.items()}}
            command = [word for pair in options.items() for word in pair]
            code, printed = run(binary(), "send", *command, *more, str(file), env=env)
            assert code == 2 and all(word in printed for word in words), f"{more} {changed}: {code} {printed}"

        mistaken(("FILE", "absent.eml", "name a message file"), file=pathlib.Path(folder) / "absent.eml")
        mistaken(("unix.eml:3", "--newlines convert"), file=other)
        mistaken(("--to", "not an address", "give a mailbox"), to="not an address")
        mistaken(("--from", "a@@b", "give a mailbox"), from_="a@@b")
        mistaken(("--auth", "alice", "SMTP_PASSWORD"), "--auth", "alice")
        mistaken(("--ca", "absent.pem", "readable PEM"), "--ca", f"{folder}/absent.pem")
        mistaken(("--ca", "message.eml", "no certificate"), "--ca", str(message))
        mistaken(("--server", "127.0.0.1:x", "HOST:PORT"), server="127.0.0.1:x")
        mistaken(("--helo", "two words", "domain name"), "--helo", "two words")
        mistaken(("--ledger", "/absent/ledger", "can be written"), "--ledger", "/absent/ledger")
        # Nobody listens: not a mistake, and it may be mended later.
        code, printed = run(binary(), "send", "--from", FROM, "--to", TO, "--server", "127.0.0.1:1", str(message))
        assert code == 75 and "127.0.0.1:1" in printed and "refused" in printed, printed


if __name__ == "__main__":
    missing = [tool for tool in ("postfix", "smtp-sink", "dovecot", "openssl") if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"client: not installed: {', '.join(missing)}; .ci/run installs them")
    # What goes wrong here goes wrong on purpose.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    main()
