#!/usr/bin/env python3
"""`smtp-smol check` on servers whose state is known: it must find what is there, and nothing else.

    python .ci/interop/check.py [WORD ...]      runs the tests whose names contain a word, or all

Needs Postfix, openssl, and a Python with aiosmtpd; as root, since Postfix wants to be."""

import contextlib
import json
import logging
import pathlib
import shutil
import socket
import ssl
import tempfile
import threading

import aiosmtpd.controller
import aiosmtpd.handlers

from harness import HOSTNAME, PATIENCE, TESTS, Server, binary, free_port, main, run, succeed
from load import postfix

TESTS.clear()  # those of the file that this one takes from
from harness import test  # noqa: E402

KINDS = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}
EXIT = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
TO = f"test@{HOSTNAME}"
logging.getLogger("mail").setLevel(logging.CRITICAL)  # aiosmtpd's, of handshakes that are to fail


class Authority:
    """An authority, and servers' certificates of it."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="check-"))
        self.folder.chmod(0o755)
        self.ca, self.ca_key = self.folder / "ca.pem", self.folder / "ca.key"
        succeed("openssl", "req", "-x509", "-newkey", *KINDS["ecdsa"], "-nodes", "-days", "60", "-subj", "/CN=authority",
                "-keyout", str(self.ca_key), "-out", str(self.ca))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def issue(self, kind="ecdsa", name=HOSTNAME, days=40):
        """Certificate and key, as options of `serve`."""
        certificate, key = (self.folder / f"{name}-{kind}-{days}.{end}" for end in ("pem", "key"))
        succeed("openssl", "req", "-x509", "-newkey", *KINDS[kind], "-nodes", "-days", str(days), "-subj", f"/CN={name}",
                "-keyout", str(key), "-out", str(certificate), "-CA", str(self.ca), "-CAkey", str(self.ca_key),
                "-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName=DNS:{name}")
        return "--cert", str(certificate), "--key", str(key)


class Report:
    """What `check` says of a server, and that all its ways to say it agree."""

    def __init__(self, address, *options, patience=PATIENCE, within=()):
        command = [*within, binary(), "check", address, "--helo", "client.example", "--timeout", str(patience), "--json", *map(str, options)]
        self.code, printed = run(*command, timeout=300)
        self.told = json.loads(printed)
        self.levels = {}
        for finding in self.told["findings"]:
            self.levels.setdefault(finding["id"], []).append(finding["level"])
        assert self.code == EXIT[self.told["status"]], self

    def __repr__(self):
        return json.dumps(self.told, indent=1)

    def must(self, **levels):
        """These findings, `_` for `-`, have these levels; and with `others` all others have this one, or are notes."""
        others = levels.pop("others", None)
        wanted = {id.replace("_", "-").replace("tls-1-", "tls-1."): level for id, level in levels.items()}
        for id, level in wanted.items():
            found = self.levels.get(id)
            assert (found is None) if level is None else (found and set(found) == {level}), f"{id}: {found}, not {level}\n{self}"
        if others:
            wrong = {id: found for id, found in self.levels.items() if id not in wanted and not set(found) <= {others, "note"}}
            assert not wrong, f"{wrong}\n{self}"
        return self

    def words(self, id):
        return next(finding["words"] for finding in self.told["findings"] if finding["id"] == id)


NAMED = ("--tls-name", HOSTNAME)


@test
def a_server_in_order():
    with Authority() as authority:
        with Server(*authority.issue(), *authority.issue("rsa"), "--greet-pause", "1s") as server:
            report = Report(server.address, *NAMED, "--ca", authority.ca, "--to", TO)
            report.must(others="ok", early_talk="ok", certificate_kinds="ok", groups="ok", tls_old="ok", text_end="ok",
                        behind_starttls="ok", tls_1_3="ok", tls_1_2="ok", required="note")
            assert len(report.levels["certificate-days"]) == 2 and 38 <= report.told["days"] <= 40, report
            assert not list((server.maildir / "new").iterdir()), "a refused text was delivered"
            quick = Report(server.address, *NAMED, "--ca", authority.ca, "--quick").must(others="ok", groups=None, tls="ok")
            assert quick.told["connections"] == 1, quick


@contextlib.contextmanager
def known_as(name, *addresses):
    """Runs with a file of hosts in which the name has these addresses, in a mount namespace of each command's own."""
    with tempfile.NamedTemporaryFile("w", suffix="-hosts") as hosts:
        hosts.writelines(f"{address} {name}\n" for address in addresses)
        hosts.flush()
        yield ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts.name} /etc/hosts && exec "$@"', "sh"]


