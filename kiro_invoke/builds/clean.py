"""Which stages a clean build must run anew: those whose result may depend on what cache mounts held. Pure."""

from __future__ import annotations

from collections.abc import Set

from kiro_invoke.builds.dockerfile import Dockerfile, Instruction, Stage


def stages_to_run(dockerfile: Dockerfile) -> tuple[str, ...]:
    """The stages that work on the context with a cache mount, and all that take from them, in file order.

    A stage that the context cannot reach (a base, a tool's installation) is left to the cache: it is the same
    for everybody.
    """
    sources = {s.name: dockerfile.reachable(s.name) for s in dockerfile.stages}
    reading = {s.name for s in dockerfile.stages if any(map(reads_context, s.instructions))}
    mounting = {s.name for s in dockerfile.stages if _has_cache_mount(s) and sources[s.name] & reading}
    return tuple(s.name for s in dockerfile.stages if sources[s.name] & mounting)


def tainted_stages(dockerfile: Dockerfile, failed: str, ran: Set[str]) -> tuple[str, ...]:
    """The stages to run anew where what a cache mount held may be in them, in file order.

    These are those of a clean build, the one that `failed`, and of those that it takes from the ones that have a cache
    mount and `ran` in that build: what came from the engine's cache was made before.
    """
    below = dockerfile.reachable(failed)
    anew = {*stages_to_run(dockerfile), failed}
    anew |= {s.name for s in dockerfile.stages if s.name in below & ran and _has_cache_mount(s)}
    return tuple(s.name for s in dockerfile.stages if s.name in anew)


def mounting_stages(dockerfile: Dockerfile) -> tuple[str, ...]:
    """All stages that have a cache mount, and all that take from them, in file order."""
    mounting = {s.name for s in dockerfile.stages if _has_cache_mount(s)}
    return tuple(s.name for s in dockerfile.stages if dockerfile.reachable(s.name) & mounting)


def _has_cache_mount(stage: Stage) -> bool:
    return any(
        mount.get("type") == "cache" for instruction in stage.instructions for mount in instruction.mounts
    )


def reads_context(instruction: Instruction) -> bool:
    """Whether an instruction takes files from the build context."""
    if instruction.keyword in {"COPY", "ADD"}:
        return not instruction.sources and not instruction.heredoc
    return any(mount.get("type", "bind") == "bind" and not mount.get("from") for mount in instruction.mounts)
