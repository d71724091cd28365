#!/usr/bin/env bash
# run.sh BUILD-DIR: the Python client and the hooks. What needs PyTorch or mypy is skipped, with a
# message, where Debian's packages cannot be had.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
. "$here/../../scripts/deps.sh"
# shellcheck disable=SC2086
install_missing $CLIENT_PACKAGES >/dev/null 2>&1 || echo "skipped: $CLIENT_PACKAGES cannot be installed"
SPECTRALD_BIN=$build/daemon/main/spectrald SPECTRALCTL_BIN=$build/cli/spectralctl \
    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
    /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider "$here"
