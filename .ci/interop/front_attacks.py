"""`serve` between those who attack it: clients, next hops, and both at once. Whatever they do, no text is acknowledged that the
next hop has not taken, none reaches it in parts, and the next client is served."""

import smtplib

from chain import front
from front_faults import BOB, FROM, before, client, is_served, stages
from harness import PATIENCE, Raw, test, wait_for
from hop import Hop
from texts import DOTS

QUICK = ("--next-hop-wait", "1s", "--next-hop-retry", "1s")
ENVELOPE = f"EHLO client.example\r\nMAIL FROM:<{FROM}>\r\nRCPT TO:<{BOB}>\r\n".encode()


def must_serve(server, hop, texts):
    """The next client is served, and the next hop has so many texts in all."""
    hop.says, hop.cut = {}, None
    wait_for("the next client to be served", lambda: is_served(server.port))
    assert hop.texts[-1].endswith(DOTS) and len(hop.texts) == texts + 1, hop.texts


@test
def a_next_hop_that_says_421_at_each_verb_ends_no_session_of_a_client():
    """RFC 5321 section 3.8: it may, at any time. The client's session is another one."""
    for verb in ("MAIL", "RCPT", "DATA", "TEXT", "EHLO", "CONNECT"):
        with Hop() as hop, before(hop, *QUICK) as server, client(server.port) as smtp:
            hop.says = {verb: "421 4.3.2 Going down"}
            hop.stop()
            hop.start()
            replies = stages(smtp)
            assert 400 <= replies[-1][0] < 500 and replies[-1][0] != 421, (verb, replies)
            assert smtp.rset()[0] == 250, verb
            assert not hop.texts, verb
            must_serve(server, hop, 0)


@test
def a_next_hop_whose_reply_has_no_end_holds_nobody_up():
    endless = "250-more\r\n" * 20_000 + "250-more"
    for verb in ("EHLO", "MAIL", "RCPT", "DATA", "TEXT"):
        with Hop() as hop, before(hop, *QUICK) as server, client(server.port) as smtp:
            hop.says = {verb: endless}
            hop.stop()
            hop.start()
            replies = stages(smtp)
            assert 400 <= replies[-1][0] < 500, (verb, replies)
            assert smtp.rset()[0] == 250, verb
            if verb != "TEXT":
                assert not hop.texts, verb
            must_serve(server, hop, len(hop.texts))


@test
def a_next_hop_that_says_nonsense_or_too_much_is_not_believed():
    for says in ({"CONNECT": "220"}, {"CONNECT": "250 not a greeting"}, {"CONNECT": "354 go on"}, {"CONNECT": "\x00\x01\x02"}, {"EHLO": "354 what"},
                 {"EHLO": "250-hop.example\r\n251 other"}, {"MAIL": "354 go on"}, {"RCPT": "354 go on"}, {"MAIL": "250 ok\r\n250 ok"},
                 {"RCPT": "250 ok\r\n354 go on"}, {"DATA": "354 go on\r\n250 kept"}, {"DATA": "250-a\r\n354 b"}, {"TEXT": "354 more"},
                 {"TEXT": "999 what"}, {"TEXT": "250"}, {"TEXT": "x" * 3000}, {"MAIL": "220 \x1b[2J"}):
        with Hop() as hop, before(hop, *QUICK) as server, client(server.port) as smtp:
            hop.says = says
            hop.stop()
            hop.start()
            replies = stages(smtp)
            # 2yz is a success (RFC 5321 section 4.2.1), with or without words. The others are no replies, or none to what was
            # asked, and no text goes where it was not asked for.
            [said] = says.values()
            good = said in ("220", "250") or said.startswith("250 not") or said.startswith("220 \x1b")
            assert (len(replies) == 3 and replies[-1][0] == 250) if good else 400 <= replies[-1][0] < 500, (says, replies)
            assert good or "TEXT" in says or not hop.texts, (says, hop.texts)
            assert all(byte in range(32, 127) for _, words in replies for byte in words), replies
            smtp.rset()
            must_serve(server, hop, len(hop.texts))


@test
def a_next_hop_that_drips_is_waited_for_and_not_for_ever():
    for verb in ("CONNECT", "EHLO"):
        with Hop() as hop, before(hop, *QUICK) as server, client(server.port) as smtp:
            hop.stop()
            hop.start()
            hop.drip = verb
            assert smtp.mail(FROM)[0] == 451, "an octet is no progress"
            hop.drip = None
            must_serve(server, hop, 0)


