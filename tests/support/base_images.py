"""Base images in a registry of the tests' own, for builders that have none of the engine's."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.engine import docker
from tests.support.registry import Registry

#: The label of what is made in place of an official image: a team's own base images have none.
_STANDIN = "dev.kiro.standin"


def put(registry: Registry, bases: Sequence[str]) -> Mapping[str, str]:
    """Have the registry, which must be empty, hold these images of the engine's; their names there.

    What it holds then is kept: sending a gigabyte takes a minute.
    """
    names = {base: f"{registry.host}/base/{base}" for base in bases}
    ids = docker("image", "inspect", "--format", "{{.Id}}", *bases)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kiro-invoke-tests"
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"bases-{hashlib.sha256(f'{bases} {ids}'.encode()).hexdigest()[:16]}"
    with (cache / "bases.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            for base, ref in names.items():
                docker("build", "--quiet", "--tag", ref, "-", stdin=f"FROM {base}\nLABEL {_STANDIN}=\n")
                docker("push", "--quiet", ref)
                docker("image", "rm", ref)
            for old in cache.glob("bases-*"):
                shutil.rmtree(old)
            shutil.copytree(registry.data, kept.with_suffix(".new"))
            kept.with_suffix(".new").rename(kept)
            return names
        # blobs are never written again: hard links are enough of a copy
        registry.stop()
        shutil.rmtree(registry.data)
        shutil.copytree(kept, registry.data, copy_function=os.link)
    registry.start()
    return names
