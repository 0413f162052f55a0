"""The commands, on an engine in memory: what they say, their JSON object, and their exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from invoke.exceptions import Exit
from rich.console import Console

from kiro_invoke import config
from kiro_invoke.commands import bringing, building, managing, opening, running
from kiro_invoke.commands.surface import Answer, Surface, perform
from kiro_invoke.engine import daemon, docker, installed, installer, ownership
from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.locate import Address
from kiro_invoke.engine.protocol import Completed, ImageFacts
from kiro_invoke.engine.removal import Removal
from kiro_invoke.engine.setup import SetupPlan
from kiro_invoke.engine.standins import LABEL, LABEL_HOLDS, standin_name
from kiro_invoke.model.errors import (
    BuildFailed,
    ConfigError,
    EngineError,
    ExitCode,
    KiroError,
    UsageError,
)
from kiro_invoke.screen import Paper
from tests.unit.build_fakes import recipe, recorded
from tests.unit.fakes import REFUSED, SILENT, FakeEngine

SCHEMAS = Path(__file__).parents[2] / "kiro_invoke" / "schemas"
DEBIAN = {"debian:13-slim": ImageFacts("sha256:1", {}, 1)}
DOCKERFILE = "FROM debian:13-slim AS base\nRUN echo $X\nFROM base AS test\nFROM base AS final\nCOPY . /src\n"


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def fits(value: Mapping[str, Any], name: str) -> None:
    """The object that `--format json` would print fits its schema."""
    validator(name).validate(value)


def whole(name: str, answer: Answer) -> dict[str, Any]:
    value = {"schema": 1, "command": name, "ok": answer.ok, **json.loads(json.dumps(answer.fields))}
    fits(value, name)
    return value


class World:
    """A repository with one service, an engine in memory, and what was printed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine = FakeEngine(DEBIAN)
        self.engine.bake_lines = recorded("success")
        self.answer: str | None = None
        self.asked: list[str] = []
        self.environ: dict[str, str] = {}
        self._out, self._err = io.StringIO(), io.StringIO()
        self.write("web/Dockerfile.fast", DOCKERFILE)
        self.write("kiro.yaml", "project: shop\nservices:\n  - name: web\n")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def surface(self) -> Surface:
        def paper(stream: io.StringIO) -> Paper:
            plain = Console(file=stream, width=500, color_system=None, highlight=False, markup=False)
            return Paper(lambda: plain)

        def ask(question: str) -> bool:
            self.asked.append(question)
            return self.answer == "yes"

        person = None if self.answer is None else ask
        return Surface(paper(self._out), paper(self._err), self.environ, self.root, person)

    def shown(self, answer: Answer) -> list[str]:
        answer.show(self.surface)
        return self._out.getvalue().splitlines()

    @property
    def said(self) -> str:
        return self._err.getvalue()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made.engine)
    return made


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_surface: Surface, **_: object) -> FakeEngine:
        raise EngineError("no Docker engine answers", fix="start it")

    monkeypatch.setattr(opening, "open_engine", refuse)


def build(world: World, **options: bool) -> Answer:
    wanted = {"prod": False, "show_definition": False, "dry_run": False, "timings": False, **options}
    return building.build(
        (),
        prod=wanted["prod"],
        clean=wanted.get("clean", False),
        show_definition=wanted["show_definition"],
        dry_run=wanted["dry_run"],
        timings=wanted["timings"],
    )(world.surface)


def warm_cache(world: World, *, dry_run: bool = False) -> Answer:
    return building.warm_cache((), pull=False, setup=False, dry_run=dry_run)(world.surface)


# --- build and warm-cache


def test_build_builds_the_image_and_reports_it(world: World) -> None:
    answer = build(world)
    value = whole("build", answer)
    (service,) = value["services"]
    assert (service["name"], service["image"]) == ("web", "shop/web:dev")
    assert service["dockerfile"] == "web/Dockerfile.fast"
    assert [stage["name"] for stage in service["stages"]] == ["base", "final"]
    assert value["base_images"] == [{"ref": "debian:13-slim", "status": "present"}]
    assert "image  shop/web:dev  (web/Dockerfile.fast)" in world.shown(answer)