@test
def what_is_said_of_a_client_is_refused_or_has_no_answer():
    for announce, says, told in (
        ("xclient", "hang", 451), ("xclient", "421 4.3.2 x", 451), ("xclient", "354 x", 451), ("xclient", "250 2.0.0 ok", 451),
        ("xclient", "220 hop\r\n220 hop", 451), ("xforward", "hang", 451),
        # That this server may not say it is no fault of the client's mail; a verdict over the client is handed on.
        ("xclient", "550 5.7.0 Error: insufficient authorization", 451), ("xclient", "501 5.5.4 Bad parameter", 451),
        ("xclient", "503 5.5.1 Not now", 451), ("xclient", "554 5.7.1 Client host rejected", 554), ("xclient", "450 4.7.1 Who?", 450),
        ("xforward", "421 4.3.2 x", 451), ("xforward", "354 x", 451),
        # It is for the log alone.
        ("xforward", "501 5.5.4 What?", 250),
    ):
        verb = announce.upper()
        with (Hop({"XCLIENT": "220 hop.example"}, offers=("PIPELINING", f"{verb} NAME ADDR PORT PROTO HELO")) as hop,
              before(hop, *QUICK, "--announce", announce) as server, client(server.port) as smtp):
            hop.says = {verb: says}
            for _ in range(2):
                replies = stages(smtp)
                assert replies[-1][0] == told, (announce, says, replies)
                assert smtp.rset()[0] == 250
            assert len(hop.texts) == (2 if told == 250 else 0)
            hop.says = {"XCLIENT": "220 hop.example"}
            wait_for("it to be served again", lambda: stages(smtp)[-1][0] == 250)


@test
def a_client_that_pipelines_everything_hears_each_answer():
    with Hop() as hop, before(hop, *QUICK) as server:
        for count in (1, 20):
            before_that = len(hop.texts)
            with Raw(server) as raw:
                text = b"Subject: x\r\n\r\n..dot\r\nQUIT\r\n.\r\n"
                one = f"MAIL FROM:<{FROM}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n".encode()
                # Text behind DATA without waiting for 354 is not allowed (RFC 2920 section 3.1). Whether it is answered or the
                # session ends: what is acknowledged is there, and no text is taken for commands.
                raw.send(b"EHLO client.example\r\n" + (one + text) * count + b"QUIT\r\n")
                codes = [line[:3] for line in raw.rest().splitlines()]
            taken = [codes[at + 1] for at, code in enumerate(codes[:-1]) if code == b"354"].count(b"250")
            assert codes[-1] in (b"221", b"421", b"554") and len(hop.texts) - before_that == taken, codes
        for kept in hop.texts:
            assert kept.endswith(b"Subject: x\r\n\r\n.dot\r\nQUIT\r\n"), kept
        must_serve(server, hop, len(hop.texts))


@test
def who_says_mail_and_no_more_keeps_nobody_out():
    """Half of the connections to the next hop are for others; of this machine itself there may be any number."""
    with Hop() as hop, front(f"smtp://127.0.0.1:{hop.port}", "--next-hop-connections", "4", "--domain", "mx.example.net", behind_proxy=True) as server:
        def begun(source, code):
            raw = Raw(server, greeting=None)
            raw.send(f"PROXY TCP{6 if ':' in source else 4} {source} {'::1' if ':' in source else '192.0.2.99'} 1000 25\r\n".encode())
            raw.expect(b"220")
            raw.ask(b"EHLO client.example", b"250")
            raw.ask(f"MAIL FROM:<{FROM}>".encode(), code)
            return raw

        held = [begun("2001:db8::1", b"250"), begun("2001:db8::2", b"250")]
        refused = begun("2001:db8::3", b"451 4.4.5 Too many messages of your network")
        with begun("192.0.2.2", b"250") as other, begun("127.0.0.1", b"250"):
            other.ask(f"RCPT TO:<{BOB}>".encode(), b"250")
        # It has given one up.
        held[0].ask(b"RSET", b"250")
        refused.ask(f"MAIL FROM:<{FROM}>".encode(), b"250")
        for raw in (*held, refused):
            raw.__exit__()


