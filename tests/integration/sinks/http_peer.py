#!/usr/bin/env python3
# http_peer.py - a receiver that does what the path of the request says, well or badly.
# SPDX-License-Identifier: Apache-2.0
#
#   http_peer.py DIR [tls=CERT,KEY] [client_ca=FILE] [verifier=FILE] [key=SECRET] [port=N]
#
# Prints "port N", serves until its standard input ends. Each request is a line of DIR/log (JSON); the decoded body of the
# last one is DIR/body. Made of sockets alone, since a library would not let it misbehave.
import gzip
import hashlib
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

directory = sys.argv[1]
options = dict(argument.split("=", 1) for argument in sys.argv[2:])
lock = threading.Lock()  # the log, the store and the counters below
connections = 0
requests = 0
visits = {}
stored = {}  # by the name of the store: ids
check_signature = None
if "verifier" in options:
    scope = {}
    exec(compile(open(options["verifier"]).read(), options["verifier"], "exec"), scope)
    check_signature = scope["check"]


class Gone(Exception):
    pass


class Peer:
    """One connection."""

    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.buffer = b""
        self.answered = False

    def fill(self):
        more = self.sock.recv(65536)
        if not more:
            raise Gone()
        self.buffer += more

    def take(self, n):
        while len(self.buffer) < n:
            self.fill()
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        taken, self.buffer = self.buffer.split(b"\r\n", 1)
        return taken.decode("latin-1")

    def send(self, data):
        self.sock.sendall(data)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone()

    def reply(self, status, body=b"", kind="application/json", extra=""):
        if isinstance(body, str):
            body = body.encode()
        self.send(
            f"HTTP/1.1 {status} Word\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body
        )


def decoded(headers, body):
    coding = headers.get("content-encoding", "")
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "zstd":
        return subprocess.run(["zstd", "-dcq"], input=body, stdout=subprocess.PIPE, check=True).stdout
    return body


def events_of(headers, text):
    if not text:
        return []
    if headers.get("content-type") == "application/x-ndjson":
        return [json.loads(line) for line in text.splitlines()]
    value = json.loads(text)
    return value["events"] if isinstance(value, dict) else value


# ---- what a path asks for: functions of (peer, arguments, headers, events) ---------------------------------------------
def ok(peer, args, headers, events):
    peer.reply(200, "{}")


def status(peer, args, headers, events):  # /status/CODE[/RETRY-AFTER]
    extra = f"Retry-After: {urllib.parse.unquote(args[1])}\r\n" if len(args) > 1 else ""
    peer.reply(args[0], "so it is\nhere", "text/plain", extra)


def sequence(peer, args, headers, events):  # /sequence/503,429,200: one after the other, then the last
    codes = args[0].split(",")
    with lock:
        at = visits[args[0]] = visits.get(args[0], -1) + 1
    peer.reply(codes[min(at, len(codes) - 1)])


def from_file(peer, args, headers, events):  # /file/CODE: DIR/reply as JSON; /file/CODE/RETRY-AFTER
    extra = f"Retry-After: {args[1]}\r\n" if len(args) > 1 else ""
    with open(directory + "/reply", "rb") as file:
        peer.reply(args[0], file.read(), "application/json; charset=utf-8", extra)


def echo(peer, args, headers, events):  # /echo/CODE/KIND: all headers come back, the worst a receiver can do
    first = sorted(headers.items(), key=lambda header: header[0] not in ("authorization", "x-api-key"))
    text = "\n".join(f"{name}: {value}" for name, value in first)
    if args[1] == "plain":
        peer.reply(args[0], text, "text/plain")
    elif args[1] == "json":
        peer.reply(args[0], json.dumps({"message": headers[args[2]]}))
    else:
        times = int(args[3]) if len(args) > 3 else 1
        results = [{"index": i, "status": "rejected", "error": "x" * (i if times == 1 else 5) + headers[args[2]] * times} for i in range(len(events))]
        peer.reply(args[0], json.dumps({"results": results}))


