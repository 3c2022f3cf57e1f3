#!/usr/bin/env python3
"""Mail programs that say to `serve --trust` by XCLIENT and XFORWARD for whom they speak. (nginx's mail proxy, which does so too,
is in .ci/programs/servers.py.)"""

import smtplib

from harness import PATIENCE, Server, main, run, succeed, test, wait_for
from postfix import Postfix
from texts import DOTS

FROM, TO = "alice@client.example", "bob@mx.example.net"
BEFORE = """
myhostname = front.example
mydestination =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{server}
smtp_dns_support_level = disabled
smtp_send_xforward_command = yes
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
local_header_rewrite_clients =
minimal_backoff_time = 1s
queue_run_delay = 1s
"""


def to_front(port):
    """From an address of this machine that is not the front's own."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=PATIENCE,
                      source_address=("127.0.0.7", 0)) as client:
        assert client.sendmail(FROM, [TO], DOTS) == {}


@test
def postfix_says_by_xforward_whose_mail_it_is():
    for trust, heard in (("127.0.0.1", True), ("192.0.2.1", False)):
        with Server("--domain", "mx.example.net", "--trust", trust, "--log", "info") as server:
            with Postfix(BEFORE.replace("{server}", str(server.port))) as postfix:
                to_front(postfix.port)
                wait_for("the message", lambda: list((server.maildir / "new").iterdir()))
            mail = server.mail()
            assert mail.text.endswith(DOTS), mail.stored
            # For the log alone: the hop is the one from the front (https://www.postfix.org/XFORWARD_README.html).
            assert "front.example" in mail.received and "127.0.0.1" in mail.received, mail.received
            def said():
                return " ".join(line for line in server.err if "speaks for a client" in line)
            if heard:
                names = ("ADDR=127.0.0.7", "HELO=client.example", "PROTO=ESMTP", "IDENT=")
                wait_for("what it said", lambda: all(name in said() for name in names))
            else:
                server.stop()
                assert not said(), server.printed()


@test
def swaks_says_by_xclient_who_it_is():
    message = ("--from", FROM, "--to", TO, "--ehlo", "front.example", "--body", "x")
    claims = ("--xclient-addr", "198.51.100.7", "--xclient-name", "c.example", "--xclient-helo", "c.example",
              "--xclient-port", "5000", "--xclient-proto", "ESMTP")
    with Server("--domain", "mx.example.net", "--trust", "127.0.0.1") as server:
        printed = succeed("swaks", "--server", server.address, *message, *claims)
        # The session begins anew, with a greeting and without what was said before.
        assert printed.count("<-  220 ") == 2, printed
        mail = server.mail()
        assert "[198.51.100.7]" in mail.received, mail.received
        server.stop()
        assert [record["peer"] for record in server.ledger()] == ["198.51.100.7"], server.ledger()
    with Server("--domain", "mx.example.net", "--trust", "192.0.2.1") as server:
        code, printed = run("swaks", "--server", server.address, *message, *claims)
        assert code != 0 and "XCLIENT" in printed, printed
        server.mails(0)


if __name__ == "__main__":
    main()
