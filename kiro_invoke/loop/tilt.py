"""A service's live update in Tilt's words: the same rules and commands that `watch` has. Pure.

Tilt decides by names of files, before anybody reads them; what it syncs keeps the times of this machine, and a command
is not told what changed. So names that dependencies can come from take the image, and cargo is always made to look at
contents.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kiro_invoke.builds.image_config import ImageConfig
from kiro_invoke.loop import scripts
from kiro_invoke.loop.attach import demanded
from kiro_invoke.model.fingerprint import Fingerprint
from kiro_invoke.model.live import CONTAINER, LABEL, NONE, SUPERVISOR, Live, SyncRule
from kiro_invoke.model.service import Service

#: A supervisor that can be told to start its program anew.
_SUPERVISOR = "kiro-supervise"
#: What a build gets besides the image's variables, as in a live update of `watch`.
_TELLING = 'export KIRO_REVISION= KIRO_FRESH="$(command -v kiro-fresh >/dev/null && echo kiro-fresh build)"; '
#: Where nothing makes the build tool look at contents: to it, everything was written just now.
_TOUCHED = '[ -n "$KIRO_FRESH" ] || find . -name target -prune -o -type f -exec touch {} +; '


@dataclass(frozen=True)
class TiltLive:
    """A live update: which files take the image all the same, what is synced where, what runs then.

    `fall_back_on` are paths of the context, files or folders, there or not. `run` are scripts for `sh -c`. With
    `restart_container` the container is restarted at the end. `env` are variables that the container must have.
    """

    fall_back_on: tuple[str, ...] = ()
    sync: tuple[SyncRule, ...] = ()
    run: tuple[str, ...] = ()
    restart_container: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


class Reading(Protocol):
    """What is known of a service's paths, as changes.dependencies has it."""

    def reads(self, path: str) -> bool:
        """Whether the dependency layer can depend on the content of a file at this path."""

    def declared(self, path: str) -> bool:
        """Whether kiro.yaml makes a file an input."""


@dataclass(frozen=True)
class NotLive:
    """Every change takes the image, and why."""

    why: str


def tilt_live(live: Live, image: ImageConfig, fall_back_on: Iterable[str]) -> TiltLive | NotLive:
    """The live update of a service whose image is like that; `live` has the image's labels in it already."""
    if asked := sorted(key for key in image.unknown if key.startswith(LABEL)):
        return NotLive(f"the label {asked[0]} is known to builds only")
    if not image.folder and any(not rule.place for rule in live.sync):
        return NotLive("the image's working folder is not known: give live.sync in kiro.yaml, or a WORKDIR")
    if live.restart == SUPERVISOR and _SUPERVISOR not in image.entrypoint:
        return NotLive(f"the image's ENTRYPOINT is no {_SUPERVISOR}: give live.restart in kiro.yaml")
    return TiltLive(
        tuple(fall_back_on),
        tuple(sorted((_placed(rule, image.folder) for rule in live.sync), key=_deepest_first)),
        tuple(_scripts(live)),
        live.restart == CONTAINER,
        demanded(image.labels or {}),
    )


def falling_back(
    contents: Collection[str], fingerprint: Fingerprint, inputs: Reading, roots: Iterable[str]
) -> tuple[str, ...]:
    """The files of which other contents can be a change of dependencies, and the `roots`, there or not.

    A file that only comes or goes (a target of cargo's, say) may be one too; the live update builds what is there then.
    """
    made_from = _made_from(fingerprint)
    some = {
        path
        for path in contents
        if inputs.declared(path) or (inputs.reads(path) and (fingerprint.doubt or path in made_from))
    }
    return tuple(sorted(some | set(roots)))


def deciding(fingerprint: Fingerprint, inputs: Reading, roots: Iterable[str]) -> tuple[str, ...]:
    """The files, and `roots`, of which other contents can mean that dependencies come from other files, too: a
    manifest in any folder may have got a script that names some.
    """
    read = {path for path in _made_from(fingerprint) if inputs.reads(path) and not inputs.declared(path)}
    return tuple(sorted(read | set(roots)))


def _made_from(fingerprint: Fingerprint) -> set[str]:
    return {part.file for part in (*fingerprint.parts, *fingerprint.unseen)}


def sharing(service: Service, services: Iterable[Service]) -> str:
    """The name of another service that is built from files of this one's context, and does not ignore the same; "":
    none is. What Tilt does not watch, it watches for nobody.
    """
    return next(
        (
            other.name
            for other in services
            if other.name != service.name
            and (
                other.context.is_relative_to(service.context) or service.context.is_relative_to(other.context)
            )
            and (other.context, _patterns(other)) != (service.context, _patterns(service))
        ),
        "",
    )


def _patterns(service: Service) -> list[str]:
    return [rule.pattern for rule in service.ignore]


def _placed(rule: SyncRule, folder: str) -> SyncRule:
    return SyncRule(rule.folder, posixpath.normpath(rule.place or folder))


def _deepest_first(rule: SyncRule) -> tuple[int, str]:
    """Tilt takes the first rule that fits, `watch` the deepest."""
    return -len(rule.folder), rule.folder


def _scripts(live: Live) -> Iterable[str]:
    if live.run:
        yield _TELLING + (_TOUCHED if live.plain else "") + live.run
    if live.before_restart:
        yield live.before_restart
    if live.restart == SUPERVISOR:
        yield scripts.restart()
    elif live.restart not in (CONTAINER, NONE):
        yield live.restart
    if live.test and live.restart != CONTAINER:
        yield live.test
