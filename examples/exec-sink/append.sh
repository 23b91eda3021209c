#!/bin/sh
# append.sh - a program for the exec sink in shell: appends events to a file. Needs jq.
# SPDX-License-Identifier: Apache-2.0
#
#   sinks = (
#     { plugin = "exec"; name = "copy"; pii = "keep"; durability = "on_flush";
#       command = ( "/usr/local/lib/auditwell/append.sh", "/var/lib/auditwell/copy.jsonl" ); }
#   );
#
# A sync for each event would be slow here, so it says "accepted", and makes all of it durable when it is asked to flush.
set -u
if [ $# -ne 1 ] || ! command -v jq >/dev/null; then
    echo "usage: append.sh FILE; and jq must be installed" >&2
    exit 78 # EX_CONFIG: the sink stops and tells
fi
exec 3>>"$1" || exit 78
while IFS= read -r line; do
    case $line in
    '{"flush":'*)
        number=${line#*:}
        if sync "$1"; then
            printf '{"flushed":%s}\n' "${number%?}"
        else
            printf '{"flushed":%s,"error":"sync failed"}\n' "${number%?}"
        fi
        ;;
    *)
        # Never by cutting the text: a member of that name may stand elsewhere in an event.
        id=$(printf '%s\n' "$line" | jq -c .eventId)
        if printf '%s\n' "$line" >&3; then
            printf '{"eventId":%s,"status":"accepted"}\n' "$id"
        else
            printf '{"eventId":%s,"status":"retry","error":"cannot write"}\n' "$id"
        fi
        ;;
    esac
done
