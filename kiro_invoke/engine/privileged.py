"""Commands that change the system, run as root or through sudo, and what dpkg and the group file tell."""

from __future__ import annotations

import tempfile
from pathlib import Path

from kiro_invoke.engine.protocol import Completed, Run
from kiro_invoke.engine.setup import NewFile
from kiro_invoke.model.errors import EngineError

APT_ENV = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
#: What a file is called until it is whole.
DRAFT = ".kiro-new"
#: dpkg's states of packages that are installed and work, that have files here, that left anything here.
WORKING, UNPACKED, PRESENT = "iWt", "iWtHUF", "iWtHUFc"
_SETTINGS = tuple(f"{key}={value}" for key, value in APT_ENV.items())
_APT = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=120")


class Privileged:
    """Runs commands as root, directly or through sudo."""

    def __init__(self, run: Run, *, sudo: bool) -> None:
        self._run = run
        self._prefix = ("sudo", "-n") if sudo else ()

    def __call__(self, argv: list[str]) -> Completed:
        return self._run([*self._prefix, *argv])

    def given(self, argv: list[str], stdin: str) -> Completed:
        """The same for a command that reads `stdin`."""
        return self._run([*self._prefix, *argv], stdin=stdin)

    def apt(self, *arguments: str) -> Completed:
        return self._run([*self._prefix, "env", *_SETTINGS, *_APT, *arguments])

    def mend(self) -> None:
        """Let dpkg finish what an interrupted setup began; apt refuses to do anything before."""
        self._run([*self._prefix, "env", *_SETTINGS, "dpkg", "--configure", "-a"])

    def write(self, file: NewFile) -> None:
        """Put the file in place whole: written and synced beside itself in a private folder, then moved."""
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "file"
            draft.write_text(file.text)
            made = self(["install", "-D", "-m", file.mode, "--", str(draft), f"{file.path}{DRAFT}"])
            if made.ok:
                self(["sync", "--", f"{file.path}{DRAFT}"])
                made = self(["mv", "-f", "--", f"{file.path}{DRAFT}", file.path])
        if not made.ok:
            raise EngineError(f"cannot write it: {made.stderr.strip()}", file=file.path)


def packages_in(run: Run, states: str) -> frozenset[str]:
    """Names of the packages whose state is one of these letters; empty where there is no dpkg."""
    listed = run(["dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Abbrev}\n"])
    rows = (line.split() for line in listed.stdout.splitlines())
    # two letters, what is wanted and what is: `ii`, `hi` (held), `rc` (removed), `iU` (interrupted)
    return frozenset(row[0].partition(":")[0] for row in rows if len(row) > 1 and row[1][1:2] in [*states])


def group_members(run: Run) -> dict[str, tuple[str, ...]]:
    """This machine's own groups, and who the group file says is in them."""
    listed = run(["getent", "-s", "files", "group"])
    rows = (line.split(":") for line in listed.stdout.splitlines())
    return {row[0]: tuple(filter(None, row[3].split(","))) for row in rows if len(row) == 4}


def simulated(done: Completed, *verbs: str) -> frozenset[str]:
    """Names of the packages that an `apt-get --simulate` would do this to (`Inst`, `Purg`, `Remv`)."""
    rows = (line.split() for line in done.stdout.splitlines())
    return frozenset(row[1].partition(":")[0] for row in rows if len(row) > 1 and row[0] in verbs)


def last_words(done: Completed) -> str:
    """What apt-get said last: its last error, else its last line."""
    lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if line.startswith("E:")), lines[-1] if lines else "no output"
    )
