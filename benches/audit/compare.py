#!/usr/bin/env python3
"""Times `smtp-smol audit` beside other programs that read the same files, on this machine and one core.

    compare.py [MESSAGES] [FOLDER]

Beside pflogsumm (Debian) on a Postfix log, and Python's mailbox module on an mbox. They answer other questions: the
figures say how long it takes to read all of a file, once its pages are in memory. CPU time is told, user and system. Then each
kind of log, in turn with Postfix's: lines a second, and messages a second, of Postfix's."""

import mailbox
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target"))
PROGRAM = os.environ.get("SMTP_SMOL", str(TARGET / "release/smtp-smol"))


def seconds(command, **options):
    """CPU time of the best of three runs."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def lines_in(path):
    with path.open("rb") as file:
        return sum(1 for _ in file)


def written(folder, what, count):
    path = folder / what
    if not path.exists():
        with path.open("wb") as file:
            subprocess.run([sys.executable, HERE / "generate.py", what, count], stdout=file, stderr=subprocess.DEVNULL, check=True)
    return path


def kinds(folder, messages):
    """Each kind of log beside Postfix's: what the machine does meanwhile slows both."""
    postfix = written(folder, "postfix", messages)
    lines = lines_in(postfix)
    print(f"\n{'':<12}{'million lines/s':>16}{'of Postfix':>12}{'messages, of Postfix':>22}")
    for what in ("exim", "sendmail", "opensmtpd", "journal", "exchange"):
        path = written(folder, what, messages)
        base, time = (seconds([PROGRAM, "audit", "--json", path]) for path in (postfix, path))
        rate, of = lines_in(path) / time, lines / base
        print(f"{what:<12}{rate / 1e6:>16.2f}{rate / of:>12.0%}{base / time:>22.0%}", flush=True)


def tell(what, size, lines, time):
    rate = f", {lines / time / 1e6:.2f} million lines/s" if lines else ""
    print(f"{what:<28}{time:8.2f} s{size / time / 1e6:10.0f} MB/s{rate}", flush=True)


def read_with_mailbox(path):
    for message in mailbox.mbox(path, create=False):
        message.get_all("Received")


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "--mailbox":
        return read_with_mailbox(sys.argv[2])
    messages = sys.argv[1] if len(sys.argv) > 1 else "200000"
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="compare-"))
    folder.mkdir(exist_ok=True)
    for what, count in (("postfix", messages), ("mbox", str(int(messages) // 10))):
        path = written(folder, what, count)
        size = path.stat().st_size
        lines = 0
        if what == "postfix":
            lines = lines_in(path)
        print(f"{what}: {count} messages, {size / 1e6:.0f} MB")
        tell("smtp-smol audit", size, lines, seconds([PROGRAM, "audit", "--json", path]))
        if what == "postfix" and shutil.which("pflogsumm"):
            tell("pflogsumm", size, lines, seconds(["pflogsumm", path]))
        if what == "mbox":
            tell("Python's mailbox", size, 0, seconds([sys.executable, __file__, "--mailbox", path]))
    kinds(folder, messages)
    if len(sys.argv) <= 2:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
