"""Twisted: python twisted_mail.py PORT MODE FILE [USER PASSWORD MECHANISM], with the envelope in $FROM and $TO."""

import io
import os
import pathlib
import sys

from twisted.internet import defer, reactor, ssl
from twisted.mail.smtp import ESMTPSenderFactory

port, mode, file, *credentials = sys.argv[1:]
user, password = (credentials + [None, None])[:2]
text = pathlib.Path(file).read_bytes().replace(b"\r\n", b"\n")  # it puts a CR before each LF
done = defer.Deferred()
factory = ESMTPSenderFactory(
    user and user.encode(), password and password.encode(), os.environ["FROM"], os.environ["TO"].split(","), io.BytesIO(text), done,
    requireAuthentication=user is not None, requireTransportSecurity=mode == "starttls", retries=0, heloFallback=False,
    contextFactory=ssl.ClientContextFactory() if mode == "starttls" else None)
factory.domain = b"client.example"
code = 0


def failed(failure):
    global code
    code = 1
    print(failure)


done.addErrback(failed)
done.addBoth(lambda _: reactor.stop())
if mode == "tls":
    reactor.connectSSL("127.0.0.1", int(port), factory, ssl.ClientContextFactory())
else:
    reactor.connectTCP("127.0.0.1", int(port), factory)
reactor.run()
sys.exit(code)
