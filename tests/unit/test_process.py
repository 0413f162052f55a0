"""Processes: what they print arrives, and none of them outlives the call that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kiro_invoke.engine import process
from kiro_invoke.engine.process import interactive, run, spawn_detached, stream

#: Programs that never end by themselves in the time of a test.
FOREVER = "sleep 300"


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.04)


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A file into which children write their process ids; whatever a failed test leaves is killed."""
    file = tmp_path / "pids"
    yield file
    for pid in noted(file) if file.exists() else ():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def noted(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def end_within(pids: list[int], seconds: float = 2.0) -> bool:
    end = time.monotonic() + seconds
    while any(runs(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def family(pids: Path, *, child: str = FOREVER, trap: str = "") -> list[str]:
    """A shell that says `ready` on standard error once it and a grandchild have noted their pids."""
    return ["sh", "-c", f"{trap} {child} & echo $! >>{pids}; echo $$ >>{pids}; echo ready >&2; wait; wait"]


# -- run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "returncode", "stdout", "stderr"),
    [
        ("echo out; echo err >&2", 0, "out\n", "err\n"),
        ("exit 3", 3, "", ""),
        ("kill -TERM $$", -15, "", ""),
        (r"printf 'caf\351 \377'", 0, "caf\ufffd \ufffd", ""),
        ("printf 'é'", 0, "é", ""),
        ("cat", 0, "", ""),
    ],
    ids=["both streams", "status", "signal", "not UTF-8", "UTF-8", "no input means end of file"],
)
def test_run_captures(script: str, returncode: int, stdout: str, stderr: str) -> None:
    done = run(["sh", "-c", script])
    assert (done.returncode, done.stdout, done.stderr) == (returncode, stdout, stderr)
    assert done.argv == ("sh", "-c", script)
    assert done.ok == (returncode == 0)


def test_run_adds_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_OURS", "kept")
    assert run(["sh", "-c", "echo $KIRO_OURS $ADDED"], env={"ADDED": "added"}).stdout == "kept added\n"


def test_run_does_not_go_through_a_shell() -> None:
    assert run(["echo", "$HOME; exit 4 | *"]).stdout == "$HOME; exit 4 | *\n"


def test_run_feeds_more_than_a_pipe_holds_and_reads_it_back() -> None:
    text = "0123456789abcdé\n" * 40_000
    assert run(["cat"], stdin=text).stdout == text


def test_run_feeds_a_child_that_does_not_read() -> None:
    assert run(["sh", "-c", "echo done"], stdin="x" * 1_000_000).stdout == "done\n"


@pytest.mark.parametrize("start", ["run", "stream"])
def test_a_missing_program_is_127(start: str) -> None:
    said: list[str] = []
    argv = ["kiro-no-such-program", "x"]
    done = run(argv) if start == "run" else stream(argv, stdin="x", on_stderr=said.append)
    assert done.returncode == 127
    assert done.stderr == "kiro-no-such-program: No such file or directory\n"
    assert said == ([] if start == "run" else [done.stderr.rstrip("\n")])


@pytest.mark.parametrize("start", ["run", "stream"])
def test_a_program_that_cannot_be_started_is_126(start: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a program")
    argv = [str(tmp_path / "data")]
    done = run(argv) if start == "run" else stream(argv, on_stderr=lambda _: None)
    assert (done.returncode, done.stderr) == (126, f"{tmp_path / 'data'}: Permission denied\n")


def test_run_ends_after_its_timeout_with_what_came_before(pids: Path) -> None:
    begun = time.monotonic()
    done = run(["sh", "-c", f"echo begun; echo $$ >>{pids}; exec {FOREVER}"], timeout=0.2)
    assert time.monotonic() - begun < 2
    assert done.returncode == 124
    assert done.stdout == "begun\n"
    assert done.stderr == "no answer within 0.2 s\n"
    assert end_within(noted(pids))


@pytest.mark.parametrize("trap", ["trap '' INT;", "trap '' INT TERM;"])
def test_run_ends_children_that_ignore_signals(pids: Path, trap: str) -> None:
    done = run(family(pids, trap=trap), timeout=0.1)
    assert done.returncode == 124
    assert end_within(noted(pids))


LEADER = """
import os, signal, sys, time
if os.fork() == 0:
    def tidy(*_):
        time.sleep(0.1)
        open(sys.argv[1], "w").close()
        os._exit(0)
    signal.signal(signal.SIGINT, tidy)
else:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
time.sleep(300)
"""


def test_what_an_interrupted_child_started_may_clean_up_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader ends at once; its own child takes its time, within the grace."""
    monkeypatch.setattr(process, "GRACE_SECONDS", 5.0)
    run([sys.executable, "-S", "-c", LEADER, str(tmp_path / "tidied")], timeout=0.3)
    assert (tmp_path / "tidied").exists()


# -- stream -------------------------------------------------------------------------------------------


def test_stream_hands_on_each_line_of_stderr_and_captures_the_rest() -> None:
    said: list[str] = []
    done = stream(["sh", "-c", "echo one >&2; echo out; printf two >&2; exit 5"], on_stderr=said.append)
    assert said == ["one", "two"]
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "")


def test_stream_hands_on_lines_while_the_child_still_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"echo first >&2; while ! test -e {go}; do sleep 0.01; done; echo second >&2"
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        go.touch()

    assert stream(["sh", "-c", script], on_stderr=hear).ok
    assert said == ["first", "second"]


def test_stream_feeds_and_reads_more_than_pipes_hold() -> None:
    text = "x" * 99 + "\n"
    said: list[str] = []
    done = stream(["tee", "/dev/stderr"], stdin=text * 20_000, on_stderr=said.append)
    assert done.stdout == text * 20_000
    assert "".join(said).count("x") == 99 * 20_000


def test_stream_feeds_a_child_that_does_not_read() -> None:
    said: list[str] = []
    assert stream(["sh", "-c", "echo done >&2"], stdin="x" * 1_000_000, on_stderr=said.append).ok
    assert said == ["done"]


def test_stream_survives_what_is_not_utf8() -> None:
    said: list[str] = []
    stream(["sh", "-c", r"printf 'caf\351\n' >&2; printf '\377'"], on_stderr=said.append)
    assert said == ["caf\ufffd"]


def test_stream_without_input_gives_end_of_file() -> None:
    assert stream(["cat"], on_stderr=lambda _: None).ok


@pytest.mark.parametrize("trap", ["", "trap '' INT TERM;"], ids=["obedient", "ignores signals"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_listener_leaves_no_process(
    pids: Path, trap: str, error: type[BaseException]
) -> None:
    def fail(line: str) -> None:
        raise error(line)

    with pytest.raises(error, match="ready"):
        stream(family(pids, trap=trap), on_stderr=fail)
    assert len(noted(pids)) == 2
    assert end_within(noted(pids))


def test_an_error_in_the_listener_is_not_held_up_by_a_child_that_never_reads(pids: Path) -> None:
    def fail(line: str) -> None:
        raise ValueError(line)

    begun = time.monotonic()
    with pytest.raises(ValueError, match="ready"):
        stream(family(pids), stdin="x" * 1_000_000, on_stderr=fail)
    assert time.monotonic() - begun < 2
    assert end_within(noted(pids))


def interrupt_when_noted(pids: Path, count: int, *, times: int = 1) -> threading.Thread:
    """Press Ctrl-C (for this process only, as a terminal does: children have their own session)."""

    def press() -> None:
        end = time.monotonic() + 5
        while time.monotonic() < end and (not pids.exists() or len(noted(pids)) < count):
            time.sleep(0.01)
        for number in range(times):
            # the start has ended by then; communicate() itself swallows a second one within 0.25 s
            time.sleep(0.3 if number else 0.2)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def let_go(presser: threading.Thread) -> None:
    """Wait for the presses to end; on a busy machine one may come after the call that it was meant for."""
    while presser.is_alive():
        with suppress(KeyboardInterrupt):
            presser.join()
    with suppress(KeyboardInterrupt):
        time.sleep(0.01)


@pytest.mark.parametrize("start", ["run", "stream"])
def test_ctrl_c_leaves_no_process(pids: Path, start: str) -> None:
    presser = interrupt_when_noted(pids, 2)
    with pytest.raises(KeyboardInterrupt):
        if start == "run":
            run(family(pids))
        else:
            stream(family(pids), on_stderr=lambda _: None)
    let_go(presser)
    assert end_within(noted(pids))


@pytest.mark.parametrize("start", ["run", "stream"])
def test_a_second_ctrl_c_ends_the_grace_and_leaves_no_process(
    pids: Path, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 30.0)
    argv = family(pids, trap="trap '' INT TERM;")
    presser = interrupt_when_noted(pids, 2, times=2)
    with pytest.raises(KeyboardInterrupt):
        if start == "run":
            run(argv)
        else:
            stream(argv, on_stderr=lambda _: None)
    let_go(presser)
    assert end_within(noted(pids))


def test_children_of_threads_that_nobody_waited_for_end_with_the_interpreter(pids: Path) -> None:
    """As at Ctrl-C while images are made side by side: the main thread leaves, the daemon threads stay."""
    script = (
        "import sys, threading, time\nfrom kiro_invoke.engine import process\nprocess.GRACE_SECONDS = 0.04\n"
        "threading.Thread(target=process.run, args=(sys.argv[2:],), daemon=True).start()\n"
        "end = time.monotonic() + 5\n"
        "said = open(sys.argv[1], 'a+')\n"
        "while time.monotonic() < end and (said.seek(0) or said.read().count('\\n') < 2): time.sleep(0.01)\n"
        "time.sleep(0.1)  # a child may have noted itself before whoever started it knows of it\n"
    )
    subprocess.run([sys.executable, "-c", script, str(pids), *family(pids)], check=True, timeout=10)
    assert len(noted(pids)) == 2
    assert end_within(noted(pids))


# -- interactive --------------------------------------------------------------------------------------


def test_interactive_returns_the_status_and_writes_to_our_own_streams(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert interactive(["sh", "-c", "echo $WORD; exit 7"], env={"WORD": "seen"}) == 7
    assert capfd.readouterr().out == "seen\n"


def test_interactive_lets_the_child_end_by_itself_at_ctrl_c(
    pids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal it got Ctrl-C too, and what it does about it is its own business."""
    monkeypatch.setattr(process, "GRACE_SECONDS", 5.0)
    note = tmp_path / "tidied"
    presser = interrupt_when_noted(pids, 1)
    with pytest.raises(KeyboardInterrupt):
        interactive(["sh", "-c", f"echo $$ >{pids}; sleep 0.32; echo yes >{note}"])
    let_go(presser)
    assert note.exists()


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_interactive_ends_a_child_that_ignores_everything(pids: Path, times: int) -> None:
    presser = interrupt_when_noted(pids, 1, times=times)
    with pytest.raises(KeyboardInterrupt):
        interactive(["sh", "-c", f"trap '' INT TERM; echo $$ >{pids}; while :; do sleep 0.05; done"])
    let_go(presser)
    assert end_within(noted(pids))


def test_interactive_hands_sigterm_on_at_once(
    pids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike Ctrl-C it reaches us alone. Once: a second signal tells Compose to kill containers."""
    monkeypatch.setattr(process, "GRACE_SECONDS", 5.0)
    note = tmp_path / "told"
    ours = signal.default_int_handler  # as commands do it
    before = signal.signal(signal.SIGTERM, ours)

    def stop() -> None:
        while not (pids.exists() and pids.read_text().endswith("\n")):
            time.sleep(0.01)
        time.sleep(0.1)  # the child may have noted itself before we know of it
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=stop)
    sender.start()
    begin = time.monotonic()
    tidy = f"trap 'echo told >>{note}; sleep 0.2; exit' TERM"
    try:
        with pytest.raises(KeyboardInterrupt):
            interactive(["sh", "-c", f"{tidy}; echo $$ >{pids}; while :; do sleep 0.05; done"])
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)
        sender.join()
    assert time.monotonic() - begin < 4
    assert note.read_text() == "told\n"


# -- spawn_detached -----------------------------------------------------------------------------------


def test_a_daemon_has_its_own_session_no_open_files_and_a_log(pids: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    with (tmp_path / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        pid = spawn_detached(["sh", "-c", "echo out; echo err >&2; exec sleep 300"], log)
    pids.write_text(str(pid))
    end = time.monotonic() + 2
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n" and time.monotonic() < end:
        time.sleep(0.01)
    links = {int(fd.name): str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    assert links == {0: "/dev/null", 1: str(log), 2: str(log)}
    assert os.getsid(pid) == pid != os.getsid(0)
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert log.read_text() == "before\nout\nerr\n"


def test_a_daemon_that_is_missing_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn_detached(["kiro-no-such-program"], tmp_path / "log")
