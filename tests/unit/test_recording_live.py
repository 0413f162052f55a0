"""What is remembered of live updates, and that the loop waits for none of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.commands.recording import Recorder, once
from kiro_invoke.commands.recording_live import entry_of, recording
from kiro_invoke.loop import told
from kiro_invoke.loop.decide import Way
from kiro_invoke.metrics.entry import LIVE
from kiro_invoke.metrics.store import FILE, Store
from kiro_invoke.model.change import Kind
from kiro_invoke.model.service import Project, Recording

CHANGE = told.Change(
    "web", ("web/src/a.rs", "web/src/b.rs"), Kind.SOURCE, "src/a.rs changed; and more", Way.LIVE
)
SPENT = told.Seconds(detect=0.05, sync=0.01, build=0.8, restart=0.0, total=0.9)
SERVED = told.Served(CHANGE, SPENT, "kiro-revision-1")
BROKEN = told.Broken(CHANGE, "does not\nbuild", seconds=SPENT)


def test_a_served_change() -> None:
    entry = entry_of(SERVED, "here", 1000.9)
    assert entry is not None
    assert (entry.command, entry.way, entry.ok, entry.engine) == ("watch", LIVE, True, "here")
    assert (entry.began, entry.seconds) == (1000.0, 0.9)
    (image,) = entry.images
    assert (image.service, image.profile, image.kind, image.file) == ("web", "dev", "SOURCE", "web/src/a.rs")
    assert (image.cause, image.revision, image.seconds) == (
        "src/a.rs changed; and more",
        "kiro-revision-1",
        0.9,
    )
    told_of = [(one.service, one.stage, one.text, one.cached, one.seconds) for one in entry.steps]
    assert told_of == [("web", "live sync", "sync", False, 0.01), ("web", "live build", "build", False, 0.8)]
    times = [time for one in entry.steps for time in (one.started, one.completed)]
    assert times == pytest.approx([1000.05, 1000.06, 1000.06, 1000.86])


def test_a_broken_one() -> None:
    entry = entry_of(BROKEN, "here", 1000.9)
    assert entry is not None
    assert (entry.ok, entry.message, entry.images[0].revision) == (False, "does not build", "")


def test_a_reconciled_one_and_one_with_its_image_behind() -> None:
    behind = replace(CHANGE, way=Way.LIVE_IMAGE_BEHIND, kind=Kind.DEPENDENCY)
    for one in (replace(SERVED, reconciled=True), replace(SERVED, change=behind)):
        assert entry_of(one, "here", 1.0) is not None


@pytest.mark.parametrize(
    "one",
    [
        told.Note("x"),
        told.Superseded(CHANGE),
        replace(SERVED, change=replace(CHANGE, way=Way.IMAGE)),
        replace(BROKEN, change=replace(CHANGE, way=Way.IMAGE)),
        replace(SERVED, change=replace(CHANGE, way=Way.START)),
    ],
)
def test_images_are_remembered_elsewhere_and_the_rest_nowhere(one: told.Told) -> None:
    assert entry_of(one, "here", 1.0) is None


WANTED = Recording()


def recorder(root: Path, said: list[str], how: Recording = WANTED) -> Recorder:
    return Recorder(Project(root, "shop", (), recording=how), "watch", "here", once(said.append))


def test_all_that_was_told_is_there_at_the_end(tmp_path: Path) -> None:
    (tmp_path / ".kiro").mkdir()
    with recording(recorder(tmp_path, []), "here") as tell:
        for one in (SERVED, told.Note("x"), BROKEN):
            tell(one)
    assert [build.ok for build in Store(tmp_path / ".kiro", pytest.fail).builds()] == [True, False]


def test_telling_does_not_wait_for_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It returns though the store does not."""
    (tmp_path / ".kiro").mkdir()
    free, add = threading.Event(), Store.add

    def slow(*arguments: object, **how: object) -> None:
        assert free.wait(60)
        add(*arguments, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "add", slow)
    with recording(recorder(tmp_path, []), "here") as tell:
        tell(SERVED)
        tell(BROKEN)
        free.set()
    assert len(Store(tmp_path / ".kiro", pytest.fail).builds()) == 2


def test_trouble_is_said_once(tmp_path: Path) -> None:
    (tmp_path / ".kiro" / FILE).mkdir(parents=True)
    said: list[str] = []
    with recording(recorder(tmp_path, said), "here") as tell:
        tell(SERVED)
        tell(SERVED)
    assert len(said) == 1


def test_nothing_is_remembered_where_nobody_wants_it(tmp_path: Path) -> None:
    (tmp_path / ".kiro").mkdir()
    with recording(recorder(tmp_path, [], Recording(record=False)), "here") as tell:
        tell(SERVED)
    assert not (tmp_path / ".kiro" / FILE).exists()
