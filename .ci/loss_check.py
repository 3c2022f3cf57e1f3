#!/usr/bin/env python3
"""What `smtp-smol audit` says of a ledger, computed a second time: with numpy, from the definitions, sharing no code.

    python3 .ci/loss_check.py PROGRAM

Makes a ledger of 60,000 attempts from 4,000 senders with heavy tails, retries, failed handshakes and all kinds of TLS,
has the program answer, and compares every count, and the intervals to four digits: Student's t is integrated here, and a
series there.
"""

import datetime
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy

WINDOW = 6 * 3600  # in which an attempt is a retry
Z = 1.959963984540054
BEGIN = datetime.datetime(2026, 8, 24, tzinfo=datetime.timezone.utc)
POLICIES = ("tls", "tls1.2", "tls1.3", "certificate", "verified-certificate")
random = numpy.random.default_rng(20261124)


def attempts():
    """Lines of a ledger, in the order of time. Each message has its own envelope; its attempts share it."""
    lines = []
    for number in range(4000):
        # Pareto: most send once or twice, a few send thousands.
        messages = int(min(3000, numpy.floor(random.pareto(0.9) + 1)))
        habit = random.choice(["tls", "plain", "mixed"], p=[0.85, 0.08, 0.07])
        certificate = random.choice(["none", "self-signed", "untrusted", "verified"], p=[0.7, 0.15, 0.1, 0.05])
        peer = f"{random.integers(1, 224)}.{random.integers(256)}.{random.integers(256)}.7"
        for message in range(messages):
            # Far enough apart that no failed handshake meets another's message.
            time = int(random.integers(0, 80 * 86400))
            line = {"v": 1, "direction": "inbound", "peer": peer, "helo": f"host.sender{number}.com",
                    "sender_domain": f"news.sender{number}.com" if random.random() < 0.9 else f"sender{number}.com",
                    "recipient_domains": ["example.net"], "recipients": int(random.integers(1, 4)),
                    "envelope": f"{number * 4096 + message + 1:016x}", "bytes": int(random.lognormal(9, 2)),
                    "outcome": "refused" if random.random() < 0.1 else "accepted"}
            if habit == "tls" or habit == "mixed" and random.random() < 0.5:
                version = random.choice(["TLS1.0", "TLS1.2", "TLS1.3"], p=[0.02, 0.38, 0.6])
                line["tls"] = {"outcome": "used", "version": version, "client_certificate": certificate}
            else:
                line["tls"] = {"outcome": random.choice(["not-tried", "not-offered"], p=[0.95, 0.05])}
            deferred = int(random.random() < 0.15) + int(random.random() < 0.05)
            for before in range(deferred):
                lines.append((time - 1800 * (deferred - before), {**line, "outcome": "deferred"}))
            lines.append((time, line))
    lines.sort(key=lambda pair: pair[0])
    for seconds, line in lines:
        line = dict(line)
        line["time"] = (BEGIN + datetime.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
        yield line


def met(tls, policy):
    if tls["outcome"] == "not-offered":
        return None  # it might have used TLS
    if tls["outcome"] != "used":
        return False
    if policy.startswith("tls"):
        return tls["version"] >= {"tls": "TLS1.0", "tls1.2": "TLS1.2", "tls1.3": "TLS1.3"}[policy]
    wanted = ("verified",) if policy == "verified-certificate" else ("self-signed", "untrusted", "verified")
    return tls["client_certificate"] in wanted


def within(lost, size):
    """The unbiased variance of an indicator with so many ones among so many."""
    return numpy.var(numpy.r_[numpy.ones(int(lost)), numpy.zeros(int(size - lost))], ddof=1)


def student(freedom):
    """The quantile of Student's t: where the integral of its density, by the trapezoid rule, comes to 95 %."""
    t = numpy.linspace(0, 200, 2_000_001)
    density = (1 + t**2 / freedom) ** (-(freedom + 1) / 2)
    under = numpy.cumsum((density[1:] + density[:-1]) / 2)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    return float(numpy.interp(0.475 / scale, under * (t[1] - t[0]), t[1:]))


def interval(lost, sizes, quantile=student):
    """Wilson's, of as many messages as the senders are worth; with arrays, an element a sender."""
    total, gone = sizes.sum(), lost.sum()
    kish = total**2 / (sizes**2).sum()
    if gone == 0:
        return [0.0, min(1.0, 3 / kish)]
    if gone == total:
        return [max(0.0, 1 - 3 / kish), 1.0]
    p = gone / total
    # What is supposed: the variance of p by the design effect, were each sender's messages so much alike.
    several = sizes >= 2
    pairs, often = numpy.unique(numpy.array([lost, sizes])[:, several], axis=1, return_counts=True)
    alike = 1.0
    if several.sum() > 1:
        mean = (lost / sizes)[several].mean()
        if 0 < mean < 1:
            inner = sum(within(*pair) * n for pair, n in zip(pairs.T, often)) / several.sum()
            alike = min(1.0, max(0.0, 1 - inner / (mean * (1 - mean))))
    supposed = p * (1 - p) * (sizes * (1 + (sizes - 1) * alike)).sum() / total**2
    # What was seen: each sender is left out in turn.
    without = (gone - lost) / (total - sizes)
    seen = ((without - p) ** 2).sum() * (len(sizes) - 1) / len(sizes)
    freedom = ((without - p) ** 2).sum() ** 2 / ((without - p) ** 4).sum()
    belief = freedom / (freedom + 15)
    n = p * (1 - p) / (belief * seen + (1 - belief) * supposed)
    z = belief * quantile(6 * freedom) + (1 - belief) * Z
    # The two roots of |p - x| = z sqrt(x (1 - x) / n).
    roots = numpy.roots([1 + z**2 / n, -(2 * p + z**2 / n), p**2])
    return sorted(float(root.real) for root in roots)


def expected(lines):
    messages = {}  # of attempts with one envelope, each within the window of the one before, the last counts
    for line in lines:
        messages[line["envelope"]] = line
    found = {}
    for policy in POLICIES:
        for verdict, outcome in (("wanted", "accepted"), ("unwanted", "refused")):
            these = [line for line in messages.values() if line["outcome"] == outcome]
            told = [(line, met(line["tls"], policy)) for line in these]
            senders, hosts, lost_hosts = {}, {line["peer"] for line in these}, set()
            sums = {True: [0, 0, 0], False: [0, 0, 0]}
            for line, good in told:
                if good is None:
                    continue
                sender = ".".join(line["sender_domain"].split(".")[-2:])
                counts = senders.setdefault(sender, [0, 0])
                counts[0] += not good
                counts[1] += 1
                if not good:
                    lost_hosts.add(line["peer"])
                for place, amount in enumerate((1, line["recipients"], line["bytes"])):
                    sums[good][place] += amount
            names = ("messages", "recipients", "bytes")
            lost, sizes = numpy.array(list(senders.values()), dtype=float).T
            found[policy, verdict] = {
                "lost": dict(zip(names, sums[False])),
                "of": {name: a + b for name, a, b in zip(names, sums[False], sums[True])},
                "untold": sum(good is None for _, good in told),
                "senders": {"lost": int((lost > 0).sum()), "of": len(senders), "exact": True},
                "silenced": int((lost == sizes).sum()),
                "hosts": {"lost": len(lost_hosts), "of": len(hosts), "exact": True},
                "seen_once": int((sizes == 1).sum()),
                "interval": interval(lost, sizes),
            }
    return found


def main():
    lines = list(attempts())
    with tempfile.TemporaryDirectory() as folder:
        ledger = pathlib.Path(folder) / "ledger.jsonl"
        ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
        printed = subprocess.run([sys.argv[1], "audit", "--json", "--internal", ledger], check=True, stdout=subprocess.PIPE).stdout
    told = {part["policy"]: part for part in json.loads(printed)["inbound"]["what_if"]}
    wrong = 0
    for (policy, verdict), counts in expected(lines).items():
        answer = told[policy][verdict]
        for name, right in counts.items():
            same = (all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-12) for a, b in zip(answer[name] or [-1, -1], right))
                    if name == "interval" else answer[name] == right)
            if not same:
                wrong += 1
                print(f"{policy}, {verdict}, {name}: {answer[name]}, not {right}")
        if verdict == "wanted":
            low, high = counts["interval"]
            print(f"     {policy}: {counts['lost']['messages']} of {counts['of']['messages']} lost, "
                  f"95 % interval {100 * low:.2f} to {100 * high:.2f} %, {counts['senders']['of']} senders")
    print(f"{len(lines)} attempts; {wrong} differences")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