@test
def a_text_that_breaks_off_is_nowhere():
    with Hop(offers=("PIPELINING", "8BITMIME", "CHUNKING")) as hop, before(hop, *QUICK) as server:
        for said in (b"DATA\r\n", b"BDAT 5\r\nhello", b"BDAT 5\r\nhel", b"BDAT 5\r\nhelloBDAT 5\r\nhe", b"BDAT 5\r\nhelloRSET\r\nBDAT 5\r\nhello",
                     b"DATA\r\nSubject: x\r\n\r\nhalf", b"DATA\r\nSubject: x\r\n\r\n" + b"y\r\n" * 200_000, b"DATA\r\nSubject: x\r\n.", b"DATA\r\n.\r"):
            with Raw(server) as raw:
                raw.send(ENVELOPE + said)
            with Raw(server) as raw:
                raw.send(ENVELOPE + said)
                raw.socket.shutdown(1)
                raw.rest()
        # Twice aborted, and then whole: of the parts nothing is there.
        must_serve(server, hop, 0)


@test
def chunks_come_whole_or_not_at_all():
    for offers in (("PIPELINING", "8BITMIME"), ("PIPELINING", "8BITMIME", "CHUNKING"), ("8BITMIME",)):
        with Hop(offers=offers) as hop, before(hop, *QUICK) as server:
            with Raw(server) as raw:
                said = raw.ask(b"EHLO client.example", b"250")
                assert (b"CHUNKING" in said) == ("CHUNKING" in offers), said
                if "CHUNKING" not in offers:
                    # Not announced: refused, its octets are thrown away, and no command among them is carried out (RFC 3030 2).
                    raw.ask(f"MAIL FROM:<{FROM}>".encode(), b"250")
                    raw.ask(f"RCPT TO:<{BOB}>".encode(), b"250")
                    raw.send(b"BDAT 12 LAST\r\nRSET\r\nQUIT\r\nNOOP\r\n")
                    codes = [raw.reply()[:3], raw.reply()[:3]]
                    assert codes[0][:1] == b"5" and codes[1] == b"250", codes
                    raw.ask(b"RSET", b"250")
            with client(server.port) as smtp:
                # The announcement is what the front can do without the next hop, or hand on.
                assert stages(smtp)[-1][0] == 250
            must_serve(server, hop, 1)


@test
def clients_and_next_hop_attack_together():
    for says, cut in (({"TEXT": "close"}, None), ({"DATA": "421 4.3.2 x"}, None), ({}, 3000), ({"RCPT": "250 ok\r\n250 x"}, None)):
        with Hop(says, cut=cut) as hop, before(hop, *QUICK) as server:
            for said in (b"DATA\r\nhalf", b"DATA\r\n" + b"y\r\n" * 100_000, b"DATA\r\n" + b"y\r\n" * 10_000 + b".\r\n" * 50, b"RSET\r\n" * 50 + b"DATA\r\n.\r\n"):
                with Raw(server) as raw:
                    raw.send(ENVELOPE + said)
                    raw.socket.shutdown(1)
                    codes = [line[:3] for line in raw.rest().splitlines()]
                    # 250 to the end of a text would be one behind 354.
                    if b"354" in codes:
                        assert b"250" not in codes[codes.index(b"354") + 1:codes.index(b"354") + 2], (says, codes)
            must_serve(server, hop, len(hop.texts))


@test
def in_lmtp_more_or_fewer_answers_than_recipients_are_nobodys():
    """RFC 2033 section 4.2: one for each recipient that was accepted, in order."""
    for text, codes in (("250 2.0.0 a\r\n250 2.0.0 b\r\n250 2.0.0 c", [250, 250]), ("250 2.0.0 a\r\n550 5.1.1 b", [250, 550]), ("421 4.3.2 x", [451, 451])):
        with (Hop({"TEXT": text, "AFTER": "close"}) as hop, front(f"lmtp://127.0.0.1:{hop.port}", "--role", "lmtp") as server,
              smtplib.LMTP("127.0.0.1", server.port, local_hostname="client.example", timeout=PATIENCE) as lmtp):
            lmtp.ehlo_or_helo_if_needed()
            lmtp.mail(FROM)
            for to in ("bob", "carol"):
                assert lmtp.rcpt(f"{to}@mx.example.net")[0] == 250
            lmtp.putcmd("data")
            assert lmtp.getreply()[0] == 354
            lmtp.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
            assert [lmtp.getreply()[0] for _ in range(2)] == codes, text
            assert lmtp.rset()[0] == 250