def test_stages_that_ran_tell_when_after_the_builds_begin(world: World) -> None:
    world.write("web/Dockerfile.fast", DOCKERFILE.replace("RUN echo $X", 'RUN printf "$X" && sleep 0.3'))
    (service,) = whole("build", build(world))["services"]
    stages = {stage["name"]: stage for stage in service["stages"]}
    assert 0 <= stages["base"]["started"] < stages["base"]["completed"] <= stages["final"]["started"] < 10
    assert {"started", "completed"} <= stages["final"].keys()


def test_cached_stages_tell_no_times(world: World) -> None:
    world.engine.bake_lines = recorded("cached")
    (service,) = whole("build", build(world))["services"]
    assert all(stage.keys() == {"name", "seconds", "cached"} for stage in service["stages"])


def test_with_timings_each_step_tells_when_it_ran(world: World) -> None:
    world.write("web/Dockerfile.fast", DOCKERFILE.replace("RUN echo $X", 'RUN printf "$X" && sleep 0.3'))
    answer = build(world, timings=True)
    steps = whole("build", answer)["steps"]
    assert {step["stage"] for step in steps} == {"base", "final"}
    assert next(step for step in steps if step["text"].startswith("RUN printf"))["started"] == 0
    assert any(line.startswith("  base ") and "#" in line for line in world.shown(answer))
    assert "steps" not in whole("build", build(world))
    world.engine.bake_lines = recorded("cached")
    cached = [step for step in whole("build", build(world, timings=True))["steps"] if step["cached"]]
    assert cached
    assert all("started" not in step for step in cached)


def test_a_stand_in_is_said(world: World) -> None:
    world.engine.images = {
        "debian:13-slim": ImageFacts("sha256:1", {LABEL: "debian:13-slim", LABEL_HOLDS: "Debian 13"}, 1)
    }
    value = whole("build", build(world))
    assert value["base_images"] == [{"ref": "debian:13-slim", "status": "stand-in", "holds": "Debian 13"}]
    assert "stand-ins in use" in world.said
    assert "debian:13-slim (really Debian 13)" in world.said


def test_warm_cache_builds_every_stage(world: World) -> None:
    world.write("web/Dockerfile", "FROM debian:13-slim AS shipped\n")
    value = whole("warm-cache", warm_cache(world))
    assert [service["image"] for service in value["services"]] == ["shop/web:prod", "shop/web:dev"]
    (sent,) = world.engine.baked
    assert {target["target"] for target in json.loads(sent)["target"].values()} == {
        "shipped",
        "final",
        "test",
    }


def test_prod_builds_the_other_dockerfile(world: World) -> None:
    world.write("web/Dockerfile", "FROM debian:13-slim AS shipped\n")
    assert [s["image"] for s in whole("build", build(world, prod=True))["services"]] == ["shop/web:prod"]


def test_prod_without_a_dockerfile_is_named(world: World) -> None:
    with pytest.raises(ConfigError, match="service web has no Dockerfile"):
        build(world, prod=True)


def test_a_service_that_is_not_there_is_named_before_anything_is_done(world: World) -> None:
    with pytest.raises(UsageError, match='"wbe"; did you mean "web"'):
        building.build(("wbe",), prod=False, clean=False, show_definition=False, dry_run=False)(world.surface)
    assert world.engine.baked == []


def test_a_failed_build_raises_with_its_place(world: World) -> None:
    world.engine.bake_lines, world.engine.bake_status = recorded("failing_step"), 1
    with pytest.raises(BuildFailed) as caught:
        build(world)
    assert caught.value.line == 5


# --- --dry-run and --print


