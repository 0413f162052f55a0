"""The command `pin-images`: write the digests of base images into the Dockerfiles that name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiro_invoke import config
from kiro_invoke.builds import pinning
from kiro_invoke.builds.pinning import DIGEST, Answers, Digest, Given, Loose, Pin, Spot, Unknown
from kiro_invoke.builds.planner import Profile, shown
from kiro_invoke.cache import warm
from kiro_invoke.commands import opening
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine.bases import PROBE_SECONDS, registry_of
from kiro_invoke.engine.protocol import Engine, RegistryRefused, RegistrySilent
from kiro_invoke.engine.several_files import replace_all
from kiro_invoke.engine.side_by_side import side_by_side
from kiro_invoke.engine.standins import LABEL, LABEL_HOLDS, official, recipe_for, standin_name
from kiro_invoke.model.errors import ExitCode, KiroError, UsageError
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean

_ASKED_AT_ONCE = 8


@dataclass(frozen=True)
class Asked:
    """What `pin-images` was asked for."""

    services: tuple[str, ...] = ()
    update: bool = False
    check: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Found:
    """The Dockerfiles with their texts, and what names images in each."""

    texts: Mapping[Path, str]
    given: Given
    spots: Mapping[Path, tuple[Spot, ...]]
    loose: Mapping[Path, tuple[Loose, ...]]

    @property
    def refs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(spot.ref for each in self.spots.values() for spot in each))


def pin_images(asked: Asked) -> Callable[[Surface], Answer]:
    """Pin each base image to the digest that its tag has now; what is pinned stays so, unless it is to be updated.

    KiroError, and nothing written, where a digest cannot be had, or a stand-in takes the image's place here.
    """

    def body(surface: Surface) -> Answer:
        if asked.check and (asked.update or asked.dry_run):
            raise UsageError(
                "--check writes nothing anyway", fix="give it without --update and without --dry-run"
            )
        project = config.load(surface.folder, surface.environ, services=asked.services)
        found = _read(project)
        ask_all = asked.update or asked.check
        tags = pinning.asked([ref for ref in found.refs if not asked.check or "@" in ref], update=ask_all)
        engine = opening.open_engine(surface, setup=False) if tags else None
        answers = _answers(tags, engine) if engine else {}
        if asked.check:
            return _checked(project, found, answers)
        rows = pinning.pins(found.refs, answers, update=asked.update)
        _refuse_unknown(project, found, rows)
        contents = _contents(project, found, rows)
        if not asked.dry_run:
            replace_all(contents)
        return _told(project, found, rows, contents, asked)

    return body


def _read(project: Project) -> Found:
    recipes = warm.read_recipes(project, (Profile.PROD, Profile.DEV))
    given = Given(dict(project.build_args), dict(project.base_images))
    # the same file may be two services'
    paths = {recipe.path.resolve(): recipe.path for recipe in recipes}
    texts = {path: path.read_bytes().decode("utf-8") for path in paths.values()}
    every = {path: pinning.spots(text, given) for path, text in texts.items()}
    return Found(
        texts,
        given,
        {path: tuple(one for one in each if isinstance(one, Spot)) for path, each in every.items()},
        {path: tuple(one for one in each if isinstance(one, Loose)) for path, each in every.items()},
    )


def _answers(tags: Sequence[str], engine: Engine) -> Answers:
    each = side_by_side(lambda tag: _answer(tag, engine), tags, most=_ASKED_AT_ONCE)
    return dict(zip(tags, each, strict=True))


def _answer(tag: str, engine: Engine) -> Digest | Unknown:
    """The digest of a tag as its registry says; where none answers, that of the image that was pulled here."""
    here = engine.image(tag)
    labels = here.labels if here else {}
    if labels.get(LABEL) or (here is None and recipe_for(tag) and engine.image(standin_name(tag))):
        holds = labels.get(LABEL_HOLDS, "")
        return Unknown(f"a stand-in takes its place here{f' (really {holds})' if holds else ''}")
    try:
        digest = engine.probe(tag, PROBE_SECONDS)
    except RegistrySilent as trouble:
        own = official(tag.rpartition(":")[0])
        pulled = [known for known in here.digests if official(known.partition("@")[0]) == own] if here else []
        if not pulled:
            return Unknown(f"no registry answers ({trouble}), and it was never pulled here")
        return _whole(pulled[0].partition("@")[2], is_local=True)
    except RegistryRefused as trouble:
        return Unknown(f"its registry refused it ({trouble})")
    return _whole(digest, is_local=False)


def _whole(digest: str, *, is_local: bool) -> Digest | Unknown:
    """Untrusted text becomes part of a Dockerfile only if it is a digest."""
    return Digest(digest, is_local) if DIGEST.fullmatch(digest) else Unknown("the answer holds no digest")


def _refuse_unknown(project: Project, found: Found, rows: Iterable[Pin]) -> None:
    unknown = [row for row in rows if row.status == "unknown"]
    if not unknown:
        return
    each = "; ".join(f"{row.ref}: {row.why}" for row in unknown)
    path, line = _place(found, unknown[0].ref)
    silent = any("stand-in" in row.why for row in unknown)
    raise KiroError(
        f"nothing was pinned: {each}",
        file=shown(path, project.root),
        line=line,
        fix="run `kiro warm-cache --pull` where a registry answers, then pin"
        if silent
        else "correct the name, log in with `docker login`, or pin where its registry answers",
    )


def _place(found: Found, ref: str) -> tuple[Path, int]:
    return next((path, spot.line) for path, each in found.spots.items() for spot in each if spot.ref == ref)


def _contents(project: Project, found: Found, rows: Iterable[Pin]) -> dict[Path, tuple[bytes, bytes]]:
    """The files to change, with what they hold and what they are to hold."""
    wanted = {row.ref: row.to for row in rows if row.to != row.ref}
    contents = {}
    for path, text in found.texts.items():
        try:
            changed = pinning.pinned_text(text, found.given, wanted)
        except ValueError as trouble:
            raise KiroError(
                f"its images cannot be pinned: {trouble}; nothing was changed",
                file=shown(path, project.root),
                fix="write the digests yourself, or give each image an argument of its own",
            ) from None
        if changed != text:
            contents[path] = (text.encode(), changed.encode())
    return contents


def _told(
    project: Project,
    found: Found,
    rows: Sequence[Pin],
    contents: Mapping[Path, object],
    asked: Asked,
) -> Answer:
    fields = _fields(project, found, rows) | {"files": [shown(path, project.root) for path in contents]}
    loose = fields["left"]
    if asked.dry_run:
        fields["dry_run"] = True

    def show(surface: Surface) -> None:
        for row in rows:
            surface.out.line(clean(_line(row, dry=asked.dry_run)))
        _show_left(surface, loose)

    return Answer(fields, show, ok=not loose, exit_code=ExitCode.MISSED if loose else ExitCode.DONE)


def _checked(project: Project, found: Found, answers: Answers) -> Answer:
    """What is not pinned, or not to what its tag has now."""
    known = pinning.pins([ref for ref in found.refs if pinning.is_pinned(ref)], answers, update=True)
    outdated = [
        Pin(row.ref, row.to, "outdated" if row.status == "updated" else row.status, why=row.why)
        for row in known
    ]
    bare = [Pin(ref, ref, "unpinned") for ref in found.refs if not pinning.is_pinned(ref)]
    rows = [*bare, *outdated]
    fields = _fields(project, found, rows)
    ok = not fields["left"] and not any(row.status in {"unpinned", "outdated"} for row in rows)

    def show(surface: Surface) -> None:
        for row in rows:
            surface.out.line(clean(_line(row, dry=False)))
        _show_left(surface, fields["left"])

    return Answer(fields, show, ok=ok, exit_code=ExitCode.DONE if ok else ExitCode.MISSED)


def _fields(project: Project, found: Found, rows: Sequence[Pin]) -> dict[str, Any]:
    images = []
    for row in rows:
        places = [
            {"file": shown(path, project.root), "line": spot.line}
            for path, each in found.spots.items()
            for spot in each
            if spot.ref == row.ref
        ]
        one: dict[str, Any] = {"ref": row.ref, "status": row.status, "places": places}
        if row.to != row.ref:
            one |= {"to": row.to, "source": "local" if row.is_local else "registry"}
        images.append(one | ({"why": row.why} if row.why else {}))
    left = [
        {"ref": one.ref, "file": shown(path, project.root), "line": one.line, "why": one.why}
        for path, each in found.loose.items()
        for one in each
    ]
    return {"images": images, "left": left}


def _line(row: Pin, *, dry: bool) -> str:
    why = f" ({row.why})" if row.why else ""
    if row.to == row.ref:
        return f"{row.status:9}  {row.ref}{why}"
    source = f", as it was pulled here: {registry_of(row.ref)} does not answer" if row.is_local else ""
    return f"{'would be ' if dry else ''}{row.status:9}  {row.ref} -> {row.to.partition('@')[2]}{source}"


def _show_left(surface: Surface, left: Sequence[Mapping[str, Any]]) -> None:
    for one in left:
        surface.out.line(clean(f"left       {one['ref']} ({one['file']}:{one['line']}): {one['why']}"))
