"""Build stand-ins: a root file system from the distribution's packages, then one image for each name."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from kiro_invoke.engine.bases import Say
from kiro_invoke.engine.certificates import extra_certificates, pem, shipped_texts
from kiro_invoke.engine.protocol import Completed, Engine, Run
from kiro_invoke.engine.side_by_side import side_by_side
from kiro_invoke.engine.standins import (
    CA_BUNDLE,
    LOCAL_CERTIFICATES,
    RELEASE,
    ROOT_IMAGE,
    dockerfile,
    holds_dockerfile,
    recipe_for,
    standin_name,
)
from kiro_invoke.model.errors import BuildFailed

#: Where roots are made. Not /tmp: it may forbid device files (Debian 13), which debootstrap needs.
SCRATCH = Path("/var/tmp")
_READ = "see the lines above"
_MIRROR = f"{_READ}; apt's mirror must be reachable"


@dataclass(frozen=True)
class _Step:
    """A command that is run on the way to a root, and what helps when it fails."""

    argv: tuple[str, ...]
    fix: str


@dataclass(frozen=True)
class StandinMaker:
    """Makes stand-ins on `engine`. `mirror` is the distribution's, as apt on this machine knows it."""

    engine: Engine
    run: Run
    mirror: str | None
    ca_bundle: Path | None

    def make(self, refs: Sequence[str], say: Say) -> None:
        """Build the stand-in of every official name in `refs`, side by side. One maker at a time."""
        with _alone(say):
            unmade = [ref for ref in refs if self.engine.image(standin_name(ref)) is None]
            if unmade and self.engine.image(ROOT_IMAGE) is None:
                say(f"stand-ins: making a Debian {RELEASE} root from packages")
                self._make_root()
            for ref, holds in zip(unmade, side_by_side(self._make_one, unmade, most=4), strict=True):
                say(f"{ref}: stand-in made, holds {holds}")

    def _make_root(self) -> None:
        if self.mirror is None or shutil.which("debootstrap", path=f"{os.defpath}:/usr/sbin:/sbin") is None:
            raise BuildFailed(
                "stand-ins for base images need debootstrap and a Debian mirror in apt's sources",
                fix="install debootstrap, or connect to an image registry",
            )
        sudo = () if os.geteuid() == 0 else ("sudo", "-n")
        # what a failed debootstrap leaves is root's, and may have /proc mounted: removed by a step below
        with tempfile.TemporaryDirectory(
            prefix="kiro-root-", dir=SCRATCH if SCRATCH.is_dir() else None, ignore_cleanup_errors=True
        ) as folder:
            root, tar = Path(folder) / "root", Path(folder) / "root.tar"
            try:
                for step in self._steps(root, tar, self.mirror):
                    done = self.run((*sudo, *step.argv), env={"DEBIAN_FRONTEND": "noninteractive"})
                    _must(done, "the root file system", step.fix)
            finally:
                self.run((*sudo, "rm", "-rf", "--one-file-system", "--", str(root)))
            self.engine.import_root(tar, ROOT_IMAGE)

    def _steps(self, root: Path, tar: Path, mirror: str) -> Iterator[_Step]:
        """What turns packages into `tar`; `root` lies beside it."""
        yield _Step(
            # bookworm's debootstrap has no script of that name; sid's serves every later release
            ("debootstrap", "--variant=minbase", RELEASE, str(root), mirror, "sid"),
            f"{_MIRROR}, and {root.parent.parent} must allow device files and programs (no nodev, no noexec)",
        )
        for argv in self._trust(root, tar.parent):
            yield _Step(argv, f"{_READ}; {argv[-2]} must be readable, and {root.parent.parent} have room")
        yield _Step(
            ("tar", "-C", str(root), "-cf", str(tar), "--exclude=./dev/*", "--exclude=./proc/*", "."),
            f"{_READ}; {root.parent.parent} needs 500 MB of room",
        )

    def _trust(self, root: Path, folder: Path) -> list[tuple[str, ...]]:
        """Commands that make the root trust what the host trusts.

        The whole bundle serves until ca-certificates is installed and writes its own; it then adds the
        host's extra certificates, which lie where it looks for local ones.
        """
        bundle = self.ca_bundle or Path(CA_BUNDLE)
        if not bundle.is_file():
            return []
        copies = [(bundle, CA_BUNDLE)]
        extra = extra_certificates(bundle.read_text(errors="replace"), shipped_texts())
        for number, certificate in enumerate(sorted(extra) if self.ca_bundle else ()):
            file = folder / f"kiro-host-{number}.crt"
            file.write_text(pem(certificate))
            copies.append((file, f"{LOCAL_CERTIFICATES}/{file.name}"))
        return [
            ("install", "-D", "-m", "0644", "--", str(source), str(root / target.lstrip("/")))
            for source, target in copies
        ]

    def _make_one(self, ref: str) -> str:
        recipe = recipe_for(ref)
        assert recipe is not None, ref
        name = standin_name(ref)
        draft = f"{name}-draft"
        what = f"the stand-in for {ref}"
        _must(self.engine.build_text(dockerfile(recipe, ref), draft), what, f"{_MIRROR} from within builds")
        holds = self.engine.run_once(draft, recipe.version_command)
        _must(self.engine.build_text(holds_dockerfile(draft, holds), name), what, _READ)
        self.engine.untag(draft)
        return holds


@contextmanager
def _alone(say: Say) -> Iterator[None]:
    """One maker of this user at a time, told when it waits. The lock lies where nobody else can put one."""
    try:
        folder = Path.home() / ".cache" / "kiro-invoke"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        lock = FileLock(folder / "standins.lock", mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say("stand-ins: waiting for another kiro that is making some")
            lock.acquire()
    except (OSError, RuntimeError) as error:
        raise BuildFailed(
            f"cannot take the lock for making stand-ins: {error}",
            fix="let HOME be a folder of yours, with a .cache that you can write",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _must(done: Completed, what: str, fix: str) -> None:
    if not done.ok:
        lines = tuple(line for line in f"{done.stdout}{done.stderr}".splitlines() if line.strip())
        raise BuildFailed(
            f"could not make {what}: {lines[-1] if lines else done.argv[0]}",
            fix=fix,
            tail=lines[-20:],
        )
