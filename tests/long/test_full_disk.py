"""A small disk fills up, the engine's or the person's own: it is said, nothing is lost, and there is a way on."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.engine import Ran, docker, kiro
from tests.support.private_engine import PrivateEngine, private_engine

pytestmark = [pytest.mark.docker, pytest.mark.long]

MB = 1_000_000
DISK = 300 * MB
LAYER = 50 * MB
BASE = "kiro-tiny:1"
#: What steps call.
PROGRAMS = ("sh", "head", "cat")
DOCKERFILE = f"""\
FROM {BASE} AS made
COPY size.txt seed.txt /
RUN --network=none head -c "$(cat /size.txt)" /dev/urandom >/made

FROM made AS dev
COPY seed.txt /seed
"""


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


@pytest.fixture(scope="module")
def tight(engine: None) -> Iterator[PrivateEngine]:
    """An engine whose disk has room for a few of the layers that the tests make."""
    folder = Path(tempfile.mkdtemp(prefix="kiro-engine-"))
    with small_disk(folder / "data", DISK), private_engine(folder) as found:
        subprocess.run(
            ["docker", "--host", found.address.url, "import", "-", BASE],
            input=root_of(PROGRAMS), check=True, capture_output=True,
        )  # fmt: skip
        yield found
    shutil.rmtree(folder, ignore_errors=True)


def root_of(programs: tuple[str, ...]) -> bytes:
    """A root file system (tar) with these programs of this machine, and what they load."""
    files = [Path(shutil.which(name) or name) for name in programs]
    told = subprocess.run(["ldd", *files], check=True, capture_output=True, text=True).stdout
    loaded = {Path(word) for word in told.split() if word.startswith("/") and not word.endswith(":")}
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name in ("bin", "dev", "proc", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for file in files:
            tar.add(file.resolve(), f"bin/{file.name}")
        for file in loaded:
            tar.add(file.resolve(), str(file).lstrip("/"))
    return written.getvalue()


class Repository:
    """A repository with one service, `app`, whose image holds as many bytes as it is told."""

    def __init__(self, root: Path, engine: PrivateEngine, name: str) -> None:
        self.root, self.engine, self.name = root, engine, name
        (root / f"app-{name}").mkdir(parents=True)
        (root / "kiro.yaml").write_text(
            f"project: {name}\nservices:\n  - name: app\n    context: app-{name}\n    image: {name}/app\n"
        )
        self.write("Dockerfile.fast", DOCKERFILE)

    def write(self, file: str, text: str) -> None:
        (self.root / f"app-{self.name}" / file).write_text(text)

    def edit(self, size: int, seed: str) -> None:
        self.write("size.txt", str(size))
        self.write("seed.txt", seed)

    def build(self, size: int, seed: str, *, floor: str = "0") -> Ran:
        self.edit(size, seed)
        return self.make(floor)

    def make(self, floor: str = "0") -> Ran:
        env = {**self.engine.env, "KIRO_DISK_FLOOR": floor}
        return kiro("build", "--format", "json", cwd=self.root, env=env)

    def image(self) -> str:
        return docker(
            "--host", self.engine.address.url, "inspect", "--format", "{{.Id}}", f"{self.name}/app:dev"
        ).strip()

    def run(self) -> str:
        """What a container of the image prints of its seed."""
        return docker(
            "--host", self.engine.address.url, "run", "--rm", "--network=none", f"{self.name}/app:dev", "cat", "/seed"
        )  # fmt: skip

    def check_notes(self) -> None:
        """All that is remembered is whole."""
        for file in (self.root / ".kiro").glob("*.json"):
            json.loads(file.read_text())
        with closing(sqlite3.connect(self.root / ".kiro/metrics.sqlite")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not list((self.root / ".kiro").glob("metrics.sqlite.damaged*"))


def records(engine: PrivateEngine) -> set[str]:
    told = docker("--host", engine.address.url, "buildx", "du", "--verbose")
    return {line.split()[1] for line in told.splitlines() if line.startswith("ID:")}


def free(engine: PrivateEngine) -> int:
    found = os.statvfs(engine.folder / "data")
    return found.f_bavail * found.f_frsize


@pytest.fixture
def emptied(tight: PrivateEngine) -> Iterator[PrivateEngine]:
    """The engine; what a test leaves on it is gone afterwards."""
    yield tight
    host = ("--host", tight.address.url)
    names = docker(*host, "images", "--format", "{{.Repository}}:{{.Tag}}").split()
    for name in {*names} - {BASE, "<none>:<none>"}:
        docker(*host, "image", "rm", name)
    docker(*host, "image", "prune", "--force")
    docker(*host, "builder", "prune", "--all", "--force")


@pytest.fixture
def shop(emptied: PrivateEngine, tmp_path: Path) -> Repository:
    """One whose earlier builds left so much that the next one does not fit."""
    shop = Repository(tmp_path / "shop", emptied, "shop")
    for number in range(5):
        assert shop.build(LAYER, f"build {number}").code == 0
    assert free(emptied) < LAYER
    return shop


def test_a_build_that_does_not_fit_is_explained_and_loses_nothing(shop: Repository) -> None:
    before, seed = shop.image(), shop.run()
    failed = shop.build(400 * MB, "too large")
    assert failed.code == 4
    error = failed.json["error"]
    assert "head: error writing" in error["tail"][-1]
    assert re.search(
        rf"failed: the engine's disk was full \({shop.engine.folder}/data: \d+\.\d MB free now",
        error["message"],
    )
    assert "`kiro clean-cache` would free 1" in error["fix"]
    assert "see the whole log in .kiro/logs/" in error["fix"]
    assert "Traceback" not in failed.err
    assert (shop.image(), shop.run()) == (before, seed)
    shop.check_notes()
    # it is known now what the layers held: with a floor, what is superseded goes and the next one fits
    again = shop.build(LAYER, "fits", floor="50MB")
    assert again.code == 0, again.err
    assert shop.run() == "fits"
    shop.check_notes()


def test_a_file_system_of_the_steps_own_is_named(emptied: PrivateEngine, tmp_path: Path) -> None:
    shop = Repository(tmp_path, emptied, "shop")
    mount = "--mount=type=tmpfs,target=/tmp,size=1m"
    shop.write(
        "Dockerfile.fast", f"FROM {BASE}\nRUN --network=none {mount} head -c 2000000 /dev/zero >/tmp/x\n"
    )
    shop.edit(MB, "")
    failed = shop.make()
    assert failed.code == 4
    error = failed.json["error"]
    assert "/tmp, in memory, or the engine's disk was full" in error["message"]
    assert error["fix"].startswith("give its `--mount=type=tmpfs` a larger size=; `docker system df -v`")


def test_room_is_made_below_the_floor(shop: Repository) -> None:
    made = shop.build(LAYER, "next", floor="60MB")
    assert made.code == 0, made.err
    first, second, *_ = made.err.splitlines()
    assert re.fullmatch(
        r"\d+\.\d MB free on the engine's disk \(.*/data\), this build probably needs 50\.0 MB"
        r" \(the last \d builds of app added 50\.0 MB on average\) and 60\.0 MB are to stay free: making room first",
        first,
    )
    assert re.match(r"reclaimed 1[05]0 MB of superseded layers and mounts: \d+(\.\d)? MB are wanted", second)
    assert shop.run() == "next"
    assert free(shop.engine) > 60 * MB
    # what a change taken back needs again is still there
    back = shop.build(LAYER, "build 4")
    assert all(stage["cached"] for service in back.json["services"] for stage in service["stages"])


def test_nobody_elses_is_touched_to_make_room(emptied: PrivateEngine, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other", emptied, "other")
    for seed in ("1", "2", "3", "4"):
        assert other.build(LAYER, seed).code == 0
    before, held = records(emptied), free(emptied)
    mine = Repository(tmp_path / "mine", emptied, "mine")
    stopped = mine.build(LAYER, "mine", floor="200MB")
    assert stopped.code == 4
    error = stopped.json["error"]
    assert re.fullmatch(
        rf"\d+\.\d MB free on the engine's disk \({emptied.folder}/data\), this build probably needs 2\.0 GB"
        r" \(app was never built here: 2\.0 GB assumed\) and 200 MB are to stay free",
        error["message"],
    )
    assert error["fix"].startswith("nothing of this project's own can go; `docker system df -v` shows")
    assert "disk.floor in kiro.yaml" in error["fix"]
    assert len(stopped.err.strip().splitlines()) == 1
    assert records(emptied) == before
    assert abs(free(emptied) - held) < MB
    assert other.run() == "4"


def test_a_full_disk_of_the_persons_own_is_one_line(emptied: PrivateEngine, tmp_path: Path) -> None:
    """Mirrors, notes and the history lie there. None is half written, and room is all that is missing."""
    with small_disk(tmp_path / "repository", 2 * MB):
        shop = Repository(tmp_path / "repository", emptied, "small")
        assert shop.build(MB, "first").code == 0
        before = shop.image()
        shop.edit(MB, "edited " * 1000)
        with filled(shop.root, 4096):
            failed = shop.make()
        assert failed.code == 2
        assert failed.err.strip() == (
            "kiro build: seed.txt: it cannot be mirrored for the build: No space left on device."
            " Fix: see that the state folder .kiro can be written, and that there is room"
        )
        assert (shop.image(), shop.run()) == (before, "first")
        shop.check_notes()
        assert shop.make().code == 0
        assert shop.run() == "edited " * 1000
        # what is sent fits, and what is remembered of it does not
        shop.edit(MB, "again " * 1000)
        with filled(shop.root, 20_480):
            made = shop.make()
        assert made.code == 0, made.err
        assert "this build is not in the history: metrics.sqlite: database or disk is full" in made.err
        assert shop.run() == "again " * 1000
        shop.check_notes()
        assert [s["cached"] for i in shop.make().json["services"] for s in i["stages"]] == [True, True]


def test_a_log_that_does_not_fit_fails_no_build(emptied: PrivateEngine, tmp_path: Path) -> None:
    with small_disk(tmp_path / "repository", 2 * MB):
        shop = Repository(tmp_path / "repository", emptied, "noisy")
        shop.write("Dockerfile.fast", f"{DOCKERFILE}RUN --network=none cat{' /seed.txt' * 40}\n")
        shop.edit(MB, "a line that is printed\n" * 1000)
        with filled(shop.root, 300_000):
            made = shop.make()
        assert made.code == 0, made.err
        assert shop.run() == "a line that is printed\n" * 1000
        shop.check_notes()
        shop.write("Dockerfile.fast", f"{DOCKERFILE}RUN --network=none cat{' /seed.txt' * 41} && false\n")
        with filled(shop.root, 300_000):
            failed = shop.make()
        assert failed.code == 4
        error = failed.json["error"]
        assert error["message"].endswith("failed")
        assert error["fix"].endswith(".log, which is cut short: No space left on device")
        assert error["tail"][-1] == "a line that is printed"


@contextmanager
def filled(folder: Path, left: int) -> Iterator[None]:
    """While inside, a folder's disk has no more room than `left` bytes."""
    found = os.statvfs(folder)
    filler = folder / "filler"
    filler.write_bytes(bytes(max(found.f_bavail * found.f_frsize - left, 0)))
    yield
    filler.unlink()
