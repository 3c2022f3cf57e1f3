#!/usr/bin/env python3
"""`serve` in front of a mail server: HAProxy, Postfix and Dovecot around it, byte by byte, and each of them failing."""

import json
import re
import smtplib

import front_attacks  # their tests run with these
import front_behind
import front_faults
import front_kills
from chain import BEHIND_PROXY, Dovecot, Haproxy, front, mail_server, taken_apart
from harness import PATIENCE, Raw, binary, main, succeed, test, tls_context, wait_for
from texts import DOTS, TEXTS

FROM, BOB, CAROL = "sender@client.example", "bob@mx.example.net", "carol@mx.example.net"
CLIENT = "127.0.0.7"  # where clients come from, which the mail server does not trust
# Postfix ends the header itself where a text has none: those are not for it.
MAIL = {name: text for name, text in TEXTS.items() if text.startswith(b"Subject: ")}
LARGE = b"Subject: 20 MB\r\n\r\n" + b"".join(b".%07d %s\r\n" % (n, b"z" * (n % 70)) for n in range(450_000))


def client(port, starttls=False, **options):
    smtp = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE,
                        source_address=(CLIENT, 0), **options)
    if starttls:
        smtp.starttls(context=tls_context())
    smtp.ehlo_or_helo_if_needed()
    return smtp


def refusal(call, *arguments, **options):
    """Code and words by which a call of smtplib is refused."""
    try:
        call(*arguments, **options)
    except smtplib.SMTPRecipientsRefused as error:
        [reply] = error.recipients.values()
        return reply
    except smtplib.SMTPResponseException as error:
        return error.smtp_code, error.smtp_error
    raise AssertionError("taken")


@test
def haproxy_front_postfix_dovecot_byte_for_byte():
    with (Dovecot() as dovecot, mail_server(dovecot) as postfix,
          front(f"smtp://127.0.0.1:{postfix.port}", "--announce", "xclient", behind_proxy=True) as server,
          Haproxy(server.port) as haproxy):
        sent = []
        for starttls in (False, True):
            with client(haproxy.port, starttls) as smtp:
                for text in [*MAIL.values(), *([LARGE] if starttls else [])]:
                    eight_bit = ["BODY=8BITMIME"] if not text.isascii() else []
                    assert smtp.sendmail(FROM, [BOB], text, mail_options=eight_bit) == {}
                    sent.append(text)
        mails = dovecot.mails("bob", len(sent))
        assert sorted(text for _, text in mails) == sorted(sent)
        for fields, _ in mails:
            received = [field for field in fields if field.startswith("Received:")]
            # The newest is on top (RFC 5321 4.4): Dovecot's, Postfix's, ours.
            assert len(received) == 3, received
            assert re.search(r"by \S+ with LMTP", received[0]), received
            assert re.match(r"Received: from client\.example \(unknown \[127\.0\.0\.7\]\) by mx\.example\.net \(Postfix\)", received[1]), received
            assert re.match(r"Received: from client\.example \(\[127\.0\.0\.7\]\) by mx\.example\.net with ESMTPS? .*for <bob@", received[2]), received
        log = postfix.log.read_text()
        assert "client=unknown[127.0.0.7]" in log and "client=localhost[127.0.0.1]" not in log, log[-3000:]
        server.stop()
        ledger = server.ledger()
        assert [record["outcome"] for record in ledger] == ["accepted"] * len(sent)
        assert {record["peer"] for record in ledger} == {CLIENT}


@test
def chunks_go_through_byte_for_byte():
    """RFC 3030: where the next hop has CHUNKING, the text is BDAT on both hops, cut anywhere; and nothing in it is an end or a command."""
    text = b"Subject: chunks\r\n\r\n.\r\n..\r\nQUIT\r\n\r\n.\r\nRSET\r\n" + bytes(range(14, 127)) * 3 + b"\r\n" + b"y" * 700 + b"\r\n"
    with (Dovecot() as dovecot, mail_server(dovecot) as postfix,
          front(f"smtp://127.0.0.1:{postfix.port}", "--announce", "xclient") as server, Raw(server) as raw):
        assert b"CHUNKING" in raw.ask(b"EHLO client.example", b"250")
        for cuts in ([len(text)], [1, 1, 17, 18, 20, 21, len(text)], [len(text), len(text)]):
            raw.ask(f"MAIL FROM:<{FROM}>".encode(), b"250")
            raw.ask(f"RCPT TO:<{BOB}>".encode(), b"250")
            for at, (begin, end) in enumerate(zip([0, *cuts], cuts), 1):
                raw.send(b"BDAT %d%s\r\n" % (end - begin, b" LAST" if at == len(cuts) else b"") + text[begin:end])
                raw.expect(b"250")
        # By PIPELINING all at once.
        raw.send(f"MAIL FROM:<{FROM}>\r\nRCPT TO:<{BOB}>\r\nBDAT 30\r\n".encode() + text[:30] + b"BDAT %d LAST\r\n" % (len(text) - 30) + text[30:])
        for _ in range(4):
            raw.expect(b"250")
        raw.ask(b"QUIT", b"221")
        assert [stored for _, stored in dovecot.mails("bob", 4)] == [text] * 4
        server.stop()
        wait_for("the end in Postfix's log", lambda: re.search(r"disconnect from .* bdat=\d+ ", postfix.log.read_text()))
        assert " data=" not in postfix.log.read_text()


