#!/usr/bin/env python3
"""What docs/fleet tells an operator to run, run: the configurations that ship ledgers ship them, the commands of the README
are given word for word, and the panels of the dashboard have an answer. Only paths, hosts and ports are others.

    python3 .ci/fleet/ship.py

Wants the program in $SMTP_SMOL; rsyslog with omkafka, kcat, rsync and PostgreSQL; duckdb-cli, PyYAML and vrl-python (the
language of Vector, compiled and run by Vector's own crate) from PyPI."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "interop")]

import ledger  # noqa: E402
from check import audit, figures, say  # noqa: E402
from harness import binary, free_port, run, succeed, wait_for  # noqa: E402

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs/fleet"
LINES = 1500


class Rsyslog:
    """rsyslogd with one of our configurations, in a folder of its own."""

    def __init__(self, name, folder, **others):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        text = (DOCS / f"ship/{name}.conf").read_text()
        for was, now in {"/var/spool/rsyslog": folder, "/var/lib/rsyslog": folder, **others}.items():
            assert name != "rsyslog-send" or was == "/var/lib/rsyslog" or was in text, f"{was} is not in {name}.conf"
            text = text.replace(was, str(now))
        self.file = folder / "rsyslog.conf"
        self.file.write_text(text)
        succeed("rsyslogd", "-N1", "-f", str(self.file))

    def __enter__(self):
        log = (self.folder / "said").open("ab")
        self.process = subprocess.Popen(["rsyslogd", "-n", "-f", self.file, "-i", self.folder / "pid"], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def lines_in(*paths):
    return sum(path.read_bytes().count(b"\n") for path in paths if path.exists())


def the_same(one, other, what):
    assert figures(one) == figures(other), f"{what} tells something else"


def by_rsyslog(folder, ledgers):
    """Three hosts to one, each with its ledger rotated meanwhile; then one of them sends all of its lines again."""
    there = folder / "collected"
    there.mkdir()
    port = free_port()
    whole = audit(*ledgers)

    def collected():
        return sorted(there.glob("ledger-*.jsonl"))

    with Rsyslog("rsyslog-receive", folder / "receiver", **{"10514": port, "/var/lib/fleet": there}):
        senders = []
        for path in ledgers:
            host = folder / path.stem
            host.mkdir()
            sender = Rsyslog("rsyslog-send", folder / f"sender-{path.stem}", **{
                "10514": port, "collector.example.net": "127.0.0.1", "/var/lib/smtp-smol/ledger.jsonl": host / "ledger.jsonl"})
            senders.append((path.read_bytes().splitlines(True), host / "ledger.jsonl", sender))
            with sender:
                lines, live, _ = senders[-1]
                before = lines_in(*collected())
                half = len(lines) // 2
                live.write_bytes(b"".join(lines[:half]))
                wait_for("the first half", lambda: lines_in(*collected()) == before + half)
                live.rename(live.with_suffix(".jsonl.1"))
                live.write_bytes(b"".join(lines[half:]))
                wait_for("what came after rotation", lambda: lines_in(*collected()) == before + len(lines))
        shipped = audit(*collected())
        the_same(whole, shipped, "what rsyslog shipped")
        assert shipped["not_counted"]["broken"] == shipped["not_counted"]["doubled"] == 0, shipped["not_counted"]
        assert sorted(b"".join(path.read_bytes() for path in collected()).splitlines()) == sorted(
            line for path in ledgers for line in path.read_bytes().splitlines()), "a line is not as it was written"
        # The state of one is lost, and so its file is sent from the beginning: at least once.
        lines, live, sender = senders[0]
        total, again = lines_in(*collected()), lines_in(live)
        for state in sender.folder.glob("imfile-state*"):
            state.unlink()
        with sender:
            wait_for("all of it again", lambda: lines_in(*collected()) == total + again)
    twice = audit(*collected())
    the_same(whole, twice, "a ledger that was shipped twice")
    assert twice["not_counted"]["doubled"] == again > 0, twice["not_counted"]
    say(f"rsyslog: {total} lines of three hosts came as they were written, through rotation; {again} that came twice count once")


def by_kafka(folder, path):
    """Into a broker that librdkafka plays, within the consumer."""
    said, came = folder / "kafka.said", folder / "kafka.came"
    with said.open("wb") as log, came.open("wb") as out:
        broker = subprocess.Popen(["kcat", "-C", "-u", "-b", "none", "-t", "smtp-ledger", "-o", "beginning", "-d", "mock",
                                   "-X", "test.mock.num.brokers=1"], stdin=subprocess.DEVNULL, stdout=out, stderr=log)
    try:
        address = wait_for("the broker", lambda: re.search(r"bootstrap\.servers=(\S+)", said.read_text()))[1]
        names = {"/var/lib/smtp-smol/ledger.jsonl": path, "kafka.example.net:9092": address}
        lines = lines_in(path)
        with Rsyslog("rsyslog-kafka", folder / "kafka", **names):
            wait_for("all lines in the topic", lambda: lines_in(came) >= lines, timeout=90)
    finally:
        broker.kill()
        broker.wait()
    assert sorted(came.read_bytes().splitlines()) == sorted(path.read_bytes().splitlines()), "a line is not as it was written"
    say(f"Kafka: {lines} lines through omkafka, as they were written")


def by_vector(path):
    """Vector itself cannot be had from Debian, PyPI or npm. So its configuration is parsed, each input must be somebody's
    output, and the condition is compiled and run in Vector's own language."""
    import vrl_python
    import yaml
    configuration = yaml.safe_load((DOCS / "ship/vector.yaml").read_text())
    outputs = set(configuration["sources"])
    for name, transform in configuration["transforms"].items():
        assert transform["type"] == "route", transform
        outputs |= {f"{name}.{route}" for route in [*transform["route"], "_unmatched"]}
    for name, part in {**configuration["transforms"], **configuration["sinks"]}.items():
        assert part["inputs"] and set(part["inputs"]) <= outputs, f"{name} has inputs that nobody has as outputs"
    [condition] = configuration["transforms"]["sorted"]["route"].values()
    runtime = vrl_python.VRLRuntime()

    def is_line(text):
        return runtime.execute(condition, {"message": text}).runtime_result

    lines = path.read_text().splitlines()
    assert all(is_line(line) is True for line in lines), "a line of a ledger is none to Vector"
    for broken in (lines[0][:-1], "", "[1]", "17", "x", lines[0] + lines[1]):
        assert is_line(broken) is False, broken
    say(f"Vector: {len(lines)} lines go where they belong by the condition of vector.yaml, and what is broken does not")


