#!/usr/bin/env python3
"""The same figures from Spark: a standalone master and two workers on loopback, one of which is killed while the job runs.

    python3 .ci/fleet/cluster.py [--lines 20000]

Wants the program in $SMTP_SMOL, and Java 17. Less data than check.py has: Spark starts slowly on two cores."""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import check  # noqa: E402
import ledger  # noqa: E402
from engines import Spark  # noqa: E402


class Daemon:
    """A process of Spark's that ends with the test, and what it said."""

    def __init__(self, folder, kind, *arguments):
        import pyspark
        home = pathlib.Path(pyspark.__file__).parent
        self.log = folder / f"{kind.rsplit('.', 1)[-1]}-{arguments[-1].rsplit('/', 1)[-1]}.log"
        environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m",
                       "SPARK_WORKER_DIR": str(folder / "work")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([home / "bin/spark-class", kind, *arguments], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, env=environment, start_new_session=True)

    def says(self, pattern, patience=90):
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if found := re.search(pattern, self.log.read_text(errors="replace")):
                return found
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            time.sleep(0.2)
        raise AssertionError(f"{pattern!r} was not said: {self.log.read_text(errors='replace')[-2000:]}")

    def kill(self):
        """With the executors that it has started: a host that is gone."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def answers(spark, parquet):
    spark.rows_from_parquet(parquet)
    return spark.messages()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=20_000)
    lines = parser.parse_args().lines
    daemons = []
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        folder = pathlib.Path(folder)
        key = folder / "key"
        key.write_text("0123456789abcdef\n")
        paths = []
        for node, written in ledger.ledgers(lines).items():
            paths.append(folder / f"{node}.jsonl")
            paths[-1].write_text("\n".join(written) + "\n")
        rows, parquet = folder / "rows.jsonl", folder / "rows.parquet"
        report = check.audit(*paths, "--rows", rows, "--key", key)
        check.audit(*paths, "--rows", parquet, "--key", key)
        spoilt, faults = ledger.spoil(rows.read_text().splitlines())
        bad = folder / "spoilt-rows.jsonl"
        bad.write_text("\n".join(spoilt) + "\n")
        try:
            master = Daemon(folder, "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", "0",
                            "--webui-port", "0")
            daemons.append(master)
            url = master.says(r"Starting Spark master at (spark://127\.0\.0\.1:\d+)")[1]
            for _ in range(2):
                daemons.append(Daemon(folder, "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--webui-port",
                                      "0", "--cores", "1", "--memory", "800m", "--work-dir", str(folder / f"work{len(daemons)}"), url))
            for worker in daemons[1:]:
                worker.says("Successfully registered with master")
            check.say("a master and two workers")
            spark = Spark(url)
            # Whose executor works on a job is killed in its midst.
            tracker = spark.session.sparkContext.statusTracker()
            killed = []

            def fell_a_worker():
                while not killed:
                    stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
                    if any(stage and stage.numActiveTasks for stage in stages) and tracker.getJobIdsForGroup():
                        daemons[2].kill()
                        killed.append(time.monotonic())
                    time.sleep(0.01)

            threading.Thread(target=fell_a_worker, daemon=True).start()
            spark.rows_from_lines(bad)
            told = check.faults_of(spark.bad())
            assert told == faults, f"spark: {told}, not {faults}"
            answer = spark.messages()
            assert killed, "no worker was killed"
            check.compare(f"spark, spoilt lines ({told}), one worker of two killed", report, answer)
            check.compare("spark, Parquet, on the worker that is left", report, answers(spark, parquet))
            spark.session.stop()
        finally:
            for daemon in reversed(daemons):
                daemon.kill()


if __name__ == "__main__":
    main()
