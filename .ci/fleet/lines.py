#!/usr/bin/env python3
"""The lines that `serve` and `send` really write, in all kinds: each is one of docs/fleet/ledger.schema.json, every member of
the schema is in one of them, and every column of schema.sql is filled by one of the rows that `audit` makes of them.

    python3 .ci/fleet/lines.py

Wants the program in $SMTP_SMOL; jsonschema and duckdb from PyPI."""

import contextlib
import json
import pathlib
import re
import smtplib
import ssl
import struct
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "interop")]

from harness import Raw, Server, binary, run, succeed, tls_context, wait_for  # noqa: E402
from hop import Hop  # noqa: E402

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs/fleet"
TO = "bob@mx.example.net"
TEXT = "Subject: hello\r\n\r\nIt works.\r\n"
PGP = ('Subject: secret\r\nMIME-Version: 1.0\r\nContent-Type: multipart/encrypted; protocol="application/pgp-encrypted";\r\n'
       " boundary=b\r\n\r\n--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b--\r\n")
SPAM = "X-Spam-Flag: YES\r\n" + TEXT


def context(version=None, **certificate):
    made = tls_context()
    if version:
        made.minimum_version = made.maximum_version = version
    if certificate:
        made.load_cert_chain(**certificate)
    return made


def mail(server, sender, text=TEXT, to=(TO,), tls=None, kind=smtplib.SMTP, host="127.0.0.1"):
    """Sends, and gives the code of the refusal, if it was one."""
    client = kind(host, server if isinstance(server, int) else server.port, local_hostname="mail.client.example", timeout=30)
    try:
        if tls:
            client.starttls(context=tls)
        client.sendmail(sender, list(to), text)
    except smtplib.SMTPRecipientsRefused as refused:
        return list(refused.recipients.values())[0][0]
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code
    finally:
        client.close()
    return None


def expect(found, wanted, what):
    assert found == wanted, f"{what}: {found}, not {wanted}"


def certificate(folder):
    succeed("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=itself", "-keyout", str(folder / "itself.key"), "-out", str(folder / "itself.crt"))
    return {"certfile": folder / "itself.crt", "keyfile": folder / "itself.key"}


def of_a_border(folder):
    with Server("--node", "mx1.example.net", "--domain", "mx.example.net", "--unwanted-if", "X-Spam-Flag=YES") as server:
        tls12, tls13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
        for sender, text, tls, code in (
            ("a@plain.example", TEXT, None, None), ("a@twelve.example", TEXT, context(tls12), None), ("", TEXT, context(tls13), None),
            ("a@certificate.example", PGP, context(tls13, **certificate(folder)), None), ("a@spam.example", SPAM, None, None),
        ):
            expect(mail(server, sender, text, tls=tls), code, sender)
        expect(mail(server, "a@refused.example", to=["bob@elsewhere.example"], tls=context()), 550, "another's domain")
        # A client with no cipher of the server's; and one that says nothing that could be a handshake.
        run("openssl", "s_client", "-connect", server.address, "-starttls", "smtp", "-tls1_2", "-cipher",
            "PSK-AES128-CBC-SHA256", "-psk", "00")
        with Raw(server) as raw:
            raw.ask(b"EHLO garbage.example", b"250")
            raw.ask(b"STARTTLS", b"220")
            raw.send(b"HELO, nothing like TLS\r\n")
            raw.rest()
        with Raw(server) as raw:
            raw.ask(b"EHLO gone.example", b"250")
            # With a space behind it, which is let pass.
            raw.ask(b"MAIL FROM:<a@gone.example> ", b"250")
            raw.ask(b"RCPT TO:<bob@mx.example.net>", b"250")
        wait_for("all that ended otherwise", lambda: len(server.ledger()) == 9)
        server.stop()
        yield server


def of_policies(folder):
    excepted = folder / "excepted"
    excepted.write_text("old.example\n")
    with Server("--node", "mx2.example.net", "--tls", "require", "--except", str(excepted)) as server:
        expect(mail(server, "a@plain.example"), 530, "plaintext where TLS is required")
        expect(mail(server, "a@old.example"), None, "plaintext of who is excepted")
        server.stop()
        yield server
    with Server("--node", "mx2.example.net", "--tls", "off") as server:
        expect(mail(server, "a@off.example"), None, "where there is no TLS")
        server.stop()
        yield server
    with Server("--node", "mx2.example.net", "--tls", "rehearse=2s") as server:
        for sender, tls in (("a@adapts.example", context()), ("a@stays.example", None)):
            expect(mail(server, sender), 450, "a rehearsal asks")
            time.sleep(1.1)
            expect(mail(server, sender, tls=tls), None, "who came again")
        server.stop()
        yield server


def of_next_hops():
    with Hop({"RCPT": "450 4.2.1 busy"}) as hop, Server("--node", "mx3.example.net", deliver=f"smtp://127.0.0.1:{hop.port}") as server:
        expect(mail(server, "a@deferred.example", tls=context()), 450, "put off by the next hop")
        hop.says.clear()
        expect(mail(server, "a@deferred.example", tls=context()), None, "taken by the next hop")
        hop.says["TEXT"] = "554 5.7.1 no"
        expect(mail(server, "a@content.example"), 554, "refused by the next hop")
        server.stop()
        yield server
    with Hop() as hop, Server("--node", "mx3.example.net", deliver=f"lmtp://127.0.0.1:{hop.port}") as server:
        expect(mail(server, "a@lmtp.example"), None, "taken by LMTP")
        server.stop()
        yield server


def of_lmtp(folder):
    path = folder / "lmtp"
    with Server("--node", "mx4.example.net", "--role", "lmtp", "--listen", f"unix:{path}") as server:
        expect(mail(server, "a@lmtp.example", to=[TO, "carol@mx.example.net"], kind=smtplib.LMTP), None, "LMTP")
        expect(mail(0, "a@unix.example", kind=smtplib.LMTP, host=str(path)), None, "LMTP by a Unix socket")
        server.stop()
        yield server


