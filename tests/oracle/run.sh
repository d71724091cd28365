#!/usr/bin/env bash
# run.sh BUILD-DIR: compare with WeightWatcher 0.7.5.5 itself. Skipped, with a message, where its
# packages cannot be had.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
build=$1
venv=${SPECTRALD_ORACLE_VENV:-$top/.venv-oracle}
. "$top/scripts/deps.sh"

skip() {
    echo "skipped: $1"
    echo "0 passed, 0 failed, 1 skipped in 0.00s"
    exit 0
}

if ! [ -x "$venv/bin/python3" ] || ! "$venv/bin/python3" -c 'import weightwatcher' 2>/dev/null; then
    # shellcheck disable=SC2086
    install_missing $ORACLE_PACKAGES >/dev/null 2>&1 || skip "the oracle's Debian packages cannot be installed"
    /usr/bin/python3 -m venv --system-site-packages "$venv" || skip "no virtual environment"
    "$venv/bin/pip" install -q --no-deps weightwatcher==0.7.5.5 powerlaw==1.5 safetensors ||
        skip "WeightWatcher cannot be fetched here"
fi
"$venv/bin/python3" -c 'import weightwatcher' || skip "WeightWatcher does not import"
SPECTRALD_BIN=$build/daemon/main/spectrald SPECTRALCTL_BIN=$build/cli/spectralctl \
    PYTHONPATH=$top/tests/http OPENBLAS_NUM_THREADS=2 \
    "$venv/bin/python3" -m pytest -q -p no:cacheprovider "$here"