def by_cells(folder, ledgers, key):
    """The daily job of each host, twice on one of them."""
    there = folder / "cells"
    there.mkdir()
    for path in [*ledgers, ledgers[0]]:
        environment = {**os.environ, "NODE": path.stem, "LEDGER": str(path), "TO": f"{there}/", "KEY": str(key), "SMTP_SMOL": binary()}
        subprocess.run(["sh", DOCS / "ship/cells.sh"], check=True, env=environment, stdin=subprocess.DEVNULL)
    files = sorted(there.iterdir())
    assert len(files) == len(ledgers), files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}
    parts = []
    for path in ledgers:
        parts.append(folder / f"{path.stem}.part")
        audit(path, "--cells", parts[-1], "--key", key, "--node", path.stem)
    the_same(audit(*parts), audit(*files), "what the daily job sent")
    say(f"cells.sh: {len(files)} hosts by rsync; what one of them sent again counts once")


def commands():
    """The blocks of shell in the README, in their order."""
    return re.findall(r"```sh\n(.*?)```", (DOCS / "README.md").read_text(), re.S)


def by_the_readme(folder, ledgers, key):
    """In a folder where the files of docs/fleet are, with a ledger of each host where they are collected."""
    there = folder / "readme"
    there.mkdir()
    for path in DOCS.iterdir():
        if path.is_file():
            (there / path.name).write_text(path.read_text().replace("/var/lib/fleet", str(there)))
    for path in ledgers:
        (there / f"ledger-{path.stem}.jsonl").write_bytes(path.read_bytes())
    programs = there / "bin"
    programs.mkdir()
    (programs / "smtp-smol").symlink_to(binary())
    (there / "fleet.key").write_bytes(key.read_bytes())
    environment = {**os.environ, "PATH": f"{programs}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    whole, printed = audit(*ledgers), []
    for block in commands():
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block.replace("/var/lib/fleet", str(there))], cwd=there,
                              env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0 and not done.stderr, f"{block}\n{done.stdout}{done.stderr}"
        printed.append(done.stdout)
    # What the last prints is the answer itself.
    answer = printed[-1]
    for (direction, verdict, policy), right in figures(whole)[0].items():
        assert re.search(rf"(?m)^{policy},{direction},{verdict},{right['lost_messages']},{right['all_messages']},", answer), answer
    say(f"the README: {len(printed)} blocks of commands run as they stand, {answer.count(chr(10)) - 1} answers equal")
    return there