@test
def each_address_of_both_families_is_asked_everything():
    """Behind each address is a server of its own: what one of them does wrong is told of that address."""
    port, loopback = free_port(), ("127.0.0.1", "127.0.0.2", "::1")
    with Authority() as authority, contextlib.ExitStack() as stack:
        maildirs = {}
        for host in loopback:
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            tls = ("--tls", "off") if host == "127.0.0.2" else authority.issue()
            lenient = ("--lenient", "bare-lf-text") if host == "::1" else ()
            listen = ("--listen", address, *(("--listen", "127.0.0.1:0") if host != "127.0.0.1" else ()))
            server = stack.enter_context(Server(*tls, *lenient, "--domain", HOSTNAME, listen=listen))
            maildirs[address] = server.maildir
        name = "mx.example.net"
        within = stack.enter_context(known_as(name, *loopback))

        def asked(*options):
            report = Report(f"{name}:{port}", "--ca", authority.ca, "--to", TO, *options, within=within)
            found = {}
            for finding in report.told["findings"]:
                if finding.get("address"):
                    found.setdefault(finding["address"], {})[finding["id"]] = finding["level"]
            return report, found

        report, found = asked()
        assert report.words("addresses") == "2 by IPv4, 1 by IPv6", report
        assert set(found) == set(maildirs), report
        for address, levels in found.items():
            assert levels["text-end"] == "ok" and levels["early-talk"], (address, report)
            assert levels["starttls"] == ("critical" if "127.0.0.2" in address else "ok"), (address, report)
            assert ("groups" in levels) == ("127.0.0.2" not in address), (address, report)
        # The one that takes bare LF as text keeps what it was sent, in one piece.
        kept = {address: len(list((maildir / "new").iterdir())) for address, maildir in maildirs.items()}
        assert kept[f"[::1]:{port}"] > 0 and sum(kept.values()) == kept[f"[::1]:{port}"], kept
        for option, families in (("--ipv4", "2 by IPv4, 0 by IPv6"), ("--ipv6", "0 by IPv4, 1 by IPv6")):
            report, found = asked(option, "--quick")
            assert report.words("addresses") == families, report
            assert all(address.startswith("[") == (option == "--ipv6") for address in found), report


@test
def the_first_line_is_for_monitoring():
    with Authority() as authority, Server(*authority.issue()) as server:
        check = [binary(), "check", server.address, *NAMED, "--quick", "--timeout", str(PATIENCE)]
        code, printed = run(*check, "--ca", str(authority.ca))
        assert code == 0 and printed.startswith(f"SMTP OK - {server.address}: TLS1.3, "), printed
        assert "| days=39;14:;0:\n" in printed or "| days=40;14:;0:\n" in printed, printed
        assert "\x1b" not in printed, "colour is for terminals"
        code, printed = run(*check, "--ca", str(authority.ca), "--days", "50")
        assert code == 1 and printed.startswith(f"SMTP WARNING - {server.address}: ECDSA: "), printed
        code, printed = run(*check, "--ca", str(authority.ca), "--days", "50", "--ignore", "certificate-days")
        assert code == 0 and "  note     certificate-days: " in printed, printed
        for options in (["--no-such-option"], ["--ignore", "no-such-id"], ["--ca", "/no/such/file"], ["--tls-name", "-"]):
            code, printed = run(*check, *options)
            assert code == 3, (options, code, printed)
        code, printed = run(binary(), "check", f"127.0.0.1:{free_port()}")
        assert code == 2 and "connect: no connection" in printed, printed


@test
def what_is_wrong_with_a_certificate():
    with Authority() as authority, Authority() as other:
        for options, ca, levels in (
            (authority.issue(name="mx.example.org"), authority.ca, dict(certificate_name="warning", certificate_chain="ok")),
            (authority.issue(), other.ca, dict(certificate_name="ok", certificate_chain="warning")),
            (authority.issue(days=5), authority.ca, dict(certificate_days="warning", certificate_chain="ok")),
            ((), authority.ca, dict(certificate_name="ok", certificate_chain="warning")),  # its own work
        ):
            with Server(*options) as server:
                Report(server.address, *NAMED, "--ca", ca, "--quick").must(**levels, others="ok")


