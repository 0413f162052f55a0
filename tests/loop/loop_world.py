"""A small world for the loop: real files, real scripts in a folder that passes for a container, no engine.

The service `web` is built by `build.sh`, which writes what it read into `out`: that is what is served.
"""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from kiro_invoke import config
from kiro_invoke.builds.bake import LABEL_REVISION
from kiro_invoke.builds.base_parts import base_parts
from kiro_invoke.builds.built import Note, write_built
from kiro_invoke.builds.executor import Stopped
from kiro_invoke.builds.planner import Profile
from kiro_invoke.cache.warm import read_recipes
from kiro_invoke.changes.snapshot import NOTHING, revision, scan
from kiro_invoke.changes.stored import Stored, save
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.containers import ContainerFacts, Happened
from kiro_invoke.loop import told
from kiro_invoke.loop.attach import Attaching
from kiro_invoke.loop.driver import Driver, Ending
from kiro_invoke.loop.events import EngineLost, Event, Hint, Pressed
from kiro_invoke.loop.following import Following
from kiro_invoke.loop.lane import Lane
from kiro_invoke.loop.ledger import Ledger
from kiro_invoke.loop.looking import Looking
from kiro_invoke.loop.sight import Sight
from kiro_invoke.model.errors import BuildFailed, EngineError
from tests.support.local_containers import LocalContainers

T = TypeVar("T", bound=told.Told)

BUILD = """\
if grep -rq ERROR src; then echo "error: a source says ERROR" >&2; exit 1; fi
if grep -rq SLEEP src; then sleep 30; fi
rm -rf out && cp -a src out && echo built >>builds
"""


class Source:
    """Events that a test tells of; folders are only noted."""

    polling = ""

    def __init__(self) -> None:
        self.followed: set[Path] = set()
        self.trouble = ""
        self.closed = False

    def follow(self, folders: Collection[Path], /) -> bool:
        new = set(folders) - self.followed
        self.followed = set(folders)
        return bool(new)

    def check(self) -> str:
        trouble, self.trouble = self.trouble, ""
        return trouble

    def close(self) -> None:
        self.closed = True


class Containers(LocalContainers):
    """As LocalContainers; the engine may be gone."""

    is_gone = False

    def of_project(self, project: str) -> tuple[ContainerFacts, ...]:
        if self.is_gone:
            raise EngineError("the engine is gone")
        return super().of_project(project)

    def happenings(self, _project: str, _since: float) -> Iterator[Happened]:
        while not self.is_gone:
            time.sleep(0.01)
        return iter(())


