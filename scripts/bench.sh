#!/bin/sh
# Speed of whole commands, as ratios against ninja in the same run. Every measurement gets a fresh folder and nothing is
# deleted in between: deleting many files slows a file system that discards blocks for a while.
#   scripts/bench.sh [ALTERNATIONS] [JOBS]
set -eu
cd "$(dirname "$0")/.."
command -v ninja >/dev/null || { echo "install ninja first: apt-get install ninja-build" >&2; exit 1; }
cargo build --release --locked -p runstone
exec python3 scripts/bench.py "$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release/runstone" "$@"
