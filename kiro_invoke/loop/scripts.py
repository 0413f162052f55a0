"""What is run in a container to restart its program and to see that it serves again. Pure: settings in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

#: How such a script ends when: the program ended by itself, it does not serve in time, PID 1 takes no signal from us,
#: it is no supervisor that tells how it stands, the program is not started again in time.
ENDED, SILENT, REFUSED, UNKNOWN, STUCK = "66", "65", "77", "78", "79"

_STATE = "state=${KIRO_STATE:-/tmp/kiro-supervise}\n"
_LISTEN = "0A"
#: What one health check may take.
_CHECK_SECONDS = 5


def stands() -> str:
    """Print how the program stands."""
    return f'{_STATE}cat "$state"'


def restart() -> str:
    """Have the supervisor start the program anew, and wait until it has."""
    return f"""{_STATE}before=$(cat "$state" 2>/dev/null) || exit {UNKNOWN}
kill -HUP 1 2>/dev/null || exit {REFUSED}
{_until_anew()}"""


def wait_restarted(before: str) -> str:
    """Wait until the program stands otherwise than it did."""
    return f"{_STATE}before={shlex.quote(before)}\n{_until_anew()}"


def _until_anew(seconds: int = 20) -> str:
    return f"""end=$(($(date +%s) + {seconds}))
while [ "$(cat "$state" 2>/dev/null)" = "$before" ]; do
    [ "$(date +%s)" -lt "$end" ] || exit {STUCK}
    sleep 0.005
done
"""


def serving(health: Sequence[str], ports: Sequence[int], seconds: float, *, supervised: bool) -> str:
    """Wait until it serves: until its health check succeeds, else until its ports are open, else that it goes on.

    A program of which neither is known may also have come to its end, with status 0.
    """
    ended = f"""case $(cat "$state" 2>/dev/null) in
        ended*) echo "the program ended with status $(sed 's/.* //' "$state")"; exit {ENDED} ;;
    esac"""
    check = _health(health) or _listening(ports)
    if not check:  # one that came to its end in order has done all that can be asked of it
        done = "case $(cat \"$state\" 2>/dev/null) in 'ended '*' 0') exit 0 ;; esac"
        return f"{_STATE}sleep 0.2\n{done}\n{ended}\n" if supervised else f"{_STATE}sleep 0.2\n"
    return f"""{_STATE}limit=$(command -v timeout >/dev/null && echo timeout {_CHECK_SECONDS})
end=$(($(date +%s) + {max(1, round(seconds))}))
until said=$( {check} 2>&1); do
    {ended if supervised else ""}
    if [ "$(date +%s)" -ge "$end" ]; then printf '%s\\n' "$said"; exit {SILENT}; fi
    sleep 0.02
done
"""


def _health(health: Sequence[str]) -> str:
    match list(health):
        case ["CMD", *words] if words:
            return f"$limit {shlex.join(words)}"
        case ["CMD-SHELL", text]:
            return f"$limit sh -c {shlex.quote(text)}"
    return ""


def _listening(ports: Sequence[int]) -> str:
    """Succeeds if all of these ports are listened on, whoever may connect."""
    files, nobody = "/proc/net/tcp /proc/net/tcp6", "nothing listens on port"
    looks = [
        f"grep -qi ':{port:04X} 0*:0000 {_LISTEN} ' {files} 2>/dev/null || {{ echo {nobody} {port}; exit 1; }}"
        for port in ports
    ]
    return f"( {'; '.join(looks)} )" if looks else ""
