#!/bin/sh
# Runs all tests. What a fresh Debian machine lacks is installed by apt where that is possible, and named where it is
# not; nothing is done silently.
set -eu
cd "$(dirname "$0")/.."

missing=""
need() { # package, command that proves it
    if ! sh -c "$2" >/dev/null 2>&1; then missing="$missing $1"; fi
}
need gcc "command -v cc"
need git "command -v git"
need python3 "command -v python3"
need python3-venv "python3 -c 'import ensurepip, venv'"
need postgresql "ls /usr/lib/postgresql/*/bin/initdb"
need strace "command -v strace"

if [ -n "$missing" ]; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "installing by apt:$missing"
        apt-get update -qq
        # shellcheck disable=SC2086 # the list is meant to be split
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
    else
        echo "the tests need these Debian packages:$missing" >&2
        echo "install them, for example with: sudo apt-get install$missing" >&2
        exit 1
    fi
fi
command -v cargo >/dev/null 2>&1 || {
    echo "the tests need a Rust toolchain, 1.94 or newer; see https://rustup.rs" >&2
    exit 1
}

cargo test --workspace --locked "$@"

# Kills the engine at each of its named fail points, which are compiled in for this test only.
cargo test --package runstone-engine --locked --features failpoints --test drive
