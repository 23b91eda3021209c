#!/bin/sh
# ./setup demo: builds auditwell and shows its main job on 100,000 events. Started by setup, which installs the packages.
#
# SPDX-License-Identifier: Apache-2.0
#
# EVENTS=N takes another number of events. All files are in build-demo/; run again, it starts over with an empty trail.
set -eu
cd "$(dirname "$0")/.."
top=$(pwd)
build=$top/build-demo
prefix=$build/prefix
data=$build/demo
: "${EVENTS:=100000}"

say() {
    printf '\n== %s\n' "$*"
}

die() {
    echo "demo: $*" >&2
    exit 1
}

show() { # prints the command, then runs it
    printf '$ %s\n' "$*"
    "$@"
}

quietly() { # LOG COMMAND…
    log=$1
    shift
    "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; die "this failed: $* (the whole output: $log)"; }
}

if [ "${1-}" != --main-job ]; then
    say "Building in build-demo (a minute or two)"
    mkdir -p "$build"
    cd "$build"
    if [ ! -f config.status ] || [ "$top/configure" -nt config.status ]; then
        quietly configure.log "$top/configure" -q --prefix="$prefix" CFLAGS='-O2 -g'
    fi
    quietly make.log make -j"$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" all
    quietly make.log make examples/gen_events
    quietly install.log make install
    rm -rf "$data"
    mkdir -p "$data"
    # The main job needs no rights: when we are root, it runs as nobody, if nobody can reach this directory.
    if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null 2>&1 &&
        setpriv --reuid 65534 --regid 65534 --clear-groups test -r "$top/scripts/demo.sh" 2>/dev/null; then
        chown 65534:65534 "$data"
        exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$data" sh "$top/scripts/demo.sh" --main-job
    fi
    exec sh "$top/scripts/demo.sh" --main-job
fi

cd "$data"
PATH=$prefix/bin:$PATH
say "Working as $(id -un) in $data with $(auditwell --version)"

say "$EVENTS events as an application would log them"
"$build/examples/gen_events" -n "$EVENTS" -k secrets.txt >events.jsonl
head -n 1 events.jsonl
echo "… $(wc -l <events.jsonl) lines. $(wc -l <secrets.txt) passwords, tokens, card numbers and keys are in them."

say "audit.conf: a trail is enabled by listing plugins"
cat >audit.conf <<CONF
service = "demo";
journal = { path = "$data/journal"; };
redaction = { mask = "***"; };
sinks = (
  { plugin = "file";   name = "trail"; path = "$data/audit.jsonl"; },
  { plugin = "sqlite"; name = "db";    path = "$data/audit.db"; }
);
CONF
cat audit.conf
show auditwell -c audit.conf check && echo "every plugin was loaded, every setting is right"

say "Log: normalise, redact, seal in one hash chain per tenant, journal, deliver to both sinks"
printf '$ auditwell -c audit.conf log < events.jsonl\n'
began=$(date +%s)
auditwell -c audit.conf log <events.jsonl
echo "took about $(($(date +%s) - began)) s; $(wc -l <audit.jsonl) events are in audit.jsonl. The first one:"
head -n 1 audit.jsonl
[ "$(wc -l <audit.jsonl)" -eq "$EVENTS" ] || die "expected $EVENTS events in audit.jsonl"

say "A bad event is refused with every reason, and nothing else is lost"
printf '$ echo … | auditwell -c audit.conf log\n'
echo '{"action":"user.login","outcome":"MAYBE","actor":{"type":"user"}}' | auditwell -c audit.conf log &&
    die "a bad event was accepted"

# A verdict in short: the first finding, if there is one, and the last line.
verify() {
    rc=0
    printf '$ auditwell verify %s\n' "$1"
    auditwell verify "$1" >verify.out || rc=$?
    [ $rc -eq 0 ] || { head -n 5 verify.out; echo "    …"; }
    tail -n 1 verify.out
    return $rc
}

say "Verify both stores: every hash is computed again, every chain followed"
verify audit.jsonl || die "the file does not verify"
verify audit.db || die "the database does not verify"

say "Query: who was denied what?"
show auditwell query --outcome DENIED --action 'invoice.*' --limit 8 audit.db

say "No secret is anywhere in what was stored"
printf '$ grep -F -f secrets.txt in audit.jsonl, audit.db* and journal/\n'
if LC_ALL=C grep -r -a -q -F -f secrets.txt audit.jsonl audit.db* journal; then
    die "a secret was found: $(LC_ALL=C grep -r -a -l -F -f secrets.txt audit.jsonl audit.db* journal)"
fi
echo "0 of $(wc -l <secrets.txt) found. (In events.jsonl, all: $(LC_ALL=C grep -a -c -F -f secrets.txt events.jsonl) lines hold one.)"

say "Change one character of one event, and verify finds it"
line=$((EVENTS / 2))
sed "${line}s/\"id\":\"usr_0/\"id\":\"usr_1/" audit.jsonl >tampered.jsonl
cmp audit.jsonl tampered.jsonl && die "nothing was changed"
verify tampered.jsonl && die "the change was not found"

say "Take one event out, and verify finds that too"
sed "${line}d" audit.jsonl >shortened.jsonl
verify shortened.jsonl && die "the hole was not found"

say "All of this is in $data. To try next:"
cat <<NEXT
  cd $data; PATH=$prefix/bin:\$PATH
  auditwell --help                                  every command, with an example each
  auditwell -c audit.conf log --action user.login --outcome SUCCESS --actor user:alice
  auditwell -c audit.conf query --actor alice
  auditwell -c audit.conf tail -f
  auditwell -c audit.conf stats
  auditwell -c audit.conf export --tenant-strict --tenant tnt_001 --format csv -o tnt_001.csv
  auditwell -c audit.conf retention --keep 365d     what is older and would go; --apply does it
  auditwell plugins list; auditwell plugins describe file
  man -l $build/docs/auditwell.1                         README.md shows how to embed the library and write a sink
NEXT
