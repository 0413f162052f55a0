"""The loop, with scripted events: what is saved is served, whatever happens in between."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.loop import live, syncing, told
from kiro_invoke.loop.decide import Way
from kiro_invoke.loop.driver import Ending
from kiro_invoke.loop.events import Hint, LimitReached
from kiro_invoke.loop.polling import Poller
from kiro_invoke.model.change import Kind
from kiro_invoke.model.errors import EngineError
from tests.loop.loop_world import BUILD, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path / "a repo")
    found.bring_up()
    yield found
    found.close()


def test_a_save_is_synced_built_and_told(world: World) -> None:
    with world.running():
        world.save("src/one", "edited")
        served = world.wait(told.Served)
        assert world.served == world.saved
    change = served.change
    assert (change.kind, change.way, change.paths) == (Kind.SOURCE, Way.LIVE, ("web/src/one",))
    assert change.cause == "src/one changed"
    assert not served.reconciled
    assert served.seconds.detect >= 0.05
    assert served.seconds.total >= served.seconds.detect + served.seconds.sync + served.seconds.build
    assert (world.builds, world.starts) == (0, 0)


def test_a_container_that_is_behind_is_brought_up_to_date_first(world: World) -> None:
    (world.root / "web/src/one").write_text("while nobody watched")
    (world.root / "web/src/two").unlink()
    with world.running():
        assert world.wait(told.Served).reconciled
        assert world.served == world.saved
    assert world.builds == 0


def test_what_is_unchanged_does_nothing(world: World) -> None:
    with world.running():
        built = (world.container / "builds").exists()
        mark = world.mark
        world.hint("src/one")
        told_of = world.wait(told.Unaffected, mark)
        world.save("src/one", "for a moment")
        world.save("src/one", "1")
        world.save("ignored", "left out of the context")
        world.save("src/4913", "an editor's")
        world.quiet()
        assert (told_of.paths, told_of.cause) == (("web/src/one",), "content unchanged")
        assert {type(one) for one in world.told[mark:]} == {told.Unaffected}
        assert (world.container / "builds").exists() == built
        assert not (world.container / "src/4913").exists()


def test_a_broken_build_is_told_once_and_the_next_good_save_clears_it(world: World) -> None:
    with world.running():
        before = time.time()
        world.save("src/one", "ERROR")
        broken = world.wait(told.Broken)
        assert broken.serves_old_since == pytest.approx(before, abs=2)
        assert b"error: a source says ERROR" in broken.output
        assert world.served == {"one": "1", "two": "2"}
        world.hint("src/one")
        world.events.put(Hint(whole=True))
        world.quiet()
        assert sum(isinstance(one, told.Broken) for one in world.told) == 1
        mark = world.mark
        world.save("src/two", "ERROR too")
        assert world.wait(told.Broken, mark).serves_old_since == broken.serves_old_since
        mark = world.mark
        world.save("src/one", "good")
        world.save("src/two", "better")
        world.wait(told.Served, mark)
        assert world.served == world.saved
        assert world.lane.broken_since is None


def test_a_broken_source_that_is_taken_back_is_built_again(world: World) -> None:
    with world.running():
        world.save("src/one", "ERROR")
        world.wait(told.Broken)
        world.save("src/one", "1")
        world.wait(told.Served)
        assert world.served == world.saved


def test_work_for_what_is_outdated_is_ended(world: World) -> None:
    with world.running():
        world.save("src/one", "SLEEP")
        world.quiet(0.3)
        begun = time.monotonic()
        world.save("src/one", "awake")
        world.wait(told.Superseded)
        world.wait(told.Served)
        assert time.monotonic() - begun < 5
        assert world.served == world.saved


def test_a_save_during_a_build_that_changes_nothing_does_not_end_it(world: World) -> None:
    world.slow = 0.5
    with world.running():
        (world.root / "web/Dockerfile.fast").write_text("FROM other\nCOPY . .\n")
        world.hint("Dockerfile.fast")
        world.quiet(0.2)
        world.hint("src/one")
        world.wait(told.Served)
        assert world.builds == 1


def test_ten_saves_in_a_burst_are_one_build(world: World) -> None:
    with world.running():
        for number in range(10):
            world.save("src/one", f"{number}")
        world.wait(told.Served)
        world.quiet()
        assert (world.container / "builds").read_text().count("built") == 1
        assert world.served == world.saved


def test_a_dependency_is_live_and_then_in_the_image(world: World) -> None:
    with world.running():
        world.save("lock", "more")
        assert world.wait(told.Served).change.way is Way.LIVE_IMAGE_BEHIND
        world.wait(told.Refreshed)
        assert (world.builds, world.starts) == (1, 0)
        mark = world.mark
        world.save("src/one", "and on")
        assert world.wait(told.Served, mark).change.way is Way.LIVE
        world.quiet()
        assert world.builds == 1
    assert (world.image / "lock").read_text() == "more"


def test_a_save_ends_the_build_behind_and_it_begins_again_when_that_is_served(world: World) -> None:
    world.slow = 3600
    with world.running():
        world.save("lock", "more")
        world.wait(told.Served)
        world.quiet(0.2)
        mark = world.mark
        world.slow = 0.0
        world.save("src/one", "sooner")
        world.wait(told.Served, mark)
        world.wait(told.Refreshed, mark)
        assert world.builds == 2
        assert (world.image / "src/one").read_text() == "sooner"


def test_an_image_that_does_not_build_behind_is_told_once(world: World) -> None:
    world.fails = True
    with world.running():
        world.save("lock", "more")
        world.wait(told.Served)
        trouble = world.wait(told.Trouble)
        assert "what is served is not in its image" in trouble.message
        world.hint("src/one")
        world.quiet()
        assert world.builds == 1
        world.fails = False
        world.save("src/one", "again")
        world.wait(told.Refreshed)


def test_what_stages_are_made_from_needs_the_image(world: World) -> None:
    with world.running():
        world.save("src/one", "both")
        (world.root / "web/Dockerfile.fast").write_text("FROM other\nCOPY . .\n")
        world.hint("Dockerfile.fast")
        served = world.wait(told.Served)
        assert (served.change.kind, served.change.way) == (Kind.BASE, Way.IMAGE)
        assert world.served == world.saved
    assert (world.builds, world.starts) == (1, 1)


def test_a_failed_image_keeps_the_container(world: World) -> None:
    world.fails = True
    with world.running():
        (world.root / "web/Dockerfile.fast").write_text("FROM other\nCOPY . .\n")
        world.hint("Dockerfile.fast")
        broken = world.wait(told.Broken)
        assert broken.what == "web/Dockerfile.fast:2: web: RUN make failed"
        assert broken.output == b"no rule"
        assert broken.serves_old_since is not None
        world.quiet()
        assert (world.builds, world.starts) == (1, 0)
        world.fails = False
        world.press("r")
        world.wait(told.Served)
        assert world.builds == 2


def test_a_dockerfile_that_cannot_be_read_is_told_and_the_loop_goes_on(world: World) -> None:
    file = world.root / "web/Dockerfile.fast"
    text = file.read_text()
    with world.running():
        file.write_bytes(b"\xff\xfe")
        world.hint("Dockerfile.fast")
        assert "cannot be read" in world.wait(told.Trouble).message
        file.write_text(text)
        world.hint("Dockerfile.fast")
        world.save("src/one", "on")
        world.wait(told.Served)
        assert world.served == world.saved


def test_without_live_updates_every_change_is_an_image(world: World) -> None:
    with world.running(live=False):
        world.save("src/one", "edited")
        served = world.wait(told.Served)
        assert served.change.way is Way.IMAGE
        assert served.change.cause == "src/one changed; not live: --no-live"
        assert world.served == world.saved


@pytest.mark.parametrize("command", ["no-such-program", "sh ./build.sh && no-such-program"])
def test_a_command_that_cannot_be_started_leads_to_the_image(tmp_path: Path, command: str) -> None:
    world = World(tmp_path / "repo", live=f"      run: {command}\n      restart: none\n")
    world.bring_up()
    with world.running():
        world.save("src/one", "edited")
        served = world.wait(told.Served)
        assert served.change.way is Way.IMAGE
        assert "cannot be started" in served.change.cause
        assert world.served == world.saved
        mark = world.mark
        world.save("src/one", "again")  # it is tried anew: it may work now
        world.wait(told.Served, mark)
        assert world.served == world.saved
    world.close()


def test_a_container_with_another_first_process_has_no_live_updates(tmp_path: Path) -> None:
    world = World(tmp_path / "repo", live="      run: sh ./build.sh\n")
    world.bring_up()
    with world.running():
        assert "kiro-supervise" in world.wait(told.Started).unreachable
        world.save("src/one", "edited")
        assert world.wait(told.Served).change.way is Way.IMAGE
        assert world.served == world.saved
    world.close()


def test_files_that_somebody_else_changed_in_the_container_are_sent_again(world: World) -> None:
    (world.container / "src/one").write_text("a stranger's")
    with world.running():
        assert world.wait(told.Served).reconciled
        assert (world.container / "src/one").read_text() == "1"


def test_an_image_without_the_sources_has_no_live_updates(world: World) -> None:
    shutil.rmtree(world.container / "src")
    (world.container / "build.sh").unlink()
    with world.running():
        assert "does not hold its sources" in world.wait(told.Started).unreachable


def test_a_process_that_was_killed_in_between_leaves_no_doubt_behind(world: World) -> None:
    with world.running() as driver:
        held = world.lane.held
        assert held is not None
    (world.root / "web/src/one").write_text("sent")
    world.lane.ledger.doubt(held, ["src/one"])  # and then it was killed, the file half there
    (world.container / "src/one").write_text("se")
    world.lane = world.new_lane()
    world.told.clear()
    with world.running() as driver:
        world.wait(told.Served)
        assert world.served == world.saved
        assert driver.is_ready


def test_a_container_that_ends_is_told_and_the_next_save_starts_it(world: World) -> None:
    with world.running():
        world.save("src/one", "synced")
        world.wait(told.Served)
        mark = world.mark
        world.containers.channels[-1].kill()
        world.containers.facts = replace(world.containers.facts, running=False, exit_code=137)
        world.happen("die")
        assert "exit code 137" in world.wait(told.Stopped, mark).cause
        assert world.starts == 0
        world.save("src/two", "after it")
        world.wait(told.Served, mark)
        assert world.served == world.saved
    assert (world.starts, world.builds) == (1, 0)


@pytest.mark.parametrize("working", [False, True])
def test_a_session_that_breaks_off_before_the_engine_tells_why_starts_nothing(
    world: World, working: bool
) -> None:
    with world.running() as driver:
        if working:
            world.save("src/one", "SLEEP")
            world.quiet(0.3)
        mark = world.mark
        world.containers.facts = replace(world.containers.facts, running=False, exit_code=137)
        world.containers.channels[-1].kill()
        world.quiet(0.2)
        driver.looking.check_at = 0.0
        world.press("")  # any event wakes it
        world.quiet(0.3)
        world.happen("die")
        assert "exit code 137" in world.wait(told.Stopped, mark).cause
        world.happen("die")  # late, and of the same end
        world.quiet(2)
        assert sum(isinstance(one, told.Stopped) for one in world.told) == 1
    assert (world.starts, world.builds) == (0, 0)


def test_a_container_that_is_restarted_is_attached_to_again(world: World) -> None:
    with world.running():
        mark = world.mark
        world.containers.channels[-1].kill()
        world.happen("die")
        world.happen("start")
        world.quiet(0.3)
        world.save("src/one", "after it")
        world.wait(told.Served, mark)
        assert world.served == world.saved
    assert (world.starts, world.builds) == (0, 0)


def test_a_container_that_is_made_anew_is_brought_up_to_date(world: World) -> None:
    with world.running():
        world.save("src/one", "only synced")
        world.wait(told.Served)
        mark = world.mark
        world.containers.channels[-1].kill()
        world.happen("die")
        world.happen("destroy")
        shutil.rmtree(world.container)
        shutil.copytree(world.image, world.container)
        world.containers.facts = replace(world.containers.facts, id="another")
        world.happen("start")
        assert world.wait(told.Served, mark).reconciled
        assert world.served == world.saved
    assert world.builds == 0


def test_a_session_that_is_lost_in_a_build_is_opened_again(world: World) -> None:
    with world.running():
        world.save("src/one", "SLEEP")
        world.quiet(0.3)
        world.containers.channels[-1].kill()
        world.save("src/one", "awake")
        world.wait(told.Served)
        assert world.served == world.saved


def test_an_engine_that_is_gone_is_waited_for(world: World) -> None:
    with world.running():
        world.lose_engine()
        world.wait(told.Trouble)
        world.containers.channels[-1].kill()
        world.save("src/one", "meanwhile")
        world.quiet()
        mark = world.mark
        world.containers.is_gone = False
        world.wait(told.Served, mark)
        assert world.served == world.saved
        mark = world.mark
        world.save("src/one", "as before")
        world.wait(told.Served, mark)
        assert world.served == world.saved


def test_events_that_were_lost_are_made_up_for(world: World) -> None:
    with world.running():
        (world.root / "web/src/one").write_text("nobody told of it")
        (world.root / "web/src/new").mkdir()
        (world.root / "web/src/new/file").write_text("nor of this")
        world.source.trouble = "its thread died"
        world.wait(told.Served, seconds=5)
        assert world.served == world.saved
        assert any(isinstance(one, told.Note) and "its thread died" in one.message for one in world.told)
        (world.root / "web/src/one").write_text("an overflow")
        mark = world.mark
        world.events.put(Hint(whole=True, why="an overflow"))
        world.wait(told.Served, mark)
        assert world.served == world.saved


def test_everything_is_looked_at_from_time_to_time(world: World) -> None:
    with world.running() as driver:
        (world.root / "web/src/one").write_text("nobody told of it")
        assert 25 < driver.looking.rescan_at - time.monotonic() <= 30.1
        driver.looking.rescan_at = 0.0
        world.press("")  # any event wakes it
        world.wait(told.Served)
        assert world.served == world.saved


def test_new_folders_are_watched(world: World) -> None:
    with world.running():
        world.save("src/deep/er/file", "x")
        world.wait(told.Served)
        assert {world.root, world.root / "web/src/deep/er"} <= world.source.followed
        mark = world.mark
        shutil.rmtree(world.root / "web/src/deep")
        world.hint("src/deep")
        world.wait(told.Served, mark)
        assert world.root / "web/src/deep" not in world.source.followed
        assert not (world.container / "src/deep").exists()


def test_a_checkout_is_one_change(world: World) -> None:
    lock = world.root / ".git/index.lock"
    lock.parent.mkdir()
    with world.running():
        lock.touch()
        for number in range(20):
            world.save(f"src/file{number}", "new")
            time.sleep(0.05)
        assert not any(isinstance(one, told.Served) for one in world.told)
        lock.unlink()
        world.wait(told.Served)
        world.quiet()
        assert (world.container / "builds").read_text().count("built") == 1
        assert world.served == world.saved


def test_another_branch_and_back_is_nothing(world: World) -> None:
    lock = world.root / ".git/index.lock"
    lock.parent.mkdir()
    with world.running():
        lock.touch()
        world.save("src/one", "the other branch")
        world.quiet(0.1)
        world.save("src/one", "1")
        lock.unlink()
        world.quiet()
        assert not (world.container / "builds").exists()


def test_a_lock_that_somebody_left_is_not_waited_for_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiro_invoke.loop.looking._GIT_SECONDS", 0.3)
    lock = world.root / ".git/index.lock"
    lock.parent.mkdir()
    with world.running():
        lock.touch()
        world.save("src/one", "edited")
        world.wait(told.Served)
        assert world.served == world.saved


def test_paused_changes_wait(world: World) -> None:
    with world.running():
        world.press("p")
        world.save("src/one", "waits")
        world.quiet()
        assert world.served == {"one": "1", "two": "2"}
        world.press("p")
        world.wait(told.Served)
        assert world.served == world.saved


def test_a_key_asks_for_an_image(world: World) -> None:
    with world.running():
        world.press("r")
        assert world.wait(told.Served).change.cause == "asked for a new image"
    assert (world.builds, world.starts) == (1, 1)


def test_the_last_decisions_are_told(world: World) -> None:
    with world.running():
        world.save("src/one", "edited")
        world.wait(told.Served)
        world.press("w")
        (line,) = world.wait(told.Why).lines
        assert line.endswith("  web: SOURCE: src/one changed -> live")


def test_another_configuration_ends_it_and_one_that_cannot_be_used_does_not(world: World) -> None:
    file = world.root / "kiro.yaml"
    driver = world.driver()
    world.misconfigured = "kiro.yaml:3: unknown key"
    file.write_text(f"{file.read_text()}# comment\n")
    world.events.put(Hint((str(file),)))
    world.events.put(Hint((str(world.root / "README"),)))  # concerns nobody

    def then() -> None:
        world.wait(told.Trouble)
        world.misconfigured = ""
        file.write_text(f"{file.read_text()}# another\n")
        world.events.put(Hint((str(file),)))

    threading.Thread(target=then, daemon=True).start()
    assert driver.run() is Ending.RELOAD
    assert "going on with the configuration of before" in world.wait(told.Trouble).message


def test_once_it_ends_when_all_is_served(world: World) -> None:
    (world.root / "web/src/one").write_text("before")
    assert world.driver(once=True).run() is Ending.ONCE
    assert world.served == world.saved


def test_a_file_that_changes_while_it_is_sent_is_looked_at_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, times = syncing.archive, list[int]()

    def archive(*args: object) -> bytes:
        if not times:
            (world.root / "web/src/one").write_text("moved on")
            world.hint("src/one")
        times.append(1)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(live, "archive", archive)
    with world.running():
        world.save("src/one", "at first")
        world.wait(told.Served)
        assert world.served == world.saved
    assert len(times) == 2


def test_a_container_that_a_new_one_does_not_mend_is_not_made_anew_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something in it has another content whenever it is asked, as a volume may, and takes no files."""
    with world.running():
        (world.root / "web/Dockerfile.fast").write_text("FROM other\nCOPY . .\n")
        real = world.start

        def start(service: str) -> None:
            real(service)
            (world.container / "src/one").write_text("a volume's")
            (world.container / "src/two").unlink()
            (world.container / "src/two").mkdir()
            (world.container / "src/two/x").touch()

        monkeypatch.setattr(world, "start", start)
        monkeypatch.setattr("kiro_invoke.loop.live.archive", lambda *_: b"no archive" * 100)
        world.hint("Dockerfile.fast")
        broken = world.wait(told.Broken)
        assert "not even by a new container" in broken.what
        world.quiet()
        assert world.builds == 1


