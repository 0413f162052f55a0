"""Whether there is room for a build on the engine's disk, and what would make room. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.cache.made import joined
from kiro_invoke.engine.disk import Room
from kiro_invoke.model.amounts import told_bytes

#: What a service needs that nothing is known of: its dependencies, compiled or installed, and a development image.
UNKNOWN_BYTES = 2_000_000_000
#: How many builds back it is looked what they left.
FORMER_BUILDS = 20


@dataclass(frozen=True)
class Former:
    """A build that was made here: the steps that ran as (service, text), and by what cache mounts grew meanwhile."""

    ran: tuple[tuple[str, str], ...]
    mounts: int = 0


@dataclass(frozen=True)
class Need:
    """The bytes that a build probably leaves on the engine's disk, and what that was reckoned from."""

    bytes: int
    cause: str


@dataclass(frozen=True)
class Freeable:
    """What could be removed: what it is, the command that does it, the bytes that it holds.

    `asks`: only a person may have it removed.
    """

    what: str
    command: str
    bytes: int
    asks: bool = False


@dataclass(frozen=True)
class Enough:
    """The floor stays free."""

    cause: str


@dataclass(frozen=True)
class CleanFirst:
    """So many bytes must be removed first, and can be."""

    bytes: int
    cause: str


@dataclass(frozen=True)
class Stop:
    """There is no room, and what may be removed makes none. `message` says why, `fix` what would free how much."""

    message: str
    fix: str


def need_of(
    services: Sequence[str], cold: Iterable[str], former: Sequence[Former], sizes: Mapping[str, int]
) -> Need:
    """What a build of these services probably adds, those among them included that are `cold`: of which the engine
    holds no image that was built here.

    `sizes` are the bytes that each instruction's layer held when it last ran (see remembered.Made), `former` the last
    builds in which a step ran. A cold service takes what all its steps left that ran in them, a build of warm ones
    what such builds added on average: the floor is there for one that is out of the ordinary.
    """
    causes: list[str] = []
    total = 0
    for service in dict.fromkeys(cold):
        texts = {joined(text) for build in former for name, text in build.ran if name == service}
        left = sum(sizes.get(text, 0) for text in texts)
        total += left or UNKNOWN_BYTES
        if left:
            causes.append(f"{service} is built anew: its layers held {told_bytes(left)}")
        else:
            causes.append(f"{service} was never built here: {told_bytes(UNKNOWN_BYTES)} assumed")
    warm = [service for service in services if service not in {*cold}]
    if warm and (builds := [build for build in former if any(name in warm for name, _ in build.ran)]):
        added = sum(_added(build, warm, sizes) for build in builds) // len(builds)
        total += added
        count = f"the last {len(builds)} builds" if len(builds) > 1 else "the last build"
        causes.append(
            f"{count} of {', '.join(warm)} added {told_bytes(added)}{' on average' * (len(builds) > 1)}"
        )
    elif warm:
        held = min(sum(sizes.values()), UNKNOWN_BYTES)
        total += held
        causes.append(f"nothing tells what builds of {', '.join(warm)} add: {told_bytes(held)} assumed")
    return Need(total, "; ".join(causes))


def _added(build: Former, services: Sequence[str], sizes: Mapping[str, int]) -> int:
    """What one build left: a step that services share left it once."""
    texts = {joined(text) for service, text in build.ran if service in services}
    return sum(sizes.get(text, 0) for text in texts) + max(build.mounts, 0)


def decide(room: Room, need: Need, floor: int, could_free: Sequence[Freeable]) -> Enough | CleanFirst | Stop:
    """Whether a build may begin. `could_free` is what may be removed for it."""
    if floor <= 0:
        return Enough("no floor is set")
    wanted = need.bytes + floor - room.free
    if wanted <= 0:
        return Enough(f"{room}, {told_bytes(need.bytes)} needed: {need.cause}")
    cause = (
        f"{room}, this build probably needs {told_bytes(need.bytes)} ({need.cause})"
        f" and {told_bytes(floor)} are to stay free"
    )
    if sum(each.bytes for each in could_free if not each.asks) >= wanted:
        return CleanFirst(wanted, cause)
    nothing = "" if any(each.bytes for each in could_free) else "nothing of this project's own can go; "
    return Stop(
        cause,
        f"{nothing}{remedies(could_free)}; or let less stay free (disk.floor in kiro.yaml, KIRO_DISK_FLOOR)",
    )


def remedies(could_free: Iterable[Freeable]) -> str:
    """What a person can do about a full disk, with what each would bring where that is known."""
    known = [
        f"`{each.command}` would free {told_bytes(each.bytes)} ({each.what})"
        for each in could_free
        if each.bytes > 0
    ]
    return "; ".join([*known, "`docker system df -v` shows what else the engine holds"])
