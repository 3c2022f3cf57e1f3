#!/usr/bin/env python3
"""How long a fleet's answer takes, and how that grows: DuckDB over rows in Parquet, DuckDB over cells, `audit` over the same
cells.

    compare.py [--messages 2000000 20000000] [--folder DIR] [--rounds 3]

The ledgers are made up by DuckDB: a month of three hosts, senders by Zipf's law, hosts of each sender, some mail deferred and
sent again. `audit` makes the rows and the cells of them. Wants $SMTP_SMOL (a release build), GNU time, and duckdb from PyPI. Of
each the best of some rounds is told: seconds on the clock, seconds of CPU, and the most memory that was held."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs/fleet"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target"))
PROGRAM = os.environ.get("SMTP_SMOL", str(TARGET / "release/smtp-smol"))
SENDERS = 100_000
DAYS = 30
BEGIN = 1_790_812_800  # 2026-10-01

# A sender's habits follow from its rank, by hashes of it; a message's accidents from its number.
LEDGER = """
COPY (
    WITH drawn AS (
        SELECT i, CAST(floor(exp((hash(i) % 1000003) / 1000003.0 * ln({senders} + 1))) AS BIGINT) AS rank,
               hash(i * 3 + 1) % 1000000 AS a, hash(i * 5 + 2) % 1000000 AS b, hash(i * 7 + 3) % 1000000 AS c
        FROM range({first}, {last}) AS numbers(i)
    ),
    sent AS (
        SELECT i, rank, a, b, c, hash(rank) % 1000 AS habit, hash(rank * 11) % 1000 AS grade, hash(rank * 13) % 1000 AS shown,
               hash(rank * 17) % 5 = 0 AS spam, (a % (1 + CAST(floor(40.0 / sqrt(rank)) AS BIGINT))) AS machine
        FROM drawn
    )
    SELECT 2 AS v, 'mx1.example.net' AS node, '1' AS run, i + 1 AS seq, CAST(i AS VARCHAR) AS id,
           strftime(make_timestamp(CAST(({begin} + i * {step}) * 1000000 AS BIGINT)), '%Y-%m-%dT%H:%M:%S.000Z') AS "time",
           'inbound' AS direction,
           concat(11 + rank % 180, '.', rank // 180 % 250, '.', rank // 45000 % 250, '.', machine + 1) AS peer,
           concat('mx', machine, '.sender', rank, '.com') AS helo, concat('news.sender', rank, '.com') AS sender_domain,
           ['example.net'] AS recipient_domains, 1 + CAST(b % 11 = 0 AS INTEGER) AS recipients,
           lpad(format('{{:x}}', hash(i - CAST(c % 20 = 0 AS INTEGER))), 16, '0') AS envelope, 800 + b % 60000 AS bytes,
           CASE WHEN c % 20 = 1 THEN 'deferred' WHEN spam AND b % 4 > 0 THEN 'refused' ELSE 'accepted' END AS outcome,
           CASE WHEN habit < 30 OR (habit < 80 AND a % 3 = 0) THEN {{'outcome': 'not-tried', 'version': NULL, 'client_certificate': NULL}}
                ELSE {{'outcome': 'used', 'version': CASE WHEN grade < 20 THEN 'TLS1.0' WHEN grade < 300 THEN 'TLS1.2' ELSE 'TLS1.3' END,
                       'client_certificate': CASE WHEN shown < 800 THEN 'none' WHEN shown < 900 THEN 'untrusted' ELSE 'verified' END}}
                END AS tls
    FROM sent
) TO '{path}' (FORMAT json)
"""

DUCKDB = """
import duckdb, sys, time
began = time.monotonic()
engine = duckdb.connect(config={"threads": int(sys.argv[1])})
for sql in sys.argv[2:]:
    answer = engine.execute(sql)
print(len(answer.fetchall()))
"""


def text(name):
    return (DOCS / f"{name}.sql").read_text()


def measured(command, rounds):
    """The best of some rounds: seconds, CPU seconds, and the most memory in MB; and what was printed. GNU time stands between,
    for what this process holds would count as the program's: the memory of who starts it is its own until it is another's."""
    best = None
    for _ in range(rounds):
        with tempfile.NamedTemporaryFile("r") as told:
            printed = subprocess.run(["time", "-f", "%e %U %S %M", "-o", told.name, *command], check=True, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, text=True).stdout
            clock, user, system, kibibytes = map(float, told.read().split())
        took = (clock, user + system, kibibytes * 1024 / 1e6)
        best = min(best, took) if best else took
    return best, printed


def duckdb(rounds, *statements):
    return measured([sys.executable, "-c", DUCKDB, str(os.cpu_count()), *statements], rounds)


def prepare(folder, messages):
    """Rows and cells of so many messages."""
    import duckdb as engine
    rows, cells, ledger = (folder / f"{messages}.{kind}" for kind in ("rows.parquet", "cells.jsonl", "ledger.jsonl"))
    if not cells.exists():
        connection = engine.connect()
        connection.execute(LEDGER.format(senders=SENDERS, first=0, last=messages, begin=BEGIN, step=DAYS * 86_400 / messages,
                                         path=ledger))
        took, _ = measured([PROGRAM, "audit", ledger, "--exact", "--json", "--rows", rows, "--cells", folder / "part"], 1)
        (folder / "part").rename(cells)
        ledger.unlink()
        print(f"{messages}: audit of the ledger, with rows and cells: {took[0]:.1f} s, CPU {took[1]:.1f} s, {took[2]:.0f} MB", flush=True)
    return rows, cells


def compare(folder, messages, rounds):
    rows, cells = prepare(folder, messages)
    names = "day direction verdict sender hop version certificate end_to_end rehearsed".split()
    columns = ", ".join(f"{name}: 'VARCHAR'" for name in names)
    of_cells = (f"CREATE VIEW cells AS SELECT * FROM read_json('{cells}', format = 'newline_delimited', columns = {{{columns}, "
                "messages: 'BIGINT', recipients: 'BIGINT', bytes: 'BIGINT'}) WHERE day IS NOT NULL")
    count = sum(1 for line in cells.open("rb") if line.startswith(b'{"day"'))
    hosts = sum(1 for line in cells.open("rb") if line.startswith(b'{"host"'))
    print(f"{messages}: rows {rows.stat().st_size / 1e6:.0f} MB, {count} cells and {hosts} hosts {cells.stat().st_size / 1e6:.0f} MB", flush=True)
    table = {
        "DuckDB, rows in Parquet": duckdb(1, f"CREATE VIEW rows AS SELECT * FROM read_parquet('{rows}')",
                                          f"CREATE TABLE messages AS {text('fold')}", f"CREATE TABLE cells AS {text('cells')}", text("loss")),
        "DuckDB, the cells": duckdb(rounds, of_cells, text("loss")),
        "`audit`, the cells": measured([PROGRAM, "audit", "--json", cells], rounds),
        "`audit --exact`, the cells": measured([PROGRAM, "audit", "--json", "--exact", cells], rounds),
    }
    for what, ((clock, cpu, memory), _) in table.items():
        print(f"| {what} | {messages} | {clock:.2f} | {cpu:.2f} | {memory:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[2_000_000, 20_000_000])
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as scratch:
        folder = arguments.folder or pathlib.Path(scratch)
        folder.mkdir(exist_ok=True)
        print("| | messages | seconds | CPU seconds | MB |\n|---|---|---|---|---|")
        for messages in arguments.messages:
            compare(folder, messages, arguments.rounds)


if __name__ == "__main__":
    main()
