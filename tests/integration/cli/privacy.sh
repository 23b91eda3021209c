#!/bin/sh
# Personal data per sink: configuration, views in files and databases, verifying them, pseudonyms.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

echo 0123456789abcdef0123456789abcdef >key
echo another-key-another-key-another-key >key2
chmod 600 key key2
id=$(printf '%s%s' 'auditwell pseudonym key 1:' "$(cat key)" | sha256sum | cut -c1-8)

# ---- configuration ----
# conf PII KEY SINK: a configuration of which line 2 tags, line 3 has the key, and line 5 is the sink.
conf() {
    {
        echo "journal = { path = \"$work/c/journal\"; };"
        echo "$1"
        echo "$2"
        echo "sinks = ("
        echo "  { plugin = \"file\"; name = \"trail\"; path = \"$work/c/audit.jsonl\"; $3 }"
        echo ");"
    } >c.conf
}
refused() { # NAME LINE TEXT
    exits "$1" 1 "$aw" -c c.conf check
    matches "$1: file and line" err "^c\\.conf:$2: "
    has "$1: why" err "$3"
}
tags='pii = ( "actor.ip" );'
key="pseudonym_key = \"file:$work/key\";"
conf "$tags" "$key" 'pii = "pseudonymize";'
exits "a good one" 0 "$aw" -c c.conf check
empty "without a word" err
conf 'pii = ( "user.email" );' "" ""
refused "a tag that cannot work" 2 'pii: "user.email": events have no such member'
conf 'pii = ( "actor.ip", "outcome" );' "" ""
refused "a tag on what is never changed" 2 'is the same in every view'
conf "$tags" "" 'pii = "pseudonymize";'
refused "pseudonyms without a key" 5 'sinks.trail.pii: "pseudonymize" needs a key'
conf "" "$key" 'pii = "drop";'
refused "nothing is tagged" 5 'sinks.trail.pii: nothing is tagged'
conf 'pii = ( "actor.*" );' "$key" 'pii = "drop";'
refused "what events need" 5 'actor.id is tagged, but every event needs it, so that it cannot be dropped: use pii = "pseudonymize"'
conf 'pii = ( "action" );' "$key" 'pii = "drop";'
refused "action, too" 5 'action is tagged'
conf "$tags" "$key" 'pii = "remove";'
refused "no such word" 5 'sinks.trail.pii: expected one of'
conf "$tags" 'pseudonym_key = "0123456789abcdef0123456789abcdef";' 'pii = "pseudonymize";'
refused "the key itself" 3 'pseudonym_key: expected where the key is'
hasnt "which is not repeated" err 0123456789
echo short >short
conf "$tags" "pseudonym_key = \"file:$work/short\";" 'pii = "pseudonymize";'
refused "a short key" 3 'expected a key of at least 32 bytes, found 5'
conf "$tags" "pseudonym_key = \"file:$work/none\";" 'pii = "pseudonymize";'
refused "no such file" 3 'cannot read the secret'
conf 'pii = ( "actor.ip", "metadata..x" );' "pseudonym_key = \"file:$work/none\";" 'pii = "drop";'
refused "several faults: one" 2 'a name is missing beside'
has "and the other" err 'c.conf:3: pseudonym_key: '
test -e c && fail "check makes nothing"