def test_where_no_more_folders_can_be_watched_it_looks_from_time_to_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(*_: object) -> bool:
        raise LimitReached("19 folders are to be watched, and x allows no more", fix="raise it")

    with world.running() as driver:
        driver.looking.instead = lambda why: Poller(world.events.put, 0.05, why)
        monkeypatch.setattr(world.source, "follow", follow)
        world.save("src/new/file", "in a folder of its own")
        world.wait(told.Served)
        trouble = world.wait(told.Trouble)
        assert "x allows no more: looking every 0.05 s" in trouble.message
        mark = world.mark
        (world.root / "web/src/one").write_text("nobody tells of it")
        world.wait(told.Served, mark)
        assert world.served == world.saved
        driver.looking.source.close()


def test_a_changed_dependency_restarts_what_looks_after_its_files_itself(world: World) -> None:
    with world.running():
        before = len(world.containers.channels)
        world.save("src/one", "edited")
        world.wait(told.Served)
        assert len(world.containers.channels) == before
        mark = world.mark
        world.save("lock", "more")
        assert world.wait(told.Served, mark).change.way is Way.LIVE_IMAGE_BEHIND
        assert len(world.containers.channels) == before + 1  # the container was restarted
        assert world.served == world.saved


def test_a_container_that_ends_as_it_is_started_is_not_started_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.running():
        real = world.start

        def start(service: str) -> None:
            real(service)
            world.containers.facts = replace(world.containers.facts, running=False, exit_code=3)

        monkeypatch.setattr(world, "start", start)
        world.press("r")
        assert world.wait(told.Broken).what == "its container ended as soon as it was started (exit code 3)"
        world.quiet()
        assert world.starts == 1


