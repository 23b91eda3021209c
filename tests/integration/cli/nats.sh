#!/bin/sh
# The nats sink under the command: what check says, events that wait for their stream, the bytes that arrive.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
if ! have_plugin nats; then
    echo "1..0 # SKIP the nats plugin is not built"
    exit 0
fi
PATH=$PATH:/usr/sbin
command -v nats-server >/dev/null || { echo "1..0 # SKIP nats-server is not installed"; exit 0; }
# A client that makes a stream, and reads it back, in a few lines of the protocol.
cat >client.py <<'END'
import json, re, socket, sys
port, what = int(sys.argv[1]), sys.argv[2]
s = socket.create_connection(("127.0.0.1", port), 20)
f = s.makefile("rwb")
f.readline()
f.write(b'CONNECT {"verbose":false,"user":"admin","pass":"adm"}\r\nSUB _INBOX.c 1\r\n')
def call(subject, body):
    data = json.dumps(body).encode() if body else b""
    f.write(b"PUB $JS.API.%s _INBOX.c %d\r\n%s\r\n" % (subject.encode(), len(data), data))
    f.flush()
    while True:
        line = f.readline()
        if line.startswith(b"MSG"):
            answer = json.loads(f.read(int(line.split()[-1]) + 2))
            if "error" in answer:
                sys.exit(answer["error"])
            return answer
        if line.startswith(b"PING"):
            f.write(b"PONG\r\n")
            f.flush()
        elif not line or line.startswith(b"-ERR"):
            sys.exit(line)
if what == "make":
    call("STREAM.CREATE.AUDIT", {"name": "AUDIT", "subjects": ["audit.>"], "storage": "file", "num_replicas": 1})
else:
    import base64
    last = call("STREAM.INFO.AUDIT", None)["state"]["last_seq"]
    for seq in range(1, last + 1):
        print(base64.b64decode(call("STREAM.MSG.GET.AUDIT", {"seq": seq})["message"]["data"]).decode())
END
server=
trap 'kill -9 $server 2>/dev/null; rm -rf "$work"' EXIT
start_server() { # on a free port: the server says which
    nats-server -c server.conf >server.log 2>&1 &
    server=$!
    wait_until 60 sh -c 'ls ports/*.ports >/dev/null 2>&1' || return 1
    port=$(sed -n 's/.*nats:\/\/127.0.0.1:\([0-9]*\).*/\1/p' ports/*.ports)
}
mkdir ports
cat >server.conf <<END
host: 127.0.0.1
port: -1
ports_file_dir: "$work/ports"
jetstream: { store_dir: "$work/data" }
authorization: { users: [ { user: admin, password: adm }, { user: audit, password: s3cr3t } ] }
END
start_server || fail "nats-server starts" "$(cat server.log)"
conf() { # PASSWORD
    cat >audit.conf <<END
service = "test";
journal = { path = "$work/journal"; };
sinks = (
  { plugin = "file"; name = "trail"; path = "$work/audit.jsonl"; },
  { plugin = "nats"; name = "stream"; pii = "keep"; servers = ( "nats://127.0.0.1:$port" ); stream = "AUDIT";
    user = "audit"; password = "env:NATS_PASSWORD"; }
);
END
}
conf
NATS_PASSWORD=s3cr3t-wrong
export NATS_PASSWORD
exits "a wrong password: check" 1 "$aw" check -c audit.conf
has "names sink and place" err 'audit.conf:5: sink "stream" (nats): would not work'
has "and what is wrong" err 'uthorization'
hasnt "never the password" err s3cr3t
NATS_PASSWORD=s3cr3t
exits "no stream: check" 1 "$aw" check -c audit.conf
has "says so" err "there is no stream AUDIT"
events 200 >in
run "$aw" log -q -c audit.conf in
is "log does not begin with settings that cannot work" 1 $((status != 0))
has "and says why" err "there is no stream AUDIT"
"${PYTHON3:-python3}" client.py "$port" make || fail "the stream is made"
exits "check: good now" 0 "$aw" check -c audit.conf
kill -9 $server
wait $server 2>/dev/null
exits "no server: check" 1 "$aw" check -c audit.conf
has "says what becomes of events" err "cannot connect: No server available for connection; events would wait in the journal meanwhile"
run "$aw" log -q -c audit.conf --timeout 1s in
has "log says that they wait" err "not yet delivered to sink stream"
is "the other sink has them" 200 "$(lines audit.jsonl)"
sed -i "s/^port: -1/port: $port/" server.conf
rm -f ports/*.ports
start_server || fail "nats-server starts again" "$(cat server.log)"
exits "one more start delivers what waited" 0 "$aw" log -q -c audit.conf -a user.login --actor user:alice
"${PYTHON3:-python3}" client.py "$port" read >got || fail "the stream is read"
is "all of it, in order, byte for byte" "$(cksum <audit.jsonl)" "$(cksum <got)"
is "which are" 201 "$(lines got)"
finish
