#!/usr/bin/env python3
"""to_sqlite.py - a program for the exec sink: events into an SQLite table, each once.

SPDX-License-Identifier: Apache-2.0

    sinks = (
      { plugin = "exec"; name = "table"; pii = "keep";
        command = ( "/usr/local/lib/auditwell/to_sqlite.py", "/var/lib/auditwell/table.db" ); }
    );

Says "durable" when the transaction is on disk, "duplicate" for an event that is there, "rejected" for one that the table
refuses. Everything that has come so far is one transaction, so that a disk's slow sync is shared. Ends with 78 when the
table cannot be used: then the sink stops and tells, instead of starting this program again and again.
"""
import json
import os
import sqlite3
import sys

EX_CONFIG = 78


def open_table(path):
    try:
        table = sqlite3.connect(path, isolation_level=None)
        table.execute("PRAGMA synchronous = FULL")
        table.execute("CREATE TABLE IF NOT EXISTS events(event_id TEXT PRIMARY KEY, action TEXT NOT NULL, event TEXT NOT NULL)")
        return table
    except sqlite3.Error as error:
        print(f"{path}: {error}", file=sys.stderr)
        sys.exit(EX_CONFIG)


def batches():
    """Lists of whole lines: what one read brings. A reader of single lines would have to sync for each."""
    rest = b""
    while True:
        data = os.read(0, 1 << 20)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            yield lines


def store(table, line):
    event = json.loads(line)
    answer = {"eventId": event["eventId"], "status": "durable"}
    try:
        # The bytes as they came: they are what was sealed.
        done = table.execute(
            "INSERT OR IGNORE INTO events VALUES(?, ?, ?)", (event["eventId"], event["action"], line.decode())
        )
        if done.rowcount == 0:
            answer["status"] = "duplicate"
    except sqlite3.IntegrityError as error:
        answer.update(status="rejected", error=str(error))
    return answer


def main():
    if len(sys.argv) != 2:
        print("usage: to_sqlite.py DATABASE", file=sys.stderr)
        sys.exit(EX_CONFIG)
    table = open_table(sys.argv[1])
    for lines in batches():
        table.execute("BEGIN IMMEDIATE")
        answers = [store(table, line) for line in lines]
        table.execute("COMMIT")
        # Not before: what is said here is believed.
        sys.stdout.write("".join(json.dumps(answer) + "\n" for answer in answers))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
