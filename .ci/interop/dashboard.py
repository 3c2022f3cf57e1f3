#!/usr/bin/env python3
"""The Grafana dashboard of the package: Prometheus reads the numbers of a real server, and answers each of its queries."""

import json
import math
import pathlib
import re
import smtplib
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from chain import answers, front
from harness import PATIENCE, ROOT, free_port, main, succeed, test, tls_context, wait_for
from hop import Hop

# A number of what nobody did here is 0, but it is one.
IDLE = {"smtp_smol_sessions_open", "smtp_smol_leniencies", "smtp_smol_limited", "smtp_smol_failed_logins",
        "smtp_smol_output_lines_dropped", "smtp_smol_log_lines_dropped", "smtp_smol_ledger_lines_dropped"}


class Prometheus:
    """It scrapes one address, each second."""

    def __init__(self, target):
        self.folder, self.port = tempfile.TemporaryDirectory(prefix="prometheus-"), free_port()
        folder = pathlib.Path(self.folder.name)
        (folder / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "smtp-smol", "static_configs": [{"targets": [target]}]}]}))
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        wait_for("Prometheus", lambda: answers(self.port))
        return self

    def __exit__(self, failure, *_):
        self.process.terminate()
        self.process.wait()
        if failure is not None:
            print("    Prometheus's last words:", *self.log.read_text().splitlines()[-10:], sep="\n      ")
        self.folder.cleanup()

    def ask(self, query):
        """Labels and values. While it starts, it answers 503."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            said = json.load(error) if error.code == 400 else None
            assert said is None, f"{query}: {said}"
            return []
        assert said["status"] == "success" and said["data"]["resultType"] == "vector", f"{query}: {said}"
        return [(result["metric"], float(result["value"][1])) for result in said["data"]["result"]]


def talk(port):
    """A message within TLS, and a command that is none."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE) as client:
        client.starttls(context=tls_context())
        assert client.sendmail("a@client.example", ["b@mx.example.net"], "Subject: x\r\n\r\nhello\r\n") == {}
        client.docmd("NONSENSE")


@test
def each_query_of_the_dashboard_is_answered():
    panels = json.loads((ROOT / "smtp-smol/cli/package/grafana.json").read_text())["panels"]
    targets = [target for panel in panels for target in panel["targets"]]
    with tempfile.TemporaryDirectory() as folder, Hop() as hop:
        certificate, key = f"{folder}/mx.crt", f"{folder}/mx.key"
        succeed("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", "/CN=mx.example.net", "-addext", "subjectAltName=DNS:mx.example.net", "-keyout", key, "-out", certificate)
        with front(f"smtp://127.0.0.1:{hop.port}", "--metrics", "127.0.0.1:0", "--cert", certificate, "--key", key) as server:
            shown = wait_for("the metrics", lambda: re.search(r"metrics: http://([^/]*)/", server.printed()))
            with Prometheus(shown[1]) as prometheus:
                wait_for("a scrape", lambda: [value for _, value in prometheus.ask("up")] == [1])

                def answered(query):
                    # A rate is one between two scrapes: what goes on meanwhile is seen in the end.
                    talk(server.port)
                    found = prometheus.ask(query)
                    names = set(re.findall(r"(smtp_smol_\w+?)(?:_total|_bucket)?\b", query))
                    assert names, f"{query}: of what?"
                    counted = names <= IDLE or any(value > 0 for _, value in found)
                    return counted and all(math.isfinite(value) for _, value in found) and found

                for query, legend in ((target["expr"], target["legendFormat"]) for target in targets):
                    found = wait_for(f"numbers for {query}", lambda query=query: answered(query))
                    labels = set(re.findall(r"\{\{(\w+)\}\}", legend))
                    assert all(labels <= set(metric) for metric, _ in found), f"{legend} of {query}: {found}"
    assert len(targets) > 20, len(targets)


if __name__ == "__main__":
    main()
