"""`serve` in front of a next hop that fails, in every way that one can be told to."""

import json
import re
import smtplib
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request

from chain import front
from harness import PATIENCE, Raw, test, wait_for
from hop import Hop
from texts import DOTS

FROM, BOB = "sender@client.example", "bob@mx.example.net"


def client(port, **options):
    smtp = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE, **options)
    smtp.ehlo_or_helo_if_needed()
    return smtp


def before(hop, *options):
    return front(f"smtp://127.0.0.1:{hop.port}", *options)


def stages(smtp, text=DOTS):
    """The codes and words of MAIL, RCPT and the text, as far as it comes."""
    replies = [smtp.mail(FROM)]
    if replies[-1][0] < 300:
        replies.append(smtp.rcpt(BOB))
    if len(replies) == 2 and replies[-1][0] < 300:
        try:
            replies.append(smtp.data(text))
        except smtplib.SMTPDataError as error:
            replies.append((error.smtp_code, error.smtp_error))
    return replies


def is_served(port):
    try:
        with client(port) as smtp:
            return stages(smtp)[-1][0] == 250
    except smtplib.SMTPConnectError:
        return False


@test
def what_the_next_hop_says_is_handed_on():
    for verb, said, told in (
        ("MAIL", "550 5.7.1 Not you", (550, b"5.7.1 Not you")),
        ("MAIL", "451 4.7.1 Greylisted, come again", (451, b"4.7.1 Greylisted, come again")),
        ("RCPT", "550-5.1.1 Nobody of that name\r\n550 5.1.1 see https://hop.example/",
         (550, b"5.1.1 Nobody of that name see https://hop.example/")),
        ("RCPT", "251 2.1.5 Will forward", (251, b"2.1.5 Will forward")),
        # Without an enhanced code there; here each reply has one (RFC 2034 section 4).
        ("RCPT", "452 too many", (452, b"4.0.0 too many")),
        # Nothing but printable ASCII, and no code of another class.
        ("RCPT", "550 5.1.1 no such “user”\tat all", (550, b"5.1.1 no such ??????user???????at all")),
        ("RCPT", "550 2.1.5 odd", (550, b"5.0.0 2.1.5 odd")),
        ("DATA", "554 5.5.1 No valid recipients", (554, b"5.5.1 No valid recipients")),
        ("TEXT", "554 5.7.1 Spam, says the filter", (554, b"5.7.1 Spam, says the filter")),
        ("TEXT", "452 4.3.1 Full", (452, b"4.3.1 Full")),
        # RFC 5321 section 4.3.2: of codes that are not for this command the first digit counts, and is what is handed on.
        ("MAIL", "220 2.1.0 Fine", (250, b"2.1.0 Fine")),
        ("MAIL", "251 2.1.0 Fine too", (250, b"2.1.0 Fine too")),
        ("RCPT", "252 2.1.5 Will try", (250, b"2.1.5 Will try")),
        ("TEXT", "299 2.0.0 Kept", (250, b"2.0.0 Kept")),
        # What it asks of this server, and of no client, is no reason for mail to come back.
        ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", (451, b"4.3.5 The mail server behind this one does not let it hand on mail; try again later")),
        ("RCPT", "530 5.7.1 Authentication required", (451, b"4.3.5 The mail server behind this one does not let it hand on mail; try again later")),
        ("DATA", "503 5.5.1 Bad sequence", (451, b"4.3.5 The mail server behind this one does not let it hand on mail; try again later")),
        # That it closes is no reason to close the client's session.
        ("RCPT", "421 4.3.2 Going down", (451, b"4.3.2 Going down")),
        ("TEXT", "421 4.3.2 Going down", (451, b"4.3.2 Going down")),
    ):
        with Hop({verb: said}) as hop, before(hop) as server, client(server.port) as smtp:
            replies = stages(smtp)
            shown = [reply for reply in replies if reply == told or reply[1].startswith(told[1][:10])]
            assert shown and shown[0][0] == told[0], (verb, said, replies)
            if "“" not in said:
                assert shown[0][1] == told[1], (verb, said, replies)
            assert all(byte in range(32, 127) for byte in shown[0][1]), shown
            assert smtp.rset()[0] == 250, "the session goes on"
            smtp.quit()
            server.stop()
            [record] = server.ledger()
            if told[0] >= 400:
                assert record["outcome"] == ("refused" if told[0] >= 500 else "deferred") and record["code"] == told[0], record


