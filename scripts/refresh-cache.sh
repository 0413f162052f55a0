#!/bin/sh
# The same as `kiro show-cache`, `kiro clean-cache --what ...` or `kiro refresh-cache`, further options included.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd -- "$here"
usage() {
    echo "refresh-cache.sh: $1. Usage: refresh-cache.sh show | clean build|images|all | refresh [OPTION]..." >&2
    exit 2
}
case ${1-} in
    show) shift; set -- show-cache "$@" ;;
    refresh) shift; set -- refresh-cache "$@" ;;
    clean)
        case ${2-} in
            build | images | all) what=$2 ;;
            *) usage "clean${2:+ $2}: what is to be cleaned" ;;
        esac
        shift 2
        set -- clean-cache --what "$what" "$@"
        ;;
    *) usage "${1:-a word is missing}${1:+: not known}" ;;
esac
if [ -x "$here/.venv/bin/kiro" ]; then
    exec "$here/.venv/bin/python" -m kiro_invoke.cli "$@"
elif command -v kiro >/dev/null 2>&1; then
    exec kiro "$@"
fi
echo "refresh-cache.sh: kiro is not installed. Fix: run 'make show-cache', which installs it." >&2
exit 2
