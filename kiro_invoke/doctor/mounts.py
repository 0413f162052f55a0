"""Whether cache mounts work: a build writes a word into one, and another build reads it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from kiro_invoke.cache.reclaim import drop_records
from kiro_invoke.cache.records import MOUNT, mount_id
from kiro_invoke.doctor.finding import Finding, ok, problem, skipped
from kiro_invoke.engine.protocol import CacheRecord, Completed, Engine

MOUNTS = "cache-mounts"
#: What a build is sent: next to nothing.
_LITTLE = 10_000


@dataclass(frozen=True)
class Tried:
    """What came of it. `why` tells why it was not tried, `said` what the engine said where a build failed."""

    wrote: bool = False
    read: bool = False
    seconds: float = 0.0
    said: str = ""
    why: str = ""


def try_mounts(engine: Engine, base: str, folder: str, word: str) -> Tried:
    """Build twice on the local image `base`, which has a shell, in the empty `folder`; nothing is left in the engine.

    `word` is unique: it names the mount and its namespace, and is what is written and read.
    """
    begun = time.monotonic()
    before = {record.id for record in engine.cache_records()}
    try:
        wrote = _bake(engine, base, folder, word, f"echo {word} >/kiro-mount/word")
        read = _bake(engine, base, folder, word, f"grep -x {word} /kiro-mount/word") if wrote.ok else wrote
    finally:
        left = [
            record.id
            for record in engine.cache_records()
            if record.id not in before and _is_ours(record, word)
        ]
        drop_records(engine, left)
    failed = wrote if not wrote.ok else read
    said = (
        next((line for line in reversed(failed.stderr.splitlines()) if "ERROR" in line), "")
        if not read.ok
        else ""
    )
    return Tried(wrote.ok, read.ok, time.monotonic() - begun, said.strip()[:300])


def _bake(engine: Engine, base: str, folder: str, word: str, shell: str) -> Completed:
    mount = f"--mount=type=cache,id={word},target=/kiro-mount"
    target = {
        "context": folder,
        "dockerfile-inline": f"FROM {base}\nRUN --network=none {mount} {shell}\n",
        "output": ["type=cacheonly"],
        "args": {"BUILDKIT_CACHE_MOUNT_NS": word},
    }
    definition = json.dumps({"target": {"default": target}})
    return engine.bake(definition, env={"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}, on_line=lambda _line: None)


def _is_ours(record: CacheRecord, word: str) -> bool:
    """Whether a record that is new is the trial's: its mount, its layers, or the little that it was sent."""
    if record.kind == MOUNT:
        mount = mount_id(record.description)
        return mount is not None and mount[0] == word
    sent = record.kind == "source.local" and record.size < _LITTLE and not record.in_use
    return word in record.description or sent


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
