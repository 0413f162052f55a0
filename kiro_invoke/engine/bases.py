"""Make every base image of a build available: present, pulled, or stood in for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import Engine, RegistryRefused, RegistrySilent
from kiro_invoke.engine.side_by_side import side_by_side
from kiro_invoke.engine.standins import LABEL_HOLDS, recipe_for, standin_name, stands_in
from kiro_invoke.model.errors import BaseUnavailable

PROBE_SECONDS = 5.0
#: How long a registry that did not answer is not asked again.
SILENCE_SECONDS = 3600.0
_PULLS = 16

Say = Callable[[str], None]


class BaseStatus(StrEnum):
    """How a base image came to be here."""

    PRESENT = "present"
    PULLED = "pulled"
    STANDIN = "stand-in"


@dataclass(frozen=True)
class Base:
    """A base image that is ready. `image` is the local name that builds must use for `ref`."""

    ref: str
    status: BaseStatus
    image: str
    holds: str = ""

    @property
    def context(self) -> tuple[str, str] | None:
        """The named context that a build needs to find it, if its own name does not lead there."""
        return None if self.image == self.ref else (self.ref, f"docker-image://{self.image}")


@dataclass(frozen=True)
class Silence:
    """Remembers, in a file of the state folder, which registries did not answer, and until when."""

    path: Path
    clock: Callable[[], float] = time.time

    def holds_for(self, ref: str) -> bool:
        until = self._read().get(registry_of(ref), 0.0)
        return self.clock() < until <= self.clock() + SILENCE_SECONDS

    def remember(self, ref: str) -> None:
        with _writing:
            self._write({**self._read(), registry_of(ref): self.clock() + SILENCE_SECONDS})

    def forget(self, ref: str) -> None:
        with _writing:
            if registry_of(ref) in (known := self._read()):
                self._write({name: until for name, until in known.items() if name != registry_of(ref)})

    def _read(self) -> dict[str, float]:
        with suppress(OSError, ValueError, AttributeError, TypeError):
            raw = json.loads(self.path.read_text())
            return {str(name): float(until) for name, until in raw.items()}
        return {}

    def _write(self, known: dict[str, float]) -> None:
        write_whole(self.path, json.dumps(known))


#: Several images are pulled side by side, and each may change what is remembered.
_writing = threading.Lock()

#: Builds the stand-ins for these official names (StandinMaker.make).
MakeStandins = Callable[[Sequence[str], Say], None]


def resolve(
    refs: Sequence[str],
    engine: Engine,
    *,
    silence: Silence,
    make_standins: MakeStandins,
    pull: bool,
    say: Say,
) -> tuple[Base, ...]:
    """Make every image of `refs` available, pulling concurrently; BuildFailed names what cannot be had.

    Without `pull` an image that is here is not asked for again. Stand-ins are used where the registry
    is silent, and replaced (announced through `say`) when `pull` finds that it speaks again. On an engine
    that is not ours, where they lack the official name, they are found by their own.
    """
    found = {ref: _local(ref, engine) for ref in refs}
    # what a digest names never changes
    wanted = [ref for ref in found if found[ref] is None or (pull and "@" not in ref)]
    each = side_by_side(lambda ref: _pull(ref, found[ref], engine, silence, pull, say), wanted, most=_PULLS)
    pulled = dict(zip(wanted, each, strict=True))
    missing = [ref for ref in wanted if not pulled[ref] and found[ref] is None]
    refused = [ref for ref in missing if recipe_for(ref) is None]
    if refused:
        raise BaseUnavailable(
            refused[0],
            f"base image {refused[0]} is not here, no registry answers, and {_no_standin(refused[0])}",
            fix="connect to its registry, or name a reachable image under base_images: in kiro.yaml",
        )
    # names of one image (rust:1, docker.io/rust:1) share a stand-in
    standins = {standin_name(ref): ref for ref in reversed(missing)}
    if unmade := [ref for name, ref in standins.items() if engine.image(name) is None]:
        make_standins(unmade[::-1], say)
    if engine.facts.ours:
        for ref in missing:
            engine.tag(standin_name(ref), ref)
    return tuple(
        Base(ref, BaseStatus.PULLED, ref) if pulled.get(ref) else found[ref] or _standin(ref, engine)
        for ref in refs
    )


def _no_standin(ref: str) -> str:
    """Why nothing can stand in for an image."""
    return "no stand-in can be what a digest names" if "@" in ref else "no stand-in is known for it"


def registry_of(ref: str) -> str:
    """The registry that an image reference names: the part before the first `/` if it is a host."""
    first, slash, _ = ref.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_host else "docker.io"


def _local(ref: str, engine: Engine) -> Base | None:
    """The base that is here already: the image of that name, or a stand-in that must not carry it."""
    image = engine.image(ref)
    if image is None:
        made = not engine.facts.ours and recipe_for(ref) and engine.image(standin_name(ref))
        return _standin(ref, engine) if made else None
    if stands_in(image.labels, ref):
        return Base(ref, BaseStatus.STANDIN, ref, image.labels.get(LABEL_HOLDS, ""))
    return Base(ref, BaseStatus.PRESENT, ref)


def _standin(ref: str, engine: Engine) -> Base:
    name = standin_name(ref)
    image = engine.image(name)
    holds = image.labels.get(LABEL_HOLDS, "") if image else ""
    return Base(ref, BaseStatus.STANDIN, ref if engine.facts.ours else name, holds)


def _pull(ref: str, here: Base | None, engine: Engine, silence: Silence, ask_again: bool, say: Say) -> bool:
    """Whether `ref` was pulled; `here` is what serves for it so far.

    A silent registry is not asked twice within SILENCE_SECONDS.
    """
    if silence.holds_for(ref) and not ask_again:
        return False
    try:
        engine.probe(ref, PROBE_SECONDS)
        if here is not None and here.status is BaseStatus.STANDIN:
            say(
                f"{ref}: the registry answers again; the stand-in is replaced, which rebuilds what stands on it"
            )
        say(f"{ref}: pulling")
        engine.pull(ref, lambda done: say(f"{ref}: {done}"))
    except RegistrySilent as trouble:
        silence.remember(ref)
        say(f"{ref}: no registry answers ({trouble})")
        return False
    except RegistryRefused as trouble:
        if here is not None:
            say(f"{ref}: kept as it is, the registry refused it ({trouble})")
            return False
        raise BaseUnavailable(
            ref,
            f"base image {ref}: its registry refused it ({trouble})",
            fix="correct the name or log in with `docker login`",
        ) from None
    silence.forget(ref)
    return True