@test
def a_next_hop_that_breaks_off_is_a_reason_to_try_again():
    for says, cut, at in (
        ({"MAIL": "close"}, None, 0), ({"RCPT": "close"}, None, 1), ({"DATA": "close"}, None, 2), ({"TEXT": "close"}, None, 2),
        ({"MAIL": "what?"}, None, 0), ({"RCPT": "299"}, None, 2), ({"DATA": "250 2.0.0 ok"}, None, 2), ({}, 5_000, 2),
        ({"RCPT": "250 ok\r\n250 and once more"}, None, None),
    ):
        with Hop(says, cut=cut) as hop, before(hop) as server, client(server.port) as smtp:
            replies = stages(smtp, b"Subject: x\r\n\r\n" + b"0123456789\r\n" * 50_000)
            last = replies[-1]
            assert 400 <= last[0] < 500 or says.get("RCPT") == "299" and last[0] == 250, (says, replies)
            if at is not None:
                assert len(replies) == at + 1, (says, replies)
            # Whether the text that was sent as a whole was kept cannot be known (RFC 5321 section 4.5.3.2.6).
            if "TEXT" not in says and last[0] != 250:
                assert not hop.texts, says
            hop.says, hop.cut = {}, None
            smtp.rset()
            assert stages(smtp)[-1][0] == 250, "it is used again"
            assert hop.texts[-1].endswith(DOTS), hop.texts[-1]


@test
def in_lmtp_who_has_no_answer_has_not_been_taken():
    """RFC 2033 section 4.2: the connection is lost behind the first of three answers."""
    with (Hop({"TEXT": "250 2.0.0 kept", "AFTER": "close"}) as hop,
          front(f"lmtp://127.0.0.1:{hop.port}", "--role", "lmtp") as server,
          smtplib.LMTP("127.0.0.1", server.port, local_hostname="client.example", timeout=PATIENCE) as lmtp):
        lmtp.ehlo_or_helo_if_needed()
        lmtp.mail(FROM)
        for to in ("bob", "carol", "dave"):
            assert lmtp.rcpt(f"{to}@mx.example.net")[0] == 250
        lmtp.putcmd("data")
        assert lmtp.getreply()[0] == 354
        lmtp.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
        assert [lmtp.getreply()[0] for _ in range(3)] == [250, 451, 451]
        # And with no answer at all.
        hop.says = {"TEXT": "close"}
        lmtp.mail(FROM)
        for to in ("bob", "carol"):
            assert lmtp.rcpt(f"{to}@mx.example.net")[0] == 250
        lmtp.putcmd("data")
        assert lmtp.getreply()[0] == 354
        lmtp.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
        assert [lmtp.getreply()[0] for _ in range(2)] == [451, 451]


