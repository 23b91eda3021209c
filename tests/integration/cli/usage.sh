#!/bin/sh
# Arguments, help, completion, and that the manual knows every option.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"

exits "no subcommand" 2 "$aw"
has "it is said" err "a subcommand is needed"
exits "unknown subcommand" 2 "$aw" frobnicate
has "it is named" err "'frobnicate' is no subcommand"
exits "unknown option" 2 "$aw" log --frobnicate
has "and where help is" err "Try 'auditwell log --help'."
exits "unknown global option" 2 "$aw" --frobnicate log
exits "option without its argument" 2 "$aw" query --since
exits "number that is none" 2 "$aw" query -n ten x.jsonl
has "says what it is for" err "--limit: 'ten' is not a number"
exits "duration that is none" 2 "$aw" log --timeout soon </dev/null
exits "outcome that is none" 2 "$aw" log -a a --actor u:1 -o MAYBE
exits "actor without type" 2 "$aw" log -a a --actor alice
exits "event and files" 2 "$aw" log -a a --actor u:1 file.jsonl
exits "event without action" 2 "$aw" log --actor u:1
exits "set without =" 2 "$aw" log -a a --actor u:1 --set metadata.x
exits "query: two stores" 2 "$aw" query a.jsonl b.jsonl
exits "query: csv and json" 2 "$aw" query --csv --json a.jsonl
exits "query: follow backwards" 2 "$aw" query -f -R a.jsonl
exits "query: empty column" 2 "$aw" query --columns time,,action a.jsonl
exits "query: cursor line without json" 2 "$aw" query --json-cursor a.jsonl
exits "tail: after" 2 "$aw" tail --after x a.jsonl
exits "verify: complete and partial" 2 "$aw" verify --complete --partial a.jsonl
exits "verify: complete and mid-chain" 2 "$aw" verify --complete --midchain a.jsonl
exits "export: strict without a tenant" 2 "$aw" export --tenant-strict a.jsonl
exits "export: strict with two" 2 "$aw" export --tenant-strict --tenant a --tenant b a.jsonl
exits "export: no format" 2 "$aw" export --format xml a.jsonl
exits "export: columns of JSON" 2 "$aw" export --columns time a.jsonl
exits "export: JSON of nothing" 2 "$aw" export --json a.jsonl
exits "export: two stores" 2 "$aw" export a.jsonl b.jsonl
exits "retention: of what age" 2 "$aw" retention
exits "retention: two ages" 2 "$aw" retention --keep 1d --before 2026-01-01
exits "retention: no duration" 2 "$aw" retention --keep 2026-01-01
exits "retention: both ways" 2 "$aw" retention --keep 1d --apply --dry-run
exits "migrate: arguments" 2 "$aw" migrate x
exits "verify: no hash" 2 "$aw" verify --expect tenant:a=1234 a.jsonl
exits "plugins: nothing to do" 2 "$aw" plugins
exits "plugins: describe what?" 2 "$aw" plugins describe
exits "stats: arguments" 2 "$aw" stats x
exits "metrics: arguments" 2 "$aw" metrics x
exits "check: arguments" 2 "$aw" check x
exits "version: arguments" 2 "$aw" version x
exits "init: two directories" 2 "$aw" init a b
exits "help: unknown" 2 "$aw" help frobnicate
exits "help: unknown shell" 2 "$aw" help --completion tcsh

exits "--version" 0 "$aw" --version
matches "names version and ABI" out '^auditwell [0-9.]+ \(plugin ABI 1\.[0-9]+\)$'
"$aw" version >version
is "version says the same" "$(cat out)" "$(cat version)"
exits "version --json" 0 "$aw" version --json
matches "as JSON" out '^\{"version":"[0-9.]+","abiMajor":1,"abiMinor":[0-9]+\}$'
exits "--help" 0 "$aw" --help
cp out overview

"$aw" help --table >table || fail "help --table"
commands=$(cut -f1 table | grep -v -x -e - | sort -u)
is "the subcommands of this release" "check deadletter export help init journal log metrics migrate plugins pseudonym query retention stats tail verify version" "$(echo $commands)"
for command in $commands; do
    exits "$command --help" 0 "$aw" "$command" --help
    has "$command --help: usage" out "Usage: auditwell $command [OPTION…]"
    matches "$command --help: example" out "^  auditwell $command"
    has "overview has $command" overview "  $command "
    cp out help
    exits "help $command" 0 "$aw" help "$command"
    is "help $command is $command --help" "$(cat help)" "$(cat out)"
    awk -F '\t' -v c="$command" '$1 == c { print $2 }' table | while read -r option; do
        grep -q -F -e "$option" help || echo "$option"
    done >missing
    empty "$command --help names every option" missing
