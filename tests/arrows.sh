#!/usr/bin/env bash
# arrows.sh [TREE]: layers include only what lies to their right, files and functions stay small,
# and nothing unfinished is left. Prints what breaks a rule; exit status 1 when anything does.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2
bad=0
say() { [ -z "$2" ] || { printf '%s\n%s\n' "$1" "$2"; bad=1; }; }
grep_in() { local pattern=$1; shift; grep -nE "$pattern" "$@" /dev/null; }

say "common/ includes a layer:" "$(grep_in '#include "(api|daemon|storage|models|compute|cli)/' common/*.[ch])"
say "compute/ knows only common/:" "$(grep_in '#include "(api|daemon|storage|models|cli)/' compute/*.[ch])"
say "compute/ does no I/O:" "$(grep_in '#include <(unistd|fcntl|stdio|sys/[a-z]*|jansson|sqlite3|microhttpd)\.h>' compute/*.[ch])"
say "models/ knows only compute/ and common/:" "$(grep_in '#include "(api|daemon|storage|cli)/' models/*.[ch])"
say "storage/ knows no daemon:" "$(grep_in '#include "(api|daemon|cli)/' storage/*.[ch])"
say "storage/ knows no HTTP:" "$(grep_in '#include <(microhttpd|curl/)' storage/*.[ch])"
say "daemon/ includes api/ or cli/ (only main.c may include api/):" \
    "$(grep_in '#include "(api|cli)/' daemon/*.[ch] | grep -v '^daemon/main\.c:.*"api/')"
say "api/ includes cli/:" "$(grep_in '#include "cli/' api/*.[ch])"
say "cli/ knows only common/:" "$(grep_in '#include "(api|daemon|storage|models|compute)/' cli/*.[ch])"
say "only compute/ calls BLAS:" \
    "$(grep_in '#include <(cblas|lapacke)\.h>' -- */*.[ch] | grep -v '^compute/')"
say "C files over 800 lines:" "$(wc -l -- */*.[ch] tests/*/*.[ch] | awk '$1>800 && $2!="total"')"
say "functions over 100 lines:" "$(awk 'FNR==1{s=0} /^[{]/{s=FNR} /^[}]/{if(s&&FNR-s>100)print FILENAME":"s; s=0}' */*.c)"
say "unfinished:" "$(grep_in '\b(TODO|XXX|HACK)\b|not implemented' */*.[ch])"
exit $bad
