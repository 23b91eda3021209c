#!/bin/sh
# Makes configure; needs autoconf, automake, libtool, and auditwell's m4/auditwell.m4 (installed with auditwell).
# SPDX-License-Identifier: Apache-2.0
set -e
cd "$(dirname "$0")"
mkdir -p m4 build-aux
exec autoreconf --install --force
