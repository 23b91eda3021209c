# mongo_double.py - as much of a MongoDB server as the mongodb sink talks to. SPDX-License-Identifier: Apache-2.0
#
#   python3 mongo_double.py
#
# Speaks the wire protocol (OP_QUERY for the first hello, OP_MSG for the rest) and keeps one collection in memory, with a
# real unique index on eventId once that was made. Prints its port. Then each line on standard input is a command, answered
# by a line: "fail CODE N" (the next N inserts fail as a whole), "item CODE K" (the K-th document of the next insert fails),
# "concern CODE" (the next insert is stored, but not confirmed), "drop before" and "drop after" (the connection breaks
# before or after the next insert is stored), "slow MS" (of each reply to an insert), "index on|off", "down", "up",
# "count", "dump FILE" ("seq eventId canonical" of each, in the order of arrival), "hellos" (connections made). Ends with
# standard input.
import socket
import struct
import sys
import threading
import time

import bson
from bson.codec_options import CodecOptions


class State:
    def __init__(self):
        self.lock = threading.Lock()  # guards everything below
        self.documents = []
        self.ids = set()
        self.indexes = []
        self.fail = (0, 0)
        self.item = None
        self.concern = 0
        self.drop = None
        self.slow = 0
        self.up = True
        self.connections = []
        self.made = 0


state = State()
OPTIONS = CodecOptions(tz_aware=False, unicode_decode_error_handler="strict")


def read_exactly(conn, count):
    data = b""
    while len(data) < count:
        part = conn.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def sections(body):
    """The command of an OP_MSG, with its document sequences put in place."""
    at, command, sequences = 4, None, {}
    while at < len(body):
        kind = body[at]
        at += 1
        size = struct.unpack_from("<i", body, at)[0]
        if kind == 0:
            command = bson.BSON(body[at : at + size]).decode(OPTIONS)
        else:
            end = body.index(b"\0", at + 4)
            name = body[at + 4 : end].decode()
            sequences[name] = bson.decode_all(body[end + 1 : at + size], OPTIONS)
        at += size
    command.update(sequences)
    return command


def has_unique():
    return any(i.get("unique") and list(i["key"]) == ["eventId"] for i in state.indexes)


def hello():
    return {
        "ismaster": True, "isWritablePrimary": True, "helloOk": True, "maxBsonObjectSize": 16777216,
        "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000, "minWireVersion": 0, "maxWireVersion": 13,
        "setName": "rs0", "hosts": [state.address], "primary": state.address, "me": state.address,
        "secondary": False, "readOnly": False, "logicalSessionTimeoutMinutes": 30, "ok": 1.0,
    }


def insert(command):
    code, left = state.fail
    if left > 0:
        state.fail = (code, left - 1)
        reply = {"ok": 0.0, "errmsg": "told to fail", "code": code, "codeName": "Told"}
        if code in (91, 189, 10107, 11600, 11602) and "txnNumber" in command:
            reply["errorLabels"] = ["RetryableWriteError"]
        return reply
    item, state.item = state.item, None
    errors, stored = [], 0
    for at, document in enumerate(command["documents"]):
        if item is not None and item[1] == at:
            errors.append({"index": at, "code": item[0], "errmsg": "this document is no good"})
        elif has_unique() and document["eventId"] in state.ids:
            errors.append({"index": at, "code": 11000,
                           "errmsg": "E11000 duplicate key error index: auditwell_event dup key: { eventId: ... }"})
        else:
            state.documents.append(document)
            state.ids.add(document["eventId"])
            stored += 1
    reply = {"ok": 1.0, "n": stored}
    if errors:
        reply["writeErrors"] = errors
    if state.concern:
        reply["writeConcernError"] = {"code": state.concern, "errmsg": "waiting for replication timed out"}
        state.concern = 0
    concern = command.get("writeConcern", {})
    if concern.get("w") != "majority" or concern.get("j") is not True:
        return {"ok": 0.0, "errmsg": "the test wants a majority and the journal", "code": 79}
    return reply


def answer(command):
    name = next(iter(command))
    if name in ("hello", "isMaster", "ismaster"):
        return hello()
    if name == "listIndexes":
        if not state.indexes and not state.documents:
            return {"ok": 0.0, "errmsg": "ns does not exist", "code": 26, "codeName": "NamespaceNotFound"}
        ns = command["$db"] + "." + command[name]
        return {"ok": 1.0, "cursor": {"id": bson.int64.Int64(0), "ns": ns, "firstBatch": state.indexes}}
    if name == "createIndexes":
        state.indexes += command["indexes"]
        return {"ok": 1.0}
    if name == "insert":
        return insert(command)
    if name in ("endSessions", "ping", "killCursors"):
        return {"ok": 1.0}
    return {"ok": 0.0, "errmsg": "no such command: " + name, "code": 59}


def reply_to(opcode, request, body):
    if opcode == 2004:  # OP_QUERY: the hello of a new connection
        document = bson.BSON.encode(hello())
        rest = struct.pack("<iqii", 8, 0, 0, 1) + document
        return struct.pack("<iiii", 16 + len(rest), 1, request, 1) + rest
    command = sections(body)
    is_insert = next(iter(command)) == "insert"
    with state.lock:
        drop = state.drop if is_insert else None
        if drop:
            state.drop = None
        if drop == "before":
            return None
        document = bson.BSON.encode(answer(command))
        slow = state.slow if is_insert else 0
    if drop == "after":
        return None
    time.sleep(slow / 1000)
    rest = struct.pack("<I", 0) + b"\0" + document
    return struct.pack("<iiii", 16 + len(rest), 1, request, 2013) + rest


def serve(conn):
    try:
        while True:
            size, request, _, opcode = struct.unpack("<iiii", read_exactly(conn, 16))
            reply = reply_to(opcode, request, read_exactly(conn, size - 16))
            if reply is None:
                break
            conn.sendall(reply)
    except (EOFError, OSError):
        pass
    finally:
        conn.close()


def listen(listener):
    while True:
        conn, _ = listener.accept()
        with state.lock:
            if state.up:
                state.connections.append(conn)
                state.made += 1
            else:
                conn.close()
                continue
        threading.Thread(target=serve, args=(conn,), daemon=True).start()


def control(words):
    if words[0] == "fail":
        state.fail = (int(words[1]), int(words[2]))
    elif words[0] == "item":
        state.item = (int(words[1]), int(words[2]))
    elif words[0] == "concern":
        state.concern = int(words[1])
    elif words[0] == "drop":
        state.drop = words[1]
    elif words[0] == "slow":
        state.slow = int(words[1])
    elif words[0] == "index":
        state.indexes = [{"v": 2, "key": {"eventId": 1}, "name": "e", "unique": True}] if words[1] == "on" else []
    elif words[0] in ("up", "down"):
        state.up = words[0] == "up"
        if not state.up:
            for conn in state.connections:
                try:
                    conn.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            state.connections = []
    elif words[0] == "count":
        return str(len(state.documents))
    elif words[0] == "hellos":
        return str(state.made)
    elif words[0] == "dump":
        with open(words[1], "w", encoding="utf-8") as out:
            for d in state.documents:
                out.write("%s\t%s\t%s\t%s\n" % (d["seq"], d["eventId"], d["canonical"], ",".join(sorted(d))))
    else:
        return "what?"
    return "done"


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    state.address = "127.0.0.1:%d" % listener.getsockname()[1]
    threading.Thread(target=listen, args=(listener,), daemon=True).start()
    print(state.address, flush=True)
    for line in sys.stdin:
        with state.lock:
            text = control(line.split())
        print(text, flush=True)


main()