@test
def utf8_addresses_go_through():
    with (Dovecot() as dovecot, mail_server(dovecot) as postfix,
          front(f"smtp://127.0.0.1:{postfix.port}", "--announce", "xclient") as server):
        text = "Subject: grüße\r\n\r\ngrüße\r\n".encode()
        with client(server.port) as smtp:
            assert smtp.has_extn("smtputf8")
            smtp.sendmail("sender@bücher.example", ["bøb@utf8.example"], text, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
        new = postfix.folder / "mail/utf8/new"
        wait_for("the message", lambda: new.is_dir() and list(new.iterdir()))
        fields, stored = taken_apart(next(new.iterdir()).read_bytes())
        assert stored == text and "for <bøb@utf8.example>" in fields[-1] and "UTF8SMTP" in fields[-1], fields


@test
def the_next_hop_says_who_is_taken_and_in_its_own_words():
    with (Dovecot() as dovecot, mail_server(dovecot) as postfix,
          front(f"smtp://127.0.0.1:{postfix.port}", "--announce", "xclient") as server):
        with client(server.port) as smtp:
            refused = smtp.sendmail(FROM, [BOB, "nobody@mx.example.net", CAROL], DOTS)
            assert list(refused) == ["nobody@mx.example.net"], refused
            code, words = refused["nobody@mx.example.net"]
            assert code == 550 and b"5.1.1 <nobody@mx.example.net>: Recipient address rejected" in words, refused
            # The client's address counts there, and not ours, by which anybody may relay.
            code, words = refusal(smtp.sendmail, FROM, ["x@elsewhere.example"], DOTS)
            assert code == 554 and b"5.7.1 <x@elsewhere.example>: Relay access denied" in words, words
            smtp.mail(FROM)
            assert smtp.rcpt(BOB)[1].startswith(b"2.1.5 "), "the next hop's words"
            smtp.rset()
            assert smtp.sendmail(FROM, [BOB], DOTS) == {}
        mails = dovecot.mails("bob", 2) + dovecot.mails("carol", 1)
        assert {text for _, text in mails} == {DOTS}
        for fields, _ in mails[:1] + mails[2:]:
            assert not re.search(r" for <", fields[-1]) or "for <bob@" in fields[-1], fields
        server.stop()
        ledger = server.ledger()
        told = [(record["outcome"], record.get("code")) for record in ledger]
        assert told == [("accepted", None), ("refused", 554), ("abandoned", None), ("accepted", None)], told
        # What the mail server refuses is unwanted, and costs nobody a verdict.
        report = json.loads(succeed(binary(), "audit", "--json", str(server.ledger_file)))
        assert {row["verdict"]: row["messages"] for row in report["inbound"]["mail"]} == {"wanted": 2, "unwanted": 1, "unknown": 0}, report


@test
def the_client_is_announced_by_xforward_and_by_a_proxy_header():
    with Dovecot() as dovecot, mail_server(dovecot, services=BEHIND_PROXY) as postfix:
        for announce, port, seen in (("xforward", postfix.port, r"client=localhost\[127\.0\.0\.1\], orig_queue_id=\S+ orig_client=unknown\[127\.0\.0\.7\]"),
                                     ("proxy", postfix.other, r"(?<!orig_)client=unknown\[127\.0\.0\.7\]")):
            with front(f"smtp://127.0.0.1:{port}", "--announce", announce) as server, client(server.port) as smtp:
                for _ in range(2):
                    assert smtp.sendmail(FROM, [BOB], DOTS) == {}
            wait_for(f"{seen} in the log", lambda: len(re.findall(seen, postfix.log.read_text())) == 2)
        assert [text for _, text in dovecot.mails("bob", 4)] == [DOTS] * 4
    # A server that does not trust us would take all mail for ours: none is handed on.
    with Dovecot() as dovecot, mail_server(dovecot, "smtpd_authorized_xclient_hosts =\n") as postfix:
        with front(f"smtp://127.0.0.1:{postfix.port}", "--announce", "xclient") as server:
            wait_for("what is wrong", lambda: "does not offer XCLIENT" in server.printed())
            try:
                client(server.port)
                raise AssertionError("greeted")
            except smtplib.SMTPConnectError as error:
                assert error.smtp_code == 421, error


@test
def a_client_that_the_next_hop_refuses_at_once_is_one_and_no_other():
    """Postfix may refuse a client at its greeting, or behind XCLIENT: that is no failure of Postfix's."""
    strict = """
smtpd_delay_reject = no
smtpd_client_restrictions = check_client_access inline:{{ {{127.0.0.7=REJECT Not from there}} }}
smtpd_helo_restrictions = check_helo_access inline:{{ {{bad.example=450 4.7.1 Not by that name}} }}
"""
    with Dovecot() as dovecot, mail_server(dovecot, strict, BEHIND_PROXY) as postfix:
        for announce, port in (("xclient", postfix.port), ("proxy", postfix.other)):
            with front(f"smtp://127.0.0.1:{port}", "--announce", announce) as server:
                refused = [("127.0.0.7", "good.example", 554, b"Not from there")]
                if announce == "xclient":
                    refused.append(("127.0.0.9", "bad.example", 450, b"Not by that name"))
                for source, name, told, why in refused:
                    for _ in range(4):
                        with smtplib.SMTP("127.0.0.1", server.port, local_hostname=name, timeout=PATIENCE, source_address=(source, 0)) as smtp:
                            code, words = refusal(smtp.sendmail, FROM, [BOB], DOTS)
                            assert code == told and why in words, (announce, source, code, words)
                with smtplib.SMTP("127.0.0.1", server.port, local_hostname="good.example", timeout=PATIENCE, source_address=("127.0.0.8", 0)) as smtp:
                    assert smtp.sendmail(FROM, [BOB], DOTS) == {}, announce
                assert "the next hop" not in server.printed(), server.printed()
        assert [text for _, text in dovecot.mails("bob", 2)] == [DOTS] * 2


@test
def lmtp_has_a_verdict_for_each_recipient():
    with Dovecot() as dovecot:
        place = f"lmtp+unix:{dovecot.socket}"
        with front(place, "--role", "lmtp") as server:
            with smtplib.LMTP("127.0.0.1", server.port, local_hostname="client.example") as lmtp:
                lmtp.ehlo_or_helo_if_needed()
                lmtp.mail(FROM)
                assert [lmtp.rcpt(f"{user}@mx.example.net")[0] for user in ("bob", "stranger", "full", "carol")] == [250, 550, 250, 250]
                lmtp.putcmd("data")
                assert lmtp.getreply()[0] == 354
                lmtp.send(DOTS.replace(b"\r\n.", b"\r\n..") + b".\r\n")
                replies = [lmtp.getreply() for _ in range(3)]
            assert [code for code, _ in replies] == [250, 552, 250], replies
            assert b"Saved" in replies[0][1] and b"5.2.2" in replies[1][1], replies
            server.stop()
            assert [(record["outcome"], record["recipients"]) for record in server.ledger()] == [("accepted", 3)]
        # SMTP has one answer for all: recipients come one at a time (RFC 5321 4.5.3.1.10), and none is lost or doubled.
        with front(place) as server, client(server.port) as smtp:
            assert b"LIMITS RCPTMAX=1 " in smtp.ehlo_resp, smtp.ehlo_resp
            left = ["bob@mx.example.net", "full@mx.example.net", "carol@mx.example.net"]
            ends = {}
            while left:
                smtp.mail(FROM)
                replies = {to: smtp.rcpt(to) for to in left}
                first, *rest = left
                assert [replies[to][0] for to in left] == [250, *[452] * len(rest)], replies
                ends[first] = smtp.data(DOTS)[0]
                left = rest
            assert list(ends.values()) == [250, 552, 250], ends
        for user, count in (("bob", 2), ("carol", 2), ("full", 0)):
            assert [text for _, text in dovecot.mails(user, count)] == [DOTS] * count


if __name__ == "__main__":
    assert front_faults.stages and front_kills.ROUNDS > 0 and front_attacks.QUICK and front_behind.OFFERS
    main()