done
exits "help --json" 0 "$aw" help --json
if [ -n "${PYTHON3-}" ]; then
    is "help --json is JSON" 17 "$("$PYTHON3" -c 'import json; print(len(json.load(open("out"))["subcommands"]))' 2>&1)"
else
    skip "help --json is JSON" "python3 is not there"
fi

# ---- the manual ----
man=$top_srcdir/docs/auditwell.1.scd
# Options stand in their subcommand's section: query's for tail, the common ones at the top.
section() { # everything of "## auditwell NAME" and of the common options
    awk -v name="$1" '/^# / { on = /OPTIONS OF EVERY/ } /^## / { on = $3 == name } on' "$man"
}
for command in $commands; do
    from=$command
    [ "$command" = tail ] && from=query
    section "$from" >part
    awk -F '\t' -v c="$command" '$1 == c { print $2, $3 }' table | while read -r option letter; do
        grep -q -F -e "*$option*" part || echo "$option"
        [ -z "$letter" ] || grep -q -F -e "*$letter*" part || echo "$letter"
    done >missing
    empty "auditwell(1) has every option of $command" missing
done
# … and no option that is not there.
grep -o -E -e '^\*(-[a-zA-Z]\*, \*)?--[a-z-]+\*' "$man" | grep -o -E -e '--[a-z-]+' | sort -u | while read -r option; do
    cut -f2 table | grep -q -x -F -e "$option" || echo "$option"
done >missing
empty "auditwell(1) has no option of its own" missing

# ---- -c before and after ----
configure one
for way in "-c one/audit.conf check" "--config one/audit.conf check" "--config=one/audit.conf check" "-cone/audit.conf check" \
    "check -c one/audit.conf" "check --config one/audit.conf" "check --config=one/audit.conf"; do
    # shellcheck disable=SC2086 # words
    exits "$way" 0 "$aw" $way
done
exits "the later one counts" 0 "$aw" -c missing.conf check -c one/audit.conf
AUDITWELL_CONFIG=$work/one/audit.conf exits "from the environment" 0 "$aw" check

# ---- completion ----
completion=$top_builddir/tools/bash-completion/auditwell
exits "completion" 0 "$aw" help --completion bash
is "the built file is the same" "$(cat out)" "$(cat "$completion")"
if command -v bash >/dev/null 2>&1; then
    exits "bash takes it" 0 bash -n "$completion"
    complete_words() { # words of a command line, the last one being completed
        bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _auditwell; printf "%s\n" "${COMPREPLY[@]}"' \
            bash "$completion" "$@" | sort | tr '\n' ' '
    }
    is "first word" "check deadletter export help init journal log metrics migrate plugins pseudonym query retention stats tail verify version " "$(complete_words auditwell '')"
    is "beginning of a subcommand" "verify version " "$(complete_words auditwell ver)"
    is "behind -c FILE" "stats " "$(complete_words auditwell -c audit.conf st)"
    is "behind --config=FILE" "stats " "$(complete_words auditwell --config = audit.conf st)"
    is "options of a subcommand" "--receipts " "$(complete_words auditwell log --rec)"
    is "behind -c, too" "--receipts " "$(complete_words auditwell -c audit.conf log --rec)"
    is "global options" "--config --help --version " "$(complete_words auditwell --)"
    is "words of an argument" "DENIED " "$(complete_words auditwell log --outcome D)"
    is "words behind =" "DENIED " "$(complete_words auditwell log --outcome = D)"
    is "words of a letter" "DENIED ERROR FAILURE SUCCESS " "$(complete_words auditwell query -o '')"
    is "plugins" "check describe list new " "$(complete_words auditwell plugins '')"
    is "help takes subcommands" "query " "$(complete_words auditwell help qu)"
    : >"a file.jsonl"
    is "files" "a file.jsonl " "$(complete_words auditwell verify 'a f')"
    awk -F '\t' '$1 != "-" { print $1, $2 }' table | while read -r command option; do
        case " $(complete_words auditwell "$command" "$option") " in
        *" $option "*) ;;
        *) echo "$command $option" ;;
        esac
    done >missing
    empty "every option is offered" missing
else
    skip "bash takes the completion" "bash is not installed"
fi
finish
