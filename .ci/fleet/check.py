#!/usr/bin/env python3
"""A fleet's answer: `audit`, and the SQL of docs/fleet on DuckDB, ClickHouse (chdb) and DataFusion, on the same ledgers.

    python3 .ci/fleet/check.py [--lines 200000]

Counts are equal, both ends of every interval within 1e-12, for all policies; what was spoilt on the way is counted and
named by each; cells of parts, in any order, tell what the whole does. Wants the program in $SMTP_SMOL."""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "interop")]

import ledger  # noqa: E402
from engines import CELLS, ClickHouse, DataFusion, DuckDB, text  # noqa: E402

PROGRAM = os.environ["SMTP_SMOL"]
POLICIES = ("tls", "tls12", "tls13", "certificate", "verified_certificate")
began = time.monotonic()


def say(words):
    print(f"-- {time.monotonic() - began:5.1f} s  {words}", flush=True)


def run(*arguments):
    done = subprocess.run([PROGRAM, "audit", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"audit {arguments}: {done.stderr}"
    return done.stdout


def audit(*arguments):
    return json.loads(run("--json", "--exact", "--internal", *arguments))


def figures(report):
    """What it says of every direction, verdict and policy, as the SQL names it."""
    loss, hosts = {}, {}
    for direction in ("inbound", "outbound"):
        for part in (report[direction] or {"what_if": []})["what_if"]:
            for verdict in ("wanted", "unwanted", "unknown"):
                share = part[verdict]
                where = part["policy"].replace("-", "_").replace(".", "")
                if share["hosts"]["of"]:
                    hosts.setdefault((direction, verdict), {"all_hosts": share["hosts"]["of"]})[f"lost_{where}"] = share["hosts"]["lost"]
                if share["of"]["messages"] == 0:
                    continue
                of = {f"{name}_{what}": share[key][what] for name, key in (("lost", "lost"), ("all", "of"))
                      for what in ("messages", "recipients", "bytes")}
                loss[direction, verdict, part["policy"]] = {
                    **of, "untold_messages": share["untold"], "share": share["share"], "low": share["interval"][0],
                    "high": share["interval"][1], "lost_senders": share["senders"]["lost"],
                    "all_senders": share["senders"]["of"], "silenced_senders": share["silenced"],
                    "seen_once_senders": share["seen_once"]}
    return loss, hosts


def compare(who, report, answer):
    loss, hosts = figures(report)
    rows, host_rows = answer
    found = {(row["direction"], row["verdict"], row["policy"]): row for row in rows}
    assert found.keys() == loss.keys(), f"{who}: {sorted(found)}, not {sorted(loss)}"
    furthest = 0.0
    for where, right in loss.items():
        for name, value in right.items():
            if name in ("share", "low", "high"):
                apart = abs(found[where][name] - value)
                furthest = max(furthest, apart)
                assert apart < 1e-12, f"{who}, {where}, {name}: {found[where][name]}, not {value}"
            else:
                assert found[where][name] == value, f"{who}, {where}, {name}: {found[where][name]}, not {value}"
    for row in host_rows or ():
        right = hosts[row["direction"], row["verdict"]]
        for name, value in right.items():
            assert row[name] == value, f"{who}, hosts, {name}: {row[name]}, not {value}"
    assert host_rows is None or len(host_rows) == len(hosts)
    say(f"{who}: {len(loss)} answers equal, intervals within {furthest:.1e}")


def summed(lines):
    """Of cells, each of which may stand in several lines: by all that they are told apart by the sums."""
    cells = {}
    for line in lines:
        key = tuple(line.get(name) for name in CELLS)
        sums = cells.setdefault(key, [0, 0, 0])
        for at, name in enumerate(("messages", "recipients", "bytes")):
            sums[at] += line[name]
    return cells


def same_cells(who, engine, path):
    """What fold.sql and cells.sql make of rows is what `audit --cells` writes, to the last message."""
    right = summed(line for line in map(json.loads, path.read_text().splitlines()) if "day" in line)
    found = summed(engine.ask("SELECT * FROM cells"))
    apart = {key: (found.get(key), right.get(key)) for key in found.keys() | right.keys() if found.get(key) != right.get(key)}
    assert not apart, f"{who}: {len(apart)} cells differ, such as {list(apart.items())[:3]}"
    say(f"{who}: {len(right)} cells equal")


def faults_of(bad):
    counts = {}
    for row in bad:
        counts[row["what"]] = counts.get(row["what"], 0) + 1
        assert row["arrival"] is not None and (row["what"] == "broken" or row["seq"]), row
    return counts


def on_engines(what, parquet, cells, spoilt, faults, report):
    for engine in (DuckDB(), ClickHouse(), DataFusion()):
        engine.rows_from_parquet(parquet)
        compare(f"{what}, {engine.name}, Parquet", report, engine.messages())
        same_cells(f"{what}, {engine.name}, Parquet", engine, cells)
    for engine in (DuckDB(), ClickHouse(), DataFusion()):
        engine.rows_from_lines(spoilt)
        told = faults_of(engine.bad())
        assert told == faults, f"{engine.name}: {told}, not {faults}"
        compare(f"{what}, {engine.name}, spoilt lines ({told})", report, engine.messages())


def same_report(one, other):
    return [{**report, "made": None} for report in (one, other)]


def generated(folder, lines):
    key = folder / "key"
    key.write_text("0123456789abcdef\n")
    files = ledger.ledgers(lines)
    paths = []
    for node, written in files.items():
        paths.append(folder / f"{node}.jsonl")
        paths[-1].write_text("\n".join(written) + "\n")
    # By time, and at one time by node: as SQL sorts them.
    merged = sorted(itertools.chain(*files.values()), key=lambda line: (line[line.index('"time":"'):][8:32], line))
    say(f"{len(merged)} lines of {len(files)} hosts made up")
    rows, parquet, cells = folder / "rows.jsonl", folder / "rows.parquet", folder / "cells.jsonl"
    report = audit(*paths, "--rows", rows, "--key", key, "--cells", cells)
    audit(*paths, "--rows", parquet, "--key", key)
    say("audit read them, and wrote rows, Parquet and cells")

    spoilt, faults = ledger.spoil(merged)
    bad_ledger = folder / "spoilt.jsonl"
    bad_ledger.write_text("\n".join(spoilt) + "\n")
    bad = audit(bad_ledger)
    assert figures(bad) == figures(report), "audit counts something else in the spoilt ledger"
    told = bad["not_counted"]
    assert (told["broken"], told["other_version"], told["doubled"]) == (faults["broken"], faults["version"], faults["doubled"]), told
    assert f"{faults['late']} lines of ledgers came late, and are counted" in bad["notes"], bad["notes"]
    assert len(told["first_broken"]) == 5 and all("spoilt.jsonl:" in place for place in told["first_broken"]), told
    say(f"audit: {faults} found in the spoilt ledger, and the same figures")

    again = audit(cells)
    one, other = same_report(report, again)
    assert one == other, "cells read back tell something else"
    pages = []
    for name, sources in (("whole", paths), ("cells", [cells])):
        page = folder / f"{name}.html"
        run("--exact", "--internal", *sources, "--html", page)
        pages.append("".join(line for line in page.read_text().splitlines(True) if "smtp-smol 0" not in line))
    assert pages[0] == pages[1], "the page of the cells is another"
    parts = []
    for path in paths:
        parts.append(folder / f"{path.stem}.cells.jsonl")
        audit(path, "--cells", parts[-1])
    sums = [audit(*order) for order in itertools.permutations(parts)]
    halves = folder / "halves.jsonl"
    audit(*parts[:2], "--cells", halves)
    sums.append(audit(parts[2], halves))
    assert all(same_report(sums[0], other)[0] == same_report(sums[0], other)[1] for other in sums), "the order of cells tells"
    done = subprocess.run([PROGRAM, "audit", halves, parts[0]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "counted already" in done.stderr, done
    say("cells: the same report and page as the whole, in any order; no part is counted twice")
    duckdb = DuckDB()
    duckdb.cells_from_lines(cells)
    compare("generated, duckdb, cells", report, (duckdb.ask(text("loss")), None))

    lines_of_rows, faults = ledger.spoil(rows.read_text().splitlines())
    bad_rows = folder / "spoilt-rows.jsonl"
    bad_rows.write_text("\n".join(lines_of_rows) + "\n")
    on_engines("generated", parquet, cells, bad_rows, faults, report)


def many_senders(folder, senders=70_000):
    """More than are kept without --exact: then what is told comes from a sample, and says so; with it, it is SQL's."""
    path, parquet = folder / "many.jsonl", folder / "many.parquet"
    path.write_text("\n".join(ledger.of_many_senders(senders)) + "\n")
    report = audit(path, "--rows", parquet)
    engine = DuckDB()
    engine.rows_from_parquet(parquet)
    compare(f"{senders} senders, {engine.name}", report, engine.messages())

    def told(report):
        [part] = [part for part in report["inbound"]["what_if"] if part["policy"] == "tls"]
        return part["wanted"]["senders"]

    assert (told(report)["of"], told(report)["exact"]) == (senders, True), told(report)
    sampled = told(json.loads(run("--json", path)))
    assert not sampled["exact"] and abs(sampled["of"] - senders) < senders / 50, sampled
    assert "sample" in run(path) and "sample" not in run("--exact", path), "it does not say that it samples"
    say(f"{senders} senders: with --exact all are kept; without, {sampled['of']} are told from a sample")


def real(folder):
    """What a Postfix of this machine logs, as in the interop step."""
    from audit import Receiver, send_in_every_mode
    with Receiver() as postfix:
        send_in_every_mode(postfix)
        postfix.delivered(11)
        rows, parquet, cells = folder / "postfix.jsonl", folder / "postfix.parquet", folder / "postfix.cells.jsonl"
        report = audit(postfix.log, "--rows", rows, "--cells", cells)
        audit(postfix.log, "--rows", parquet)
    assert figures(report)[0]["inbound", "wanted", "tls"]["lost_messages"] == 5, figures(report)
    on_engines("Postfix", parquet, cells, rows, {}, report)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--keep", help="a folder for the files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        folder = pathlib.Path(arguments.keep or folder)
        folder.mkdir(exist_ok=True)
        generated(folder, arguments.lines)
        many_senders(folder)
        real(folder)


if __name__ == "__main__":
    main()