def on_postgresql(folder, cells):
    """The dashboard's source: loss.sql as its view, and each panel's query."""
    from engines import DuckDB
    data, sock = folder / "pg", folder / "pg-socket"
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "there is no PostgreSQL"
    programs, quiet = found[-1].parent, {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.geteuid() == 0:
        # It refuses to run as root.
        quiet |= {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": folder}
        os.chmod(folder, 0o755)
    for path in (data, sock):
        path.mkdir(0o700)
        if os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"], check=True, timeout=120, **quiet)
    server = subprocess.Popen([programs / "postgres", "-D", data, "-c", "listen_addresses=", "-c", f"unix_socket_directories={sock}",
                               "-c", "fsync=off"], **quiet)
    try:
        def psql(sql, *options):
            return succeed(str(programs / "psql"), "-h", str(sock), "-U", "postgres", "-q", "-v", "ON_ERROR_STOP=1", *options, stdin=sql.encode())

        wait_for("PostgreSQL", lambda: run(str(programs / "pg_isready"), "-h", str(sock))[0] == 0)
        psql((DOCS / "postgresql.sql").read_text())
        psql((DOCS / "schema.sql").read_text())
        table = folder / "cells.csv"
        engine = DuckDB()
        engine.cells_from_lines(cells)
        engine.run(f"COPY (SELECT * FROM cells) TO '{table}' (HEADER, NULL '\\N')")
        psql(f"\\copy cells FROM '{table}' WITH (FORMAT csv, HEADER, NULL '\\N')")
        psql(f"CREATE VIEW loss AS {(DOCS / 'loss.sql').read_text()};")
        asked = 0
        for panel in json.loads((DOCS / "grafana.json").read_text())["panels"]:
            for target in panel["targets"]:
                answer = psql(target["rawSql"], "--csv").splitlines()
                assert len(answer) > 1, f"no answer: {panel['title']}"
                asked += 1
        right = figures(audit(cells))[0]
        for row in json.loads(psql("SELECT json_agg(loss) FROM loss", "-t", "-A")):
            wanted = right[row["direction"], row["verdict"], row["policy"]]
            for name, value in wanted.items():
                assert abs(row[name] - value) < 1e-12 if isinstance(value, float) else row[name] == value, (row, wanted)
        say(f"PostgreSQL: schema.sql, loss.sql ({len(right)} answers equal), and {asked} queries of the dashboard")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def main():
    with tempfile.TemporaryDirectory(prefix="ship-") as folder:
        folder = pathlib.Path(folder)
        key = folder / "key"
        key.write_text("0123456789abcdef\n")
        ledgers = []
        for node, written in ledger.ledgers(LINES).items():
            ledgers.append(folder / f"{node}.jsonl")
            ledgers[-1].write_text("\n".join(written) + "\n")
        by_rsyslog(folder, ledgers)
        by_kafka(folder, ledgers[0])
        by_vector(ledgers[0])
        by_cells(folder, ledgers, key)
        by_the_readme(folder, ledgers, key)
        cells = folder / "all.cells.jsonl"
        audit(*ledgers, "--cells", cells)
        on_postgresql(folder, cells)


if __name__ == "__main__":
    main()
