#!/usr/bin/env python3
"""`smtp-mio sink` and `smtp-mio blast` against mail programs that are not ours: every message is accounted for.

    python3 .ci/interop/load.py [WORD ...]      runs the tests whose names contain a word, or all

Needs Postfix (its smtpd, smtp-source and smtp-sink), and root where Postfix is started; nothing of Python but its own
library.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import PATIENCE, ROOT, Server, free_port, main, succeed, test, wait_for

os.environ["PATH"] += ":/usr/sbin"  # where Debian puts smtp-source and smtp-sink
MESSAGES = 1000
PROGRAM = os.environ.get("SMTP_MIO") or str(ROOT / "target/release/smtp-mio")


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True


@contextlib.contextmanager
def running(*command, port=None, **options):
    """A program in the background, until it listens; ended by SIGTERM."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        if port:
            wait_for(f"{command[0]} to listen", lambda: listens(port))
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


@contextlib.contextmanager
def sink(*options):
    """Gives the address, and a list into which what the sink tells at its end is put."""
    told = []
    with running(PROGRAM, "sink", "--json", "--listen", "127.0.0.1:0", *options,
                 stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        address = re.search(rb"listening on (\S+)", process.stderr.readline())[1].decode()
        yield address, told
        process.send_signal(signal.SIGTERM)
        told.append(json.loads(process.stdout.readlines()[-1]))
        assert process.wait(PATIENCE) == 0


def blast(address, *options):
    report = json.loads(succeed(PROGRAM, "blast", address, "--json", "--messages", str(MESSAGES), *options, timeout=120))
    assert (report["accepted"], report["refused"], report["failed"]) == (MESSAGES, 0, 0), report
    return report


@contextlib.contextmanager
def postfix(*settings):
    """A Postfix of its own in a folder of its own, that keeps mail for load.example in a Maildir. Gives port and folder."""
    folder, port = pathlib.Path(tempfile.mkdtemp(prefix="postfix-")), free_port()
    folder.chmod(0o755)
    try:
        for part in ("etc", "spool", "data", "mail"):
            (folder / part).mkdir()
        shutil.chown(folder / "data", "postfix")
        shutil.chown(folder / "mail", "postfix")
        uid = (folder / "data").stat().st_uid
        (folder / "etc/main.cf").write_text("\n".join([
            "compatibility_level = 3.6", f"queue_directory = {folder}/spool", f"data_directory = {folder}/data",
            "maillog_file_prefixes = /", f"maillog_file = {folder}/log", "myhostname = mx.load.example",
            "inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "mydestination =", "alias_maps =",
            "virtual_mailbox_domains = load.example", f"virtual_mailbox_base = {folder}/mail",
            "virtual_mailbox_maps = static:box/", f"virtual_uid_maps = static:{uid}", f"virtual_gid_maps = static:{uid}",
            "smtpd_peername_lookup = no", "smtpd_client_connection_count_limit = 0", *settings]) + "\n")
        (folder / "etc/master.cf").write_text(
            f"127.0.0.1:{port} inet n - n - 20 smtpd\n" + "".join(f"{line}\n" for line in (
                "pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
                "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce",
                "trace unix - - n - 0 bounce", "error unix - - n - - error", "retry unix - - n - - error",
                "virtual unix - n n - - virtual", "anvil unix - - n - 1 anvil", "tlsmgr unix - - n 1000? 1 tlsmgr",
                "proxymap unix - - n - - proxymap", "postlog unix-dgram n - n - 1 postlogd")))
        succeed("postfix", "-c", str(folder / "etc"), "check")
        with running("/usr/lib/postfix/sbin/master", "-c", str(folder / "etc"), "-d", port=port):
            yield port, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@test
def smtp_source_against_sink():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sink-"))
    try:
        with sink("--deliver", f"maildir:{folder}") as (address, told):
            succeed("smtp-source", "-s", "10", "-m", str(MESSAGES), "-l", "4096", "-f", "a@client.example",
                    "-t", "b@load.example", address, timeout=120)
            succeed("smtp-source", "-s", "10", "-m", str(MESSAGES), "-d", "-l", "4096", "-f", "a@client.example",
                    "-t", "b@load.example", address, timeout=120)
        assert told[0]["messages"] == 2 * MESSAGES and told[0]["faults"] == 0, told
        assert len(list((folder / "new").iterdir())) == 2 * MESSAGES and not list((folder / "tmp").iterdir())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@test
def blast_against_smtp_sink():
    port = free_port()
    dumps = pathlib.Path(tempfile.mkdtemp(prefix="smtp-sink-"))
    dumps.chmod(0o777)
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    try:
        with running("smtp-sink", *user, "-d", f"{dumps}/%M.", f"127.0.0.1:{port}", "100", port=port):
            blast(f"127.0.0.1:{port}", "--to", "b@load.example")
            blast(f"127.0.0.1:{port}", "--no-pipeline", "--per-connection", "10")
            assert len(list(dumps.iterdir())) == 2 * MESSAGES, len(list(dumps.iterdir()))
    finally:
        shutil.rmtree(dumps, ignore_errors=True)


@test
def blast_against_postfix():
    with postfix() as (port, folder):
        blast(f"127.0.0.1:{port}", "--to", "b@load.example", "--per-connection", "100")
        # What was acknowledged is delivered, and nothing else.
        new = folder / "mail/box/new"
        wait_for("the mail to be delivered", lambda: new.exists() and len(list(new.iterdir())) >= MESSAGES, timeout=120)
        assert len(list(new.iterdir())) == MESSAGES


@test
def blast_over_starttls_against_sink():
    with sink() as (address, told):
        fresh = blast(address, "--tls", "starttls", "--per-connection", "2")
        resumed = blast(address, "--tls", "starttls", "--per-connection", "1", "--resume")
    # A few connections more than messages ask for may be made towards the end. Each has its one handshake, unless the last
    # message was accepted before it.
    made = [sum(report["handshakes"].values()) for report in (fresh, resumed)]
    for report, handshakes, least in ((fresh, made[0], MESSAGES // 2), (resumed, made[1], MESSAGES)):
        assert least <= handshakes <= report["connections"] <= least + 10, report
    assert fresh["handshakes"]["resumed"] == 0 and resumed["handshakes"]["resumed"] > 0, (fresh, resumed)
    both = fresh["connections"] + resumed["connections"]
    assert told[0]["messages"] == 2 * MESSAGES, told
    # One that is dropped at the end the client may call done, and the server not.
    done, dropped = told[0]["handshakes"], told[0]["handshakes_failed"]
    assert sum(made) <= done + dropped <= both and done >= MESSAGES + MESSAGES // 2, (told, made, both)


@test
def blast_over_starttls_against_smtp_smol():
    with Server() as server:
        report = blast(server.address, "--tls", "starttls", "--to", "b@mx.example.net", "--per-connection", "50")
        made = report["handshakes"]
        assert MESSAGES // 50 <= made["full"] <= report["connections"] <= MESSAGES // 50 + 10 and not made["resumed"], report
        mails = server.mails(MESSAGES)
        assert all(mail.protocol == "ESMTPS" for mail in mails)


if __name__ == "__main__":
    main()
