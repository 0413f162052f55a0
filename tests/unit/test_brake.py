"""Work in another thread can be stopped: whenever that is asked, and what it started as well."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.held_lock import HeldBy, only_one
from kiro_invoke.engine.process import stream


def test_it_calls_what_stops_once() -> None:
    brake, calls = Brake(), []
    with brake.stopping(lambda: calls.append("one")):
        brake.pull()
        brake.pull()
    assert brake.pulled
    assert calls == ["one"]


def test_what_has_ended_is_not_stopped() -> None:
    brake, calls = Brake(), []
    with brake.stopping(lambda: calls.append("one")):
        pass
    brake.pull()
    assert calls == []


def test_what_begins_later_is_stopped_at_once() -> None:
    brake, calls = Brake(), []
    brake.pull()
    with brake.stopping(lambda: calls.append("one")):
        assert calls == ["one"]


def test_a_process_is_interrupted_with_its_group(tmp_path: Path) -> None:
    brake, pid = Brake(), tmp_path / "pid"
    script = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    done = []
    argv = [sys.executable, "-c", script]
    thread = threading.Thread(target=lambda: done.append(stream(argv, on_stderr=lambda _: None, brake=brake)))
    thread.start()
    while not pid.exists() or not pid.read_text():
        time.sleep(0.01)
    begun = time.monotonic()
    brake.pull()
    thread.join(10)
    assert not done[0].ok
    assert time.monotonic() - begun < 5
    assert not Path(f"/proc/{pid.read_text()}").exists()


def test_a_lock_says_who_holds_it_and_is_free_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "loop/web.lock"
    with only_one(path):
        try:
            with only_one(path):
                raise AssertionError("two hold it")
        except HeldBy as error:
            assert error.pid == os.getpid()
    with only_one(path):
        pass


def test_a_lock_whose_holder_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "web.lock"
    with only_one(path):
        path.write_text("?")
        try:
            with only_one(path):
                raise AssertionError("two hold it")
        except HeldBy as error:
            assert error.pid == 0