def test_what_is_told_as_served_is_what_was_built(world: World) -> None:
    """Not what was saved in the meantime, though it was seen before the work had ended."""
    with world.running() as driver:
        before = world.lane.sight.revision
        world.save("src/one", "first")
        served = world.wait(told.Served)
        assert served.revision == world.lane.sight.revision != before
        assert driver.lanes["web"].work is None


def test_what_failed_without_an_engine_is_tried_again_with_it(world: World) -> None:
    world.fails = True
    with world.running():
        (world.root / "web/Dockerfile.fast").write_text("FROM other\nCOPY . .\n")
        world.hint("Dockerfile.fast")
        world.wait(told.Broken)
        world.lose_engine()
        world.wait(told.Trouble)
        world.fails = False
        mark = world.mark
        world.containers.is_gone = False
        world.wait(told.Served, mark)
        assert world.served == world.saved


# --- found by a second reader


INSTALLING = "      install: cp lock installed && sleep 0.6\n      run: sh ./build.sh\n      restart: none\n"


def test_an_install_that_was_ended_is_made_up_for(tmp_path: Path) -> None:
    world = World(tmp_path / "repo", live=INSTALLING)
    world.bring_up()
    with world.running():
        world.save("lock", "1")
        world.wait(told.Refreshed)
        mark = world.mark
        world.save("lock", "2")
        world.quiet(0.3)
        (world.container / "installed").write_text("half")
        world.save("src/one", "meanwhile")  # ends the install
        world.wait(told.Superseded, mark)
        world.wait(told.Served, mark)
        assert (world.container / "installed").read_text() == "2"
        assert world.served == world.saved
    world.close()


