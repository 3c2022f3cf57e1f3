"""Ledgers of three hosts behind a balancer, as `serve --ledger` writes them: made up, the same every time."""

import datetime
import json
import random

BEGIN = 1_787_529_600_000  # 2026-08-24, in milliseconds
NODES = ("mx1.example.net", "mx2.example.net", "mx3.example.net")
DAYS = 60


def time(milliseconds):
    moment = datetime.datetime.fromtimestamp(milliseconds // 1000, datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z"


def messages(rng, lines):
    """Some `lines` attempts, in no order: (milliseconds, line without stamp). Attempts at one message share an envelope."""
    number = made = 0
    while made < lines:
        number += 1
        # Pareto: most send once or twice, a few send thousands.
        count = min(int(rng.paretovariate(0.9)), 4000)
        spam = rng.random() < 0.2
        habit = rng.choices(["tls", "plain", "mixed"], [85, 8, 7])[0]
        version = rng.choices(["TLS1.0", "TLS1.2", "TLS1.3", None], [2, 36, 60, 2])[0]
        certificate = rng.choices(["none", "self-signed", "untrusted", "verified", None], [66, 15, 9, 5, 5])[0]
        network = f"{rng.randrange(1, 224)}.{rng.randrange(256)}.{rng.randrange(256)}"
        outbound = rng.random() < 0.05
        name = f"sender{number}.com" if number % 7 else f"sender{number}.co.uk"
        for message in range(count):
            at = BEGIN + rng.randrange(DAYS * 86_400_000)
            line = {
                "direction": "outbound" if outbound else "inbound", "peer": f"{network}.{rng.randrange(1, 9)}",
                "helo": f"mx{rng.randrange(3)}.{name}", "sender_domain": rng.choices([f"news.{name}", name, ""], [60, 37, 3])[0],
                "recipient_domains": [f"to{rng.randrange(40)}.net"] if outbound else ["example.net"],
                "recipients": rng.choice([1, 1, 1, 2, 3]), "envelope": f"{number * 65536 + message + 1:016x}",
                "bytes": int(rng.lognormvariate(9, 1.5)),
                "outcome": rng.choices(["accepted", "refused", "abandoned"], [18 - 14 * spam, 1 + 14 * spam, 1])[0]}
            if rng.random() < 0.3:
                line["verdict"] = "unwanted" if spam else "wanted"
            if habit == "tls" or habit == "mixed" and rng.random() < 0.5:
                tls = {"outcome": "used", "version": version, "cipher": "TLS_AES_128_GCM_SHA256",
                       "client_certificate": certificate}
            else:
                tls = {"outcome": rng.choices(["not-tried", "not-offered"], [95, 5])[0]}
            line["tls"] = {key: value for key, value in tls.items() if value is not None}
            if rng.random() < 0.2:
                line["end_to_end"] = rng.choice(["none", "pgp-mime", "s-mime"])
            first = True
            for before in range(rng.choices([0, 1, 2, 3], [82, 12, 5, 1])[0]):
                # Some wait longer than six hours, and count as messages of their own.
                earlier = {**line, "outcome": "deferred", "bytes": 0}
                earlier.pop("verdict", None)
                if first and rng.random() < 0.3:
                    earlier["rehearsal"] = "asked"
                elif not first and rng.random() < 0.2:
                    earlier["rehearsal"] = rng.choice(["asked", "came-with-tls", "came-in-plaintext"])
                if rng.random() < 0.3:
                    earlier["tls"] = rng.choice([{"outcome": "not-tried"}, {"outcome": "used"}, {"outcome": "unknown"}])
                first = False
                yield at - rng.randrange(60_000, 30_000_000), earlier
                made += 1
            if rng.random() < 0.03:
                failed = {key: line[key] for key in ("direction", "peer", "helo")}
                yield at - rng.randrange(500, 40_000_000), {
                    **failed, "sender_domain": None, "recipient_domains": [], "recipients": 0, "bytes": 0,
                    "outcome": rng.choice(["handshake-failed", "handshake-failed", "tls-required"]),
                    "tls": rng.choice([{"outcome": "failed", "reason": "alert unknown_ca"}, {"outcome": "not-tried"}])}
                made += 1
            yield at, line
            made += 1


def of_many_senders(senders, seed=3):
    """Lines of one host, in the order of time: each sender sends once, and some send more."""
    rng = random.Random(seed)
    order = [*range(senders), *(int(senders * rng.random() ** 3) for _ in range(senders // 10))]
    for seq, sender in enumerate(order, 1):
        tls = rng.choices([{"outcome": "used", "version": "TLS1.3", "client_certificate": "none"}, {"outcome": "not-tried"}], [9, 1])[0]
        yield json.dumps({
            "v": 2, "node": NODES[0], "run": "1", "seq": seq, "id": str(seq), "time": time(BEGIN + seq * 1000),
            "direction": "inbound", "peer": f"198.51.{sender % 251}.{sender // 251 % 251}", "helo": f"mx.sender{sender}.com",
            "sender_domain": f"sender{sender}.com", "recipient_domains": ["example.net"], "recipients": 1, "bytes": 1000 + sender,
            "outcome": "accepted", "tls": tls}, separators=(",", ":"))


def ledgers(lines, seed=1):
    """The lines of each node, in the order in which it wrote them."""
    rng = random.Random(seed)
    attempts = sorted(messages(rng, lines), key=lambda pair: pair[0])[:lines]
    files = {node: [] for node in NODES}
    runs = {node: 0 for node in NODES}
    seqs = {node: 0 for node in NODES}
    for at, line in attempts:
        node = rng.choice(NODES)
        if rng.random() < 0.00005:  # restarted
            runs[node], seqs[node] = runs[node] + 1, 0
        seqs[node] += 1
        stamp = {"v": 2, "node": node, "run": f"{BEGIN * 1000 + runs[node]:014x}-{NODES.index(node) + 11:x}-0",
                 "seq": seqs[node], "id": f"{node[:3]}.{runs[node]}.{seqs[node]}", "time": time(at)}
        files[node].append(json.dumps({**stamp, **line}, separators=(",", ":")))
    return files


def spoil(lines, seed=2):
    """The same lines as a bad way of shipping leaves them, and how many of which fault. What is broken, or of another
    version, comes in addition, so that the figures must stay what they were."""
    rng = random.Random(seed)
    spoilt, faults = list(lines), {"broken": 0, "version": 0, "doubled": 0, "late": 0}
    key = "v" if spoilt[0].startswith('{"v"') else "rows"
    # From the back to the front, far from each other, so that no fault meets another.
    places = sorted(rng.sample(range(10, len(lines) - 60, 60), 160), reverse=True)
    for index, place in enumerate(places):
        fault = ("broken", "version", "doubled", "late")[index % 4]
        faults[fault] += 1
        line = spoilt[place]
        if fault == "broken":
            spoilt.insert(place, rng.choice([line[:len(line) // 2], "\x00\xff" + line, "[" * 200, line[:-1]]))
        elif fault == "version":
            data = json.loads(line)
            data[key] = 99
            spoilt.insert(place, json.dumps(data, separators=(",", ":")))
        elif fault == "doubled":
            spoilt.insert(place + rng.randrange(1, 40), line)
        else:
            run = json.loads(line)["run"]
            behind = [at for at in range(place + 1, place + 40) if json.loads(spoilt[at]).get("run") == run]
            spoilt.insert(behind[-1] + 1, line)
            del spoilt[place]
    return spoilt, faults
