#!/usr/bin/env bash
# run.sh BUILD-DIR: lint openapi.yaml, and let schemathesis loose on the real daemon. What cannot be
# fetched is skipped, with a message. The tools go to .contract/ (SPECTRALD_CONTRACT_TOOLS).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
build=$1
tools=${SPECTRALD_CONTRACT_TOOLS:-$top/.contract}
spectral_version=6.16.3
schemathesis_version=4.32.5
. "$top/scripts/deps.sh"

get_spectral() {
    local stamp=$tools/spectral-$spectral_version
    if [ ! -e "$stamp" ]; then
        command -v npm >/dev/null 2>&1 || install_missing npm >/dev/null 2>&1 || return 1
        rm -rf "$tools/node" && mkdir -p "$tools/node" || return 1
        timeout 300 npm install --prefix "$tools/node" --save-exact --no-audit --no-fund \
            --ignore-scripts --fetch-retries 1 --fetch-timeout 30000 \
            "@stoplight/spectral-cli@$spectral_version" >/dev/null 2>&1 || return 1
        touch "$stamp"
    fi
    export SPECTRAL=$tools/node/node_modules/.bin/spectral
}

get_schemathesis() {
    local stamp=$tools/schemathesis-$schemathesis_version
    if [ ! -e "$stamp" ]; then
        rm -rf "$tools/venv" && /usr/bin/python3 -m venv "$tools/venv" || return 1
        timeout 300 "$tools/venv/bin/pip" install -q --retries 1 --timeout 30 \
            "schemathesis==$schemathesis_version" >/dev/null 2>&1 || return 1
        touch "$stamp"
    fi
    export SCHEMATHESIS=$tools/venv/bin/schemathesis
}

mkdir -p "$tools"
get_spectral || echo "skipped: the linter of openapi.yaml cannot be fetched here"
get_schemathesis || echo "skipped: schemathesis cannot be fetched here"
SPECTRALD_BIN=$build/daemon/main/spectrald SPECTRALCTL_BIN=$build/cli/spectralctl \
    PYTHONPATH=$top/tests/http /usr/bin/python3 -m pytest -q -p no:cacheprovider "$here"