def fresh_world(tmp_path: Path) -> World:
    """One whose builds note whether kiro-fresh was asked for; times alone tell of `.rs` files."""
    run = 'echo "fresh=$KIRO_FRESH" >>noted; sh ./build.sh'
    world = World(tmp_path / "repo", live=f"      run: {run!r}\n      restart: none\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "kiro-fresh").touch(mode=0o755)
    path = f"PATH={tools}:{os.environ['PATH']}"
    world.containers.facts = replace(world.containers.facts, image_env=(path,))
    world.bring_up()
    return world


def test_cargo_is_left_alone_only_with_what_it_sees(tmp_path: Path) -> None:
    world = fresh_world(tmp_path)
    noted = world.container / "noted"
    (world.root / "web/src/lib.rs").write_text("1")
    with world.running():
        assert world.lane.attached is not None
        world.lane.attached.live = replace(world.lane.attached.live, plain=(".rs",))
        mark = world.mark
        world.save("src/lib.rs", "2")
        world.wait(told.Served, mark)
        assert noted.read_text().splitlines()[-1] == "fresh="
        mark = world.mark
        (world.root / "web/src/link").symlink_to("SLEEP")
        world.save("src/two", "SLEEP")
        world.quiet(0.3)
        world.save("src/two", "2")
        world.save("src/lib.rs", "3")  # the link is there already, and nothing was built of it
        world.wait(told.Served, mark)
        assert noted.read_text().splitlines()[-1] == "fresh=kiro-fresh build"
        mark = world.mark
        world.save("src/lib.rs", "ERROR")
        world.wait(told.Broken, mark)
        mark = world.mark
        world.save("src/lib.rs", "4")
        world.wait(told.Served, mark)
        assert noted.read_text().splitlines()[-1] == "fresh=kiro-fresh build"
    world.close()


def test_what_a_failed_update_had_sent_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path / "repo", live="      run: sh ./build.sh\n      restart: container\n")
    world.bring_up()
    with world.running():
        real = world.containers.restart

        def restart(container: str, seconds: int) -> None:
            raise EngineError("no such luck")

        monkeypatch.setattr(world.containers, "restart", restart)
        world.save("src/one", "WRONG")
        world.wait(told.Broken)
        monkeypatch.setattr(world.containers, "restart", real)
        mark = world.mark
        world.save("src/one", "1")  # taken back: but the container has the other
        world.wait(told.Served, mark)
        assert (world.container / "src/one").read_text() == "1"
        assert world.served == world.saved
    world.close()