@pytest.mark.usefixtures("no_engine")
class Raced(FakeEngine):
    """Another build of the same names ends right after ours, in the checkout `holder`."""

    holder = "shop-elsewhere"

    def bake(self, definition: str, **how: Any) -> Completed:
        done = super().bake(definition, **how)
        taken = self.images["shop/web:dev"]
        labels = {**taken.labels, "dev.kiro.checkout": self.holder, "dev.kiro.revision": "another"}
        self.images["shop/web:dev"] = replace(taken, id="sha256:other", labels=labels)
        return done


def test_a_name_that_another_checkout_took_is_told_and_not_called_impossible(world: World) -> None:
    world.engine = Raced(DEBIAN)
    world.engine.bake_lines = recorded("success")
    with pytest.raises(BuildFailed, match=r"another checkout \(shop-elsewhere\) took the name shop/web:dev"):
        build(world)
    world.engine.holder = config.load(world.root, {}).checkout
    with pytest.raises(BuildFailed, match="is not built from the sources that were sent"):
        build(world)


@pytest.mark.parametrize(("own", "sent"), [("", True), ("LABEL dev.kiro.proof=/src/x\n", False)])
def test_a_proof_that_only_the_base_image_names_does_not_count(world: World, own: str, sent: bool) -> None:
    world.write("web/Dockerfile.fast", DOCKERFILE + own)
    build(world)
    (target,) = json.loads(world.engine.baked[0])["target"].values()
    assert ("dev.kiro.proof" in target["labels"]) is sent


def test_a_program_without_a_revision_is_said(world: World) -> None:
    class Silent(FakeEngine):
        def bake(self, definition: str, **how: Any) -> Completed:
            done = super().bake(definition, **how)
            made = self.images["shop/web:dev"]
            self.images["shop/web:dev"] = replace(made, labels={**made.labels, "dev.kiro.proof": "/x"})
            self.files[made.id, "/x"] = b"dummy"
            return done

    world.engine = Silent(DEBIAN)
    world.engine.bake_lines = recorded("success")
    build(world)
    assert "shop/web:dev: /x embeds no revision: checked by label only" in world.said


def test_a_dry_run_needs_no_engine_and_says_why(world: World) -> None:
    answer = warm_cache(world, dry_run=True)
    value = whole("warm-cache", answer)
    assert value["base_images"] == [{"ref": "debian:13-slim", "status": "wanted"}]
    assert [(target["stage"], target["tag"]) for target in value["targets"]] == [
        ("final", "shop/web:dev"),
        ("test", None),
    ]
    assert all(target["cause"] for target in value["targets"])
    assert world.shown(answer)[0] == "base   debian:13-slim"
    assert world.engine.baked == []


def test_print_shows_what_the_engine_would_get_and_builds_nothing(world: World) -> None:
    answer = build(world, show_definition=True)
    definition = json.loads(whole("build", answer)["definition"])
    assert definition["group"]["default"]["targets"] == ["web-dev-final"]
    assert json.loads("\n".join(world.shown(answer))) == definition
    assert world.engine.baked == []


def test_print_names_stand_ins(world: World) -> None:
    name = standin_name("rust:1")
    # on an engine that others use too, official names are left alone
    world.engine = FakeEngine({name: ImageFacts("sha256:1", {LABEL: "rust:1"}, 1)}, ours=False)
    world.write("web/Dockerfile.fast", "FROM rust:1 AS final\n")
    definition = json.loads(build(world, show_definition=True).fields["definition"])
    contexts = definition["target"]["web-dev-final"]["contexts"]
    assert contexts == {"rust:1": f"docker-image://{name}"}


