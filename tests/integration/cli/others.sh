#!/bin/sh
# auditwell init, check, stats and plugins.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

# ---- init ----
exits "init" 0 "$aw" init
config=$HOME/.config/auditwell/audit.conf
is "the configuration is private" 600 "$(stat -c %a "$config")"
is "its directory, too" 700 "$(stat -c %a "$HOME/.config/auditwell")"
is "and that of the trail" 700 "$(stat -c %a "$HOME/.local/state/auditwell")"
exits "it is found, and good" 0 "$aw" check
exits "it works" 0 "$aw" log -a user.login --actor user:alice
is "the trail" 1 "$(lines "$HOME/.local/state/auditwell/audit.jsonl")"
exits "verify" 0 "$aw" verify
exits "query" 0 "$aw" query
has "the event" out "user:alice"
exits "init again" 1 "$aw" init
has "does not overwrite" err "exists already; --force replaces it"
echo "# changed" >>"$config"
exits "init --force" 0 "$aw" init --force
hasnt "does" "$config" "# changed"
is "nothing is left beside it" "audit.conf" "$(ls "$HOME/.config/auditwell")"
exits "init DIR" 0 "$aw" init 'a "dir"/sub'
is "self-contained" "audit.conf" "$(ls 'a "dir"/sub')"
exits "with quotes in its name" 0 "$aw" check -c 'a "dir"/sub/audit.conf'
exits "and works" 0 "$aw" log -c 'a "dir"/sub/audit.conf' -a a.b --actor u:1
is "there" 1 "$(lines 'a "dir"/sub/audit.jsonl')"
exits "init --dir" 0 "$aw" init --dir two --json
is "as JSON" '{"config":"two/audit.conf","directory":"two"}' "$(cat out)"
exits "init -c" 0 "$aw" init -c three/my.conf --dir three/data
exits "good" 0 "$aw" check -c three/my.conf
XDG_CONFIG_HOME=$work/xc XDG_STATE_HOME=$work/xs exits "XDG" 0 "$aw" init
is "places" "xc/auditwell/audit.conf xs/auditwell" "$(ls -d xc/auditwell/* xs/* | tr '\n' ' ' | sed 's/ $//')"
HOME='' exits "nowhere to go" 2 "$aw" init
: >file
exits "a file in the way" 3 "$aw" init file/dir
# every comment that is a setting is a good one: uncomment all
sed -e 's/^\( *\)# \([a-z_]* = .*;\)$/\1\2/' two/audit.conf >two/all.conf
cmp -s two/audit.conf two/all.conf && fail "there are settings in comments"
exits "its commented settings are right" 0 "$aw" check -c two/all.conf

# ---- check ----
configure c
exits "check" 0 "$aw" check -c c/audit.conf
matches "what would run" out '^trail +file$'
is "the verdict" "good: 1 sink" "$(tail -n 1 out)"
is "it touches nothing" "audit.conf" "$(ls c)"
exits "quiet" 0 "$aw" check -q -c c/audit.conf
empty "says nothing" out
exits "JSON" 0 "$aw" check --json -c c/audit.conf
is "JSON" '{"verdict":"good","problems":[],"sinks":[{"name":"trail","plugin":"file"}],"probes":[{"sink":"trail","path":"c/audit.conf:4","outcome":"good","message":""}]}' "$(cat out)"
cat >wrong.conf <<CONF
servise = "x";
journal = { path = "$work/c/journal"; durability = "diskk"; };
sinks = (
  { plugin = "file"; name = "trail"; path = "$work/c/audit.jsonl"; fsink = "never"; },
  { plugin = "nosuch"; name = "other"; }
);
CONF
exits "a wrong one" 1 "$aw" check -c wrong.conf
matches "all problems: the first" err 'wrong\.conf:1: .*servise.*service'
matches "the second" err 'wrong\.conf:2: .*durability'
matches "the third" err 'wrong\.conf:4: .*fsink.*fsync'
matches "the fourth" err 'wrong\.conf:5: .*nosuch'
empty "nothing else" out
exits "as JSON" 1 "$aw" check --json -c wrong.conf
has "findings" out '{"verdict":"findings","problems":[{"severity":"error","path":"'
if [ -n "${PYTHON3-}" ]; then
    cp out json
    exits "is JSON" 0 "$PYTHON3" -c 'import json; json.load(open("json"))'