def test_a_container_that_is_restarted_during_a_build_behind_is_attached_to_after_it(world: World) -> None:
    world.slow = 0.8
    with world.running():
        world.save("lock", "more")
        world.wait(told.Served)
        world.quiet(0.2)  # the image is being built behind
        world.containers.channels[-1].kill()
        world.happen("die")
        world.happen("start")
        world.wait(told.Refreshed)
        mark = world.mark
        world.save("src/one", "after it")
        world.wait(told.Served, mark)
        assert world.served == world.saved
        assert world.lane.phase == "serving"


def test_a_restart_from_outside_gives_what_failed_another_try(world: World) -> None:
    with world.running():
        (world.container / "block").mkdir()
        world.save("build.sh", f"[ ! -d block ] || {{ echo error: blocked; exit 1; }}\n{BUILD}")
        world.wait(told.Broken)
        (world.container / "block").rmdir()
        mark = world.mark
        world.containers.channels[-1].kill()
        world.happen("die")
        world.happen("start")
        world.wait(told.Served, mark)
        assert world.served == world.saved


def test_a_stopped_container_is_not_started_because_everything_was_looked_at(world: World) -> None:
    with world.running() as driver:
        world.save("src/one", "edited")
        world.wait(told.Served)
        world.containers.channels[-1].kill()
        world.containers.facts = replace(world.containers.facts, running=False)
        world.happen("die")
        world.wait(told.Stopped)
        driver.looking.rescan_at = 0.0
        world.press("")
        world.events.put(Hint(whole=True))
        world.quiet()
        assert world.starts == 0


