#!/bin/sh
# Every example of auditwell(1), and of each --help, does what it says.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
if ! have_plugin sqlite; then
    echo "1..0 # SKIP the examples use the sqlite plugin, which is not built"
    exit 0
fi
mkdir bin
ln -s "$aw" bin/auditwell
PATH=$work/bin:$PATH
# libtool's wrapper finds its program by $0
printf '#!/bin/sh\nexec "%s" "$@"\n' "$aw" >bin/run && chmod +x bin/run && mv bin/run bin/auditwell

mkdir manual && cd manual || exit 99
events 20 >events.jsonl
echo anna@example.com >name.txt
echo 'a key of pseudonyms, long enough for it' >key
sed -n 's/^\$ //p' "$top_srcdir/docs/auditwell.1.scd" >commands
[ -s commands ] || fail "the manual has examples"
while read -r line; do
    exits "$line" 0 sh -c "$line"
done <commands
is "what they wrote" "tenant:acme" "$(sed -n 's/^\(tenant:acme\)=.*/\1/p' heads.txt)"
is "CSV of acme" 2 "$(lines acme.csv)"
cd ..

mkdir help && cd help || exit 99
auditwell init >/dev/null || fail "init"
auditwell init --force -d . >/dev/null
events 20 >events.jsonl
auditwell log -q -c audit.conf events.jsonl
auditwell log -q events.jsonl
echo anna@example.com >name.txt
echo 'a key of pseudonyms, long enough for it' >key
auditwell help --table | cut -f1 | grep -v -x -e - | sort -u >subcommands
while read -r command; do
    auditwell "$command" --help | sed -n '/^Examples:/,/^$/s/^  //p' >>commands
done <subcommands
# init comes last: the configuration is there already
{ grep -v '^auditwell init' commands; sed -n 's/^auditwell init.*/& --force/p' commands; } >ordered
while read -r line; do
    exits "$line" 0 sh -c "$line"
done <ordered
finish
