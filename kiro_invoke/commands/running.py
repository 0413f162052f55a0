"""The commands that run services: `up`, `down`, `logs`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile, Recipe, plan_images
from kiro_invoke.cache import warm
from kiro_invoke.cache.proving import ProvenImage, read_proven
from kiro_invoke.commands import opening
from kiro_invoke.commands.one_build import build_now
from kiro_invoke.commands.request import Request
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine import ports
from kiro_invoke.engine.files import make_state_folder
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.loop.compose import (
    Compose,
    Running,
    check_checkout,
    check_images,
    check_ports,
    check_runs,
    needed,
)
from kiro_invoke.model.errors import KiroError, UsageError
from kiro_invoke.model.service import Project


def up(services: Sequence[str]) -> Callable[[Surface], Answer]:
    """Build the development images (cached where nothing changed), start them, wait until they are healthy."""

    def body(surface: Surface) -> Answer:
        project = config.load(surface.folder, surface.environ)
        make_state_folder(project.state)
        engine = opening.open_engine(surface, setup=False, state=project.state)
        compose = _compose(project, engine)
        started, recipes = _to_start(compose, project, services)
        # asked before the build, so that a taken port is not found out minutes later
        before = compose.running()
        check_checkout(before)
        check_ports(
            compose.ports(started),
            before,
            is_free=ports.is_free,
            holder=lambda port: _holder(engine, port),
        )
        request = Request(
            (), (Profile.DEV,), lambda found: plan_images(found, "up runs this image"), command="up"
        )
        if recipes:
            build_now(surface, project, engine, recipes, request)
        proven = read_proven(project.state).images
        built = {recipe.service.name: _image_id(engine, recipe.tag, proven) for recipe in recipes}
        compose.up(services)
        running = compose.running()
        check_runs(running, built)
        return Answer({"services": [_row(one) for one in running]}, lambda s: _show(s, running))

    return body


def _to_start(
    compose: Compose, project: Project, services: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Recipe, ...]]:
    """The compose services that `up` starts, what the named ones need included, and what is built for them."""
    composed = compose.services()
    known = [one.name for one in composed]
    if unknown := [name for name in services if name not in known]:
        raise UsageError(
            f'no service "{unknown[0]}" in {compose.files[0].name}', fix=f"choose from: {', '.join(known)}"
        )
    started = needed(composed, services)
    ours = project.only(started)
    recipes = warm.read_recipes(ours, (Profile.DEV,))
    check_images(composed, {recipe.service.name: recipe.tag for recipe in recipes}, compose.files[0].name)
    return started, recipes


def _image_id(engine: Engine, tag: str, proven: Mapping[str, ProvenImage]) -> str:
    """The image that was proven under a name, whoever has the name by now; where nothing was noted, who has it."""
    if tag in proven:
        return proven[tag].id
    image = engine.image(tag)
    return image.id if image else ""


def down(*, volumes: bool) -> Callable[[Surface], Answer]:
    """Stop the services and remove their containers; volumes stay unless asked for."""

    def body(surface: Surface) -> Answer:
        project = config.load(surface.folder, surface.environ)
        compose = _compose(project, opening.open_engine(surface, setup=False))
        check_checkout(compose.running())
        return _done("down", compose.down(volumes=volumes))

    return body


def logs(services: Sequence[str], *, follow: bool, tail: str) -> Callable[[Surface], Answer]:
    """Show the services' logs as Compose does."""

    def body(surface: Surface) -> Answer:
        project = config.load(surface.folder, surface.environ)
        compose = _compose(project, opening.open_engine(surface, setup=False))
        return _done("logs", compose.logs(services, follow=follow, tail=tail))

    return body


def _compose(project: Project, engine: Engine) -> Compose:
    compose = Compose(engine, project.root, {})
    compose.check()
    return compose


def _holder(engine: Engine, port: int) -> str | None:
    container = engine.port_holder(port)
    return f"container {container}" if container else ports.holder(port)


def _done(what: str, code: int) -> Answer:
    """Nothing more to say than Compose did, which wrote to the terminal itself."""
    if code:
        raise KiroError(f"docker compose {what} ended with status {code}", fix="see what it said above")
    return Answer({}, lambda _: None)


def _row(one: Running) -> dict[str, object]:
    return {
        "name": one.service,
        "container": one.container,
        "state": one.state,
        "health": one.health,
        "urls": urls_of(one),
    }


def urls_of(one: Running) -> list[str]:
    """Where a person here reaches what a container publishes."""
    return list(dict.fromkeys(f"http://{_reachable(port.host)}:{port.port}" for port in one.ports))


def _reachable(host: str) -> str:
    """The address that a person here types for what is published on `host`."""
    if host in {"0.0.0.0", "::"}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _show(surface: Surface, running: Sequence[Running]) -> None:
    for one in running:
        state = one.health or one.state
        surface.out.line(f"{one.service:<12} {state:<10} {' '.join(urls_of(one))}".rstrip())
