"""Carrying out a plan: what the engine is asked, what is recorded, and what a person reads when it fails."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.builds.bake import Surroundings
from kiro_invoke.builds.executor import Executed, execute, images
from kiro_invoke.builds.log import KEEP, BuildLog
from kiro_invoke.builds.planner import Profile, Recipe, plan_everything, plan_images
from kiro_invoke.builds.progress import Ended, Event, Printed, Started, StepName
from kiro_invoke.model.errors import BuildFailed, ConfigError
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.record import StageRecord, Step
from tests.unit.build_fakes import DATA, Seen, fed, log, ran, recipe, recorded, service, vertex
from tests.unit.fakes import FakeEngine


class World:
    """An engine that tells a recorded stream, a folder for logs, an observer."""

    def __init__(self, folder: Path, lines: Sequence[str], status: int = 0) -> None:
        self.root = folder
        self.logs = folder / ".kiro" / "logs"
        self.engine = FakeEngine()
        self.engine.bake_lines = lines
        self.engine.bake_status = status
        self.seen = Seen()

    def execute(self, plan: BuildPlan) -> Executed:
        ticks = iter((10.0, 12.3456))
        return execute(
            plan,
            Surroundings("shop"),
            self.engine,
            root=self.root,
            logs=self.logs,
            observer=self.seen,
            clock=lambda: next(ticks),
        )

    def failure(self, plan: BuildPlan) -> BuildFailed:
        with pytest.raises(BuildFailed) as caught:
            self.execute(plan)
        return caught.value

    def log(self) -> str:
        (path,) = self.logs.iterdir()
        return path.read_text()


def planned(root: Path, text: str, *names: str) -> BuildPlan:
    return plan_images([recipe(text, service(name, root)) for name in names or ("web",)], "asked")


# --- executing


def test_the_plan_goes_to_the_engine_as_one_graph(tmp_path: Path) -> None:
    world = World(tmp_path, recorded("success"))
    plan = planned(tmp_path, "FROM a AS final\n", "web", "api")
    world.execute(plan)
    (sent,) = world.engine.baked
    assert json.loads(sent)["target"].keys() == {"web-dev-final", "api-dev-final"}


def test_a_persons_settings_do_not_change_the_graph(tmp_path: Path) -> None:
    world = World(tmp_path, [])
    world.execute(planned(tmp_path, "FROM a\n"))
    (env,) = world.engine.bake_env
    assert env["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"
    assert env["BUILDKIT_PROGRESS"] == "rawjson"
    assert env["BUILDX_BAKE_ENTITLEMENTS_FS"] == "0", "mirrors and secrets lie outside the working directory"


def test_a_build_is_its_steps_and_its_seconds(tmp_path: Path) -> None:
    world = World(tmp_path, recorded("success"))
    done = world.execute(planned(tmp_path, "FROM a AS final\n"))
    assert done.seconds == 2.346
    assert {step.stage for step in done.steps} == {"base", "final"}
    assert world.seen.printed == ["one", "two", "half", "done"]


# --- failing


def test_a_failing_step_is_named_with_its_place_its_last_lines_and_the_log(tmp_path: Path) -> None:
    world = World(tmp_path, recorded("failing_step"), status=1)
    error = world.failure(planned(tmp_path, "FROM a AS base\nFROM base AS build\n"))
    assert error.message.startswith("web: build RUN echo compiling")
    assert error.message.endswith(" failed")
    assert error.place == "web/Dockerfile.fast:5"
    assert error.tail == ("compiling", "error: no such type")
    (path,) = world.logs.iterdir()
    assert error.log == str(path)
    assert error.fix == f"see the whole log in {path.relative_to(tmp_path)}"
    assert "ERROR: failed to solve: process" in path.read_text()


def test_of_two_services_the_failing_one_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, recorded("failing_step_of_two"), status=1)
    plan = BuildPlan(
        (
            *planned(tmp_path, "FROM a AS final\n", "web").targets,
            *planned(tmp_path, "FROM a AS build\n", "api").targets,
        )
    )
    error = world.failure(plan)
    assert error.message.startswith("api: build RUN echo compiling")
    assert error.place == "api/Dockerfile.fast:5"


def test_a_syntax_error_is_named_with_its_line(tmp_path: Path) -> None:
    world = World(tmp_path, recorded("syntax_error"), status=1)
    error = world.failure(planned(tmp_path, "FROM a AS base\n"))
    assert error.place == "web/Dockerfile.fast:3"
    assert "unknown instruction: RNU" in f"{error.message} {error.tail}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, recorded("missing_file"), status=1)
    error = world.failure(planned(tmp_path, "FROM a AS base\n"))
    assert error.place == "web/Dockerfile.fast:3"
    assert "COPY nothing-here.txt" in error.message
    assert any("not found" in line for line in error.tail)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "web: the build failed without a word"),
        (["something odd"], "web: something odd"),
        (["ERROR: first", "ERROR: second", "trailer"], "web: second"),
        (["ERROR: target stage x could not be found"], "web: target stage x could not be found"),
    ],
)
def test_a_failure_without_a_step_says_what_the_engine_said(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    error = World(tmp_path, lines, status=1).failure(planned(tmp_path, "FROM a\n"))
    assert error.message == message
    assert error.line is None
    assert error.file == "web/Dockerfile.fast"


def test_a_failure_that_is_nobodys_names_no_service(tmp_path: Path) -> None:
    world = World(tmp_path, ["ERROR: no builder"], status=1)
    error = world.failure(planned(tmp_path, "FROM a\n", "web", "api"))
    assert (error.message, error.file) == ("no builder", None)


def test_a_step_without_output_shows_what_the_engine_said(tmp_path: Path) -> None:
    lines = [*ran("[a 1/1] RUN x", error="exit code: 1"), "Dockerfile:1", "-" * 20, "ERROR: exit code: 1"]
    error = World(tmp_path, lines, status=1).failure(planned(tmp_path, "FROM a AS a\n"))
    assert error.tail == ("Dockerfile:1", "-" * 20, "ERROR: exit code: 1")


def test_a_dockerfile_outside_the_repository_is_named_whole(tmp_path: Path) -> None:
    plan = planned(tmp_path / "elsewhere", "FROM a AS base\n")
    world = World(tmp_path / "repo", recorded("syntax_error"), status=1)
    assert world.failure(plan).file == str(tmp_path / "elsewhere/web/Dockerfile.fast")


# --- the log


def test_the_log_tells_everything(tmp_path: Path) -> None:
    world = World(tmp_path, recorded("success"))
    world.execute(planned(tmp_path, "FROM a AS final\n"))
    text = world.log()
    assert "[web-dev-final base] one\n" in text
    assert "[web-dev-final final] done\n" in text
    assert "[web-dev-final final] RUN echo done >&2: 0." in text
    assert "[engine] [internal] load build context: " in text


def test_the_log_of_a_failure_ends_with_the_engines_words(tmp_path: Path) -> None:
    world = World(tmp_path, recorded("failing_step"), status=1)
    world.failure(planned(tmp_path, "FROM a AS build\n"))
    assert "[web-dev-build build] error: no such type\n" in world.log()
    assert "exit code: 7\n" in world.log().splitlines(keepends=True)[-1]


def test_the_last_logs_are_kept_the_new_one_included(tmp_path: Path) -> None:
    for number in range(KEEP + 5):
        (tmp_path / f"build-20200101T0000{number:02}.000000.log").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    with BuildLog.begin(tmp_path) as new:
        new.write("new")
    names = sorted(path.name for path in tmp_path.glob("build-*.log"))
    assert len(names) == KEEP
    assert names[0] == "build-20200101T000006.000000.log"
    assert names[-1] == new.path.name
    assert new.path.read_text() == "new\n"
    assert (tmp_path / "notes.txt").exists()


def test_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir(mode=0o755)
    with BuildLog.begin(folder) as new:
        assert new.path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("link", [".kiro", ".kiro/logs"])
def test_a_link_in_place_of_the_logs_leads_nowhere(tmp_path: Path, link: str) -> None:
    """A repository that ships one would have us open up and empty a person's folder."""
    theirs = tmp_path / "theirs"
    folder = theirs / "logs" if link == ".kiro" else theirs
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    for number in range(KEEP + 5):
        (folder / f"build-20200101T0000{number:02}.000000.log").write_text("theirs")
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(theirs)
    with (
        pytest.raises(ConfigError, match="must not be a link") as caught,
        BuildLog.begin(tmp_path / ".kiro/logs"),
    ):
        pass
    assert caught.value.file == str(tmp_path / link)
    assert len(list(folder.iterdir())) == KEEP + 5
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_log_takes_any_text(tmp_path: Path) -> None:
    with BuildLog.begin(tmp_path) as new:
        new.write("ü ✓ \ud800")
    assert new.path.read_text() == "ü ✓ \\ud800\n"