# ---- events ----
have_plugin sqlite && sqlite=yes || sqlite=
AUDITWELL_PLUGIN_PATH=$top_builddir/tests/integration/cli/.libs${AUDITWELL_PLUGIN_PATH:+:$AUDITWELL_PLUGIN_PATH}
export AUDITWELL_PLUGIN_PATH
mkdir t
conf_of() { # DIR TAGS PII REMOTE: pii of the sinks that get views, and the settings of the remote one
    echo 'service = "test";'
    echo "journal = { path = \"$work/$1/journal\"; };"
    echo 'redaction = { keys = ( "diagnosis" ); };'
    echo "pii = ( $2\"actor.ip\", \"actor.displayName\", \"metadata.**.email\", \"metadata.user\", \"metadata.diagnosis\" );"
    echo "pseudonym_key = \"file:$work/key\";"
    echo 'sinks = ('
    if [ -n "$sqlite" ]; then
        echo "  { plugin = \"sqlite\"; name = \"fulldb\"; path = \"$work/$1/full.db\"; },"
        echo "  { plugin = \"sqlite\"; name = \"viewdb\"; path = \"$work/$1/view.db\"; pii = \"$3\"; },"
    fi
    echo "  { plugin = \"file\"; name = \"full\"; path = \"$work/$1/full.jsonl\"; pii = \"keep\"; },"
    [ -z "${4+x}" ] || echo "  { plugin = \"remote\"; path = \"$work/$1/remote.txt\"; $4 },"
    echo "  { plugin = \"file\"; name = \"view\"; path = \"$work/$1/view.jsonl\"; pii = \"$3\"; }"
    echo ');'
}
conf_of t '"actor.id", ' pseudonymize '' >t/audit.conf
exits "a sink that leaves the host and does not say" 0 "$aw" -c t/audit.conf check
matches "is warned about" err '^t/audit\.conf:[0-9]+: .*sinks\.remote: its events leave this host, with the fields tagged in pii'
conf_of t '"actor.id", ' pseudonymize 'pii = "keep";' >t/audit.conf
exits "keep is a word, too" 0 "$aw" -c t/audit.conf check
empty "then all is said" err
conf_of t '"actor.id", ' pseudonymize 'pii = "pseudonymize";' >t/audit.conf
exits "check" 0 "$aw" -c t/audit.conf check
empty "nothing to say" err

person() { # NUMBER ACTION
    printf '{"action":"%s","outcome":"SUCCESS","actor":{"type":"user","id":"anna.canary@example.com","ip":"10.99.88.%d","displayName":"Anna \\"canary\\" %d"},"context":{"tenantId":"t%d"},"metadata":{"n":%d,"x":{"email":"anna.canary@example.com","password":"canary-secret"},"user":{"born":19870611,"names":["canary-one","canary-two"]},"diagnosis":"canary-flu"}}\n' "$2" "$1" "$1" $(($1 % 2)) "$1"
}
i=0
while [ $i -lt 20 ]; do
    i=$((i + 1))
    person $i user.login
done >ev
person 21 reject.me >>ev
echo '{"action":"system.start","outcome":"SUCCESS","actor":{"type":"system","id":"s"}}' >>ev
"$aw" -c t/audit.conf log ev >out 2>err # one event is rejected, on purpose
status=$?
is "a sink rejected one" 1 "$status"
is "all are there" 22 "$(lines t/full.jsonl)"
is "and their views" 22 "$(lines t/view.jsonl)"

# ---- what views hold ----
stores="t/view.jsonl t/remote.txt"
[ -z "$sqlite" ] || stores="$stores t/view.db"
has "the full trail has the canary" t/full.jsonl anna.canary@example.com
for file in $stores err; do
    for text in canary 10.99.88. 19870611 'Anna'; do
        hasnt "$file has nothing of it: $text" "$file" "$text"
    done
done
has "the talkative sink has talked" err 'field 10 is pn:'
has "a rejected event waits in full, on this host" t/journal/deadletter/remote.jsonl '"id":"anna.canary@example.com"'
has "but what the sink said of it is of the view" t/journal/deadletter/remote.jsonl 'reason":"{\"action\":\"reject.me\",\"actor\":{\"displayName\":\"pn:'
for file in t/full.jsonl t/view.jsonl t/remote.txt; do
    has "$file: redaction comes first" "$file" '"diagnosis":"***"'
    has "$file: everywhere" "$file" '"password":"***"'
