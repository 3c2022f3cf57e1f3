"""A name server on loopback with a zone of its own, for the tests in client.py."""

import socket
import struct
import threading

A, SOA, MX = 1, 6, 15
# 127.0.0.1 is where a test's server listens; at 127.0.0.2 nobody does.
ZONE = {
    "two.example": {MX: [(10, "down.example"), (20, "up.example")]},
    "null.example": {MX: [(0, "")]},
    "up.example": {A: ["127.0.0.1"]},
    "down.example": {A: ["127.0.0.2"]},
}
BROKEN = "broken.example"  # SERVFAIL


class NameServer:
    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()

    def _serve(self):
        while True:
            query, peer = self.socket.recvfrom(1500)
            if not query:
                return
            self.socket.sendto(answer(query), peer)


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def answer(query):
    at, parts = 12, []
    while query[at]:
        parts.append(query[at + 1:at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    kind, question, name = struct.unpack_from(">H", query, at + 1)[0], query[12:at + 5], ".".join(parts)
    code = 2 if name == BROKEN else 0 if name in ZONE else 3
    records = []
    for value in ZONE.get(name, {}).get(kind, ()):
        data = socket.inet_aton(value) if kind == A else struct.pack(">H", value[0]) + labels(value[1])
        records.append(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data)
    # Without an answer, the zone's SOA says for how long that holds (RFC 2308 3).
    data = labels("ns.example") + labels("root.example") + struct.pack(">5I", 1, 60, 60, 60, 60)
    authority = [labels("example") + struct.pack(">HHIH", SOA, 1, 60, len(data)) + data] if not records and code != 2 else []
    head = query[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(records), len(authority), 0)
    return head + question + b"".join(records + authority)