def test_a_log_and_an_observer_are_told_the_same(tmp_path: Path) -> None:
    seen, step = Seen(), StepName("t", "a", "RUN x")
    events: list[Event] = [
        Started(step),
        Printed(step, "hi"),
        Ended(step, False, 1.26, ""),
        Ended(step, True, 0, ""),
    ]
    with BuildLog.begin(tmp_path) as new:
        for one in [*events, Ended(step, False, 0, "exit code: 1")]:
            new.beside(seen)(one)
    assert seen.events[:4] == events
    assert new.path.read_text().splitlines() == [
        "[t a] hi",
        "[t a] RUN x: 1.3 s",
        "[t a] RUN x: CACHED",
        "[t a] RUN x: exit code: 1",
    ]


# --- images


def stages(one: Recipe, steps: Sequence[Step], plan: BuildPlan | None = None) -> dict[str, StageRecord]:
    plan = plan or plan_images([one], "x")
    (image,) = images(plan, [one], steps, Path("/repo"))
    return {stage.name: stage for stage in image.stages}


def step(stage: str, text: str, *, seconds: float = 1.0, cached: bool = False, of: str = "web") -> Step:
    return Step(of, stage, text, cached, 0.0 if cached else seconds, 100.0, 100.0 + seconds)


def test_an_image_is_its_stages_in_file_order_with_what_they_took() -> None:
    one = recipe("FROM a AS base\nRUN x\nRUN y\nFROM base AS unused\nFROM base AS final\nCOPY a b\n")
    found = [
        step("final", "COPY a b", cached=True),
        replace(step("base", "RUN y", seconds=2), started=101.0, completed=103.0),
        step("base", "RUN x"),
    ]
    assert list(stages(one, found).values()) == [
        StageRecord("base", 3.0, cached=False, started=100.0, completed=103.0),
        StageRecord("final", 0.0, cached=True),
    ]


