#!/bin/sh
# The same as `kiro warm-cache`, options included.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd -- "$here"
if [ -x "$here/.venv/bin/kiro" ]; then
    exec "$here/.venv/bin/python" -m kiro_invoke.cli warm-cache "$@"
elif command -v kiro >/dev/null 2>&1; then
    exec kiro warm-cache "$@"
fi
echo "warm-cache.sh: kiro is not installed. Fix: run 'make warm-cache', which installs it." >&2
exit 2
