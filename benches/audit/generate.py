#!/usr/bin/env python3
"""Writes mail that nobody sent, as a log or a mailbox, and tells what is in it.

    generate.py postfix|exim|sendmail|opensmtpd|journal|exchange|mbox|ledger|served MESSAGES [--days 90] [--seed 1] [--body OCTETS] >FILE

Senders are few that write much and many that write little; each has its own way with TLS. What an audit must find is
printed to stderr as JSON: messages by verdict and by what became of TLS.
"""

import argparse
import collections
import datetime
import json
import random
import sys

END = datetime.datetime(2026, 11, 24, 8, 0, 0)
WORDS = "news shop mail bank club data post book city farm home lake moon park road tree wind star blue cafe".split()
CIPHERS = {"TLSv1.3": ["TLS_AES_256_GCM_SHA384 (256/256 bits)", "TLS_AES_128_GCM_SHA256 (128/128 bits)"],
           "TLSv1.2": ["ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)"], "TLSv1": ["ECDHE-RSA-AES256-SHA (256/256 bits)"]}


class Sender:
    def __init__(self, rng, rank, spam):
        top = rng.choices(["example.com", "example.org", "example.net", "co.uk", "example"], [5, 4, 4, 1, 1])[0]
        word = f"{rng.choice(WORDS)}-{rng.choice(WORDS)}{rank}"
        # Of the reserved example domains only names below them are free: the suffix `.example` stands for most.
        self.domain = f"{word}.co.uk" if top == "co.uk" else f"{word}.example"
        self.host = f"mx{rng.randrange(1, 9)}.{self.domain}"
        self.ip = rng.choice(["198.51.100.", "203.0.113.", "192.0.2."]) + str(rng.randrange(1, 255))
        self.spam = spam
        plain = 0.35 if spam else 0.012
        kind = rng.random()
        self.plain = 1.0 if kind < plain else 0.3 if kind < plain * 1.3 else 0.0
        self.version = rng.choices(["TLSv1.3", "TLSv1.2", "TLSv1"], [70, 28, 2])[0]
        self.trust = rng.choices(["Anonymous", "Untrusted", "Trusted"], [80, 12, 8])[0]


