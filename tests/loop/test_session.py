"""The session with a container: the real script, run by this machine's shell."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.containers import ChannelClosed
from kiro_invoke.loop.session import CANCELLED, NoSession, Place, Session, SessionLost, open_session
from kiro_invoke.loop.syncing import archive
from tests.support.local_containers import LocalContainers
from tests.unit.test_syncing import file, link


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[LocalContainers]:
    folder = tmp_path / "the app"
    folder.mkdir()
    found = LocalContainers(folder)
    yield found
    found.close()


@pytest.fixture
def session(containers: LocalContainers) -> Session:
    return open_session(containers, containers.facts, 0.3)[0]


def has_ended(pid: int) -> bool:
    """Whether a process runs no more, be it collected or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


def listed(*paths: Path) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def test_it_tells_whose_the_folder_is_and_what_the_first_process_is(containers: LocalContainers) -> None:
    _, place = open_session(containers, containers.facts, 0.3)
    assert place.owner == f"{os.getuid()}:{os.getgid()}"
    assert place.user == place.owner
    assert place.first


def test_a_supervised_program_is_known_by_the_first_process() -> None:
    assert Place("", "", "/bin/sh /usr/local/bin/kiro-supervise server").is_supervised
    assert not Place("", "", "server").is_supervised


@pytest.mark.parametrize(
    ("argv", "why"),
    [(("sh", "-c", "echo gone wrong"), "gone wrong"), (("true",), "its shell ended at once")],
)
def test_where_there_is_none_the_reason_is_told(
    containers: LocalContainers, argv: tuple[str, ...], why: str
) -> None:
    session = Session(containers.open("c1", argv, "0"), "nonce")
    with pytest.raises(NoSession, match=why):
        session.ready()


def test_a_container_without_the_tools_has_none(containers: LocalContainers, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "stat", "id", "tr", "head", "env", "rm", "rmdir", "sleep", "xargs", "printenv"):
        found = next(
            Path(folder) / name for folder in os.environ["PATH"].split(":") if (Path(folder) / name).exists()
        )
        (tools / name).symlink_to(found)
    containers.env["PATH"] = str(tools)
    with pytest.raises(NoSession, match="it has no setsid, tar"):
        open_session(containers, containers.facts, 0.3)


def test_files_are_put_with_the_time_of_now_and_their_modes(
    session: Session, containers: LocalContainers, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("new")
    os.utime(source / "a", (1, 1))
    place = containers.folder / "deep/a b"
    place.parent.mkdir()
    place.write_text("a longer text that is there")
    inode, before = place.stat().st_ino, time.time()
    wanted = {"a": file("new", 0o755), "l": link("a")}
    tar = archive(source, [("a", str(place)), ("l", str(containers.folder / "l"))], wanted)
    assert session.ask("put", tar).ok
    assert place.read_text() == "new"
    assert place.stat().st_mode & 0o777 == 0o755
    assert place.stat().st_ino == inode  # in place: its owner stays
    assert place.stat().st_mtime >= before - 0.1
    assert (containers.folder / "l").readlink() == Path("a")


def test_files_and_folders_are_removed(session: Session, containers: LocalContainers) -> None:
    folder = containers.folder
    (folder / "full/inner").mkdir(parents=True)
    (folder / "full/inner/x").write_text("x")
    (folder / "empty").mkdir()
    (folder / "odd '\"$\n name").write_text("x")
    (folder / "gone").write_text("x")
    assert session.ask("drop", listed(folder / "gone", folder / "odd '\"$\n name", folder / "never there")).ok
    assert session.ask("prune", listed(folder / "full", folder / "empty")).ok  # what is not empty stays
    assert sorted(path.name for path in folder.iterdir()) == ["full"]
    assert session.ask("clear", listed(folder / "full")).ok
    assert list(folder.iterdir()) == []


def test_hashes_are_told(session: Session, containers: LocalContainers) -> None:
    (containers.folder / "a").write_text("a")
    answer = session.ask("hash", listed(containers.folder / "a", containers.folder / "not there"))
    value = file("a")[1].decode()
    assert f"{value}  {containers.folder}/a\n" in answer.output.decode()


def test_what_fails_says_why(session: Session) -> None:
    answer = session.ask("put", b"this is no archive" * 100)
    assert not answer.ok
    assert "tar" in answer.last_line
    assert session.ask("run", b"true").ok  # and it goes on


def test_builds_see_the_images_variables_and_other_commands_the_containers(session: Session) -> None:
    text = b'echo "$FLAVOUR|$OWN|$HOME|$(pwd)"'
    built, other = session.ask("run", text), session.ask("act", text)
    assert built.output.decode().split("|")[:3] == ["the image's", "", "/nowhere"]
    assert other.output.decode().split("|")[:3] == ["", "container's", "/nowhere"]
    assert built.output.decode().strip().endswith("/the app")


def test_the_way_to_the_world_is_the_containers_to_say(containers: LocalContainers) -> None:
    containers.env["https_proxy"] = "http://proxy:1"
    session, _ = open_session(containers, containers.facts, 0.3)
    assert session.ask("run", b'echo "$https_proxy"').output == b"http://proxy:1\n"


@pytest.mark.parametrize(("text", "status"), [(b"true", "0"), (b"exit 7", "7"), (b"no-such-program", "127")])
def test_the_status_is_the_commands_own(session: Session, text: bytes, status: str) -> None:
    assert session.ask("run", text).status == status


def test_all_that_is_printed_comes_with_the_answer(session: Session) -> None:
    pieces: list[bytes] = []
    text = b"printf 'a\\0b\\n'; echo error >&2; head -c 300000 /dev/zero | tr '\\0' x; printf 'no end'"
    answer = session.ask("run", text, on_output=pieces.append)
    assert answer.output == b"a\0b\nerror\n" + b"x" * 300_000 + b"no end"
    assert b"".join(pieces) == answer.output
    assert session.ask("run", b"echo next").output == b"next\n"


def test_what_pretends_to_be_an_answer_is_output(session: Session) -> None:
    answer = session.ask("run", b"printf '\\0deadbeef 3 0\\n'; echo more")
    assert answer.output == b"\0deadbeef 3 0\nmore\n"


def test_a_cancelled_build_is_gone_with_all_that_it_started(session: Session, tmp_path: Path) -> None:
    brake, pid = Brake(), tmp_path / "pid"
    text = f"(trap '' TERM; sh -c 'echo $$ >{pid}; exec sleep 60') & sleep 60".encode()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(session.ask("run", text, brake=brake)))
    thread.start()
    while not pid.exists() or not pid.read_text():
        time.sleep(0.01)
    begun = time.monotonic()
    brake.pull()
    thread.join(5)
    assert answers[0].status == CANCELLED
    assert 0.2 < time.monotonic() - begun < 30  # it ignores SIGTERM, and is killed after 0.3 s
    assert has_ended(int(pid.read_text()))
    assert session.ask("run", b"echo on").output == b"on\n"