done
has "what is changed is said" t/view.jsonl "\"view\":{\"keyId\":\"$id\",\"pseudonymized\":[\"actor.displayName\",\"actor.id\",\"actor.ip\",\"metadata.user\",\"metadata.x.email\"]}},"
is "numbers are replaced, too" 21 "$(grep -c '"user":{"born":"pn:[0-9a-f:]*","names":\["pn:[0-9a-f:]*","pn:[0-9a-f:]*"\]}' t/view.jsonl)"
anna=$("$aw" pseudonym -c t/audit.conf anna.canary@example.com)
matches "a pseudonym" /dev/stdin "^pn:$id:[0-9a-f]{32}\$" <<END
$anna
END
has "the same person at both places" t/view.jsonl "\"id\":\"$anna\""
has "and in metadata" t/view.jsonl "\"email\":\"$anna\""
if command -v openssl >/dev/null 2>&1; then
    is "openssl's HMAC" "$(printf %s anna.canary@example.com | openssl dgst -sha256 -hmac "$(cat key)" | sed 's/.*= //' | cut -c1-32)" "${anna##*:}"
else
    skip "openssl's HMAC" "the command is not there"
fi
cut_integrity() {
    sed 's/,"view":{[^}]*}//; s/pn:[0-9a-f:]*/P/g; s/"displayName":"[^,]*,"id"/"displayName":"P","id"/; s/anna.canary@example.com/P/g; s/10\.99\.88\.[0-9]*/P/; s/19870611/"P"/; s/canary-[ot][a-z]*/P/g; s/"id":"s"/"id":"P"/' "$1"
}
cut_integrity t/full.jsonl >full.cut
cut_integrity t/view.jsonl >view.cut
cmp -s full.cut view.cut && pass "all else is the same" || fail "all else is the same" "$(diff full.cut view.cut | head -4)"

# ---- finding a person again ----
is "from standard input" "$anna" "$(echo anna.canary@example.com | "$aw" pseudonym -c t/audit.conf -)"
is "with a key" "$anna" "$("$aw" pseudonym --key "file:$work/key" anna.canary@example.com)"
is "relative" "$anna" "$("$aw" pseudonym --key file:key anna.canary@example.com)"
is "two keys" 2 "$("$aw" pseudonym -k file:key -k file:key2 x | sort -u | wc -l | tr -d ' ')"
exits "as JSON" 0 "$aw" pseudonym --json -k file:key anna.canary@example.com
is "one object" "{\"pseudonyms\":[\"$anna\"]}" "$(cat out)"
exits "no value" 2 "$aw" pseudonym -c t/audit.conf
exits "no key there" 3 "$aw" pseudonym -k file:none x
exits "a short one" 3 "$aw" pseudonym -k file:short x
configure plain
exits "no key configured" 3 "$aw" pseudonym -c plain/audit.conf x
has "said so" err 'pseudonym_key is not set'
exits "query" 0 "$aw" query --json --actor "$anna" t/view.jsonl
is "finds her events" 21 "$(lines out)"
exits "not by her name" 0 "$aw" query --json --actor anna.canary@example.com t/view.jsonl
is "nothing" 0 "$(lines out)"
if [ -n "$sqlite" ]; then
    exits "query of the database" 0 "$aw" query --json --actor "$anna" t/view.db
    is "finds her events there" 21 "$(lines out)"
fi

# ---- verifying ----
exits "the full trail" 0 "$aw" verify t/full.jsonl ${sqlite:+t/full.db}
for view in t/view.jsonl ${sqlite:+t/view.db}; do
    exits "$view by itself" 4 "$aw" verify "$view"
    matches "$view: its verdict" out ": view: order and identity verified, content by reference: 22 events of 3 chains, seq 1 to 22, 22 views with 106 changed fields\$"
    matches "$view: a chain" out '^view  *10 .* tenant:t0$'
    exits "$view, as JSON" 4 "$aw" verify --json "$view"
    has "$view: the scope" out '"startsAtOrigin":true,"views":10,"byReference":10,"viewFields":50}'
    has "$view: the store" out '"views":22,"byReference":22,"viewFields":106}],"verdict":"view"}'
    exits "$view, as expected" 0 "$aw" verify --views "$view"
    exits "$view against the full trail" 4 "$aw" verify --against t/full.jsonl "$view"
    has "$view: compared" out '22 compared'
    has "$view: what was not" out '148 pseudonyms by form only, for lack of the key'
    exits "$view with another key" 4 "$aw" verify --against t/full.jsonl --key file:key2 "$view"
    for full in t/full.jsonl ${sqlite:+t/full.db}; do
        exits "$view against $full with the key" 0 "$aw" verify --against $full --key file:key2 --key file:key "$view"
        matches "$view: good" out ': good: 22 events of 3 chains, seq 1 to 22, 22 views with 106 changed fields, 22 compared$'
    done
