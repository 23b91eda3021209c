#!/bin/sh
# Runs auditwell's conformance kit on the plugin that was built. SPDX-License-Identifier: Apache-2.0
umask 022
[ -n "${AUDITWELL-}" ] || { echo "the auditwell command was not found by configure"; exit 77; }
exec "$AUDITWELL" plugins check "${plugin:?}" --fail-libraries \
    --option 'path={dir}/hello-{instance}.jsonl'