def messages(arguments):
    """Yields (time, sender, plaintext, verdict, octets, recipients)."""
    rng = random.Random(arguments.seed)
    wanted = [Sender(rng, rank, False) for rank in range(1, max(40, arguments.messages // 25))]
    spam = [Sender(rng, rank, True) for rank in range(10_001, 10_001 + max(40, arguments.messages // 12))]
    weights = [1 / rank ** 1.05 for rank in range(1, len(wanted) + 1)]
    step = arguments.days * 86_400 / arguments.messages
    begin = END - datetime.timedelta(days=arguments.days)
    wanted_picks = rng.choices(wanted, weights, k=arguments.messages)
    for index in range(arguments.messages):
        time = begin + datetime.timedelta(seconds=int(index * step))
        sender = rng.choice(spam) if rng.random() < 0.18 else wanted_picks[index]
        # Those in plaintext get fewer.
        fade = 1.0 - 0.6 * index / arguments.messages
        plain = rng.random() < sender.plain * (fade if sender.plain < 1 else 1)
        size = int(rng.lognormvariate(9.5, 1.2))
        yield time, sender, plain, sender.spam, size, 1 if rng.random() < 0.9 else rng.randrange(2, 5), rng


def postfix(arguments, out, counts):
    held = []  # sessions overlap: the lines of a session are spread over the next ones
    for index, (time, sender, plain, spam, size, recipients, rng) in enumerate(messages(arguments)):
        smtpd, queue, name = 10_000 + index % 37, f"4{index:08X}zK", f"{sender.host}[{sender.ip}]"
        lines = [("smtpd", smtpd, f"connect from {name}")]
        if not plain:
            cipher = rng.choice(CIPHERS[sender.version])
            lines.append(("smtpd", smtpd, f"{sender.trust} TLS connection established from {name}: {sender.version} "
                          f"with cipher {cipher} key-exchange X25519 server-signature RSA-PSS (2048 bits)"))
        tls = "plaintext" if plain else "tls"
        bye = "" if plain else " starttls=1"
        address = f"someone{index % 97}@{sender.domain}"
        if spam:
            lines.append(("smtpd", smtpd, f"NOQUEUE: reject: RCPT from {name}: 554 5.7.1 Service unavailable; Client "
                          f"host [{sender.ip}] blocked using zen.example; from=<{address}> to=<u@example.net> "
                          f"proto=ESMTP helo=<{sender.host}>"))
            lines.append(("smtpd", smtpd, f"disconnect from {name} ehlo={1 if plain else 2}{bye} mail=1 rcpt=0/1 "
                          f"quit=1 commands={4 if plain else 6}/{5 if plain else 7}"))
            counts["unwanted", tls] += 1
        else:
            lines += [("smtpd", smtpd, f"{queue}: client={name}"),
                      ("cleanup", 20_000 + index % 31, f"{queue}: message-id=<{index}.{smtpd}@{sender.domain}>"),
                      ("qmgr", 400, f"{queue}: from=<{address}>, size={size}, nrcpt={recipients} (queue active)"),
                      ("smtpd", smtpd, f"disconnect from {name} ehlo={1 if plain else 2}{bye} mail=1 rcpt={recipients} "
                       f"data=1 quit=1 commands={5 if plain else 7}")]
            lines += [("lmtp", 30_000 + index % 23, f"{queue}: to=<user{user}@example.net>, relay=mx.example.net[private/"
                       f"dovecot-lmtp], delay=0.31, delays=0.2/0.01/0.02/0.08, dsn=2.0.0, status=sent (250 2.0.0 "
                       f"<user{user}@example.net> abcDEF012 Saved)") for user in range(recipients)]
            lines.append(("qmgr", 400, f"{queue}: removed"))
            counts["wanted", tls] += 1
        held.append((time, lines))
        if len(held) > 6:
            drain(held, out)
    while held:
        drain(held, out)


def drain(held, out):
    """One line of each session that is open, in turn, until the oldest is through."""
    oldest = held[0][1]
    while oldest:
        for time, lines in held:
            if lines:
                program, process, text = lines.pop(0)
                out.write(f"{held[-1][0]:%b} {held[-1][0].day:2d} {held[-1][0]:%H:%M:%S} mx postfix/{program}[{process}]: {text}\n")
    held.pop(0)


def exim(arguments, out, counts):
    for index, (time, sender, plain, spam, size, recipients, _) in enumerate(messages(arguments)):
        stamp, tls = f"{time:%Y-%m-%d %H:%M:%S}", "plaintext" if plain else "tls"
        version = {"TLSv1.3": "TLS1.3", "TLSv1.2": "TLS1.2", "TLSv1": "TLS1"}[sender.version]
        x = "" if plain else f" X={version}:TLS_AES_256_GCM_SHA384:256 CV={'yes' if sender.trust == 'Trusted' else 'no'}"
        host = f"H={sender.host} [{sender.ip}]"
        address = f"someone{index % 97}@{sender.domain}"
        if spam:
            out.write(f"{stamp} {host}{x} F=<{address}> rejected RCPT <u@example.net>: listed\n")
            counts["unwanted", tls] += 1
            continue
        name = f"1v{index:04d}"[-6:].rjust(6, "A") + f"-{index:011d}-{index % 10000:04d}"
        to = " ".join(f"user{user}@example.net" for user in range(recipients))
        out.write(f"{stamp} {name} <= {address} {host} P={'esmtp' if plain else 'esmtps'}{x} S={size} "
                  f"id={index}@{sender.domain} for {to}\n")
        for user in range(recipients):
            out.write(f"{stamp} {name} {'=>' if user == 0 else '->'} user{user} <user{user}@example.net> R=local_user "
                      f"T=maildir_home\n")
        out.write(f"{stamp} {name} Completed\n")
        counts["wanted", tls] += 1


def sendmail(arguments, out, counts):
    for index, (time, sender, plain, spam, size, recipients, rng) in enumerate(messages(arguments)):
        tag = f"{time:%b} {time.day:2d} {time:%H:%M:%S} mx sm-mta[{10_000 + index % 5000}]:"
        relay, queue = f"relay={sender.host} [{sender.ip}]", f"6A{index:012d}"
        tls = "plaintext" if plain else "tls"
        if not plain:
            out.write(f"{tag} STARTTLS=server, {relay}, version={sender.version}, verify=NO, "
                      f"cipher=TLS_AES_256_GCM_SHA384, bits=256/256\n")
        if spam:
            out.write(f"{tag} {queue}: ruleset=check_rcpt, arg1=<u@example.net>, {relay}, reject=550 5.7.1 listed\n")
        protocol = "ESMTP" if plain else "ESMTPS"
        out.write(f"{tag} {queue}: from=<someone{index % 97}@{sender.domain}>, size={0 if spam else size}, class=0, nrcpts="
                  f"{0 if spam else recipients}, msgid=<{index}@{sender.domain}>, proto={protocol}, daemon=MTA, {relay}\n")
        if not spam:
            for user in range(recipients):
                out.write(f"{tag} {queue}: to=<user{user}@example.net>, delay=00:00:01, xdelay=00:00:00, mailer=local, "
                          f"pri=31000, dsn=2.0.0, stat=Sent\n")
        counts["unwanted" if spam else "wanted", tls] += 1


def opensmtpd(arguments, out, counts):
    for index, (time, sender, plain, spam, size, recipients, rng) in enumerate(messages(arguments)):
        tag = f"{time:%b} {time.day:2d} {time:%H:%M:%S} mx smtpd[4711]: {index:016x} smtp"
        out.write(f"{tag} connected address={sender.ip} host={sender.host}\n")
        if not plain:
            out.write(f"{tag} tls ciphers={sender.version}:TLS_AES_256_GCM_SHA384:256\n")
        if spam:
            out.write(f'{tag} failed-command command="RCPT TO:<u@example.net>" result="550 listed"\n')
        else:
            out.write(f"{tag} message msgid={index:08x} size={size} nrcpt={recipients} proto=ESMTP\n")
            for user in range(recipients):
                out.write(f"{tag} envelope evpid={index:08x}{user:08x} from=<someone{index % 97}@{sender.domain}> "
                          f"to=<user{user}@example.net>\n")
        out.write(f"{tag} disconnected reason=quit\n")
        counts["unwanted" if spam else "wanted", "plaintext" if plain else "tls"] += 1


class Journal:
    """Writes lines of syslog's as `journalctl -o json` has them, with the fields that every entry has."""

    def __init__(self, out):
        self.out = out

    def write(self, line):
        stamp, rest = line[:15], line[16:].rstrip("\n")
        host, tag, text = rest.split(" ", 2)
        program, process = tag.rstrip("]:").split("[")
        time = datetime.datetime.strptime(f"{END.year} {stamp}", "%Y %b %d %H:%M:%S").replace(tzinfo=datetime.timezone.utc)
        self.out.write(json.dumps({
            "__CURSOR": f"s=1;i={hash(line) & 0xffffff:x}", "__REALTIME_TIMESTAMP": str(int(time.timestamp()) * 1_000_000),
            "_BOOT_ID": "0" * 32, "PRIORITY": "6", "SYSLOG_FACILITY": "2", "SYSLOG_IDENTIFIER": program, "_UID": "0",
            "_PID": process, "_HOSTNAME": host, "_TRANSPORT": "syslog", "MESSAGE": text}) + "\n")


def journal(arguments, out, counts):
    postfix(arguments, Journal(out), counts)


def exchange(arguments, out, counts):
    out.write("#Software: Microsoft Exchange Server\n#Log-type: SMTP Receive Protocol Log\n#Fields: date-time,connector-id,"
              "session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context\n")
    for index, (time, sender, plain, spam, size, recipients, rng) in enumerate(messages(arguments)):
        version = {"TLSv1.3": "1_3", "TLSv1.2": "1_2", "TLSv1": "1_0"}[sender.version]
        says = [("+", "", ""), ("<", f"EHLO {sender.host}", ""), (">", "250  MX Hello SIZE STARTTLS", "")]
        if not plain:
            says += [("<", "STARTTLS", ""), (">", "220 2.0.0 SMTP server ready", ""),
                     ("*", "", f'"TLS protocol SP_PROT_TLS{version}_SERVER negotiation succeeded, using a cipher"'),
                     ("<", f"EHLO {sender.host}", ""), (">", "250  MX Hello SIZE", "")]
        says += [("<", f"MAIL FROM:<someone{index % 97}@{sender.domain}>", ""), (">", "250 2.1.0 Sender OK", "")]
        for user in range(recipients):
            says += [("<", f"RCPT TO:<user{user}@example.net>", ""),
                     (">", "550 5.7.1 listed" if spam else "250 2.1.5 Recipient OK", "")]
        if not spam:
            says += [("<", f"BDAT {size} LAST", ""), (">", "250 2.6.0 Queued mail for delivery", "")]
        for number, (event, data, context) in enumerate([*says, ("-", "", "Remote")]):
            out.write(f"{time:%Y-%m-%dT%H:%M:%S}.000Z,MX\\Default Frontend MX,{index:016X},{number},192.0.2.25:25,"
                      f"{sender.ip}:4711,{event},{data},{context}\n")
        counts["unwanted" if spam else "wanted", "plaintext" if plain else "tls"] += 1


def mbox(arguments, out, counts):
    filler = "".join(f"Line {line} of what they had to say, which goes on and on to no end.\n" for line in range(20_000))
    for index, (time, sender, plain, spam, size, _, rng) in enumerate(messages(arguments)):
        size = arguments.body or size
        tls = "plaintext" if plain else "tls"
        comment = "" if plain else (f"\n\t(using {sender.version} with cipher {rng.choice(CIPHERS[sender.version])}\n"
                                    "\t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\n"
                                    "\t(No client certificate requested)")
        date = f"{time:%a, %d %b %Y %H:%M:%S} +0000"
        kind = rng.random()
        content = ("multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b" if kind < 0.01 else
                   "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m" if kind < 0.015 else
                   "text/plain; charset=utf-8")
        out.write(f"From someone@{sender.domain} {time:%a %b %d %H:%M:%S %Y}\n"
                  f"Return-Path: <someone{index % 97}@{sender.domain}>\n"
                  "Delivered-To: user@example.net\n"
                  "Received: from mx.example.net\n\tby mx.example.net with LMTP\n\tid AbC" + str(index) + "\n"
                  f"\tfor <user@example.net>; {date}\n"
                  f"Received: from {sender.host} ({sender.host} [{sender.ip}]){comment}\n"
                  f"\tby mx.example.net (Postfix) with {'ESMTP' if plain else 'ESMTPS'} id 4{index:08X}zK\n"
                  f"\tfor <user@example.net>; {date}\n"
                  f"X-Spam-Flag: {'YES' if spam else 'NO'}\n"
                  f"Message-ID: <{index}@{sender.domain}>\nDate: {date}\n"
                  f"From: Someone <someone{index % 97}@{sender.domain}>\nTo: user@example.net\nSubject: {index}\n"
                  f"MIME-Version: 1.0\nContent-Type: {content}\n\n{filler[:size]}\n\n")
        counts["unwanted" if spam else "wanted", tls] += 1


def ledger(arguments, out, counts):
    for time, sender, plain, spam, size, recipients, _ in messages(arguments):
        tls = {"outcome": "not-tried"} if plain else {
            "outcome": "used", "version": "TLS" + (sender.version[4:] + ".0")[:3], "cipher": "TLS_AES_256_GCM_SHA384",
            "client_certificate": {"Anonymous": "none", "Untrusted": "untrusted", "Trusted": "verified"}[sender.trust]}
        out.write(json.dumps({"v": 1, "time": f"{time:%Y-%m-%dT%H:%M:%SZ}", "direction": "inbound", "peer": sender.ip,
                              "helo": sender.host, "sender_domain": sender.domain, "recipient_domains": ["example.net"],
                              "recipients": recipients, "bytes": size, "outcome": "refused" if spam else "accepted",
                              "tls": tls}, separators=(",", ":")) + "\n")
        counts["unwanted" if spam else "wanted", "plaintext" if plain else "tls"] += 1


def served(arguments, out, counts):
    """A ledger as `serve` writes it now: with numbers, ids, envelopes, and what clients offered."""
    run = "0063f1a2b3c4d5-3e8-0"
    for index, (time, sender, plain, spam, size, recipients, rng) in enumerate(messages(arguments)):
        offered = {"offered_version": "TLS1.3" if sender.version != "TLSv1" else "TLS1.2", "post_quantum": sender.ip[-1] in "13579"}
        tls = {"outcome": "not-tried"} if plain else {
            "outcome": "used", "version": "TLS" + (sender.version[4:] + ".0")[:3], "cipher": "TLS_AES_256_GCM_SHA384",
            "client_certificate": {"Anonymous": "none", "Untrusted": "untrusted", "Trusted": "verified"}[sender.trust],
            "group": "X25519MLKEM768" if sender.ip[-1] in "13" else "x25519", **offered}
        ending = "refused" if spam else "deferred" if index % 50 == 7 else "accepted"
        out.write(json.dumps({
            "v": 2, "node": "mx1.example.net", "run": run, "seq": index + 1, "id": f"{int(time.timestamp())}.M{index % 10**6:06d}P1000Q{index}",
            "time": f"{time:%Y-%m-%dT%H:%M:%S}.{index % 1000:03d}Z", "direction": "inbound", "peer": sender.ip, "helo": sender.host,
            "sender_domain": sender.domain, "recipient_domains": ["example.net", "example.org"][:1 + index % 20 // 19],
            "recipients": recipients, "envelope": f"{rng.getrandbits(64):016x}", "bytes": size, "outcome": ending, "tls": tls,
            "end_to_end": "none"}, separators=(",", ":")) + "\n")
        counts["unwanted" if spam else "wanted", "plaintext" if plain else "tls"] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["postfix", "exim", "sendmail", "opensmtpd", "journal", "exchange", "mbox",
                                         "ledger", "served"])
    parser.add_argument("messages", type=int)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--body", type=int, default=0, help="octets of each body in an mbox; 0: as they come")
    arguments = parser.parse_args()
    counts = collections.Counter()
    globals()[arguments.what](arguments, sys.stdout, counts)
    print(json.dumps({f"{verdict} {tls}": count for (verdict, tls), count in sorted(counts.items())}), file=sys.stderr)


if __name__ == "__main__":
    main()