else
    skip "is JSON" "python3 is not there"
fi
exits "missing" 3 "$aw" check -c missing.conf

# ---- stats ----
configure st
events 12 | "$aw" -c st/audit.conf log -q
exits "stats" 0 "$aw" stats -c st/audit.conf
matches "events" out '^events ever taken +12$'
matches "chains" out '^chains +3$'
matches "sink" out '^trail +file +12 +0 +0\.0 +0  ok$'
exits "JSON" 0 "$aw" stats -c st/audit.conf --json
has "JSON" out '{"journal":{"headSeq":12,"durableSeq":12,"lost":0,"scopes":3,'
has "sinks" out '"sinks":[{"name":"trail","plugin":"file","ackedSeq":12,"waiting":0,'
rm st/journal/metrics
exits "of a journal without figures" 0 "$aw" stats -c st/audit.conf
matches "from the journal itself" out '^events ever taken +12$'
events 3 | "$aw" -c st/audit.conf log -q --no-flush
exits "after more" 0 "$aw" stats -c st/audit.conf --json
has "their number" out '"headSeq":15'
mkfifo fifo
"$aw" -c st/audit.conf log -q <fifo 2>/dev/null &
holder=$!
exec 3>fifo
events 1 >&3
wait_until 20 sh -c '[ "$(wc -l <st/audit.jsonl)" -ge 16 ]' || fail "the holder works"
exits "of a running process" 0 "$aw" stats -c st/audit.conf
matches "which" out "^process +$holder, since [^ ]*\$"
exec 3>&-
wait "$holder"
exits "no configuration" 3 "$aw" stats -c missing.conf

# ---- plugins ----
exits "plugins list" 0 "$aw" plugins list
matches "file" out '^file +[0-9.]+ '
exits "JSON" 0 "$aw" plugins list --json
has "file" out '"classes":["file"]'
exits "plugins describe" 0 "$aw" plugins describe file
for line in 'class=file' 'kind=sink' 'abi=1.0' 'license=Apache-2.0'; do
    matches "fact $line" out "^$line\$"
done
matches "path" out '^path=/.*\.so$|^path=builtin:file$'
matches "an option" out '^  path \(path, required\)$'
matches "an enum" out 'one of never, batch, always;'
has "a sample" out '    plugin = "file";'
sed -n '/^sample:/,$p' out | sed 1d >sample
exits "as JSON" 0 "$aw" plugins describe file --json
has "options" out '{"key":"path","type":"path","required":true'
if [ -n "${PYTHON3-}" ]; then
    cp out json
    exits "is JSON" 0 "$PYTHON3" -c 'import json; json.load(open("json"))'
else
    skip "is JSON" "python3 is not there"
fi
# the sample is a configuration that checks, also with every option at its default
{
    echo "service = \"x\"; journal = { path = \"$work/sample\"; };"
    cat sample
} >sample.conf
exits "the sample is good" 0 "$aw" check -c sample.conf
sed 's/^    # \(.*\) = "…";$//; s/^    # /    /' sample.conf >sample2.conf
exits "with all its defaults written out, too" 0 "$aw" check -c sample2.conf
exits "unknown plugin" 3 "$aw" plugins describe nosuch
has "named" err "nosuch"
exits "no plugin" 3 "$aw" plugins describe ./sample.conf
file=$top_builddir/.libs/sink_file.so
if [ -f "$file" ]; then
    exits "by file" 0 "$aw" plugins describe "$file"
    matches "the same" out '^class=file$'
    mkdir plugdir && chmod 755 plugdir && echo "no plugin" >plugdir/sink_broken.so && chmod 644 plugdir/sink_broken.so
    AUDITWELL_PLUGIN_PATH=$work/plugdir exits "a broken one in the list" 1 "$aw" plugins list
    has "with the reason" out "sink_broken.so: cannot be loaded: "
else
    skip "by file" "the file sink is built in"
fi
finish