done
exits "heads of views" 4 "$aw" verify --heads heads.txt -q t/view.jsonl
exits "are those of the trail" 0 "$aw" verify -q --expect-file heads.txt t/full.jsonl
exits "--key alone" 2 "$aw" verify --key file:key t/view.jsonl
exits "against itself" 2 "$aw" verify --against t/view.jsonl t/view.jsonl
exits "several: the worst counts" 1 sh -c 'sed 12d t/full.jsonl >hole.jsonl; "$1" verify t/view.jsonl hole.jsonl' sh "$aw"
exits "a view before a good one" 4 "$aw" verify t/view.jsonl t/full.jsonl

# ---- what somebody did to views ----
edited() { # NAME LINE SED-EXPRESSION: of view.jsonl
    sed "$2$3" t/view.jsonl >edited.jsonl
    cmp -s t/view.jsonl edited.jsonl && fail "$1: the test edits something"
    exits "$1: found with --against" 1 "$aw" verify --against t/full.jsonl --key file:key edited.jsonl
    matches "$1: its line" out "^edited\\.jsonl:$2: "
}
edited "a value" 7 's/"n":7/"n":8/'
has "the path" out 'metadata.n is not what it is in the full event, which is at '
matches "and the other line" out 'full\.jsonl:7$'
matches "expected" out '^    expected  7$'
matches "found" out '^    found     8$'
exits "by itself it is only a view" 4 "$aw" verify edited.jsonl
edited "an action" 3 's/user.login/user.logout/'
edited "a member added" 4 's/"metadata":{/"metadata":{"a":1,/'
edited "a member removed" 5 's/"password":"\*\*\*"/"xpassword":"***"/'
edited "a pseudonym of somebody else" 6 "s/\"id\":\"pn:$id:[0-9a-f]*/\"id\":\"pn:$id:00112233445566778899aabbccddeeff/"
matches "expected: the right one" out "^    expected  $anna\$"
edited "no pseudonym" 6 's/"id":"pn:[0-9a-f:]*"/"id":"bert"/'
edited "a member claimed to be dropped" 8 's/"n":8,//; 8s/{"keyId"/{"dropped":["metadata.zzz"],"keyId"/'
edited "a hash" 9 's/"hash":"[0-9a-f]\{8\}/"hash":"00000000/'
edited "the seq" 10 's/"seq":10/"seq":30/'
edited "an outcome called dropped" 11 's/{"keyId"/{"dropped":["outcome"],"keyId"/'
exits "also by itself" 1 "$aw" verify edited.jsonl
has "is malformed" out 'integrity.view names a member that is the same in every view'
sed 's/"view":{"keyId"/"view":{"dropped":["metadata.n"],"keyId"/' t/view.jsonl >edited.jsonl
exits "dropped, but there" 1 "$aw" verify edited.jsonl
has "said where" out 'metadata.n is named in integrity.view as dropped, but is there'
sed 9d t/view.jsonl >edited.jsonl
exits "a view deleted" 1 "$aw" verify --views edited.jsonl
matches "is a hole" out '^edited\.jsonl:[0-9]+: hole: '
{ sed -n 1,6p t/view.jsonl; sed -n 8p t/view.jsonl; sed -n 7p t/view.jsonl; sed -n '9,$p' t/view.jsonl; } >edited.jsonl
exits "order changed between chains is none" 0 "$aw" verify --views edited.jsonl
exits "and is compared as well" 0 "$aw" verify --against t/full.jsonl --key file:key edited.jsonl
sed '1,4!d' t/full.jsonl >short.jsonl
exits "a full trail that lacks events" 1 "$aw" verify --against short.jsonl --key file:key t/view.jsonl
has "missing" out 'missing: the full trail has no event with the hash of this view'
sed '5s/"n":5/"n":6/' t/full.jsonl >bad.jsonl
exits "a full trail that was edited" 1 "$aw" verify --against bad.jsonl --key file:key t/view.jsonl
matches "is found itself" out '^bad\.jsonl:5: edited: '