@test
def tls_as_serve_is_told_to():
    with Authority() as authority:
        certificate, named = authority.issue(), (*NAMED, "--ca", authority.ca)
        with Server("--tls", "off") as server:
            Report(server.address, *named).must(starttls="critical", tls=None, groups=None, behind_starttls=None)
        with Server(*certificate, "--tls", "require") as server:
            Report(server.address, *named, "--quick", "--required").must(required="ok", others="ok")
        with Server(*certificate) as server:
            Report(server.address, *named, "--quick", "--required").must(required="critical", others="ok")
            assert Report(server.address, *named, "--quick", "--required", "--ignore", "required").code == 0
        with Server(*certificate, "--tls-min-version", "1.3") as server:
            Report(server.address, *named).must(tls_1_3="ok", tls_1_2="note", tls_old="ok", others="ok")
        port = free_port()
        with Server(*certificate, "--implicit-tls", f"127.0.0.1:{port}") as server:
            Report(f"127.0.0.1:{port}", *named, "--implicit-tls").must(others="ok", groups="ok", starttls=None, early_talk=None)
            # Without being told, it waits for a greeting in vain.
            Report(f"127.0.0.1:{port}", *named, patience=1).must(greeting="critical", starttls=None)


@test
def postfix_as_it_is_set_up():
    with Authority() as authority:
        _, certificate, _, key = authority.issue()
        with_key = [f"smtpd_tls_cert_file = {certificate}", f"smtpd_tls_key_file = {key}"]
        named, to = (*NAMED, "--ca", authority.ca), ("--to", "test@load.example")
        with postfix("smtpd_tls_security_level = none") as (port, _):
            Report(f"127.0.0.1:{port}", *named, "--quick").must(starttls="critical")
        # A server that takes lines that end in LF alone takes such an end, too.
        with postfix("smtpd_tls_security_level = may", "smtpd_forbid_bare_newline = no", *with_key) as (port, _):
            report = Report(f"127.0.0.1:{port}", *named, *to).must(
                starttls="ok", required="note", behind_starttls="ok", text_end="critical")
            assert "\\n.\\n" in report.words("text-end"), report
        # By default it forbids nothing to its own networks.
        forbids = ["smtpd_forbid_bare_newline = yes", "smtpd_forbid_bare_newline_exclusions ="]
        with postfix("smtpd_tls_security_level = encrypt", *forbids, *with_key) as (port, _):
            Report(f"127.0.0.1:{port}", *named, *to, "--required").must(starttls="ok", required="ok", text_end="ok")
        with postfix("smtpd_tls_security_level = may", "smtpd_tls_protocols = TLSv1.2", *with_key) as (port, _):
            Report(f"127.0.0.1:{port}", *named).must(tls_1_3="warning", tls_1_2="ok", tls_old="ok")
        # Debian's OpenSSL needs to be told twice.
        old = ["smtpd_tls_protocols = >=TLSv1", "smtpd_tls_mandatory_protocols = >=TLSv1",
               "tls_high_cipherlist = ALL:@SECLEVEL=0", "smtpd_tls_ciphers = high"]
        with postfix("smtpd_tls_security_level = may", *old, *with_key) as (port, _):
            report = Report(f"127.0.0.1:{port}", *named).must(tls_1_3="ok", tls_1_2="ok", tls_old="warning")
            assert report.words("tls-old").endswith("TLS 1.1 and 1.0"), report


@test
def aiosmtpd_without_and_with_tls():
    with Authority() as authority:
        _, certificate, _, key = authority.issue()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        for tls, starttls in ((None, "critical"), (context, "ok")):
            controller = aiosmtpd.controller.Controller(
                aiosmtpd.handlers.Sink(), hostname="127.0.0.1", port=free_port(), tls_context=tls)
            controller.start()
            try:
                report = Report(f"127.0.0.1:{controller.port}", *NAMED, "--ca", authority.ca)
                report.must(starttls=starttls, connect=None)
                assert tls is None or report.levels["certificate-chain"] == ["ok"], report
            finally:
                controller.stop()


