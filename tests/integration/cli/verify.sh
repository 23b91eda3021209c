#!/bin/sh
# auditwell verify: verdicts, findings, heads, exit codes. (What counts as a finding is tested with the verifier.)
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

configure t
events 30 | "$aw" -c t/audit.conf log -q || fail "events"
exits "a good trail" 0 "$aw" verify t/audit.jsonl
is "a line a chain, head and verdict" 5 "$(lines out)"
matches "head" out '^VERDICT +COUNT +FIRST +LAST +SCOPE$'
matches "chain" out '^good +10  2026-01-02T03:04:01.000Z  2026-01-02T03:04:28.000Z  tenant:t1$'
is "the verdict" "t/audit.jsonl: good: 30 events of 3 chains, seq 1 to 30" "$(tail -n 1 out)"
empty "nothing on standard error" err
exits "by sink name" 0 "$aw" verify -c t/audit.conf trail
exits "the first sink" 0 "$aw" verify -c t/audit.conf
exits "plugin:path" 0 "$aw" verify file:t/audit.jsonl
exits "absolute path" 0 "$aw" verify "$work/t/audit.jsonl"
exits "the directory" 0 "$aw" verify t/
exits "quiet" 0 "$aw" verify -q t/audit.jsonl
is "the verdict only" 1 "$(lines out)"
exits "threads" 0 "$aw" verify --threads 3 --complete t/audit.jsonl
exits "JSON" 0 "$aw" verify --json t/audit.jsonl
is "one line" 1 "$(lines out)"
has "verdict" out '],"verdict":"good"}'
has "chain" out '{"scope":"tenant:t0","verdict":"good","count":10,"findings":0,"firstTime":"2026-01-02T03:04:03.000Z"'
cp out good.json

sed '12s/"id":"u5"/"id":"u6"/' t/audit.jsonl >edited.jsonl
cmp -s t/audit.jsonl edited.jsonl && fail "the test edits something"
exits "an edit" 1 "$aw" verify edited.jsonl
matches "its line" out 'edited\.jsonl:12: edited: '
matches "expected" out '^    expected  [0-9a-f]{64}$'
matches "found" out '^    found     [0-9a-f]{64}$'
matches "the chain" out '^findings +10  .* tenant:t0$'
matches "the others are good" out '^good +10  .* tenant:t1$'
matches "the verdict" out '^edited\.jsonl: FINDINGS: [0-9]+ findings? in 30 events of 3 chains'
exits "quiet" 1 "$aw" verify -q edited.jsonl
is "the verdict only" 1 "$(lines out)"
exits "JSON" 1 "$aw" verify --json edited.jsonl t/audit.jsonl
has "the finding" out '{"kind":"edited","scope":"tenant:t0","location":"'
has "two verdicts" out '"verdict":"good","events":30'
has "and the whole" out '],"verdict":"findings"}'
cp out bad.json
sed 12d t/audit.jsonl >hole.jsonl
exits "a hole" 1 "$aw" verify hole.jsonl
exits "no findings to be printed, but counted" 1 "$aw" verify --max-findings 1 --json hole.jsonl
is "one" 1 "$(grep -o '"kind":' out | wc -l | tr -d ' ')"

# ---- heads ----
exits "heads" 0 "$aw" verify -q --heads heads.txt t/audit.jsonl
matches "a line a chain" heads.txt '^tenant:t2=[0-9a-f]{64}$'
is "three" 3 "$(lines heads.txt)"
is "mode" 600 "$(stat -c %a heads.txt)"
exits "they are there" 0 "$aw" verify --expect-file heads.txt t/audit.jsonl
head -n 27 t/audit.jsonl >cut.jsonl
exits "cut off: verifies by itself" 0 "$aw" verify cut.jsonl
exits "but not against the heads" 1 "$aw" verify --expect-file heads.txt cut.jsonl
has "truncated" out "truncated"
exits "--expect" 1 "$aw" verify --expect "$(head -n 1 heads.txt)" cut.jsonl
: >empty.jsonl
exits "everything removed" 1 "$aw" verify --expect-file heads.txt empty.jsonl
has "missing" out "missing"
cp heads.txt kept.txt
exits "heads of a bad trail" 1 "$aw" verify --heads heads.txt edited.jsonl
is "are not written" "$(cat kept.txt)" "$(cat heads.txt)"
has "and that is said" err "heads.txt: not written"
is "and nothing is left" "" "$(ls heads.txt.* 2>/dev/null)"
exits "heads: no directory" 3 "$aw" verify --heads no/such/heads.txt t/audit.jsonl
echo "tenant:t0 without a hash" >wrong.txt
exits "a bad line in the file" 2 "$aw" verify --expect-file wrong.txt t/audit.jsonl
exits "no such file" 3 "$aw" verify --expect-file missing.txt t/audit.jsonl

# ---- what cannot be read ----
exits "missing" 3 "$aw" verify missing.jsonl
has "named" err "missing.jsonl"
exits "missing, as JSON" 3 "$aw" verify --json missing.jsonl t/audit.jsonl
has "still an object" out '"verdict":"unreadable"'
cp out missing.json
exits "the worst counts" 3 "$aw" verify edited.jsonl missing.jsonl t/audit.jsonl
matches "but all are read" out '^t/audit\.jsonl: good'
printf 'PK\003\004 something else' >archive.zip
exits "no trail at all" 2 "$aw" verify archive.zip
has "and how to say what it is" err "PLUGIN:archive.zip"
exits "no such plugin" 3 "$aw" verify nosuchplugin:x
exits "no such sink" 3 "$aw" verify -c t/audit.conf nosuchsink
has "those there are" err "trail"
exits "a sink that cannot be read" 2 "$aw" verify null:x
[ -c /dev/full ] && { "$aw" verify t/audit.jsonl >/dev/full 2>err; is "full standard output: exit 3" 3 $?; }
if [ -n "${PYTHON3-}" ]; then
    for file in good.json bad.json missing.json; do
        exits "$file is JSON" 0 "$PYTHON3" -c 'import json, sys; json.load(open(sys.argv[1]))' "$file"
    done
else
    skip "JSON is JSON" "python3 is not there"
fi

# ---- SQLite ----
if have_plugin sqlite; then
    configure s sqlite
    events 30 | "$aw" -c s/audit.conf log -q || fail "events"
    exits "both stores" 0 "$aw" verify s/audit.db s/audit.jsonl
    exits "by sink name" 0 "$aw" verify -c s/audit.conf db trail
    "$aw" verify --heads db.txt -q s/audit.db >/dev/null
    exits "one's heads hold for the other" 0 "$aw" verify --expect-file db.txt s/audit.jsonl
    exits "a database of something else" 3 sh -c 'head -c 100 "$1/audit.db" >half.db; "$2" verify half.db' sh s "$aw"
else
    skip "SQLite" "the plugin is not built"
fi
finish