@dataclass
class World:
    """All of it. `told` is what the loop told so far."""

    root: Path
    live: str = "      run: sh ./build.sh\n      restart: none\n"
    told: list[told.Told] = field(default_factory=list)
    builds: int = 0
    starts: int = 0
    fails: bool = False
    slow: float = 0.0
    misconfigured: str = ""
    image_id: str = ""

    def __post_init__(self) -> None:
        app = self.root / "web"
        (app / "src").mkdir(parents=True)
        (app / "Dockerfile.fast").write_text("FROM base\nCOPY . .\n")
        (app / ".dockerignore").write_text("Dockerfile*\n.dockerignore\nignored\n")
        (app / "build.sh").write_text(BUILD)
        (app / "src/one").write_text("1")
        (app / "src/two").write_text("2")
        (self.root / "kiro.yaml").write_text(
            "project: shop\nservices:\n  - name: web\n    ecosystem: other\n    dependency_inputs: [lock]\n"
            f"    live:\n{self.live}"
        )
        self.image, self.container = self.root.parent / "image", self.root.parent / "container"
        self.containers = Containers(self.container)
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.source = Source()
        self.project = config.load(self.root, {})
        self.project.state.mkdir(exist_ok=True)
        self.lane = self.new_lane()

    def new_lane(self) -> Lane:
        """The service as a new process sees it."""
        (recipe,) = read_recipes(self.project, (Profile.DEV,))
        ledger = Ledger(self.project.state / "loop", "web")
        return Lane(Sight(self.project, recipe, time.time_ns), ledger)

    # --- making

    def build(self, _service: str, brake: Brake, on_phase: Callable[[str], None]) -> None:
        on_phase("building")
        self.builds += 1
        end = time.monotonic() + self.slow
        while time.monotonic() < end:
            if brake.pulled:
                raise Stopped
            time.sleep(0.01)
        if self.fails:
            raise BuildFailed("web: RUN make failed", file="web/Dockerfile.fast", line=2, tail=("no rule",))
        (recipe,) = read_recipes(self.project, (Profile.DEV,))
        sight = Sight(self.project, recipe, time.time_ns)
        shutil.rmtree(self.image, ignore_errors=True)
        snapshot = scan(sight.context, sight.rules, NOTHING, 0, skip=self.project.state)
        for path in snapshot.entries:
            (self.image / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(sight.context / path, self.image / path, follow_symlinks=False)
        shutil.copytree(self.image / "src", self.image / "out", symlinks=True)
        sight.shelf.place.mkdir(parents=True, exist_ok=True)
        save(sight.shelf.record, Stored((snapshot, NOTHING), {"newest": 0}))
        note = Note(revision(snapshot.entries), base_parts(recipe, self.project), {})
        write_built(sight.shelf, note, sight.side.fingerprint)
        # the Dockerfile's last line is part of what an image is, its stages of before are not
        self.image_id = f"image {note.revision} {recipe.path.read_text().splitlines()[-1]}"

    def start(self, _service: str) -> None:
        """A container of the image, or the one that there is, if that was made from it."""
        self.starts += 1
        facts, image = self.containers.facts, self.image_id
        if facts.image != image:
            shutil.rmtree(self.container, ignore_errors=True)
            shutil.copytree(self.image, self.container, symlinks=True)
            labels = {LABEL_REVISION: image.split()[1]}
            facts = replace(facts, id=f"c{self.starts + 1}", image=image, labels=labels)
        self.containers.facts = replace(facts, running=True)

    def condition(self, _service: str) -> str:
        return "healthy"

    def bring_up(self) -> None:
        """As the command does before the loop begins."""
        self.build("web", Brake(), lambda _phase: None)
        self.start("web")
        self.builds = self.starts = 0

    # --- the loop

    def driver(self, *, live: bool = True, once: bool = False) -> Driver:
        looking = Looking(
            lanes={"web": self.lane},
            root=self.root,
            files=dict(self.project.files),
            settings=self.project.watching,
            source=self.source,
            tell=self.told.append,
            locks=(self.root / ".git/index.lock",),
        )
        return Driver(
            {"web": self.lane},
            looking,
            Attaching(self.containers, "shop", 0.3, image_of=lambda _tag: self.image_id, live=live),
            self,
            Following(self.containers, "shop", self.events.put, lambda _service, _line: None, 0.0),
            self.told.append,
            self.events,
            lambda: self.misconfigured,
            live=live,
            once=once,
        )

    @contextmanager
    def running(self, *, live: bool = True) -> Iterator[Driver]:
        """The loop in a thread, ready."""
        driver = self.driver(live=live)
        endings: list[Ending] = []
        thread = threading.Thread(target=lambda: endings.append(driver.run()), daemon=True)
        thread.start()
        self.wait(told.Ready)
        try:
            yield driver
        finally:
            self.press("q")
            thread.join(10)
            assert not thread.is_alive()
            assert endings
            if self.lane.work is not None:
                self.lane.work.brake.pull()

    def save(self, path: str, text: str | None) -> None:
        """Write or remove a file of the service, and tell of it."""
        place = self.root / "web" / path
        if text is None:
            place.unlink()
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        self.hint(path)

    def hint(self, *paths: str) -> None:
        self.events.put(Hint(tuple(str(self.root / "web" / path) for path in paths)))

    def press(self, key: str) -> None:
        self.events.put(Pressed(key))

    def lose_engine(self) -> None:
        self.containers.is_gone = True
        self.events.put(EngineLost())

    def happen(self, action: str) -> None:
        self.events.put(Happened(self.containers.facts.id, "web", action, "137"))

    @property
    def served(self) -> dict[str, str]:
        """What the last build in the container read."""
        out = self.container / "out"
        return {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()}

    @property
    def saved(self) -> dict[str, str]:
        src = self.root / "web/src"
        return {str(path.relative_to(src)): path.read_text() for path in src.rglob("*") if path.is_file()}

    @property
    def mark(self) -> int:
        return len(self.told)

    def wait(self, kind: type[T], since: int = 0, seconds: float = 10) -> T:
        """The first thing of that kind that is told after the first `since`."""
        end = time.monotonic() + seconds
        while True:
            found = next((one for one in self.told[since:] if isinstance(one, kind)), None)
            if found is not None:
                return found
            assert time.monotonic() < end, f"no {kind.__name__} in {self.told[since:]}"
            time.sleep(0.005)

    def quiet(self, seconds: float = 0.4) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        self.containers.close()
