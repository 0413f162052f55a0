"""Whether cache mounts work: a build writes a word into one, and another build reads it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.builds.bake import literal
from kiro_invoke.cache.reclaim import drop_records
from kiro_invoke.cache.records import mount_of
from kiro_invoke.doctor.finding import Finding, ok, problem, skipped
from kiro_invoke.engine.protocol import CacheRecord, Engine

MOUNTS = "cache-mounts"
#: The folder that is sent. To the engine, what has the same name takes the place of what was sent before.
_SENT = "kiro-doctor"


@dataclass(frozen=True)
class Tried:
    """What came of it. `why` tells why it was not tried, `said` what the engine said where a build failed."""

    wrote: bool = False
    read: bool = False
    seconds: float = 0.0
    said: str = ""
    why: str = ""


def try_mounts(engine: Engine, base: str, folder: Path, word: str) -> Tried:
    """Build twice on the local image `base`, which has a shell, from `folder`. Of what was built, nothing is left.

    `word` is unique: it names the mount and its namespace, and is what is written and read.
    """
    begun = time.monotonic()
    lines: list[str] = []
    before = {record.id for record in engine.cache_records()}
    try:
        wrote = _bake(engine, base, folder, word, f"echo {word} >/kiro-mount/word", lines)
        read = wrote and _bake(engine, base, folder, word, f"grep -x {word} /kiro-mount/word", lines)
    finally:
        new = [record for record in engine.cache_records() if record.id not in before]
        drop_records(engine, [record.id for record in new if _is_trials(record, word)])
    return Tried(wrote, read, time.monotonic() - begun, "" if read else _error(lines))


def _error(lines: Sequence[str]) -> str:
    """What the engine said last of what went wrong."""
    return next((line.strip() for line in reversed(lines) if "ERROR" in line), "")[:300]


def _bake(engine: Engine, base: str, folder: Path, word: str, shell: str, lines: list[str]) -> bool:
    mount = f"--mount=type=cache,id={word},target=/kiro-mount"
    sent = folder / _SENT
    sent.mkdir(exist_ok=True)
    # not inline: the client would leave a copy in the folder for temporary files
    (sent / "Dockerfile").write_text(f"FROM {base}\nRUN --network=none {mount} {shell}\n", encoding="utf-8")
    target = {
        "context": literal(str(sent)),
        "dockerfile": "Dockerfile",
        "output": ["type=cacheonly"],
        "args": {"BUILDKIT_CACHE_MOUNT_NS": word},
    }
    definition = json.dumps({"target": {"default": target}})
    environ = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDX_BAKE_ENTITLEMENTS_FS": "0"}
    return engine.bake(definition, env=environ, on_line=lines.append).ok


def _is_trials(record: CacheRecord, word: str) -> bool:
    """Whether a record tells that it is the trial's mount, or one of its layers."""
    mount = mount_of(record)
    return mount[0] == word if mount else word in record.description


def check_mounts(tried: Tried) -> Iterator[Finding]:
    if tried.why:
        yield skipped(MOUNTS, tried.why)
    elif tried.read:
        yield ok(MOUNTS, f"one build wrote into a cache mount, the next one read it ({tried.seconds:.1f} s)")
    elif not tried.wrote:
        yield problem(
            MOUNTS,
            f"a build with a cache mount fails{f': {tried.said}' if tried.said else ''}",
            "see whether `docker buildx build` works at all; restart the engine",
        )
    else:
        yield problem(
            MOUNTS,
            "what one build wrote into a cache mount, the next one did not find: every build compiles from scratch",
            "see whether something prunes the engine's cache (a cron job, CI); restart the engine",
        )
