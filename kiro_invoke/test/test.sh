#!/bin/sh
# Runs `tilt ci` on this folder, with the kiro that is found and then with none.
set -eu
cd "$(dirname "$0")"
trap 'tilt down >/dev/null 2>&1' EXIT
tilt ci "$@"
PATH=$(printf %s "$PATH" | tr ':' '\n' | while read -r folder; do [ -x "$folder/kiro" ] || printf '%s:' "$folder"; done) KIRO='' tilt ci "$@"
