"""An engine whose builds are made by a builder of buildx's, and whose images end on it all the same."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kiro_invoke.engine import carrying
from kiro_invoke.engine.brake import Brake, passed_on, pulled_when
from kiro_invoke.engine.carrying import NotCarried
from kiro_invoke.engine.docker import DockerEngine
from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.held_lock import HeldBy, only_one
from kiro_invoke.engine.protocol import CacheRecord, Completed, EngineFacts
from kiro_invoke.model.errors import EngineError

#: A builder that is silent for so long is asked whether it is there.
SILENCE_SECONDS = 5.0
#: A refusal that comes so soon is no silence: nobody is there.
_AT_ONCE = 2.0
#: What buildx says where a builder is an engine of the driver docker.
_NO_LAYOUTS = re.compile(r"ERROR: .*OCI exporter is not supported")

#: Why a builder does not answer within so many seconds; "" where it does.
Asks = Callable[[str, float], str]


class FarEngine(DockerEngine):
    """The engine `near`, but what it bakes is baked by the builder `name`. Its cache is that builder's own affair.

    `kept` is a folder for what images on their way here are made of.
    """

    def __init__(self, near: DockerEngine, name: str, patience: float, kept: Path) -> None:
        super().__init__(near._api, near._address, near._facts, near._run, near._buildx)
        self._name = name
        self._patience = patience
        self._kept = kept

    @property
    def facts(self) -> EngineFacts:
        return replace(self._facts, address=f"builder {self._name}", ours=False, builder=self._name)

    def bake(
        self,
        definition: str,
        *,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        brake: Brake | None = None,
    ) -> Completed:
        whole = self._kept / "whole"
        sent, layouts = carrying.carried(definition, self._kept)
        if not layouts or whole.exists():
            return self._baked(definition, env, on_line, brake)
        try:
            with only_one(self._kept / "lock"):
                try:
                    return self._carried(sent, layouts, env, on_line, brake)
                except NotCarried as trouble:
                    carrying.drop(layouts)
                    if trouble.always:
                        write_whole(whole, f"{trouble}\n")
        except HeldBy:
            return self._baked(definition, env, on_line, brake)
        # what ran has been told: of this, only why it fails
        lines: list[str] = []
        done = self._baked(definition, env, lines.append, brake)
        if not done.ok:
            for line in lines:
                on_line(line)
        return done

    def _carried(
        self,
        definition: str,
        layouts: Mapping[str, Path],
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        brake: Brake | None,
    ) -> Completed:
        """Build, and take the layers that are not here; NotCarried where images must come whole."""
        carrying.begin(layouts)
        refused: list[str] = []

        def heard(line: str) -> None:
            if _NO_LAYOUTS.match(line):
                refused.append(line)
            else:
                on_line(line)

        done = self._baked(definition, env, heard, brake)
        if refused and not done.ok:
            raise NotCarried(refused[0], always=True)
        if done.ok:
            for tag, folder in layouts.items():
                self._take(tag, folder)
        return done

    def _take(self, tag: str, folder: Path) -> None:
        """Load what a builder left in a folder; NotCarried where the engine does not have that image then."""
        layout = carrying.read(folder)
        here = self.image(tag)
        if here is None or here.id != layout.image:
            lacking = layout.lacking(here.layers if here else ())
            is_all = len(lacking) == len(layout.layers)
            try:
                self.load(layout.archive(tag, lacking))
            except EngineError as error:
                raise NotCarried(error.message, always=is_all) from None
            here = self.image(tag)
            if here is None or here.id != layout.image:
                raise NotCarried("the engine names images otherwise", always=is_all)
        carrying.empty(layout)

    def _baked(
        self, definition: str, env: Mapping[str, str], on_line: Callable[[str], None], brake: Brake | None
    ) -> Completed:
        ended = Brake()
        with passed_on(brake, ended), watched(ended, self._why, self._patience) as watch:

            def heard(line: str) -> None:
                watch.heard()
                on_line(line)

            done = self._bake(definition, env=env, on_line=heard, brake=ended, builder=self._name)
        if watch.trouble and not (brake and brake.pulled):
            raise EngineError(f"it {watch.trouble}", fix="see `docker buildx ls`")
        return done

    def _why(self, seconds: float) -> str:
        return self.builder_trouble(self._name, seconds)

    def cache_records(self) -> tuple[CacheRecord, ...]:
        return ()

    def prune(self, ids: Sequence[str]) -> frozenset[str]:
        del ids
        return frozenset()


class Watch:
    """Whether a builder is still there: asked when it has been silent, and given up when it does not answer."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()
        #: Why it was given up; "" where it was not.
        self.trouble = ""

    def heard(self) -> None:
        self._last = self._clock()

    @property
    def silent(self) -> float:
        """Seconds since it was heard."""
        return self._clock() - self._last


@contextmanager
def watched(
    brake: Brake,
    asks: Callable[[float], str],
    patience: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: float = 0.5,
) -> Iterator[Watch]:
    """While inside, pull the brake once a builder was neither heard nor answered for `patience` seconds."""
    watch = Watch(clock)

    def is_lost() -> bool:
        if watch.silent < min(SILENCE_SECONDS, patience):
            return False
        asked = clock()
        why = asks(max(patience - watch.silent, pause))
        if not why:
            watch.heard()
        elif clock() - asked < _AT_ONCE or watch.silent >= patience:
            watch.trouble = f"did not answer for {watch.silent:.0f} s ({why})"
        return bool(watch.trouble)

    with pulled_when(is_lost, brake, pause):
        yield watch
