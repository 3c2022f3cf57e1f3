"""The messages that must arrive to the byte."""

# Everything that the end of text could be taken for, and what dot-stuffing must leave as it was.
DOTS = (b"Subject: dots\r\n\r\n.\r\n..\r\n.leading\r\n...\r\n. \r\ntrailing.\r\n\r\n.\r\n\r\n"
        b"RCPT TO:<no@command.example>\r\nQUIT\r\n..\r\n")
TEXTS = {
    "one line": b"Subject: one\r\n\r\nline\r\n",
    "dots": DOTS,
    "dots at both ends": b".\r\n.Subject: x\r\n\r\n.\r\n",
    "empty lines": b"\r\n\r\nSubject: x\r\n\r\n\r\n\r\n",
    "a line of 998 octets": b"Subject: long\r\n\r\n" + b"x" * 998 + b"\r\n." + b"y" * 997 + b"\r\n",
    "8 bits": b"Subject: bits\r\n\r\n" + bytes(range(0x80, 0x100)) + b"\r\n\tt\x01\x7f\r\n",
    "1 MB": b"Subject: large\r\n\r\n" + b"".join(b".%06d %s\r\n" % (n, b"z" * (n % 70)) for n in range(23_000)),
}
