#!/bin/sh
# The same as `kiro test-build-performance`, options included.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd -- "$here"
if [ -x "$here/.venv/bin/kiro" ]; then
    exec "$here/.venv/bin/python" -m kiro_invoke.cli test-build-performance "$@"
elif command -v kiro >/dev/null 2>&1; then
    exec kiro test-build-performance "$@"
fi
echo "test-docker-build.sh: kiro is not installed. Fix: run 'make test-build-performance', which installs it." >&2
exit 2