def test_an_ignored_file_that_differs_in_the_container_is_no_reason_for_anything(tmp_path: Path) -> None:
    world = World(tmp_path / "repo")
    file = world.root / "kiro.yaml"
    file.write_text(file.read_text() + "    ignore: [gen.json]\n")
    world.project = config.load(world.root, {})
    (world.root / "web/gen.json").write_text("1")
    world.lane = world.new_lane()
    world.bring_up()
    (world.root / "web/gen.json").write_text("generated here")
    (world.container / "gen.json").write_text("generated there")
    with world.running():
        world.quiet()
        assert not any(isinstance(one, told.Served) for one in world.told)
        assert (world.container / "gen.json").read_text() == "generated there"
    world.close()


def test_an_image_that_comes_out_as_it_was_leaves_its_container(world: World) -> None:
    with world.running():
        file = world.root / "web/Dockerfile.fast"
        file.write_text("FROM other AS unused\nRUN x\nFROM base\nCOPY . .\n")
        world.hint("Dockerfile.fast")
        assert world.wait(told.Served).change.kind is Kind.BASE
        assert world.containers.facts.id == "c2"
        mark = world.mark
        world.save("src/one", "live as before")
        assert world.wait(told.Served, mark).change.way is Way.LIVE
        assert world.served == world.saved