def test_an_image_has_its_names() -> None:
    one = recipe("FROM a AS base\n")
    (image,) = images(plan_images([one], "x"), [one], [], Path("/repo"))
    assert (image.service, image.image, image.dockerfile) == ("web", "shop/web:dev", "web/Dockerfile.fast")


def test_all_stages_are_shown_where_all_were_built() -> None:
    one = recipe("FROM a AS test\nRUN t\nFROM a AS final\nRUN f\n")
    found = stages(one, [step("test", "RUN t")], plan_everything([one], "x"))
    assert {name: stage.cached for name, stage in found.items()} == {"test": False, "final": True}


def test_an_image_that_was_not_planned_is_not_recorded() -> None:
    dev, prod = recipe("FROM a"), recipe("FROM a", profile=Profile.PROD)
    found = images(plan_images([dev], "x"), [dev, prod], [], Path("/repo"))
    assert [image.image for image in found] == ["shop/web:dev"]


def test_a_step_ran_if_any_twin_ran() -> None:
    twins = [step("a", "RUN x", cached=True), step("a", "RUN x", seconds=2), step("a", "RUN x", seconds=3)]
    assert stages(recipe("FROM b AS a\nRUN x\n"), twins)["a"].seconds == 3


def test_another_services_steps_are_not_ours() -> None:
    assert stages(recipe("FROM b AS a\nRUN x\n"), [step("a", "RUN x", of="api")])["a"].cached


def test_another_stages_steps_are_not_ours() -> None:
    assert stages(recipe("FROM b AS a\nRUN x\n"), [step("c", "RUN x")])["a"].cached


def test_another_dockerfiles_steps_are_not_ours() -> None:
    assert stages(recipe("FROM b AS a\nRUN x\n"), [step("a", "RUN other")])["a"].cached


