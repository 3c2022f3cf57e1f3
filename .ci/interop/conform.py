#!/usr/bin/env python3
"""`smtp-mio conform` against servers and clients. Ours pass every case that can be played on them, as docs/conformance.md
counts. Of other people's it is tested that a run comes to its end, and that a second one says the same.

    python .ci/interop/conform.py [WORD ...]      runs the tests whose names contain a word, or all

Needs Postfix, Dovecot, swaks, curl and a Python with aiosmtpd; as root, since the servers want to be. UPDATE_DOCS=1 writes the
counts into the page."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import tempfile

import aiosmtpd.controller
import aiosmtpd.handlers

import logs
from client import Folder
from harness import ROOT, TESTS, Server, binary, free_port, main, run, succeed, wait_for
from load import PROGRAM, listens, postfix, sink

TESTS.clear()  # those of the files that this one takes from
from harness import test  # noqa: E402

PAGE = ROOT / "docs/conformance.md"
CLASSES = ("syntax", "order", "text", "TLS", "AUTH", "LMTP", "extension")
TO = "u@example.net"


def conform(*options, patience="5s"):
    code, printed = run(PROGRAM, "conform", "--format", "json", "--timeout", patience, *map(str, options), timeout=240)
    assert code in (0, 1), printed
    return json.loads(printed), code


def passes(name, address, *options):
    """All that is played passes, and as many of each class as the page says."""
    report, code = conform(address, "--fail-on", "practice", *options, patience="30s")
    failed = [(case["id"], case["detail"]) for case in report["cases"] if case["outcome"] == "failed"]
    assert code == 0 and not failed, failed
    cells = [str(report["classes"][each]["passed"]) for each in CLASSES] + [str(report["counts"]["skipped"])]
    row, page = f"| `{name}` | " + " | ".join(cells) + " |", PAGE.read_text()
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(re.sub(rf"^\| `{re.escape(name)}` \|.*$", row, page, flags=re.M))
    else:
        assert row in page, f"docs/conformance.md lacks {row}"


def comes_to_its_end(*options, patience="2s"):
    """Twice, with the same outcome of each case; but the machine may be busy, and a reply late."""
    first, second = ({case["id"]: case for case in conform(*options, patience=patience)[0]["cases"]} for _ in range(2))
    assert first.keys() == second.keys() and any(case["outcome"] == "passed" for case in first.values()), first
    late = {id for run in (first, second) for id, case in run.items() if "in time" in (case["detail"] or "")}
    differ = {id: (first[id], second[id]) for id in first if id not in late and first[id]["outcome"] != second[id]["outcome"]}
    assert not differ, differ


@contextlib.contextmanager
def users():
    with tempfile.NamedTemporaryFile("w", suffix=".users") as file:
        file.write("alice:correct horse\n")
        file.flush()
        yield file.name


@test
def serve_passes():
    with Server() as server:
        passes("smtp-smol serve", server.address, "--domain", "mx.example.net")


@test
def serve_with_users_passes():
    with users() as plain, tempfile.TemporaryDirectory() as folder:
        hashed = pathlib.Path(folder) / "users"
        hashed.write_text(succeed(binary(), "user", "alice", stdin=b"correct horse\n"))
        with Server("--role", "submission", "--users", str(hashed)) as server:
            passes("smtp-smol serve --role submission", server.address, "--domain", "mx.example.net", "--users", plain)


@test
def serve_by_lmtp_passes():
    with Server("--role", "lmtp") as server:
        passes("smtp-smol serve --role lmtp", server.address, "--domain", "mx.example.net", "--lmtp")


@test
def sink_passes():
    with sink() as (address, _):
        passes("smtp-mio sink", address)


@test
def postfix_comes_to_its_end():
    with postfix("smtpd_error_sleep_time = 0") as (port, _):
        comes_to_its_end(f"127.0.0.1:{port}", "--domain", "load.example")


@test
def exim_comes_to_its_end():
    with logs.Server("exim4-daemon-light") as exim:
        key = exim.folder / "exim.pem"
        shutil.copy(exim.folder / "key.pem", key)
        for path in (key, exim.folder / "spool", exim.folder / "log"):
            os.chown(path, logs.USERS["Debian-exim"], logs.USERS["Debian-exim"])
        conf, program = exim.folder / "etc/exim.conf", exim.programs / "usr/sbin/exim4"
        conf.write_text(logs.EXIM.format(folder=exim.folder, port=exim.port, program=program))
        os.chmod(conf, 0o644)
        exim.start([program, "-bdf", "-C", conf])
        comes_to_its_end(f"127.0.0.1:{exim.port}", "--domain", "example.net")


@test
def opensmtpd_comes_to_its_end():
    with logs.Server("opensmtpd") as smtpd:
        logs.start_opensmtpd(smtpd)
        comes_to_its_end(f"127.0.0.1:{smtpd.port}", "--recipient", TO)


@test
def aiosmtpd_comes_to_its_end():
    controller = aiosmtpd.controller.Controller(aiosmtpd.handlers.Sink(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        comes_to_its_end(f"127.0.0.1:{controller.port}")
    finally:
        controller.stop()


@test
def dovecot_comes_to_its_end():
    """LMTP, and submission, which hands everything on to a relay."""
    with Folder() as folder, sink() as (address, _), users() as names:
        port, _ = folder.dovecot(relay=int(address.rsplit(":", 1)[1]))
        known = ("--recipient", "bob@mx.example.net", "--recipient", "alice@mx.example.net")
        comes_to_its_end(f"127.0.0.1:{port}", "--lmtp", *known)
        wait_for("the submission service", lambda: listens(folder.submission))
        comes_to_its_end(f"127.0.0.1:{folder.submission}", *known, "--users", names)


@test
def our_own_client_passes():
    for command in (
        (PROGRAM, "blast", "{host}:{port}", "--messages", "1", "--connections", "1", "--message", "{message}"),
        (binary(), "send", "--server", "{host}:{port}", "--from", "a@example.org", "--to", TO, "{message-crlf}"),
        (binary(), "send", "--server", "{host}:{port}", "--tls", "verify", "--ca", "{ca}", "--tls-name", "localhost",
         "--from", "a@example.org", "--to", TO, "{message-crlf}"),
    ):
        cases = [] if "verify" not in command else ["--case", "starttls", "--case", "starttls-injection", "--case", "text-refused"]
        report, code = conform("--client", "--fail-on", "practice", *cases, "--", *command, patience="30s")
        failed = [(case["id"], case["detail"]) for case in report["cases"] if case["outcome"] == "failed"]
        assert code == 0 and not failed, (command, failed)


SMTPLIB = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], int(sys.argv[2])) as client:
    client.sendmail("a@example.org", ["u@example.net"], open(sys.argv[3], "rb").read())
"""


@test
def clients_come_to_their_end():
    """A client that waits where a case says nothing more is ended, which is an outcome, too."""
    few = [part for id in ("greeting", "greeting-554", "helo", "mail", "dots", "text-refused", "pipelined", "starttls")
           for part in ("--case", id)]
    for command in (
        ("swaks", "--server", "{host}", "--port", "{port}", "--from", "a@example.org", "--to", TO, "--data", "@{message}"),
        ("curl", "-s", "--crlf", "--mail-from", "a@example.org", "--mail-rcpt", TO, "-T", "{message}", "smtp://{host}:{port}"),
        ("python3", "-c", SMTPLIB, "{host}", "{port}", "{message}"),
        *([("sh", "-c", "msmtp --host={host} --port={port} --from=a@example.org " + TO + " <{message}")] if shutil.which("msmtp") else []),
    ):
        comes_to_its_end("--client", *few, "--", *command, patience="20s")


if __name__ == "__main__":
    main()