def results(peer, args, headers, events):  # /results, /results/reversed, /results/shuffled: every third rejected, then a duplicate, then one for later
    words = ["ok", "ok", "rejected", "duplicate", "retry"]
    out = [{"eventId": e["eventId"], "status": words[i % 5], "error": f"no {i}"} for i, e in enumerate(events)]
    if args:
        out.sort(key=lambda o: o["eventId"][::-1] if args[0] == "shuffled" else o["eventId"], reverse=True)
    peer.reply(207, json.dumps({"results": out, "more": [1, {"x": None}]}))


def store(peer, args, headers, events):  # /store/NAME: a receiver as it should be; what it says is on disk
    out = []
    with lock, open(f"{directory}/{args[0]}", "a+") as file:
        file.seek(0)
        if args[0] not in stored:
            stored[args[0]] = {json.loads(line)["eventId"] for line in file}
        lines = peer.text.decode().split("\n") if headers["content-type"] == "application/x-ndjson" else None
        for i, event in enumerate(events):
            known = event["eventId"] in stored[args[0]]
            if not known:
                text = lines[i] if lines else json.dumps(event, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
                file.write(text + "\n")
                stored[args[0]].add(event["eventId"])
            out.append({"eventId": event["eventId"], "status": "duplicate" if known else "ok"})
        file.flush()
        os.fsync(file.fileno())
    peer.reply(200, json.dumps({"results": out}))


def stall(peer, args, headers, events):
    while True:  # until the client gives up
        peer.fill()


def loris(peer, args, headers, events):  # a byte now and then, for ever
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        peer.send(b" ")
        time.sleep(0.05)


def half_closed(peer, args, headers, events):  # no answer, and nothing more to come
    peer.sock.shutdown(socket.SHUT_WR)
    while True:
        peer.fill()


def reset(peer, args, headers, events):  # /reset/before or /reset/within
    if args[0] == "within":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        time.sleep(0.05)
    peer.reset()


def partial(peer, args, headers, events):
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nok")
    raise Gone()


def huge(peer, args, headers, events):  # /huge/KIND: never ends
    kind = "application/json" if args[0] == "json" else "text/plain"
    peer.send(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    while True:
        peer.send(b"4000\r\n" + b" " * 0x4000 + b"\r\n")


def headers_without_end(peer, args, headers, events):  # /headers/many, /headers/long, /headers/interim
    peer.send(b"" if args[0] == "interim" else b"HTTP/1.1 200 OK\r\n")
    while True:
        if args[0] == "many":
            peer.send(b"X-Filler: " + b"x" * 200 + b"\r\n")
        elif args[0] == "long":
            peer.send(b"x" * 4096)
        else:
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def packed(peer, args, headers, events):  # /packed/good, /packed/bad, /packed/bomb: though nobody asked for it
    if args[0] == "bomb":
        body = gzip.compress(b" " * (64 << 20), 1)
    else:
        body = gzip.compress(json.dumps({"results": [{"index": i, "status": "ok"} for i in range(len(events))]}).encode())
    if args[0] == "bad":
        body = body[:12] + b"\xff\xff\xff\xff" + body[16:]
    peer.reply(200, body, extra="Content-Encoding: gzip\r\n")


def redirect(peer, args, headers, events):  # /redirect/CODE/URL, quoted; or /redirect/CODE, to what we were sent
    place = urllib.parse.unquote(args[1]) if len(args) > 1 else "http://127.0.0.1:1/" + headers["authorization"].split()[1]
    peer.reply(args[0], extra=f"Location: {place}\r\n")


def again(peer, args, headers, events):
    peer.reply(307, extra="Location: /again\r\n")


def interim(peer, args, headers, events):
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nRetry-After: 77\r\n\r\n")
    peer.reply(503)


def junk(peer, args, headers, events):
    peer.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    raise Gone()


def close(peer, args, headers, events):  # says goodbye first, or does not
    peer.reply(200, "{}", extra="Connection: close\r\n" if args[0] == "said" else "")
    raise Gone()


def page(peer, args, headers, events):
    peer.reply(args[0], " <!DOCTYPE html><html><body>Please log in</body></html>", "text/html")


def text(peer, args, headers, events):  # /text/CODE/TEXT, quoted; as plain text
    peer.reply(args[0], urllib.parse.unquote(args[1]), "text/plain")


def early(peer, args, headers, events):  # see serve(): the body was not read
    peer.reply(413, "too large", "text/plain", "Connection: close\r\n")
    raise Gone()


behaviours = {
    "ok": ok, "once": ok, "status": status, "sequence": sequence, "file": from_file, "echo": echo, "results": results, "store": store,
    "stall": stall, "loris": loris, "half-closed": half_closed, "reset": reset, "partial": partial, "huge": huge,
    "headers": headers_without_end, "packed": packed, "redirect": redirect, "interim": interim, "again": again, "junk": junk,
    "close": close, "page": page, "text": text, "early": early,
}


def note(peer, start, headers, body):
    """Logs one request; returns its events."""
    global requests
    method, path, version = start
    line = {"connection": peer.number, "method": method, "path": path, "version": version, "headers": headers}
    line["bytes"] = len(body)
    peer.text = text = decoded(headers, body)
    events = events_of(headers, text)
    line["ids"] = [event["eventId"] for event in events]
    whole = b"".join(b"%d:%s" % (len(i), i) for i in (event["eventId"].encode() for event in events))
    line["keyFits"] = headers.get("idempotency-key") == '"' + hashlib.sha256(whole).hexdigest() + '"'
    if check_signature:
        signature = headers.get("auditwell-signature", "")
        line["signed"] = check_signature(signature, body, {"": options["key"].encode(), "k2": b"key number two, as long"})
        forged = [signature.replace("v1=", "v1=0"), signature.replace("t=", "t=1"), "t=" + "9" * 5000, "v1=\u00e9", "", "t=,,="]
        keys = {"": options["key"].encode()}
        line["forged"] = check_signature(signature, body + b" ", keys) or any(check_signature(f, body, keys) for f in forged)
    with lock:
        requests += 1
        line["number"] = requests
        with open(directory + "/body", "wb") as file:
            file.write(text)
        with open(directory + "/log", "a") as file:
            file.write(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n")
    return events


def tunnel(peer, start, headers):
    """A proxy's part: bytes go both ways until one side ends."""
    note(peer, start, headers, b"")
    host, port = start[1].rsplit(":", 1)
    far = socket.create_connection((host, int(port)))
    peer.send(b"HTTP/1.1 200 Connected\r\nRetry-After: 99\r\n\r\n")
    far.sendall(peer.buffer)

    def back():
        try:
            while data := far.recv(65536):
                peer.send(data)
        except OSError:
            pass

    threading.Thread(target=back, daemon=True).start()
    while data := peer.sock.recv(65536):
        far.sendall(data)
    raise Gone()


def serve(sock, number):
    try:
        if tls:
            sock = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            try:
                sock.do_handshake()
            except ssl.SSLError:  # the alert must not be lost to a reset
                sock = socket.socket(fileno=sock.detach())
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
                raise Gone()
        peer = Peer(sock, number)
        while True:
            start = peer.line().split(" ")
            headers = {}
            while True:
                line = peer.line()
                if not line:
                    break
                name, value = line.split(":", 1)
                headers[name.lower()] = value.strip()
            if start[0] == "CONNECT":
                tunnel(peer, start, headers)
            if start[1].startswith("http://"):  # as to a proxy
                start[1] = start[1][start[1].index("/", 7) :]
                headers["x-by-proxy"] = "yes"
            path = start[1].split("?")[0].split("/")[1:]
            if path[0] == "once" and peer.answered:  # a connection is good for one request, and nobody says so
                peer.reset()
            if path[0] == "early":
                early(peer, [], headers, [])
            if headers.get("expect") == "100-continue":
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = peer.take(int(headers.get("content-length", "0")))
            events = note(peer, start, headers, body)
            behaviours[path[0]](peer, path[1:], headers, events)
            peer.answered = True
    except (Gone, OSError):
        pass
    finally:
        sock.close()


tls = None
if "tls" in options:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*options["tls"].split(","))
    if "client_ca" in options:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(options["client_ca"])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(options.get("port", "0"))))
listener.listen(64)
print("port", listener.getsockname()[1], flush=True)


def accept():
    global connections
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections += 1
        threading.Thread(target=serve, args=(sock, connections), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
while os.read(0, 4096):
    pass
os._exit(0)
