#!/usr/bin/env bash
# arrows_test.sh: arrows.sh passes on this tree, and finds each kind of fault planted in a copy.
set -u
here=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
bad=0

fresh() {
    rm -rf "${copy:?}"/*
    (cd "$here/.." && cp -r api cli common compute daemon models storage tests "$copy")
}

# plant FILE LINE...: append lines to a file of a fresh copy; arrows.sh must object and name it.
plant() {
    local file=$1
    shift
    fresh
    printf '%s\n' "$@" >>"$copy/$file"
    if "$here/arrows.sh" "$copy" >"$copy/out" 2>&1; then
        echo "not found: $* in $file"
        bad=1
    elif ! grep -q "$file" "$copy/out"; then
        echo "found, but not named: $* in $file"
        bad=1
    fi
}

fresh
"$here/arrows.sh" "$copy" || { echo "the tree itself breaks a rule"; exit 1; }
plant common/buf.c '#include "compute/matrix.h"'
plant compute/columns.c '#include "models/layers.h"'
plant compute/columns.c '#include <unistd.h>'
plant compute/columns.h '#include <stdio.h>'
plant models/dtype.c '#include "storage/store.h"'
plant storage/store.c '#include "daemon/loop.h"'
plant storage/store.c '#include <microhttpd.h>'
plant daemon/loop.c '#include "api/route.h"'
plant daemon/main.c '#include "cli/text.h"'
plant api/route.c '#include "cli/text.h"'
plant cli/text.c '#include "models/dtype.h"'
plant daemon/loop.c '#include <cblas.h>'
plant cli/text.c '/* TO''DO: later */'
# shellcheck disable=SC2046
plant cli/text.c $(yes '//' | head -n 800)
# shellcheck disable=SC2046
plant cli/term.c 'void long_one(void)' '{' $(yes ';' | head -n 101) '}'
exit $bad
