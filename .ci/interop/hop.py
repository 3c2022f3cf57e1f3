"""A next hop that does as it is told, for the tests of front.py: what no real server would do on request."""

import socket
import ssl
import threading
import time


class Hop:
    """Speaks SMTP. `says` maps a verb (CONNECT, EHLO, MAIL, RCPT, DATA, TEXT) to a reply, to "close", to "hang", or to a pair
    of seconds to wait and one of these; what it does not have succeeds. With AFTER it closes behind the reply to the text. With `cut` it closes after so many octets of text.
    Behind STARTTLS is TLS by the context `tls`, or an alert where there is none."""

    def __init__(self, says=None, offers=("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000"), cut=None, tls=None):
        self.says, self.offers, self.cut, self.tls = says or {}, offers, cut, tls
        self.commands = []
        self.drip = None  # the verb whose reply comes an octet at a time
        self.texts, self.connections, self.now, self.most = [], 0, 0, 0
        self.lock, self.open = threading.Lock(), set()
        self.listener = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        port = self.port if self.listener else 0
        self.listener = socket.create_server(("127.0.0.1", port), backlog=500)
        self.port = self.listener.getsockname()[1]
        self.accepting = threading.Thread(target=self._accept, args=(self.listener,), daemon=True)
        self.accepting.start()

    def stop(self):
        # Wakes the thread that waits in accept. Closed under it, the descriptor could be another listener's when it is asked.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join()
        self.listener.close()
        with self.lock:
            for connection in self.open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self.lock:
            self.connections += 1
            self.now += 1
            self.most = max(self.most, self.now)
            self.open.add(connection)
        try:
            with connection, connection.makefile("rb") as lines:
                if self._say(connection, "CONNECT", "220 hop.example"):
                    self._session(connection, lines)
        except OSError:
            pass
        with self.lock:
            self.now -= 1
            self.open.discard(connection)

    def _session(self, connection, lines):
        for line in lines:
            verb = line.split(b" ")[0].strip().upper().decode("ascii", "replace")
            self.commands.append(line.decode("utf-8", "replace").strip())
            if verb in ("EHLO", "LHLO"):
                inside = isinstance(connection, ssl.SSLSocket)
                words = ["hop.example", *(offer for offer in self.offers if not (inside and offer == "STARTTLS"))]
                usual = "\r\n".join(f"250{'-' if word is not words[-1] else ' '}{word}" for word in words)
                if not self._say(connection, "EHLO", usual):
                    return
            elif verb == "DATA":
                if not self._say(connection, "DATA", "354 go on"):
                    return
                if self.says.get("DATA", "354").startswith("354") and not self._text(connection, lines):
                    return
            elif verb == "STARTTLS":
                connection.sendall(b"220 2.0.0 go on\r\n")
                if self.tls:
                    with self.tls.wrap_socket(connection, server_side=True) as inside, inside.makefile("rb") as inner:
                        self._session(inside, inner)
                    return
                # There is no TLS behind it: handshake_failure is what a handshake gets.
                connection.recv(4096)
                connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")
                return
            elif verb == "QUIT":
                connection.sendall(b"221 2.0.0 bye\r\n")
                return
            elif not self._say(connection, verb, "250 2.0.0 ok"):
                return

    def _text(self, connection, lines):
        text = []
        for line in lines:
            if line == b".\r\n":
                break
            text.append(line[1:] if line.startswith(b".") else line)
            if self.cut is not None and sum(map(len, text)) >= self.cut:
                return False
        else:
            return False
        said = self.says.get("TEXT", "250 2.0.0 kept")
        if said[:1] == "2" or said in ("close", "hang"):
            self.texts.append(b"".join(text))
        return self._say(connection, "TEXT", "250 2.0.0 kept") and "AFTER" not in self.says

    def _say(self, connection, what, usual):
        said = self.says.get(what, usual)
        if isinstance(said, tuple):
            time.sleep(said[0])
            said = said[1]
        if said == "close":
            return False
        if said == "hang":
            while connection.recv(4096):
                pass
            return False
        octets = said.encode("utf-8") + b"\r\n"
        while octets and self.drip == what:
            connection.sendall(octets[:1])
            octets = octets[1:]
            time.sleep(0.2)
        connection.sendall(octets)
        return True