# ---- an edit of a full trail that calls itself a view ----
sed '12s/"n":12/"n":13/; 12s/"seq":12}/"seq":12,"view":{"dropped":["metadata.zip"]}}/' t/full.jsonl >claims.jsonl
exits "one event of a full trail says it is a view" 1 "$aw" verify claims.jsonl
matches "its line" out '^claims\.jsonl:12: view: '
exits "also when views are expected" 1 "$aw" verify --views claims.jsonl
sed '22s/system.start/system.halt/; 22s/"seq":22}/"seq":22,"view":{"dropped":["metadata.zip"]}}/' t/full.jsonl >claims.jsonl
exits "the last one" 1 "$aw" verify claims.jsonl
sed '3s/"seq":3}/"seq":3,"view":{}}/' t/full.jsonl >claims.jsonl
exits "even when nothing was changed" 1 "$aw" verify claims.jsonl
sed '3s/.*/X/' t/view.jsonl | while read -r line; do
    if [ "$line" = X ]; then sed -n 3p t/full.jsonl; else printf '%s\n' "$line"; fi
done >mixed.jsonl
exits "a full event among views" 1 "$aw" verify mixed.jsonl
{ sed '1,10!d' t/full.jsonl; sed '1,10d' t/view.jsonl; } >switched.jsonl
exits "a sink that was changed" 1 "$aw" verify switched.jsonl
exits "is accepted when it is said" 0 "$aw" verify --views switched.jsonl
sed 's/"seq":\([0-9]*\)}/"seq":\1,"view":{"dropped":["metadata.zip"]}}/; s/"n":7/"n":8/' t/full.jsonl >all.jsonl
exits "a whole trail that calls itself views is not good" 4 "$aw" verify all.jsonl

# ---- drop ----
mkdir d
conf_of d '' drop >d/audit.conf
exits "check" 0 "$aw" -c d/audit.conf check
exits "log" 0 "$aw" -c d/audit.conf log -q ev
is "views" 22 "$(lines d/view.jsonl)"
has "what was dropped" d/view.jsonl '"view":{"dropped":["actor.displayName","actor.ip","metadata.diagnosis","metadata.user","metadata.x.email"]}},'
has "is not there" d/view.jsonl '"actor":{"id":"anna.canary@example.com","type":"user"}'
for text in 10.99.88. 19870611 Anna canary-one diagnosis\"\:; do
    hasnt "nor anywhere: $text" d/view.jsonl "$text"
done
has "an event without any of it" d/view.jsonl '"seq":22,"view":{}}'
exits "verify" 4 "$aw" verify d/view.jsonl
has "its verdict" out '22 views with 105 changed fields'
exits "against the full trail" 0 "$aw" verify --against d/full.jsonl d/view.jsonl
if [ -n "$sqlite" ]; then
    exits "the database" 0 "$aw" verify --against d/full.db d/view.db
    hasnt "has nothing of it" d/view.db 10.99.88.
fi
# ---- a view sink that goes on after a restart ----
exits "more" 0 "$aw" -c d/audit.conf log -q ev
is "once each" 44 "$(lines d/view.jsonl)"
exits "and one chain" 0 "$aw" verify --against d/full.jsonl d/view.jsonl
# long lists of fields: the file sink must still find its own place
awk 'BEGIN { printf "{\"action\":\"a\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u\"},\"metadata\":{"; for (i = 0; i < 200; i++) printf "%s\"some_long_name_%d\":{\"email\":%d}", i ? "," : "", i, i; print "}}" }' >long
exits "many fields" 0 "$aw" -c d/audit.conf log -q long
exits "and on" 0 "$aw" -c d/audit.conf log -q long
is "once each" 46 "$(lines d/view.jsonl)"
exits "query by place" 0 "$aw" query --json --limit 1 --reverse d/view.jsonl
exits "compared" 0 "$aw" verify --against d/full.jsonl d/view.jsonl
finish