def test_a_container_of_another_dockerfile_is_not_taken_for_one_of_this(world: World) -> None:
    """The sources are the same, and so is their revision."""
    world.image_id = "another image"
    with world.running():
        assert world.wait(told.Served).change.way is Way.IMAGE
    assert (world.builds, world.starts) == (1, 1)


def test_a_container_without_what_its_image_asks_for_is_started_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {**world.containers.facts.labels, "dev.kiro.live.env": "KIRO_LIVE=1"}
    world.containers.facts = replace(world.containers.facts, labels=labels)
    real = world.start

    def start(service: str) -> None:
        real(service)
        world.containers.facts = replace(world.containers.facts, id="c9", env=("KIRO_LIVE=1",))

    monkeypatch.setattr(world, "start", start)
    with world.running():
        assert world.starts == 1
        mark = world.mark
        world.save("src/one", "edited")
        world.wait(told.Served, mark)
        assert world.served == world.saved
    assert world.builds == 0


def test_old_code_is_not_said_to_be_served_where_nothing_is(world: World) -> None:
    with world.running():
        world.save("src/one", "ERROR")
        assert world.wait(told.Broken).serves_old_since is not None
        world.lane.serves_nothing = True  # as after a program that ended at once
        mark = world.mark
        world.save("src/two", "ERROR too")
        assert world.wait(told.Broken, mark).serves_old_since is None