def test_a_brake_that_was_pulled_before_ends_the_build_at_once(session: Session) -> None:
    brake = Brake()
    brake.pull()
    begun = time.monotonic()
    assert session.ask("run", b"sleep 60", brake=brake).status == CANCELLED
    assert time.monotonic() - begun < 30


def test_cancelling_what_has_ended_does_nothing(session: Session) -> None:
    assert session.ask("run", b"true").ok
    session.cancel()
    assert session.ask("run", b"echo still here").output == b"still here\n"


def test_when_nobody_watches_any_more_the_build_ends(
    session: Session, containers: LocalContainers, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    text = f"echo $$ >{pid}; sleep 60".encode()

    def ask() -> None:
        with suppress(SessionLost):
            session.ask("run", text)

    threading.Thread(target=ask, daemon=True).start()
    while not pid.exists() or not pid.read_text():
        time.sleep(0.01)
    session.close()
    assert containers.channels[-1].process.wait(5) is not None
    assert has_ended(int(pid.read_text()))


def test_a_container_that_ends_is_noticed(session: Session, containers: LocalContainers) -> None:
    threading.Timer(0.2, containers.channels[-1].kill).start()
    with pytest.raises(SessionLost):
        session.ask("run", b"sleep 60")
    assert session.is_lost
    with pytest.raises(SessionLost):
        session.ask("run", b"true")


def test_an_engine_that_refuses_is_no_session(
    containers: LocalContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> object:
        raise ChannelClosed("exec: sh: not found")

    monkeypatch.setattr(containers, "open", refuse)
    with pytest.raises(NoSession, match="exec: sh: not found"):
        open_session(containers, containers.facts, 0.3)


def test_it_is_opened_again_as_the_folders_owner(
    containers: LocalContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = []
    real = containers.open

    def opened(container: str, argv: list[str], user: str) -> object:
        users.append(user)
        script = argv[2].replace("$(stat -c %u:%g .)", "1000:1000")
        if user != "0:0":
            script = script.replace("$(id -u):$(id -g)", "1000:1000")
        return real(container, [*argv[:2], script, *argv[3:]], user)

    monkeypatch.setattr(containers, "open", opened)
    _, place = open_session(containers, containers.facts, 0.3)
    assert users == ["0:0", "1000:1000"]
    assert place.user == "1000:1000"


def test_much_may_be_sent_and_printed_at_once(session: Session, containers: LocalContainers) -> None:
    """More than all buffers hold, both ways."""
    (containers.folder / "a").write_text("a")
    count = 60_000
    answer = session.ask("hash", listed(*[containers.folder / "a"] * count))
    assert answer.output.count(b"\n") == count


def test_what_a_command_does_not_take_of_its_request_is_not_the_next_one(
    containers: LocalContainers, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "tar").write_text("#!/bin/sh\nhead -c 10 >/dev/null; echo 'tar: it is enough' >&2; exit 1\n")
    (tools / "tar").chmod(0o755)
    containers.env["PATH"] = f"{tools}:{containers.env['PATH']}"
    session, _ = open_session(containers, containers.facts, 0.3)
    evil = f"act 77 {len(f'touch {tmp_path}/evil')}\ntouch {tmp_path}/evil\n".encode()
    answer = session.ask("put", b"x" * 200_000 + b"\n" + evil * 1000)
    assert not answer.ok
    assert "it is enough" in answer.last_line
    assert session.ask("act", b"echo next").output == b"next\n"
    assert not (tmp_path / "evil").exists()