def test_print_without_an_engine_shows_what_the_files_say(
    tmp_path: Path, no_engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    definition = json.loads(build(world, show_definition=True).fields["definition"])
    assert "contexts" not in definition["target"]["web-dev-final"]
    assert "without an engine, stand-ins are not looked for (no Docker engine answers)" in world.said


EVIL = "a\x1b[2J\x9b1m\x07"


def test_names_from_a_repository_cannot_control_the_terminal(world: World) -> None:
    world.write("web/Dockerfile.fast", f"FROM {EVIL}x AS {EVIL}final\n")
    world.engine.images = {f"{EVIL}x": ImageFacts("sha256:1", {LABEL: "x", LABEL_HOLDS: EVIL}, 1)}
    dry = world.shown(build(world, dry_run=True))
    settings = world.shown(managing.show_config(())(world.surface))
    printed = build(world, show_definition=True)
    world.shown(build(world))
    assert len(dry) >= 2
    assert all(line.isprintable() for line in [*dry, *settings, *world.shown(printed)])
    assert all(line.isprintable() for line in world.said.splitlines())


# --- the syntax line


@pytest.mark.parametrize(
    ("here", "registry", "bare"),
    [(False, SILENT, True), (False, REFUSED, False), (True, SILENT, False)],
)
def test_a_syntax_line_is_left_out_only_where_its_image_cannot_be_had(
    world: World, here: bool, registry: Exception, bare: bool
) -> None:
    world.write("web/Dockerfile.fast", f"# syntax=docker/dockerfile:1\n{DOCKERFILE}")
    world.engine.otherwise = registry
    if here:
        world.engine.images["docker/dockerfile:1"] = ImageFacts("sha256:2", {}, 1)
    build(world)
    target = json.loads(world.engine.baked[0])["target"]["web-dev-final"]
    assert ("syntax" not in Path(target["dockerfile"]).read_text()) is bare
    assert ("built with the engine's own frontend" in world.said) is bare


def test_a_registry_that_was_silent_is_not_asked_again(world: World) -> None:
    world.write("web/Dockerfile.fast", f"# syntax=docker/dockerfile:1\n{DOCKERFILE}")
    build(world)
    build(world)
    assert world.engine.probed == ["docker/dockerfile:1"]


def test_stand_in_lines() -> None:
    here = Base("a", BaseStatus.PRESENT, "a")
    assert opening.standin_lines([here]) == ()
    (line,) = opening.standin_lines(
        [here, Base("b", BaseStatus.STANDIN, "k/b", "B 1"), Base("c", BaseStatus.STANDIN, "c")]
    )
    assert "b (really B 1), c;" in line
    assert "do not push" in line


def test_syntax_images_are_asked_for_once(world: World) -> None:
    one = recipe("# syntax=a:1\nFROM x\n")
    found = opening.unreachable_syntax(config.load(world.root, {}), world.engine, [one, one])
    assert found == {"a:1"}


# --- up, down, logs


ROW = {
    "Service": "web",
    "Name": "shop-web-1",
    "State": "running",
    "Health": "healthy",
    "Publishers": [
        {"URL": "0.0.0.0", "PublishedPort": 8080},
        {"URL": "::", "PublishedPort": 8080},
        {"URL": "127.0.0.1", "PublishedPort": 8081},
        {"URL": "::1", "PublishedPort": 8082},
    ],
}


def composed(world: World, port: int = 0) -> None:
    """The repository has a compose file that publishes `port`."""
    world.write("compose.yaml", "services: {}\n")
    ports = [{"host_ip": "127.0.0.1", "published": str(port), "target": 80}] if port else []
    merged = json.dumps({"services": {"web": {"image": "shop/web:dev", "ports": ports}}})
    world.engine.compose_answers = {
        "config": Completed((), 0, merged, ""),
        "ps": Completed((), 0, json.dumps(ROW), ""),
    }


def test_up_builds_then_starts_then_tells_where(world: World) -> None:
    composed(world)
    answer = running.up(())(world.surface)
    value = whole("up", answer)
    assert value["services"] == [
        {
            "name": "web",
            "container": "shop-web-1",
            "state": "running",
            "health": "healthy",
            "urls": ["http://127.0.0.1:8080", "http://127.0.0.1:8081", "http://[::1]:8082"],
        }
    ]
    assert len(world.engine.baked) == 1
    assert ("up", "--detach", "--no-build", "--wait") in world.engine.composed
    (line,) = world.shown(answer)
    assert line.split()[:3] == ["web", "healthy", "http://127.0.0.1:8080"]


def test_up_compares_containers_with_the_image_that_was_proven(world: World) -> None:
    """Another checkout takes the name right after that: the container runs its image."""

    class Retagged(FakeEngine):
        asked = 0

        def image(self, ref: str) -> ImageFacts | None:
            found = super().image(ref)
            if found is None or ref != "shop/web:dev" or not self.baked:
                return found
            self.asked += 1
            return found if self.asked <= 2 else replace(found, id="sha256:0ff")

    world.engine = Retagged(DEBIAN)
    world.engine.bake_lines = recorded("success")
    composed(world)
    row = {**ROW, "Labels": "com.docker.compose.image=sha256:0ff"}
    world.engine.compose_answers["ps"] = Completed((), 0, json.dumps(row), "")
    with pytest.raises(KiroError, match="does not run the image that was just built"):
        running.up(())(world.surface)


@pytest.mark.parametrize("container", ["other-1", None])
def test_a_taken_port_is_found_before_the_build(world: World, container: str | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        composed(world, port)
        if container:
            world.engine.ports = {port: container}
        with pytest.raises(KiroError) as caught:
            running.up(())(world.surface)
    holder = f"container {container}" if container else f"process {os.getpid()} ("
    assert f"port {port} on 127.0.0.1 is in use by {holder}" in caught.value.message
    assert world.engine.baked == []


def test_services_are_asked_for_by_name_to_the_end(world: World) -> None:
    composed(world)
    running.up(("web",))(world.surface)
    assert world.engine.composed[-2] == ("up", "--detach", "--no-build", "--wait", "web")


def test_up_refuses_to_start_another_image_than_it_builds(world: World) -> None:
    composed(world)
    merged = {"services": {"web": {"image": "other/web:dev"}}}
    world.engine.compose_answers["config"] = Completed((), 0, json.dumps(merged), "")
    with pytest.raises(ConfigError, match="runs the image other/web:dev, but shop/web:dev is built"):
        running.up(())(world.surface)
    assert world.engine.baked == []


def test_up_says_which_services_there_are(world: World) -> None:
    composed(world)
    with pytest.raises(UsageError, match='no service "wep"'):
        running.up(("wep",))(world.surface)


def test_another_checkouts_containers_are_left_alone(world: World) -> None:
    composed(world)
    row = {**ROW, "Labels": "com.docker.compose.project.working_dir=/elsewhere"}
    world.engine.compose_answers["ps"] = Completed((), 0, json.dumps(row), "")
    for command in (running.up(()), running.down(volumes=True)):
        with pytest.raises(KiroError, match="shop-web-1 belongs to another checkout"):
            command(world.surface)
    assert not [call for call in world.engine.composed if call[0] in {"up", "down"}]


@pytest.mark.parametrize("volumes", [True, False])
def test_down_takes_volumes_only_where_asked(world: World, volumes: bool) -> None:
    composed(world)
    assert whole("down", running.down(volumes=volumes)(world.surface))["ok"] is True
    assert world.engine.composed[-1] == (("down", "--volumes") if volumes else ("down",))


@pytest.mark.parametrize("command", [running.down(volumes=False), running.logs((), follow=False, tail="all")])
def test_compose_that_fails_is_said(world: World, command: Callable[[Surface], Answer]) -> None:
    composed(world)
    world.engine.compose_status = 14
    with pytest.raises(KiroError, match="ended with status 14") as caught:
        command(world.surface)
    assert caught.value.code == ExitCode.MISSED


def test_logs_pass_on_what_was_asked(world: World) -> None:
    composed(world)
    running.logs(("web",), follow=True, tail="5")(world.surface)
    assert world.engine.composed == [("logs", "--tail", "5", "--follow", "web")]


def test_up_without_a_compose_file_is_said(world: World) -> None:
    with pytest.raises(ConfigError, match="no compose file"):
        running.up(())(world.surface)


# --- config


def test_config_shows_each_setting_with_its_origin(world: World) -> None:
    world.environ = {"KIRO_PROJECT": "other"}
    answer = managing.show_config(("web",))(world.surface)
    value = whole("config", answer)
    rows = {row["key"]: row for row in value["settings"]}
    assert value["root"] == str(world.root)
    assert (rows["project"]["origin"], rows["project"]["value"]) == ("environment", "other")
    assert (rows["services"]["origin"], rows["services"]["where"]) == ("option", "--service")
    shown = world.shown(answer)
    assert len(shown) == len(value["settings"])
    assert any("project " in line and line.endswith("other  [environment (KIRO_PROJECT)]") for line in shown)


# --- setup


def test_setup_says_which_engine_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Mapping[str, str], bool]] = []

    def open_engine(surface: Surface, *, setup: bool) -> FakeEngine:
        seen.append((surface.environ, setup))
        return world.engine

    monkeypatch.setattr(opening, "open_engine", open_engine)
    world.environ = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
    answer = managing.setup(undo=False, dry_run=False, yes=True)(world.surface)
    assert whole("setup", answer)["engine"]["version"] == "26.1.5"
    assert seen == [({"DOCKER_HOST": "tcp://127.0.0.1:1", "KIRO_SETUP": "1"}, True)]
    assert world.shown(answer) == [
        "Docker Engine 26.1.5, buildx 0.13.1, compose 2.26.1 at unix:///var/run/docker.sock (installed by kiro)"
    ]


