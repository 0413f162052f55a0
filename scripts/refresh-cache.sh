#!/bin/sh
# The same as `kiro refresh-cache`, options included.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd -- "$here"
if [ -x "$here/.venv/bin/kiro" ]; then
    exec "$here/.venv/bin/python" -m kiro_invoke.cli refresh-cache "$@"
elif command -v kiro >/dev/null 2>&1; then
    exec kiro refresh-cache "$@"
fi
echo "refresh-cache.sh: kiro is not installed. Fix: run 'make refresh-cache', which installs it." >&2
exit 2