def test_from_alone_is_no_work() -> None:
    assert stages(recipe("FROM b AS a\nRUN x\n"), [step("a", "FROM docker.io/library/b:latest")])["a"].cached


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("RUN x", "RUN x"),
        ("run x", "RUN x"),
        ("RUN a \\\n   b", "RUN a    b"),
        ("RUN fo\\\nur", "RUN four"),
        ("RUN echo 'a' \"b\"", "RUN echo 'a' \"b\""),
        ("RUN echo $A-${B} c", "RUN echo 1-2 c"),
        ("RUN echo $A", "RUN echo $A"),
        ("RUN echo $(x) \\$ end", "RUN echo $(x) \\$ end"),
        ("WORKDIR /w/$A", "WORKDIR /w/1"),
        ('COPY ["a", "b c"]', "COPY [a, b c]"),
        ("COPY --from=0 a b", "COPY --from=0 a b"),
        ("COPY <<'Q' /q\nx\nQ", "COPY <<Q /q"),
        ("RUN <<'S'\nset -e\nS", "RUN <<'S' (set -e...)"),
        ("RUN <<S\nx\nS", "RUN <<S (x)"),
        ("RUN\tx y", "RUN\tX y"),
        ("RUN " + "a" * 300, "RUN " + "a" * 300),
        ("RUN a (b) [c] *.d", "RUN a (b) [c] *.d"),
    ],
)
def test_an_instruction_is_known_as_the_engine_prints_it(written: str, printed: str) -> None:
    assert not stages(recipe(f"FROM b AS a\n{written}\n"), [step("a", printed)])["a"].cached


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("RUN x", "RUN xy"),
        ("RUN x", "RUN x (y)"),
        ("RUN echo $A c", "RUN echo 1 d"),
        ("RUN " + "a" * 300 + "b", "RUN " + "a" * 300 + "c"),
        ("RUN a.b", "RUN aXb"),
    ],
)
def test_an_instruction_is_not_mistaken(written: str, printed: str) -> None:
    assert stages(recipe(f"FROM b AS a\n{written}\n"), [step("a", printed)])["a"].cached


def test_many_variables_cost_no_time() -> None:
    written = "RUN " + " ".join(f"$V{n} a" for n in range(200))
    begun = time.perf_counter()
    assert stages(recipe(f"FROM b AS a\n{written}\n"), [step("a", "RUN " + "1 a " * 400 + "no")])["a"].cached
    assert time.perf_counter() - begun < 0.5


def test_every_form_of_instruction_is_known_in_a_recorded_build() -> None:
    one = recipe((DATA / "instruction_forms.Dockerfile").read_text())
    progress, _ = fed(recorded("instruction_forms"), {"web-dev-2": "web"})
    found = stages(one, progress.steps)
    assert list(found) == ["a", "c", "2"]
    for stage in found.values():
        work = [s for s in progress.steps if s.stage in {stage.name, "stage-2"} and not s.cached]
        ours = [s for s in work if (s.stage == "stage-2") == (stage.name == "2")]
        assert len(ours) >= 1
        assert stage.seconds == pytest.approx(sum(s.seconds for s in ours if "FROM" not in s.text), abs=0.01)


def test_a_step_that_two_services_share_ran_for_both() -> None:
    text = "FROM d AS base\nRUN echo shared again 1795375019 && sleep 0.3\nFROM base AS app\nRUN echo last\n"
    progress, _ = fed(recorded("shared_step_of_two_services"), {"api-dev-app": "api", "web-dev-app": "web"})
    ran_for = [one for one in progress.steps if one.text.startswith("RUN echo shared")]
    assert ran_for
    for name in ("api", "web"):
        one = recipe(text, service(name))
        assert not stages(one, progress.steps)["base"].cached


def test_a_dockerfile_with_one_stage_is_known() -> None:
    progress, _ = fed(recorded("one_stage_file"), {"web-dev-only": "web"})
    one = recipe("FROM debian:13-slim AS only\nRUN echo $X single\n")
    assert not stages(one, progress.steps)["only"].cached


def test_a_stage_without_a_name_is_known_by_its_index() -> None:
    one = recipe("FROM b AS a\nFROM a\nRUN x\n")
    assert not stages(one, [step("stage-1", "RUN x")])["1"].cached


def test_a_log_written_in_pieces_keeps_its_order(tmp_path: Path) -> None:
    name, start = "[a 1/1] RUN x", "2026-01-02T03:04:05Z"
    world = World(tmp_path, [*vertex(name, started=start), *log(b"on"), *log(b"e\ntwo"), *ran(name)])
    world.execute(planned(tmp_path, "FROM a AS a\n"))
    assert world.log().splitlines()[:2] == ["[web-dev-a a] one", "[web-dev-a a] two"]