@test
def a_dead_next_hop_holds_few_connections_and_nobody_up():
    options = ("--next-hop-wait", "1s", "--next-hop-connections", "5", "--max-connections", "400")
    with Hop() as hop, before(hop, *options) as server:
        with client(server.port) as smtp:
            assert stages(smtp)[-1][0] == 250
        hop.stop()
        hop.start()
        hop.says = {"CONNECT": "hang"}
        replies, times = [], []

        def try_it():
            began = time.monotonic()
            with client(server.port) as smtp:
                replies.append(smtp.mail(FROM))
            times.append(time.monotonic() - began)

        lanes = [threading.Thread(target=try_it) for _ in range(200)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join(PATIENCE)
        assert len(replies) == 200 and {code for code, _ in replies} == {451}, replies
        assert max(times) < 10, max(times)
        # Those that were allowed, the one that asks whether it is back, and some of which the hop had not yet seen the end.
        assert hop.most <= 15, hop.most
        began = time.monotonic()
        with client(server.port) as smtp:
            assert smtp.mail(FROM)[0] == 451
        assert time.monotonic() - began < 1, "the answer is known"
        before_that = hop.connections
        hop.says = {}

        def back():
            with client(server.port) as smtp:
                return stages(smtp)[-1][0] == 250

        wait_for("mail to go through again", back)
        assert hop.connections - before_that < 10, hop.connections
        assert "is down" in server.printed() and "is up again" in server.printed(), server.printed()


@test
def a_connection_that_hangs_is_replaced_and_a_server_that_hangs_is_down():
    options = ("--next-hop-wait", "1s", "--next-hop-retry", "1s")
    with Hop() as hop, before(hop, *options) as server:
        with client(server.port) as smtp:
            assert stages(smtp)[-1][0] == 250 and hop.connections == 1
            # One that lay idle has no end that can be seen, as when something between has forgotten it.
            hop.says = {"MAIL": "hang"}
            smtp.putcmd("mail", f"from:<{FROM}>")
            wait_for("MAIL to come there", lambda: hop.commands[-1].startswith("MAIL"))
            hop.says = {}
            assert smtp.getreply()[0] == 250 and hop.connections == 2, "over a new one"
            assert smtp.rcpt(BOB)[0] == 250 and smtp.data(DOTS)[0] == 250 and len(hop.texts) == 2
        assert "down" not in server.printed(), server.printed()
        # All of it hangs, at the greeting or behind it: one client finds that out, and the next need not wait.
        for verb in ("CONNECT", "EHLO"):
            hop.says = {verb: "hang", "MAIL": "hang"}
            with client(server.port) as smtp:
                assert smtp.mail(FROM)[0] == 451
                assert put_off_again(smtp) < 1
            wait_for("word of it", lambda: server.printed().count("the next hop is down") > server.printed().count("is up again"))
            hop.says = {}
            wait_for("word that it is up", lambda: server.printed().count("is up again") == server.printed().count("hop is down"))
            with client(server.port) as smtp:
                assert stages(smtp)[-1][0] == 250


def put_off_again(smtp):
    """How long a second MAIL takes to be put off."""
    began = time.monotonic()
    assert smtp.mail(FROM)[0] == 451
    return time.monotonic() - began


@test
def a_server_that_greets_and_takes_no_mail_stays_down():
    """That it is back is known when it has answered MAIL, by whatever."""
    offers = ("PIPELINING", "XCLIENT NAME ADDR PORT PROTO HELO", "XFORWARD NAME ADDR PORT PROTO HELO")
    usual = {"XCLIENT": "220 hop.example"}
    for announce, verb, says in (("xforward", "MAIL", "hang"), ("xforward", "MAIL", "421 4.3.2 Not now"), ("xforward", "MAIL", "354 go on"),
                                 ("xforward", "MAIL", "530 5.7.0 TLS first"), ("xclient", "XCLIENT", "hang"), ("xclient", "XCLIENT", "550 5.7.0 Not you")):
        with (Hop(usual, offers) as hop, before(hop, "--next-hop-wait", "1s", "--announce", announce) as server,
              client(server.port) as smtp):
            hop.says = {**usual, verb: "close"}
            for _ in range(3):
                assert smtp.mail(FROM)[0] == 451
            wait_for("word of it", lambda: "the next hop is down" in server.printed())
            hop.says, asked = {**usual, verb: says}, hop.connections
            wait_for("it to be asked again", lambda: hop.connections > asked + 1)
            assert "is up again" not in server.printed(), (announce, says, server.printed())
            # That it has no room now is an answer.
            hop.says = {**usual, "MAIL": "452 4.3.1 Full"}
            wait_for("word that it is up", lambda: "is up again" in server.printed())
            assert smtp.mail(FROM) == (452, b"4.3.1 Full")
            hop.says = usual
            assert smtp.rset()[0] == 250 and stages(smtp)[-1][0] == 250


@test
def what_the_next_hop_does_not_let_this_server_do_is_told_with_the_mend():
    with (Hop({"XCLIENT": "550 5.7.0 Error: insufficient authorization"}, ("PIPELINING", "XCLIENT NAME ADDR PORT PROTO HELO")) as hop,
          before(hop, "--announce", "xclient", "--metrics", "127.0.0.1:0") as server, client(server.port) as smtp):
        for _ in range(4):
            assert smtp.mail(FROM)[0] == 451
        wait_for("word of it", lambda: "the next hop is down" in server.printed())
        assert "insufficient authorization; it must believe this machine (Postfix: smtpd_authorized_xclient_hosts)" in server.printed()
        code, why = http(server, "/readyz")
        assert code == 503 and "it must believe this machine" in why, why
        hop.says = {"XCLIENT": "220 hop.example"}
        wait_for("mail to go through", lambda: smtp.rset() and stages(smtp)[-1][0] == 250)


@test
def who_is_not_there_at_the_start_is_waited_for():
    with Hop() as hop:
        hop.stop()
        with before(hop) as server:
            # Nothing can be announced that is not known (RFC 5321 section 3.1: 421 instead of a greeting).
            try:
                client(server.port)
                raise AssertionError("greeted")
            except smtplib.SMTPConnectError as error:
                assert error.smtp_code == 421, error
            hop.start()
            wait_for("mail to go through", lambda: is_served(server.port))


@test
def what_is_announced_is_what_the_next_hop_has():
    with Hop(offers=("PIPELINING", "SIZE 100000")) as hop, before(hop) as server:
        with Raw(server) as raw:
            said = raw.ask(b"EHLO client.example", b"250")
            for keyword in (b"8BITMIME", b"SMTPUTF8", b"DSN", b"CHUNKING", b"BINARYMIME", b"REQUIRETLS"):
                assert keyword not in said, said
            assert b"SIZE 100000\r\n" in said, said
            raw.ask(b"MAIL FROM:<a@client.example> BODY=8BITMIME", b"555 5.5.4")
            raw.ask(b"MAIL FROM:<a@client.example> SMTPUTF8", b"555 5.5.4")
            raw.ask(b"MAIL FROM:<a@client.example> RET=HDRS", b"555 5.5.4")
            raw.ask(b"MAIL FROM:<a@client.example> SIZE=100001", b"552 5.3.4")
        with client(server.port) as smtp:
            # RFC 6152 section 3: what was not declared must not be handed on either.
            smtp.mail(FROM)
            smtp.rcpt(BOB)
            code, words = smtp.data("Subject: grüße\r\n\r\n".encode())
            assert (code, words[:5]) == (554, b"5.6.3") and not hop.texts, words
            assert stages(smtp)[-1][0] == 250, "and the session goes on"
        # It changes: new connections to it show so, and the next client hears it.
        hop.stop()
        hop.offers = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME", "REQUIRETLS", "SIZE")
        hop.start()
        with client(server.port) as smtp:
            assert stages(smtp)[-1][0] == 250
        with Raw(server) as raw:
            said = raw.ask(b"EHLO client.example", b"250")
            for keyword in (b"8BITMIME", b"SMTPUTF8", b"DSN", b"CHUNKING", b"BINARYMIME", b"SIZE 52428800"):
                assert keyword in said, said
            # RFC 8689 section 3: inside TLS alone, and only if the hop behind is TLS, too.
            assert b"REQUIRETLS" not in said, said
            # A session that was told otherwise hears that it is to come again.
            hop.stop()
            hop.offers = ("PIPELINING",)
            hop.start()
            raw.ask(b"MAIL FROM:<a@client.example> SMTPUTF8", b"451 4.3.0")


@test
def mail_that_goes_in_circles_is_stopped():
    with Hop() as hop, before(hop) as server, client(server.port) as smtp:
        for count, code in ((99, 250), (100, 554)):
            fields = "".join(f"Received: from a by b{at};\r\n x\r\n" for at in range(count))
            replies = stages(smtp, fields.encode() + b"Subject: x\r\n\r\n" + b"Received: quoted\r\n" * 200)
            assert replies[-1][0] == code, (count, replies)
        assert replies[-1][1].startswith(b"5.4.6"), replies
        assert len(hop.texts) == 1, "our own field is the hundredth, and one more is a loop"


@test
def a_client_that_vanishes_leaves_nothing_behind():
    with Hop() as hop, before(hop) as server:
        for said in ((), (b"DATA", b"354")), ((b"DATA", b"354"), b"Subject: x\r\n\r\n" + b"y\r\n" * 100_000):
            raw = Raw(server)
            raw.ask(b"EHLO client.example", b"250")
            raw.ask(f"MAIL FROM:<{FROM}>".encode(), b"250")
            raw.ask(f"RCPT TO:<{BOB}>".encode(), b"250")
            for step in said:
                if isinstance(step, tuple) and step:
                    raw.ask(*step)
                elif step:
                    raw.send(step)
            raw.socket.close()
            raw.file.close()
        with client(server.port) as smtp:
            assert stages(smtp)[-1][0] == 250
        assert len(hop.texts) == 1, "half a message was kept"


@test
def connections_to_the_next_hop_are_used_again():
    with Hop() as hop, before(hop) as server:
        for _ in range(30):
            with client(server.port) as smtp:
                assert stages(smtp)[-1][0] == 250
                assert smtp.mail(FROM)[0] == 250  # and then gives it up
        assert len(hop.texts) == 30 and hop.connections <= 4, hop.connections
        # They end while they are idle, and nobody hears of it.
        hop.stop()
        hop.start()
        with client(server.port) as smtp:
            assert stages(smtp)[-1][0] == 250


@test
def where_tls_is_offered_and_fails_mail_goes_on_in_plaintext():
    """RFC 7435 section 4.1; and `verify` does not."""
    offers = ("PIPELINING", "8BITMIME", "STARTTLS")
    with Hop(offers=offers) as hop, front(f"smtp://127.0.0.1:{hop.port}?tls=offer") as server:
        for _ in range(5):
            with client(server.port) as smtp:
                assert stages(smtp)[-1][0] == 250
        assert len(hop.texts) == 5 and hop.connections <= 3, hop.connections
        told = [line for line in server.err if "TLS handshake with the next hop failed" in line]
        assert len(told) == 1 and "handshake_failure" in told[0] and "in plaintext" in told[0], server.err
    with Hop(offers=offers) as hop, front(f"smtp://127.0.0.1:{hop.port}?tls=verify", "--next-hop-wait", "1s") as server:
        wait_for("a word about it", lambda: "is down" in server.printed())
        assert not hop.texts and not any(command.startswith("MAIL") for command in hop.commands), hop.commands


def http(server, path):
    # Said behind where it listens.
    address = wait_for("the metrics", lambda: re.search(r"metrics: http://([^/]*)/", server.printed()))[1]
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@test
def it_is_ready_when_the_next_hop_is():
    with Hop() as hop, before(hop, "--metrics", "127.0.0.1:0") as server:
        assert wait_for("to be ready", lambda: http(server, "/readyz"))[0] == 200
        hop.stop()
        for _ in range(3):
            with client(server.port) as smtp:
                assert smtp.mail(FROM)[0] == 451
        code, why = wait_for("not to be", lambda: (found := http(server, "/readyz"))[0] == 503 and found)
        assert f"the next hop smtp://127.0.0.1:{hop.port} is down: " in why and "refused" in why, why
        assert http(server, "/healthz")[0] == 200
        hop.start()
        wait_for("to be ready again", lambda: http(server, "/readyz")[0] == 200)


@test
def the_log_has_one_id_a_session_and_a_message():
    with Hop() as hop, before(hop, "--log", "debug", "--log-format", "json", "--json") as server:
        with client(server.port) as smtp:
            assert stages(smtp)[-1][0] == 250
            smtp.docmd("NONSENSE")
            hop.says = {"RCPT": "close"}
            assert stages(smtp)[-1][0] == 451
        # One that breaks off within TLS.
        with Raw(server) as raw:
            raw.ask(b"EHLO client.example", b"250")
            raw.ask(b"STARTTLS", b"220")
            raw.send(b"no TLS at all, and never will be\r\n")
            raw.rest()
        server.stop()
        [taken] = [json.loads(line) for line in server.out]
        lines = [json.loads(line) for line in server.err if line.startswith("{")]
        of_sessions = [line for line in lines if "peer" in line or "id" in line]
        assert len({line["session"] for line in of_sessions}) == 2, of_sessions
        said = {line["message"].split(" (")[0]: line for line in of_sessions}
        assert said["fault"]["session"] == taken["session"] and said["the TLS handshake failed"]["session"] != taken["session"]
        [lost] = [line for line in of_sessions if line["message"].startswith("a message did not go through")]
        records = server.ledger()
        assert lost["session"] == taken["session"] and [taken["id"], lost["id"]] == [record["id"] for record in records[:2]], records


@test
def the_name_of_a_client_goes_along_where_it_is_known():
    names = "XCLIENT NAME ADDR PORT PROTO HELO"
    with (Hop({"XCLIENT": "220 hop.example"}, offers=("PIPELINING", names)) as hop,
          before(hop, "--announce", "xclient", "--trust", "127.0.0.1") as server):
        for said, name in ((b"NAME=mail.example.org", "mail.example.org"), (b"NAME=[UNAVAILABLE]", "[UNAVAILABLE]")):
            with Raw(server) as raw:
                raw.ask(b"EHLO balancer.example", b"250")
                raw.ask(b"XCLIENT ADDR=192.0.2.7 PORT=77 " + said, b"220")
                raw.ask(b"EHLO client.example", b"250")
                raw.ask(b"MAIL FROM:<a@client.example>", b"250")
            told = [command for command in hop.commands if command.startswith("XCLIENT")][-1]
            assert told == f"XCLIENT NAME={name} ADDR=192.0.2.7 PORT=77 PROTO=ESMTP HELO=client.example", told


@test
def who_comes_by_a_unix_socket_does_not_pass_for_the_client_before():
    """XCLIENT holds for a connection, and such a client has no address to be announced by."""
    with (Hop({"XCLIENT": "220 hop.example"}, offers=("PIPELINING", "XCLIENT NAME ADDR PORT PROTO HELO")) as hop,
          tempfile.TemporaryDirectory() as folder,
          before(hop, "--announce", "xclient", "--listen", f"unix:{folder}/front") as server):
        with client(server.port) as smtp:
            assert stages(smtp)[-1][0] == 250
        with socket.socket(socket.AF_UNIX) as local, local.makefile("rb") as lines:
            local.connect(f"{folder}/front")
            for said in (b"", b"HELO local.example\r\n", f"MAIL FROM:<{FROM}>\r\n".encode()):
                local.sendall(said)
                assert lines.readline()[:1] == b"2", said
        verbs = [command.split()[0] for command in hop.commands if not command.startswith(("RCPT", "DATA", "QUIT"))]
        # The first asks what is offered.
        assert verbs == ["EHLO", "XCLIENT", "EHLO", "MAIL", "EHLO", "MAIL"], hop.commands
