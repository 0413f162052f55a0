"""The metrics store: what is written is read again, by several at once, over versions, and damage costs no build."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from kiro_invoke.metrics.entry import CACHED, LIVE, Entry, ImageEntry, StageRow, Window, own_seconds
from kiro_invoke.metrics.schema import STEPS, VERSION
from kiro_invoke.metrics.store import FILE, Store, StoreError
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.record import Step

STEP = Step("web", "build", "RUN make", cached=False, seconds=1.5, started=10.0, completed=11.5)


def entry(began: float, seconds: float = 1.0, *, ref: str = "", cause: str = "src/a changed") -> Entry:
    image = ImageEntry(
        "web",
        "dev",
        "SOURCE",
        cause,
        "src/a",
        "r1",
        predicted=CACHED,
        verdict=CACHED,
        seconds=seconds,
        cached=3,
        ran=1,
    )
    return Entry(
        began, seconds, "build", engine="unix", tool="0.1", cache_layers=5, cache_mounts=7, context_bytes=9, ref=ref,
        images=(image,), steps=(STEP, Step("web", "deps", "RUN install", cached=True)),
    )  # fmt: skip


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, said: list[str]) -> Store:
    return Store(tmp_path, said.append)


def test_what_is_written_is_read_again(store: Store) -> None:
    store.add([entry(100.0)])
    store.add([Entry(50.0, 2.0, "watch", ok=False, message="web: does not build", way=LIVE)])
    first, second = store.builds()
    assert (first.began, first.ok, first.message, first.way) == (50.0, False, "web: does not build", LIVE)
    assert (second.seconds, second.cache_layers, second.cache_mounts, second.context_bytes) == (1.0, 5, 7, 9)
    (row,) = store.images()
    assert (row.build, row.began, row.ok, row.image) == (second.id, 100.0, True, entry(100.0).images[0])
    assert store.steps(second.id) == entry(100.0).steps
    assert store.stages() == (StageRow(second.id, "web", "build", 1.5),)


def test_a_window_is_of_time_and_number(store: Store) -> None:
    store.add([entry(float(number)) for number in range(1, 11)])
    assert [row.began for row in store.builds(Window(last=3))] == [8, 9, 10]
    assert [row.began for row in store.builds(Window(after=9.0))] == [9, 10]
    assert [row.began for row in store.images(Window(after=2.0, last=2))] == [9, 10]
    assert [row.build for row in store.stages(Window(last=1))] == [10]
    assert len(store.builds(Window(last=99))) == 10


def test_what_is_old_is_forgotten(tmp_path: Path, said: list[str]) -> None:
    store = Store(tmp_path, said.append, now=lambda: 1000.0)
    store.add([entry(100.0), entry(901.0)])
    store.add([entry(999.0)], keep_seconds=100.0)
    assert [row.began for row in store.builds()] == [901.0, 999.0]
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT COUNT(*) FROM steps").fetchone() == (4,)


def test_a_build_made_outside_is_there_once(store: Store) -> None:
    store.add([entry(1.0, ref="a"), entry(2.0)])
    store.add([entry(1.0, ref="a"), entry(3.0, ref="b"), entry(4.0)])
    assert len(store.builds()) == 4
    assert store.known_refs() == {"a", "b"}


def test_any_text_can_be_kept(store: Store) -> None:
    store.add([entry(1.0, cause="\udcff<script>\0" + "x" * 10_000)])
    (row,) = store.images()
    assert row.image.cause.startswith("?<script>")
    assert len(row.image.cause) == 500


def test_it_is_its_owners_alone(store: Store) -> None:
    store.add([entry(1.0)])
    assert store.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("version", range(VERSION))
def test_each_older_version_is_migrated(store: Store, version: int) -> None:
    with sqlite3.connect(store.path) as db:
        for step in STEPS[:version]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {version}")
        if version:
            db.execute(
                "INSERT INTO builds (began, seconds, command, ok, message, way, engine, tool)"
                " VALUES (1, 2, 'build', 1, '', '', '', '')"
            )
            db.execute(
                "INSERT INTO images VALUES (1, 'old', 'dev', '', '', '', '', '', '', NULL, 0, 1{})".format(
                    ", '', ''" if version > 1 else ""
                )
            )
    store.add([entry(5.0, ref="x")])
    assert [row.image.service for row in store.images()] == (["old"] if version else []) + ["web"]
    with sqlite3.connect(store.path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_newer_version_is_left_alone(store: Store) -> None:
    store.add([entry(1.0)])
    with sqlite3.connect(store.path) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match="a newer kiro-invoke"):
        store.add([entry(2.0)])
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT COUNT(*) FROM builds").fetchone() == (1,)


def test_a_file_that_is_no_database_is_set_aside(store: Store, said: list[str]) -> None:
    store.path.write_bytes(b"not a database " * 100)
    store.add([entry(1.0)])
    assert len(store.builds()) == 1
    assert "begun anew" in said[0]
    (aside,) = store.path.parent.glob(f"{FILE}.damaged-*")
    assert aside.read_bytes().startswith(b"not a database")


def test_a_file_whose_pages_are_damaged_is_set_aside(store: Store, said: list[str]) -> None:
    store.add([entry(float(number)) for number in range(200)])
    assert len(store.builds()) == 200  # whoever reads moves what was written into the file
    with store.path.open("r+b") as file:  # its first page, which tells that it is a database, stays
        file.seek(4096)
        file.write(os.urandom(store.path.stat().st_size - 4096))
    store.add([entry(1.0)])
    assert len(store.builds()) == 1
    assert len(said) == 1


def test_what_cannot_be_written_is_said_in_one_line(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "missing", said.append).add([entry(1.0)])
    assert "\n" not in str(caught.value)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError):
        Store(tmp_path / "link", said.append).add([entry(1.0)])
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        Store(tmp_path, said.append).add([entry(1.0)])
    assert not (tmp_path / "elsewhere").exists()


def test_a_writer_leaves_what_it_wrote_in_the_log(store: Store) -> None:
    """Else it would wait for the disk."""
    store.add([entry(1.0)])
    store.add([entry(2.0)])
    log = Path(f"{store.path}-wal")
    assert log.stat().st_size > 0
    assert [row.began for row in store.builds()] == [1.0, 2.0]
    assert not log.exists()


def test_what_waits_for_the_disk_is_done_beforehand(store: Store) -> None:
    log = Path(f"{store.path}-wal")
    store.prepare()
    begun = log.stat().st_size
    assert begun > 0
    store.add([entry(1.0)])
    before = log.stat().st_size
    assert before > begun
    store.prepare()
    assert log.stat().st_size == before, "a little may stay"
    store.add([entry(float(number), cause="x" * 500) for number in range(3000)])
    assert log.stat().st_size > 1_000_000
    store.prepare()
    assert 0 < log.stat().st_size < 100_000
    assert len(store.builds()) == 3001
    with sqlite3.connect(store.path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_preparing_says_nothing_of_trouble(tmp_path: Path, said: list[str]) -> None:
    Store(tmp_path / "missing", said.append).prepare()
    assert said == []


def _write(state: Path, count: int) -> None:
    store = Store(state, lambda _line: os._exit(3))
    for number in range(count):
        store.add([entry(float(number))])


def test_several_processes_write_at_once(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(store.path.parent, 40)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(store.builds()) == 160
    assert len(store.stages()) == 160


@pytest.mark.parametrize("delay", [0.02, 0.05, 0.1, 0.2])
def test_a_writer_that_is_killed_leaves_whole_builds(store: Store, said: list[str], delay: float) -> None:
    writer = multiprocessing.get_context("fork").Process(target=_write, args=(store.path.parent, 100_000))
    writer.start()
    time.sleep(delay)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join(10)
    store.add([entry(1e9)])
    builds = store.builds()
    assert len(builds) >= 1
    assert len(store.images()) == len(builds)
    assert all(len(store.steps(row.id)) == 2 for row in builds[:50])
    assert said == []


def test_a_services_own_time() -> None:
    steps = (STEP, Step("web", "x", "RUN", cached=True, completed=99.0))
    assert own_seconds(steps, 9.0, 20.0, alone=True) == 20.0
    assert own_seconds(steps, 9.0, 20.0, alone=False) == 2.5
    assert own_seconds(steps[1:], 9.0, 20.0, alone=False) is None


def test_another_connection_of_the_process_keeps_its_locks(store: Store) -> None:
    """A file that is closed gives up all of a process's locks on it: one that is open elsewhere would be without."""
    store.add([entry(1.0)])
    writers = [threading.Thread(target=_write, args=(store.path.parent, 20)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(store.builds()) == 81


@pytest.mark.parametrize("is_newer", [False, True])
def test_a_file_that_nobody_settles_is_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch, is_newer: bool
) -> None:
    """With the setting of newer versions of Python where there is one, else with a lock."""
    if not is_newer:
        monkeypatch.delattr(sqlite3, "SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE", raising=False)
    for number in range(10):
        store.add([entry(float(number))])
    with sqlite3.connect(store.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT COUNT(*) FROM builds").fetchone() == (10,)


def test_a_file_that_another_process_has_replaced_already_is_not_set_aside(
    store: Store, said: list[str]
) -> None:
    store.add([entry(1.0)])
    store._set_aside(sqlite3.DatabaseError("seen before it was replaced"))
    assert said == []
    assert len(store.builds()) == 1
