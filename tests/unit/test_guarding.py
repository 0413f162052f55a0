"""The guard around a build: where it looks, what it removes, when it stops, and what it explains."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kiro_invoke.builds.executor import failure
from kiro_invoke.builds.planner import Profile, Recipe, plan_images
from kiro_invoke.cache.guard import Freeable
from kiro_invoke.cache.proving import PROVEN
from kiro_invoke.cache.remembered import LAYERS, Made, write_made
from kiro_invoke.cache.warm import read_recipes
from kiro_invoke.commands import opening
from kiro_invoke.commands.guarding import PLENTY_BYTES, Look, explaining, make_room
from kiro_invoke.engine.disk import ROOTS, Room, engine_root, room_of
from kiro_invoke.engine.protocol import EngineInfo, ImageFacts
from kiro_invoke.metrics.entry import MEASURING, Entry, ImageEntry
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.errors import BuildFailed, EngineError, ExitCode, KiroError
from kiro_invoke.model.record import Step
from kiro_invoke.model.service import Project, Service
from tests.unit.build_fakes import fed, log, vertex
from tests.unit.fakes import FACTS, FakeEngine
from tests.unit.test_recording import World

MB, GB = 1_000_000, 1_000_000_000
DOCKERFILE = "FROM a AS made\nRUN --mount=type=tmpfs,target=/scratch cook\nFROM made\nCOPY . .\n"


class Asked(FakeEngine):
    """An engine that counts how often it is asked where its data is."""

    asked = 0

    def info(self) -> EngineInfo:
        self.asked += 1
        return super().info()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    context = tmp_path / "web"
    context.mkdir()
    (tmp_path / ".kiro").mkdir()
    (context / "Dockerfile.fast").write_text(DOCKERFILE)
    service = Service("web", context, "shop/web", "other", None, context / "Dockerfile.fast")
    return Project(tmp_path, "shop", (service,))


def recipes(project: Project) -> tuple[Recipe, ...]:
    return read_recipes(project, (Profile.DEV,))


def looks(*free: int) -> Look:
    """A disk with so much free, at each look less or more; the last stays."""
    left = list(free)
    return lambda _engine, _state: Room("/data", left.pop(0) if len(left) > 1 else left[0])


def never(_engine: object, _state: object) -> Room | None:
    pytest.fail("nobody needs to look")


@dataclass
class Cleaning:
    """A cleaner that can free what it is told, and remembers what was wanted."""

    bytes: int = 0
    wanted: list[int] = field(default_factory=list)
    trouble: Exception | None = None

    def could_free(self) -> Sequence[Freeable]:
        if self.trouble:
            raise self.trouble
        return (Freeable("old layers", "kiro clean-cache", self.bytes),)

    def free(self, bytes: int, say: Callable[[str], None]) -> int:
        self.wanted.append(bytes)
        say("cleaned")
        return self.bytes


def test_nobody_looks_for_what_could_go_where_there_is_room(project: Project) -> None:
    """To read all of a checkout takes a tenth of a build that has nothing to do."""
    free = project.disk_floor + PLENTY_BYTES - 1
    make_room(
        project,
        FakeEngine(),
        recipes(project),
        pytest.fail,
        look=looks(free),
        cleaner=lambda: pytest.fail("?"),
    )


# --- where the engine's data is


def test_where_the_engines_data_is_is_asked_once(tmp_path: Path) -> None:
    engine, file = Asked(), tmp_path / ROOTS
    engine.told = EngineInfo(root=str(tmp_path), is_here=True)
    assert [engine_root(engine, file, now) for now in (100.0, 200.0, 86_499.0)] == [str(tmp_path)] * 3
    assert engine.asked == 1
    assert engine_root(engine, file, 86_501.0) == str(tmp_path)
    assert engine.asked == 2
    # a clock that was set back
    assert engine_root(engine, file, 5.0) == str(tmp_path)
    assert engine.asked == 3


def test_it_is_asked_again_where_the_folder_is_gone_or_the_engine_another(tmp_path: Path) -> None:
    engine, file, data = Asked(), tmp_path / ROOTS, tmp_path / "data"
    data.mkdir()
    engine.told = EngineInfo(root=str(data), is_here=True)
    engine_root(engine, file, 1.0)
    data.rmdir()
    engine.told = EngineInfo(root=str(tmp_path), is_here=True)
    assert engine_root(engine, file, 2.0) == str(tmp_path)
    engine._facts = replace(FACTS, address="tcp://there:2376")
    engine.told = EngineInfo(root="/there")
    assert [engine_root(engine, file, now) for now in (3.0, 4.0)] == ["", ""]
    assert engine.asked == 3
    engine._facts = FACTS
    assert engine_root(engine, file, 5.0) == str(tmp_path)
    assert engine.asked == 3


def test_a_folder_that_we_may_not_look_for_is_not_asked_for_at_each_build(tmp_path: Path) -> None:
    engine, file = Asked(), tmp_path / ROOTS
    engine.told = EngineInfo(root=str(tmp_path / "closed/data"), is_here=True)
    assert [engine_root(engine, file, now) for now in (1.0, 2.0)] == ["", ""]
    assert engine.asked == 1


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": 1}', "[" * 100_000, None])
def test_a_damaged_note_is_written_anew(tmp_path: Path, text: str | None) -> None:
    engine, file = Asked(), tmp_path / ROOTS
    key = f"{FACTS.address} {FACTS.version}"
    file.write_text(json.dumps({key: {"root": 1, "asked": "x"}}) if text is None else text)
    engine.told = EngineInfo(root=str(tmp_path), is_here=True)
    assert engine_root(engine, file, 1.0) == engine_root(engine, file, 2.0) == str(tmp_path)
    assert engine.asked == 1


def test_room_is_known_of_this_machine_alone(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.told = EngineInfo(root=str(tmp_path), is_here=True)
    room = room_of(engine, tmp_path)
    assert room is not None
    assert (room.root, room.free > 0) == (str(tmp_path), True)
    engine = FakeEngine()
    engine._facts = replace(FACTS, address="tcp://there:2376")
    engine.told = EngineInfo(root=str(tmp_path))
    assert room_of(engine, tmp_path) is None


def test_an_engine_that_does_not_tell_is_not_guarded(tmp_path: Path) -> None:
    class Mute(FakeEngine):
        def info(self) -> EngineInfo:
            raise EngineError("gone")

    assert room_of(Mute(), tmp_path) is None
    assert not (tmp_path / ROOTS).exists()


# --- before a build


def test_without_a_floor_nobody_looks(project: Project) -> None:
    make_room(replace(project, disk_floor=0), FakeEngine(), recipes(project), pytest.fail, look=never)


def test_with_plenty_or_elsewhere_nothing_is_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiro_invoke.commands.clearing.needed", never)
    for look in (looks(3 * GB + PLENTY_BYTES), lambda _engine, _state: None):
        make_room(project, FakeEngine(), recipes(project), pytest.fail, look=look)


def test_what_was_never_built_is_said_where_it_does_not_fit(project: Project) -> None:
    cleaner = Cleaning()
    make_room(
        project, FakeEngine(), recipes(project), pytest.fail, cleaner=lambda: cleaner, look=looks(5 * GB)
    )
    with pytest.raises(BuildFailed) as stopped:
        make_room(
            project,
            FakeEngine(),
            recipes(project),
            pytest.fail,
            cleaner=lambda: cleaner,
            look=looks(5 * GB - 1),
        )
    assert stopped.value.code is ExitCode.BUILD_FAILED
    assert stopped.value.message == (
        "5.0 GB free on the engine's disk (/data), this build probably needs 2.0 GB"
        " (web was never built here: 2.0 GB assumed) and 3.0 GB are to stay free"
    )
    assert stopped.value.attempt is None
    assert cleaner.wanted == []


def built(project: Project, engine: FakeEngine, *builds: Entry, sizes: dict[str, int] | None = None) -> None:
    """What a checkout remembers once its image was built."""
    engine.images["shop/web:dev"] = ImageFacts("sha256:1", {}, 1)
    known = {"shop/web:dev": {"id": "sha256:1", "revision": "r", "silent": ""}}
    (project.state / PROVEN).write_text(json.dumps({"images": known, "ids": ["sha256:1"]}))
    write_made(project.state / LAYERS, Made(engine=FACTS.address, sizes=sizes or {"RUN cook": 500 * MB}))
    Store(project.state, pytest.fail).add(builds)


def build(began: float, *, command: str = "build", mounts: int | None = 0, ran: bool = True) -> Entry:
    steps = (
        Step("web", "made", "FROM a", cached=False),
        Step("web", "made", "RUN cook", cached=not ran),
        Step("web", "stage-1", "COPY . .", cached=True),
    )
    images = (ImageEntry("web", "dev", ran=int(ran)),)
    return Entry(began, 1.0, command, cache_mounts=mounts, images=images, steps=steps)


def test_what_earlier_builds_added_decides(project: Project) -> None:
    engine = FakeEngine()
    no_ops = [build(100.0 + n, ran=False) for n in range(60)]
    built(project, engine, build(1.0), build(2.0, mounts=100 * MB), build(3.0, command=MEASURING), *no_ops)
    make_room(project, engine, recipes(project), pytest.fail, look=looks(3_550 * MB))
    with pytest.raises(BuildFailed, match=r"the last 2 builds of web added 550 MB on average"):
        make_room(project, engine, recipes(project), pytest.fail, look=looks(3_549 * MB))


@pytest.mark.parametrize("lost", ["image", "engine", "clean", "history"])
def test_what_is_not_there_any_more_is_built_anew(project: Project, lost: str) -> None:
    engine = FakeEngine()
    built(project, engine, build(1.0))
    told = "web is built anew: its layers held 500 MB"
    if lost == "image":
        engine.images.clear()
    if lost == "engine":
        engine._facts = replace(FACTS, address="unix:///other.sock")
        told = "web was never built here: 2.0 GB assumed"
    if lost == "history":
        (project.state / "metrics.sqlite").unlink()
        told = "nothing tells what builds of web add: 500 MB assumed"
    with pytest.raises(BuildFailed, match=told):
        make_room(
            project, engine, recipes(project), pytest.fail, is_clean=lost == "clean", look=looks(3 * GB)
        )  # fmt: skip


def test_build_arguments_hide_no_step(project: Project) -> None:
    """The history keeps their names in place of their values, and long instructions cut short."""
    project = replace(project, build_args=(("TOKEN", "a-long-secret"),))
    text = f"RUN cook a-long-secret {'x' * 600}"
    entry = build(1.0)
    cook = replace(entry.steps[1], text=text.replace("a-long-secret", "$TOKEN"))
    engine = FakeEngine()
    built(project, engine, replace(entry, steps=(cook,)), sizes={text: 700 * MB})
    with pytest.raises(BuildFailed, match="the last build of web added 700 MB"):
        make_room(project, engine, recipes(project), pytest.fail, look=looks(3 * GB))


def test_room_is_made_and_said(project: Project) -> None:
    cleaner, said = Cleaning(4 * GB), list[str]()
    make_room(
        project,
        FakeEngine(),
        recipes(project),
        said.append,
        cleaner=lambda: cleaner,
        look=looks(2 * GB, 6 * GB),
    )
    assert cleaner.wanted == [3 * GB]
    assert said[0].startswith("2.0 GB free on the engine's disk (/data)")
    assert said[0].endswith("3.0 GB are to stay free: making room first")
    assert said[1:] == ["cleaned"]


def test_room_that_did_not_come_is_no_room(project: Project) -> None:
    cleaner, said = Cleaning(4 * GB), list[str]()
    with pytest.raises(BuildFailed) as stopped:
        make_room(
            project, FakeEngine(), recipes(project), said.append, cleaner=lambda: cleaner, look=looks(2 * GB)
        )
    assert stopped.value.message.endswith("are to stay free, though 4.0 GB were freed")
    assert "`kiro clean-cache` would free 4.0 GB (old layers)" in str(stopped.value)


# --- after a build


FULL = "cp: error writing '/scratch/x': No space left on device"


def no_room(project: Project, line: str) -> BuildFailed:
    plan = plan_images(recipes(project), "asked")
    name = "[made 2/2] RUN cook"
    progress, _ = fed(
        [
            *vertex(name, started="2026-01-02T03:04:05Z"),
            *log(f"{line}\n".encode()),
            *vertex(
                name, started="2026-01-02T03:04:05Z", completed="2026-01-02T03:04:06Z", error="exit code: 1"
            ),
        ],
        {target.name: target.service for target in plan.targets},
    )
    return failure(progress, plan, project.root, project.state / "logs/x.log")


def explained(project: Project, error: Exception, cleaner: Cleaning, look: Look) -> KiroError:
    with (
        pytest.raises(KiroError) as raised,
        explaining(project, FakeEngine(), recipes(project), cleaner=lambda: cleaner, look=look),
    ):
        raise error
    return raised.value


def test_a_full_disk_is_explained_with_what_helps(project: Project) -> None:
    error = no_room(project, FULL.replace("scratch", "app"))
    found = explained(project, error, Cleaning(4 * GB), looks(46 * MB))
    assert found is error
    assert found.message == (
        "web: made RUN cook failed: the engine's disk was full"
        " (/data: 46.0 MB free now that what the step wrote is gone)"
    )
    assert found.fix is not None
    assert found.fix.startswith(
        "`kiro clean-cache` would free 4.0 GB (old layers); `docker system df -v` shows"
    )
    assert found.fix.endswith("; see the whole log in .kiro/logs/x.log")
    assert "disk.floor" not in found.fix


def test_a_mount_in_memory_is_found_in_the_dockerfile(project: Project) -> None:
    found = explained(project, no_room(project, FULL), Cleaning(), looks(46 * MB))
    assert "/scratch is a file system in memory" in found.message


def test_mounts_of_other_steps_are_no_explanation(project: Project) -> None:
    for line, told in ((2, "/scratch is a file system"), (4, "the engine's disk was full")):
        error = no_room(project, FULL)
        error.line = line
        assert told in explained(project, error, Cleaning(), looks(46 * MB)).message
    error = no_room(project, FULL)
    error.file = "api/Dockerfile.fast"
    assert "the engine's disk was full" in explained(project, error, Cleaning(), looks(46 * MB)).message


def test_an_engine_that_cannot_tell_what_helps_is_no_obstacle(project: Project) -> None:
    cleaner = Cleaning(trouble=EngineError("no space left on device"))
    found = explained(project, no_room(project, "no space left on device"), cleaner, looks(0))
    assert "`docker system df -v`" in str(found)


def test_a_base_image_without_room_is_explained(project: Project) -> None:
    error = BuildFailed(
        "cannot pull a: failed to register layer: write /x: no space left on device", fix="try"
    )
    found = explained(project, error, Cleaning(), looks(10 * MB))
    assert "the engine's disk was full (/data: 10.0 MB free" in found.message


def test_other_failures_stay_as_they_are(project: Project) -> None:
    error = BuildFailed("web: RUN cook failed", fix="see the log")
    assert str(explained(project, error, Cleaning(), never)) == "web: RUN cook failed. Fix: see the log"


def test_this_machines_own_disk_is_told_apart(project: Project) -> None:
    found = explained(project, OSError(errno.ENOSPC, "No space left on device", "/x/log"), Cleaning(), never)
    assert found.code is ExitCode.MISSED
    assert str(found).startswith(
        "/x/log: this machine's disk is full: No space left on device. Fix: make room"
    )
    with pytest.raises(PermissionError), explaining(project, FakeEngine(), recipes(project)):
        raise PermissionError(errno.EACCES, "no")


# --- as commands do it


def test_a_build_asks_the_guard_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: world.engine)
    data = tmp_path / "data"
    data.mkdir()
    world.engine.told = EngineInfo(root=str(data), is_here=True)
    world.environ["KIRO_DISK_FLOOR"] = "1000TB"
    with pytest.raises(BuildFailed, match=r"1000 TB are to stay free. Fix: .*`docker system df -v`"):
        world.build([])
    assert world.engine.baked == []
    assert world.store.builds() == ()