class Scripted:
    """A server of this file: `behave` says where it parts from what is right. It counts its connections."""

    def __init__(self, authority, **behave):
        _, certificate, _, key = authority.issue()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.behave, self.connections = behave, 0

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()
        return self

    def __exit__(self, *_):
        # Wakes the thread. Closed under it, the descriptor could be another listener's when it is asked.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join()
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self.serve, args=(connection, self.connections), daemon=True).start()

    def serve(self, connection, number):
        with contextlib.suppress(OSError, ValueError):
            connection.settimeout(PATIENCE)
            self.talk(connection, number)
        connection.close()

    def talk(self, connection, number):
        behave, tls, unread = self.behave, False, b""
        busy = b"421 4.7.0 mx Too many connections\r\n"
        if number > behave.get("busy_after", 1000):
            connection.sendall(busy)
            return
        connection.sendall(b"220 mx ESMTP | here\r\n")
        while True:
            while b"\n" not in unread:
                octets = connection.recv(4096)
                if not octets:
                    return
                unread += octets
            line, _, unread = unread.partition(b"\n")
            verb = line.strip().upper().split(b" ")[0]
            if verb == b"EHLO":
                words = [b"mx"] + ([b"AUTH PLAIN"] if behave.get("auth") or tls else [])
                words += [b"STARTTLS"] if not tls or behave.get("again") else []
                lines = [b"250%c%s\r\n" % (b"- "[word is words[-1]], word) for word in words]
                connection.sendall(b"".join(lines))
            elif verb == b"STARTTLS":
                if behave.get("starttls"):
                    connection.sendall(behave["starttls"])
                    continue
                if not behave.get("keeps"):
                    unread = b""
                connection.sendall(b"220 Go\r\n")
                if behave.get("old"):
                    hello = connection.recv(11, socket.MSG_PEEK)
                    if hello[9:11] < b"\x03\x03":
                        # A ServerHello that goes no further.
                        connection.sendall(b"\x16\x03\x01\x00\x4a\x02\x00\x00\x46\x03\x01" + bytes(75))
                        return
                connection = self.context.wrap_socket(connection, server_side=True)
                tls = True
            elif verb == b"QUIT":
                connection.sendall(b"221 Bye\r\n")
                return
            elif verb == b"MAIL" and not tls and behave.get("mail"):
                connection.sendall(behave["mail"])
            else:
                connection.sendall(b"250 Ok\r\n")


@test
def what_is_only_found_in_servers_that_are_broken():
    with Authority() as authority:
        named = (*NAMED, "--ca", authority.ca)
        with Scripted(authority) as server:
            Report(server.address, *named).must(others="ok", behind_starttls="ok", early_talk="note", tls_old="ok")
        for behave, levels in (
            (dict(keeps=True), dict(behind_starttls="critical")),
            (dict(old=True), dict(tls_old="warning")),
            (dict(auth=True), dict(auth_before_tls="warning")),
            (dict(again=True), dict(inside_tls="warning")),
            (dict(mail=b"530 5.7.0 Must issue a STARTTLS command first\r\n"), dict(required="ok")),
            (dict(mail=b"451 4.3.0 Later\r\n"), dict(required="unknown")),
            (dict(starttls=b"454 4.7.0 TLS not available\r\n"), dict(starttls="critical", tls=None)),
        ):
            with Scripted(authority, **behave) as server:
                Report(server.address, *named).must(**levels, others="ok")
        with Scripted(authority, old=True) as server:
            assert Report(server.address, *named).words("tls-old").endswith(": TLS 1.0")


@test
def busy_is_not_without_starttls():
    """421 says nothing of what the server offers: neither is it missing, nor is it there."""
    with Authority() as authority:
        named = (*NAMED, "--ca", authority.ca)
        busy = b"421 4.7.0 Too many\r\n"
        for behave, levels in (
            (dict(busy_after=0), dict(greeting="unknown", starttls=None)),
            (dict(mail=busy), dict(greeting="ok", starttls="unknown", tls=None)),
            (dict(starttls=busy), dict(greeting="ok", starttls="unknown", tls=None)),
            (dict(busy_after=1), dict(starttls="ok", tls_1_2="unknown", groups="unknown", behind_starttls="unknown")),
        ):
            with Scripted(authority, **behave) as server:
                report = Report(server.address, *named).must(**levels)
                assert report.code == 3, report


if __name__ == "__main__":
    main()
