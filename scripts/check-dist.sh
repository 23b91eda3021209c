#!/bin/sh
# Is every tracked file in the tarball? check-dist.sh SRCDIR DISTDIR. Outside a checkout there is nothing to compare with.
# SPDX-License-Identifier: Apache-2.0
set -eu
src=$1 dist=$2
if [ ! -e "$src/.git" ] || ! command -v git >/dev/null 2>&1; then
    echo "check-dist: not a checkout"
    exit 0
fi
# Only git itself needs these.
missing=$(git -c safe.directory="$src" -C "$src" ls-files | while read -r file; do
    case $file in
    .gitignore | */.gitignore | .gitattributes) ;;
    *) [ -e "$dist/$file" ] || echo "  $file" ;;
    esac
done)
if [ -n "$missing" ]; then
    echo "check-dist: tracked, but not in the tarball (EXTRA_DIST or a _SOURCES variable should name them):"
    echo "$missing"
    exit 1
fi
echo "check-dist: all $(git -c safe.directory="$src" -C "$src" ls-files | wc -l) tracked files are in the tarball"
