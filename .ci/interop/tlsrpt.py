"""`smtp-smol audit` on TLS reports (RFC 8460) counts as parsedmarc does: made-up reports as JSON, compressed, as mail and in
an mbox. Needs parsedmarc, and a program in $SMTP_SMOL or built."""

import base64
import collections
import gzip
import json
import pathlib
import random
import tempfile

import parsedmarc

from harness import binary, main, succeed, test

RESULTS = ["starttls-not-supported", "certificate-expired", "certificate-host-mismatch", "validation-failure",
           "sts-policy-fetch-error", "tlsa-invalid"]
POLICIES = [("sts", ["version: STSv1", "mode: testing", "mx: mx.example.net", "max_age: 86400"]),
            ("sts", ["version: STSv1", "mode: enforce", "mx: mx.example.net", "max_age: 86400"]),
            ("tlsa", ["3 1 1 " + "ab" * 32]), ("no-policy-found", None)]


def report(rng, index):
    day = 1 + index % 28
    policies = []
    for kind, lines in rng.sample(POLICIES, rng.randrange(1, 4)):
        details = [{"result-type": result, "sending-mta-ip": "192.0.2.1", "receiving-mx-hostname": "mx.example.net",
                    "failed-session-count": rng.randrange(1, 50)}
                   for result in rng.sample(RESULTS, rng.choice([0, 0, 0, 1, 2]))]
        policy = {"policy-type": kind, "policy-domain": "example.net"}
        if lines:
            policy["policy-string"] = lines
        policies.append({"policy": policy, "summary": {
            "total-successful-session-count": rng.randrange(0, 5000),
            "total-failure-session-count": sum(detail["failed-session-count"] for detail in details)},
            "failure-details": details})
    return {"organization-name": f"Organisation {index % 17}", "contact-info": "x@example.com", "report-id": f"id-{index}",
            "date-range": {"start-datetime": f"2026-10-{day:02d}T00:00:00Z", "end-datetime": f"2026-10-{day:02d}T23:59:59Z"},
            "policies": policies}


def mail(report):
    digits = base64.encodebytes(gzip.compress(json.dumps(report).encode())).decode()
    return ("From: noreply@example.com\nTo: tlsrpt@example.net\nSubject: Report Domain: example.net\nMIME-Version: 1.0\n"
            "Date: Thu, 08 Oct 2026 08:00:00 +0000\nTLS-Report-Domain: example.net\nTLS-Report-Submitter: example.com\n"
            f"Message-ID: <{report['report-id']}@example.com>\n"
            "Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\n"
            "A report.\n\n--b\nContent-Type: application/tlsrpt+gzip; name=\"r.json.gz\"\n"
            "Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"r.json.gz\"\n\n"
            f"{digits}\n--b--\n")


def sums(reports):
    """By parsedmarc's account: sessions that succeeded and failed by policy, failures by policy and result."""
    sessions, results = collections.Counter(), collections.Counter()
    for report in reports:
        for policy in report["policies"]:
            kind = policy["policy_type"]
            sessions[kind, "succeeded"] += policy["successful_session_count"]
            sessions[kind, "failed"] += policy["failed_session_count"]
            for detail in policy.get("failure_details", []):
                results[kind, detail["result_type"]] += detail["failed_session_count"]
    return +sessions, +results


def audited(*sources):
    told = json.loads(succeed(binary(), "audit", "--json", *map(str, sources)))["tls_reports"]
    sessions, results = collections.Counter(), collections.Counter()
    for policy in told["policies"]:
        kind = policy["policy"].removesuffix("-testing").removesuffix("-enforce")
        sessions[kind, "succeeded"] += policy["succeeded"]
        sessions[kind, "failed"] += policy["failed"]
        for outcome in policy["results"]:
            results[kind, outcome["result"]] += outcome["sessions"]
    return told, (+sessions, +results)


@test
def reports_count_as_parsedmarc_counts_them():
    rng = random.Random(8460)
    reports = [report(rng, index) for index in range(200)]
    expected = sums(parsedmarc.parse_smtp_tls_report_json(json.dumps(report)) for report in reports)
    with tempfile.TemporaryDirectory(prefix="tlsrpt-") as folder:
        folder = pathlib.Path(folder)
        files, mbox = folder / "files", folder / "mbox"
        files.mkdir()
        parsed = []
        for index, one in enumerate(reports):
            octets = json.dumps(one).encode()
            path = files / (f"{index}.json" if index % 3 == 0 else f"{index}.json.gz" if index % 3 == 1 else f"{index}.eml")
            path.write_bytes([octets, gzip.compress(octets), mail(one).encode()][index % 3])
            if index % 30 == 2:
                # As it reads them itself, from a mail.
                read = parsedmarc.parse_report_file(str(path), offline=True)
                assert read["report_type"] == "smtp_tls", read
                parsed.append(read["report"])
            with mbox.open("a") as out:
                out.write(f"From noreply@example.com Thu Oct  8 08:00:00 2026\n{mail(one)}\n")
        told, counted = audited(files)
        assert counted == expected, (counted, expected)
        assert told["reports"] == 200 and told["copies"] == 0, told
        assert len({policy["organisations"][1] for policy in told["policies"]}) == 1, told["policies"]
        assert audited(mbox)[1] == expected
        # Both together: the same report counts once.
        told, counted = audited(files, mbox)
        assert counted == expected and told["copies"] == 200, told
        again = (parsedmarc.parse_smtp_tls_report_json(json.dumps(one)) for one in reports[2::30])
        assert parsed and sums(parsed) == sums(again), parsed


if __name__ == "__main__":
    main()