INSTALLED = installed.Installed(("docker.io", "iptables", "gone"), ("/etc/x",), sudo=False, complete=True)
REMOVAL = Removal(packages=("docker.io", "iptables"), groups=("docker",), files=("/etc/x",))
WOULD_REMOVE = ["package docker.io", "package iptables", "group docker", "file /etc/x"]


@pytest.fixture
def undone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What an undo did; nothing is done for real."""
    done: list[str] = []

    def remove(_added: object, removal: object, _run: object) -> None:
        assert removal == REMOVAL
        done.append("remove")

    monkeypatch.setattr(installed, "read_state", lambda *_: INSTALLED)
    monkeypatch.setattr(ownership, "is_ours", lambda _added: True)
    monkeypatch.setattr(managing, "to_remove", lambda _added, _run: REMOVAL)
    monkeypatch.setattr(managing, "check", lambda _added, _removal, _run: done.append("check"))
    monkeypatch.setattr(managing, "remove", remove)
    monkeypatch.setattr(daemon, "stop", lambda *_args, **_options: done.append("stop"))
    return done


def test_undo_shows_what_it_would_remove(world: World, undone: list[str]) -> None:
    answer = managing.setup(undo=True, dry_run=True, yes=False)(world.surface)
    assert whole("setup", answer)["would_remove"] == WOULD_REMOVE
    assert undone == []


@pytest.mark.parametrize(
    ("answer", "yes", "environ", "done"),
    [
        ("yes", False, {}, True),
        ("no", False, {}, False),
        (None, False, {}, False),
        (None, True, {}, True),
        (None, False, {"KIRO_SETUP": "1"}, True),
        (None, False, {"KIRO_SETUP": "0"}, False),
    ],
)
def test_undo_asks_first(
    world: World, undone: list[str], answer: str | None, yes: bool, environ: dict[str, str], done: bool
) -> None:
    world.answer, world.environ = answer, environ
    undo = managing.setup(undo=True, dry_run=False, yes=yes)
    if done:
        assert whole("setup", undo(world.surface))["removed"] == WOULD_REMOVE
        assert undone == ["check", "stop", "remove"]
    else:
        with pytest.raises(KiroError, match="nothing was removed") as caught:
            undo(world.surface)
        assert caught.value.code == ExitCode.MISSED
        assert undone == []
        assert world.said.splitlines() == [f"remove {line}" for line in WOULD_REMOVE]


def test_an_undo_that_is_refused_stops_nothing(
    world: World, undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise KiroError("nothing was removed: ufw came later")

    monkeypatch.setattr(managing, "check", refuse)
    with pytest.raises(KiroError, match="ufw"):
        managing.setup(undo=True, dry_run=False, yes=True)(world.surface)
    assert undone == []


def test_an_undo_leaves_another_engine_running(
    world: World, undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "is_ours", lambda _added: False)
    managing.setup(undo=True, dry_run=False, yes=True)(world.surface)
    assert undone == ["check", "remove"]


def test_undo_of_nothing_is_wrong_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "read_state", lambda *_: None)
    with pytest.raises(UsageError, match="nothing to undo"):
        managing.setup(undo=True, dry_run=False, yes=True)(world.surface)


# --- opening an engine


@pytest.mark.parametrize("setup", [True, False])
def test_an_address_that_somebody_chose_is_never_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setup: bool
) -> None:
    monkeypatch.setattr(installer, "install", lambda *_: pytest.fail("installed"))
    world = World(tmp_path)
    world.environ = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
    with pytest.raises(EngineError, match=r"tcp://127.0.0.1:1 \(DOCKER_HOST\).*mend DOCKER_HOST"):
        opening.open_engine(world.surface, setup=setup)


@pytest.mark.parametrize("here", [True, False])
def test_an_engine_that_kiro_did_not_install_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    monkeypatch.setattr(docker, "answers", lambda _address: False)
    monkeypatch.setattr(ownership, "is_foreign", lambda _added: here)
    monkeypatch.setattr(opening, "check_permitted", lambda _address: None)
    plan = SetupPlan(("docker.io",), (), needs_sudo=False, systemd=False, why="install it")
    monkeypatch.setattr(bringing, "setup_plan", lambda _surface: plan)
    monkeypatch.setattr(installed, "read_state", lambda *_: None)
    monkeypatch.setattr(installer, "install", lambda *_: pytest.fail("installed"))
    monkeypatch.setattr(opening, "locate", lambda *_: Address("unix:///var/run/docker.sock", "default"))
    world = World(tmp_path)
    world.answer = "no"
    with pytest.raises(EngineError) as caught:
        opening.open_engine(world.surface, setup=True)
    assert ("kiro did not install" in caught.value.message) is here
    assert (world.asked == ["Install it?"]) is not here


# --- perform


def performed(
    capsys: pytest.CaptureFixture[str], form: str, body: Callable[[Surface], Answer]
) -> tuple[int, str, str]:
    code = 0
    try:
        perform("build", form, body)
    except Exit as end:
        code = int(end.code)
    out, err = capsys.readouterr()
    return code, out, err


def raising(error: BaseException) -> Callable[[Surface], Answer]:
    def body(_surface: Surface) -> Answer:
        raise error

    return body


TROUBLE: list[tuple[BaseException, int, str]] = [
    (KiroError("missed"), 1, "missed"),
    (UsageError("wrong", fix="do x"), 2, "wrong. Fix: do x"),
    (ConfigError("bad", file="kiro.yaml", line=3), 2, "kiro.yaml:3: bad"),
    (EngineError("none"), 3, "none"),
    (
        BuildFailed("failed", file="Dockerfile", line=2, log="/l", tail=("\x1b[2Jone", "two")),
        4,
        "Dockerfile:2: failed",
    ),
    (KeyboardInterrupt(), 130, "interrupted"),
    (PermissionError(13, "Permission denied", "/x"), 1, "[Errno 13] Permission denied: '/x'"),
    (OSError("500 Server Error\nfor x"), 1, "500 Server Error for x"),
]


@pytest.mark.parametrize(("error", "code", "message"), TROUBLE)
def test_trouble_is_one_message_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    found, out, err = performed(capsys, "text", raising(error))
    *before, last = err.splitlines()
    assert (found, out, last) == (code, "", f"kiro build: {message}")
    assert before == (["  | one", "  | two"] if code == 4 else [])


@pytest.mark.parametrize(("error", "code", "message"), TROUBLE)
def test_trouble_is_one_object(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    found, out, err = performed(capsys, "json", raising(error))
    (line,) = out.splitlines()
    value = json.loads(line)
    fits(value, "error")
    assert (found, value["ok"], value["error"]["code"]) == (code, False, code)
    assert err.splitlines()[-1] == f"kiro build: {message}"
    if code == 4:
        assert value["error"]["tail"] == ["one", "two"]
        assert (value["error"]["file"], value["error"]["line"], value["error"]["log"]) == (
            "Dockerfile",
            2,
            "/l",
        )


def test_a_mistake_of_ours_is_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        performed(capsys, "json", raising(ZeroDivisionError()))


def test_an_unknown_format_is_refused_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = performed(capsys, "xml", lambda _surface: pytest.fail("done"))
    assert (code, out) == (2, "")
    assert err.startswith("kiro build: --format xml: not a format")


@pytest.mark.parametrize(("exit_code", "ok"), [(0, True), (1, False)])
def test_an_answer_is_shown_or_printed(capsys: pytest.CaptureFixture[str], exit_code: int, ok: bool) -> None:
    answer = Answer({"x": "ü\x1b"}, lambda s: s.out.line("shown"), ok=ok, exit_code=exit_code)
    assert performed(capsys, "text", lambda _: answer) == (exit_code, "shown\n", "")
    code, out, err = performed(capsys, "json", lambda _: answer)
    assert (code, err) == (exit_code, "")
    assert json.loads(out) == {"schema": 1, "command": "build", "ok": ok, "x": "ü\x1b"}
    assert out.isascii()


def test_sigterm_ends_a_command_as_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def body(_surface: Surface) -> Answer:
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("went on")

    assert performed(capsys, "text", body)[0] == 130
    assert signal.getsignal(signal.SIGTERM) == before


# --- schemas


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_schemas_are_valid_and_additive(path: Path) -> None:
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is True
    assert schema["properties"]["schema"] == {"const": 1}
    is_a_line = "jsonl" in schema["title"]
    assert ({"schema"} if is_a_line else {"schema", "command", "ok"}) <= set(schema["required"])


def test_every_command_with_json_has_a_schema() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == {
        "warm-cache", "refresh-cache", "build", "up", "down", "setup", "config", "classify", "replay-history", "error",
        "watch", "test-build-performance", "report", "show-cache", "clean-cache", "doctor", "pin-images",
        "make-path", "tilt-path", "tilt-config",
        "init", "uninstall", "affected",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("build", {}),
        ("build", {"definition": ""}),
        ("build", {"dry_run": True, "base_images": []}),
        ("build", {"seconds": 1, "base_images": [], "services": [], "cache_bytes": 0}),
        ("warm-cache", {"definition": "x"}),
        ("up", {"services": [{"name": "x"}]}),
        ("setup", {}),
        (
            "config",
            {"root": "relative", "settings": [{"key": "a", "value": "b", "origin": "x", "where": ""}]},
        ),
        ("error", {}),
        ("error", {"ok": False, "error": {"code": 7, "message": "x"}}),
        ("error", {"ok": False, "error": {"code": 1}}),
        ("down", {"schema": 2}),
    ],
)
def test_schemas_refuse_what_is_not_meant(name: str, fields: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        fits({"schema": 1, "command": name, "ok": True, **fields}, name)


def test_a_stage_that_ran_must_tell_when() -> None:
    def built(stage: dict[str, object]) -> dict[str, Any]:
        service = {
            "name": "w",
            "image": "i",
            "dockerfile": "d",
            "stages": [{"name": "s", "seconds": 1, **stage}],
        }
        rest = {"seconds": 1, "base_images": [], "cache_bytes": 0, "services": [service]}
        return {"schema": 1, "command": "build", "ok": True, **rest}

    fits(built({"cached": True}), "build")
    fits(built({"cached": False, "started": 0, "completed": 1}), "build")
    step = {"service": "w", "stage": "s", "text": "RUN x", "cached": False, "seconds": 1}
    with pytest.raises(jsonschema.ValidationError):
        fits(built({"cached": True}) | {"steps": [step]}, "build")
    fits(built({"cached": True}) | {"steps": [step | {"started": 0, "completed": 1}]}, "build")
    with pytest.raises(jsonschema.ValidationError):
        fits(built({"cached": False}), "build")