def test_a_lock_that_was_waited_for_in_vain_is_not_waited_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiro_invoke.loop.looking._GIT_SECONDS", 0.3)
    lock = world.root / ".git/index.lock"
    lock.parent.mkdir()
    with world.running():
        lock.touch()
        world.save("src/one", "first")
        world.wait(told.Served)
        monkeypatch.setattr("kiro_invoke.loop.looking._GIT_SECONDS", 3600)
        mark = world.mark
        world.save("src/one", "second")
        world.wait(told.Served, mark)
        assert any(isinstance(one, told.Note) and "index.lock" in one.message for one in world.told)


def test_a_configuration_that_nobody_told_of_is_found(world: World) -> None:
    driver = world.driver()
    file = world.root / ".env"

    def then() -> None:
        world.wait(told.Ready)
        file.write_text("A=1\n")
        driver.looking.rescan_at = 0.0
        world.press("")

    threading.Thread(target=then, daemon=True).start()
    assert driver.run() is Ending.RELOAD


def test_a_change_that_falls_back_to_the_image_is_told_as_itself(tmp_path: Path) -> None:
    install = "echo hint; echo 'error: the lockfile needs to be updated'; echo more hints; exit 1"
    world = World(
        tmp_path / "repo", live=f'      install: "{install}"\n      run: sh ./build.sh\n      restart: none\n'
    )
    world.bring_up()
    with world.running():
        world.save("lock", "more")
        change = world.wait(told.Served).change
        assert (change.kind, change.way, change.paths) == (Kind.DEPENDENCY, Way.IMAGE, ("web/lock",))
        assert change.cause.startswith("lock added, an input of dependencies by kiro.yaml; not live: ")
        assert change.cause.endswith("failed: error: the lockfile needs to be updated")
    world.close()


def test_the_state_folder_may_be_removed_meanwhile(world: World) -> None:
    with world.running():
        shutil.rmtree(world.project.state)
        world.save("src/one", "edited")
        world.wait(told.Served)
        assert world.served == world.saved


def test_the_time_is_that_of_the_latest_save(world: World) -> None:
    with world.running():
        world.save("src/one", "SLEEP")
        world.quiet(4)
        world.save("src/one", "awake")
        assert world.wait(told.Served).seconds.total < 4