def of_a_balancer():
    """TLS ended before the server, and the PROXY header says so (PP2_TYPE_SSL with version and cipher)."""
    def value(kind, content):
        return struct.pack("!BH", kind, len(content)) + content

    told = value(0x20, struct.pack("!BI", 1, 1) + value(0x21, b"TLSv1.3") + value(0x23, b"TLS_AES_128_GCM_SHA256"))
    addresses = bytes([203, 0, 113, 7, 127, 0, 0, 1]) + struct.pack("!HH", 40000, 25) + told
    header = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x11, len(addresses)) + addresses
    with Server("--node", "mx5.example.net", "--proxy-from", "127.0.0.0/8", "--domain", "mx.example.net", listen=("--proxy", "127.0.0.1:0")) as server:
        with Raw(server, greeting=None) as raw:
            raw.send(header)
            raw.expect(b"220")
            for command, start in ((b"EHLO behind.example", b"250"), (b"MAIL FROM:<a@behind.example>", b"250"),
                                   (b"RCPT TO:<bob@mx.example.net>", b"250"), (b"DATA", b"354"),
                                   (TEXT.encode() + b".", b"250"), (b"QUIT", b"221")):
                raw.ask(command, start)
        server.stop()
        yield server


def outbound(folder):
    path = folder / "out.jsonl"
    with Server(ledger=False) as server:
        succeed(binary(), "send", "--server", server.address, "--from", "a@example.org", "--to", TO, "--ledger", str(path),
                "--node", "out.example.net", "-", stdin=TEXT.encode())
    return path


def written(folder):
    """A ledger of each server."""
    files = [outbound(folder)]
    for kind in (of_a_border(folder), of_policies(folder), of_next_hops(), of_lmtp(folder), of_a_balancer()):
        with contextlib.closing(kind):
            for server in kind:
                files.append(folder / f"ledger-{len(files)}.jsonl")
                files[-1].write_bytes(server.ledger_file.read_bytes())
    return files


def members(schema, at=""):
    for name, inner in schema.get("properties", {}).items():
        yield at + name
        yield from members(inner, f"{at}{name}.")


def by_the_schema(lines):
    from jsonschema import Draft202012Validator
    schema = json.loads((DOCS / "ledger.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    # Nothing beyond it, either: a member that is written is described.
    closed = json.loads(json.dumps(schema))
    closed["additionalProperties"] = closed["properties"]["tls"]["additionalProperties"] = False
    validator = Draft202012Validator(closed)
    seen = set()
    for line in lines:
        wrong = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(line)]
        assert not wrong, f"{wrong} in {json.dumps(line)}"
        seen |= set(line) | {f"tls.{name}" for name in line["tls"]}
        for name in schema["required"]:
            assert not validator.is_valid({key: value for key, value in line.items() if key != name}), f"{name} may be absent"
    never = set(members(schema)) - seen
    assert not never, f"no line has {never}"
    endings = {line["outcome"] for line in lines}
    assert endings == set(schema["properties"]["outcome"]["enum"]), endings
    print(f"-- {len(lines)} lines of {len({line['node'] for line in lines})} hosts are of the schema, and have each of its "
          f"{len(seen)} members and {len(endings)} endings")


def columns():
    """Those of `rows` in schema.sql, in their order: name and type."""
    table = re.search(r"CREATE TABLE rows \((.*?)\n\)", (DOCS / "schema.sql").read_text(), re.S)[1]
    return re.findall(r"(?m)^\s+(\w+) (\w+)", table)


def by_the_columns(folder, files):
    import duckdb
    rows, parquet = folder / "rows.jsonl", folder / "rows.parquet"
    for path in (rows, parquet):
        succeed(binary(), "audit", "--internal", *map(str, files), "--rows", str(path))
    filled = set()
    for line in rows.read_text().splitlines():
        filled |= {name for name, value in json.loads(line).items() if value != ""}
    names = [name for name, _ in columns()]
    assert filled == set(names), f"filled by no row, or not in schema.sql: {filled ^ set(names)}"
    engine = duckdb.connect()
    described = engine.execute(f"DESCRIBE SELECT * FROM read_parquet('{parquet}')").fetchall()
    assert [(name, kind) for name, kind, *_ in described] == columns(), "Parquet has other columns than schema.sql"
    engine.execute((DOCS / "schema.sql").read_text())
    engine.execute(f"INSERT INTO rows SELECT * FROM read_parquet('{parquet}')")
    counted = ", ".join(f"COUNT({name})" for name in names)
    empty = [name for name, count in zip(names, engine.execute(f"SELECT {counted} FROM rows").fetchone()) if count == 0]
    assert not empty, f"null in each row of Parquet: {empty}"
    found = engine.execute("SELECT offered_version, version, tls_group, certificate, ending FROM rows").fetchall()
    for wanted in (("TLS1.3", "TLS1.3", "self-signed", "accepted"), ("TLS1.2", "TLS1.2", "none", "accepted"),
                   ("TLS1.2", None, None, "handshake-failed")):
        assert wanted in [(offered, used, kind, ending) for offered, used, _, kind, ending in found], (wanted, found)
    print(f"-- each of the {len(names)} columns of schema.sql is filled, in JSON lines and in Parquet")


def main():
    with tempfile.TemporaryDirectory(prefix="lines-") as folder:
        folder = pathlib.Path(folder)
        files = written(folder)
        by_the_schema([json.loads(line) for path in files for line in path.read_text().splitlines()])
        by_the_columns(folder, files)


if __name__ == "__main__":
    main()
