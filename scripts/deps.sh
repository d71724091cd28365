# deps.sh: the Debian packages, in one place; to be sourced.

BUILD_PACKAGES="gcc pkg-config meson ninja-build libc6-dev libmicrohttpd-dev libjansson-dev
  libsqlite3-dev libopenblas-dev liblapacke-dev libssl-dev libcurl4-openssl-dev
  zlib1g-dev"
TEST_PACKAGES="clang clang-format libclang-rt-14-dev libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-pytest-timeout
  python3-numpy python3-venv python3-yaml python3-jsonschema curl git
  zsh fish mandoc"
CLIENT_PACKAGES="python3-torch mypy"
ORACLE_PACKAGES="python3-torch python3-scipy python3-pandas python3-sklearn python3-matplotlib
  python3-tqdm python3-pip"

# install_missing PACKAGE...: install what is not there yet; says what to do where it cannot.
install_missing() {
    local missing="" p sudo=""
    for p in "$@"; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "These Debian packages, or what your system calls them, are needed:$missing" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1; then
            sudo=sudo
        else
            echo "These packages are missing, and neither root nor sudo is at hand:$missing" >&2
            echo "Install them as root: apt-get install$missing" >&2
            return 1
        fi
    fi
    echo "installing:$missing"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null || return 1
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
}
