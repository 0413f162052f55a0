"""`kiro watch` on a real engine, with real files: what is saved is served, on the way that it says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jsonschema
import pytest

from kiro_invoke.metrics.entry import IMAGE, LIVE
from kiro_invoke.metrics.store import Store
from tests.support.engine import ROOT, docker, kiro
from tests.support.watching import Project, Watch, cleared, make_project, watching

pytestmark = pytest.mark.docker

SCHEMA = json.loads((ROOT / "kiro_invoke/schemas/watch.json").read_text())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[tuple[Project, Watch]]:
    project = make_project(tmp_path_factory.mktemp("watched") / "a repo")
    try:
        with watching(project) as watch:
            yield project, watch
            assert watch.find("error") is None, watch.rows
        for row in watch.rows:
            jsonschema.validate(row, SCHEMA)
    finally:
        cleared(project)


def test_a_saved_source_is_served_live(shared: tuple[Project, Watch]) -> None:
    project, watch = shared
    mark, container = watch.now, project.container()
    project.write("one.txt", "first edit\n")
    row = watch.wait("served", mark)
    assert project.get() == project.sources()
    assert (row["kind"], row["path"], row["paths"]) == ("SOURCE", "live", ["app/src/one.txt"])
    assert row["cause"] == "src/one.txt changed"
    assert row["seconds"]["total"] >= row["seconds"]["build"] > 0
    assert project.container() == container


def test_a_live_update_is_in_the_history(shared: tuple[Project, Watch]) -> None:
    """And the image that the container was started from."""
    project, watch = shared
    store, mark = Store(project.root / ".kiro", pytest.fail), watch.now
    project.write("one.txt", "to be remembered\n")
    row = watch.wait("served", mark)
    end = time.monotonic() + 20
    while not (found := [one for one in store.images() if one.image.revision == row["revision"]]):
        assert time.monotonic() < end, store.images()
        time.sleep(0.05)
    (live,) = found
    assert (live.command, live.way, live.ok) == ("watch", LIVE, True)
    image = live.image
    assert (image.kind, image.cause, image.file) == ("SOURCE", "src/one.txt changed", "app/src/one.txt")
    assert image.seconds == row["seconds"]["total"]
    assert [step.stage for step in store.steps(live.build)] == ["live sync", "live build", "live restart"]
    assert {one.command for one in store.builds() if one.way == IMAGE} == {"watch"}


def file_to_folder(src: Path) -> None:
    (src / "second.txt").unlink()
    (src / "second.txt").mkdir()
    (src / "second.txt/inner.txt").write_text("inner\n")


def folder_to_file(src: Path) -> None:
    shutil.rmtree(src / "second.txt")
    (src / "second.txt").write_text("a file again\n")


def deep(src: Path) -> None:
    (src / "a/b/c").mkdir(parents=True)
    (src / "a/b/c/deep.txt").write_text("deep\n")


def relinked(src: Path) -> None:
    (src / "link.txt").unlink()
    (src / "link.txt").symlink_to("second.txt")


def unlinked(src: Path) -> None:
    (src / "link.txt").unlink()
    (src / "link.txt").write_text("a file\n")


#: In this order: each finds what the one before left.
EDITS: Mapping[str, Callable[[Path], object]] = {
    "added": lambda src: (src / "added.txt").write_text("added\n"),
    "removed": lambda src: (src / "added.txt").unlink(),
    "renamed": lambda src: (src / "two.txt").rename(src / "second.txt"),
    "another case": lambda src: (src / "second.txt").rename(src / "Second.txt"),
    "and back": lambda src: (src / "Second.txt").rename(src / "second.txt"),
    "deep": deep,
    "a folder renamed": lambda src: (src / "a").rename(src / "z"),
    "file to folder": file_to_folder,
    "folder to file": folder_to_file,
    "link": lambda src: (src / "link.txt").symlink_to("one.txt"),
    "relinked": relinked,
    "unlinked": unlinked,
    "mode": lambda src: (src / "one.txt").chmod(0o755),
}


@pytest.mark.parametrize("edit", EDITS)
def test_whatever_is_done_to_files_is_served(shared: tuple[Project, Watch], edit: str) -> None:
    project, watch = shared
    src, mark = project.root / "app/src", watch.now
    EDITS[edit](src)
    watch.wait("served", mark)
    project.until_served(seconds=5)
    listed = docker("exec", project.container(), "sh", "-c", "cd /app/src && find . | LC_ALL=C sort")
    assert listed.split() == sorted([".", *(f"./{path.relative_to(src)}" for path in src.rglob("*"))])
    mode = docker("exec", project.container(), "stat", "-c", "%a", "/app/src/one.txt").strip()
    assert int(mode, 8) == (src / "one.txt").stat().st_mode & 0o777


@pytest.mark.parametrize("editor", ["vim", "jetbrains", "sed -i", "in place"])
def test_however_an_editor_saves_it_is_served(shared: tuple[Project, Watch], editor: str) -> None:
    project, watch = shared
    src, mark, text = project.root / "app/src", watch.now, f"saved by {editor}\n"
    match editor:
        case "vim":
            (src / "4913").write_text("")
            (src / "4913").unlink()
            (src / "one.txt").rename(src / "one.txt~")
            (src / "one.txt").write_text(text)
            (src / "one.txt~").unlink()
        case "jetbrains":
            (src / "one.txt___jb_tmp___").write_text(text)
            (src / "one.txt").rename(src / "one.txt___jb_old___")
            (src / "one.txt___jb_tmp___").rename(src / "one.txt")
            (src / "one.txt___jb_old___").unlink()
        case "sed -i":
            os.system(f"sed -i 's/.*/{text.strip()}/' '{src}/one.txt'")  # noqa: S605
        case "in place":
            with (src / "one.txt").open("r+") as file:
                file.truncate()
                file.write(text)
    watch.wait("served", mark)
    project.until_served(seconds=5)
    assert project.get()["one.txt"] == text.strip()
    assert watch.count("served", mark) == 1


def test_what_changes_nothing_calls_no_docker(shared: tuple[Project, Watch]) -> None:
    project, watch = shared
    src, mark = project.root / "app/src", watch.now
    before = docker("exec", project.container(), "cat", "/tmp/kiro-supervise")
    os.utime(src / "one.txt")
    watch.wait("ignored", mark, paths=["app/src/one.txt"], seconds=5)
    text = (src / "one.txt").read_text()
    (src / "one.txt").write_text("for a moment\n")
    (src / "one.txt").write_text(text)
    (src / ".one.txt.swp").write_text("vim")
    (project.root / "app/notes.md").write_text("left out of the context\n")
    watch.wait("ignored", mark, paths=["app/src/.one.txt.swp"], seconds=5)
    time.sleep(0.5)
    assert {row["event"] for row in watch.rows[mark:]} == {"ignored"}
    assert docker("exec", project.container(), "cat", "/tmp/kiro-supervise") == before
    (src / ".one.txt.swp").unlink()


def test_a_broken_build_keeps_the_last_good_program_running_and_says_so(
    shared: tuple[Project, Watch],
) -> None:
    project, watch = shared
    mark, served = watch.now, project.get()
    saved = time.time()
    project.write("one.txt", "ERROR\n")
    row = watch.wait("broken", mark)
    assert "error: a source says ERROR" in row["output"]
    assert saved - 1 < row["serves_old_since"] < saved + 3
    assert project.get() == served
    mark = watch.now
    project.write("one.txt", "mended\n")
    watch.wait("served", mark)
    assert project.get() == project.sources()


def test_a_program_that_ends_at_once_is_told_and_the_next_save_mends_it(
    shared: tuple[Project, Watch],
) -> None:
    project, watch = shared
    mark = watch.now
    project.write("one.txt", "CRASH\n")
    row = watch.wait("broken", mark)
    assert row["message"] == "ended with status 2 as soon as it was started"
    assert row["serves_old_since"] is None
    mark = watch.now
    project.write("one.txt", "alive\n")
    watch.wait("served", mark)
    assert project.get() == project.sources()


def test_a_save_while_the_one_before_builds_supersedes_it(shared: tuple[Project, Watch]) -> None:
    project, watch = shared
    mark = watch.now
    project.write("one.txt", "SLEEP\n")
    time.sleep(0.8)
    project.write("one.txt", "awake\n")
    watch.wait("superseded", mark)
    watch.wait("served", mark)
    assert project.get() == project.sources()
    assert "sleep 3" not in docker("top", project.container())


@pytest.mark.parametrize(("saves", "pause", "most"), [(10, 0.1, 10), (50, 0.01, 4)])
def test_many_saves_in_a_second_end_with_the_last(
    shared: tuple[Project, Watch], saves: int, pause: float, most: int
) -> None:
    project, watch = shared
    mark = watch.now
    for number in range(saves):
        project.write("one.txt", f"save {number} of {saves}\n")
        time.sleep(pause)
    watch.settle(project)
    assert project.get() == project.sources()
    assert watch.count("served", mark) <= most + 1  # that one is settle's


def test_a_changed_dockerfile_is_built_and_the_container_made_anew(shared: tuple[Project, Watch]) -> None:
    project, watch = shared
    mark, container = watch.now, project.container()
    dockerfile = project.root / "app/Dockerfile.fast"
    dockerfile.write_text(dockerfile.read_text().replace("COPY . .", "ENV CHANGED=1\nCOPY . ."))
    row = watch.wait("served", mark)
    assert (row["kind"], row["path"]) == ("BASE", "image")
    assert row["cause"].startswith("app/Dockerfile.fast: stage")
    assert project.container() != container
    assert project.get() == project.sources()


def test_a_changed_dependency_is_live_first_and_the_image_follows(shared: tuple[Project, Watch]) -> None:
    project, watch = shared
    mark = watch.now
    (project.root / "app/deps.txt").write_text("one\n")
    row = watch.wait("served", mark)
    assert (row["kind"], row["path"]) == ("DEPENDENCY", "live, image behind")
    watch.wait("refreshed", seconds=30)
    mark, container = watch.now, project.container()
    project.write("one.txt", "and on it goes\n")
    watch.wait("served", mark, path="live")
    assert project.container() == container
    image = docker("inspect", "--format", "{{.Id}}", f"{project.name}/app:dev").strip()
    assert "deps.txt" in docker("run", "--rm", "--entrypoint", "ls", image, "/app").split()


def test_a_container_that_is_restarted_from_outside_serves_what_is_saved(
    shared: tuple[Project, Watch],
) -> None:
    project, watch = shared
    project.write("one.txt", "before the restart\n")
    watch.settle(project)
    docker("restart", "--time", "1", project.container())
    project.until_served()
    mark = watch.now
    project.write("one.txt", "after the restart\n")
    watch.wait("served", mark, path="live")
    assert project.get() == project.sources()


def test_a_container_that_is_made_anew_from_outside_is_brought_up_to_date(
    shared: tuple[Project, Watch],
) -> None:
    project, watch = shared
    project.write("one.txt", "only synced\n")
    watch.settle(project)
    mark = watch.now
    extra = project.root / ".kiro/loop/compose.json"
    docker(
        "compose", "-f", "compose.yaml", "-f", str(extra), "up", "--detach", "--no-build", "--force-recreate",
        "--timeout", "1", cwd=project.root,
    )  # fmt: skip
    row = watch.wait("reconciled", mark)
    assert row["path"] == "live"
    assert project.get() == project.sources()


def test_a_container_that_is_killed_is_told_and_the_next_save_starts_it(
    shared: tuple[Project, Watch],
) -> None:
    project, watch = shared
    mark = watch.now
    docker("kill", project.container())
    row = watch.wait("stopped", mark, seconds=10)
    assert "exit code 137" in row["cause"]
    project.write("one.txt", "after the kill\n")
    watch.wait("served", mark)
    assert project.get() == project.sources()


def test_somebody_who_writes_into_the_container_is_noticed_when_it_restarts(
    shared: tuple[Project, Watch],
) -> None:
    project, watch = shared
    mark = watch.now
    docker("exec", project.container(), "sh", "-c", "echo stranger >/app/src/one.txt && ./build.sh")
    docker("restart", "--time", "1", project.container())
    watch.wait("reconciled", mark)
    project.until_served()


def test_a_second_watch_refuses_and_names_the_first(shared: tuple[Project, Watch]) -> None:
    project, watch = shared
    ran = kiro("watch", cwd=project.root)
    assert ran.code == 1
    assert f"app is watched already, by process {watch.process.pid}" in ran.err


def test_a_changed_configuration_is_taken_up_and_a_broken_one_is_not(shared: tuple[Project, Watch]) -> None:
    project, watch = shared
    file, mark = project.root / "kiro.yaml", watch.now
    text = file.read_text()
    file.write_text(f"{text}nonsense: [\n")
    row = watch.wait("error", mark)
    assert "kiro.yaml:" in row["message"]
    watch.rows.remove(row)
    compose, mark = project.root / "compose.yaml", watch.now
    composed = compose.read_text()
    compose.write_text(f"{composed}  broken: [\n")
    watch.rows.remove(watch.wait("error", mark))
    project.write("one.txt", "still watched\n")
    project.until_served()
    compose.write_text(composed)
    mark = watch.now
    file.write_text(text.replace("./build.sh", "./build.sh && echo taken up"))
    watch.wait("ready", mark)
    project.write("one.txt", "with the new one\n")
    project.until_served()


def test_it_ends_within_two_seconds_and_stops_its_containers(tmp_path: Path, engine: None) -> None:
    project = make_project(tmp_path / "ending")
    try:
        with watching(project) as watch:
            begun = time.monotonic()
            assert watch.end(signal.SIGINT) == 130
            assert time.monotonic() - begun < 9  # two where nothing else runs
            state = docker("inspect", "--format", "{{.State.Running}}", project.container())
            assert state.strip() == "false"
        project.write("one.txt", "while nobody watched\n")
        (project.root / "app/src/two.txt").unlink()
        with watching(project, "--keep-running") as watch:
            assert project.get() == project.sources()
            assert watch.end() == 130
        assert project.get() == project.sources()
        container = project.container()
        project.write("one.txt", "again\n")
        with watching(project, "--once", "--no-live", ready=False) as watch:
            assert watch.process.wait(60) == 0
        assert project.get() == project.sources()
        assert project.container() != container  # --no-live
        project.write("one.txt", "ERROR\n")
        with watching(project, "--once", ready=False) as watch:
            assert watch.process.wait(60) == 4
    finally:
        cleared(project)


def test_it_may_be_killed_at_any_moment(tmp_path: Path, engine: None) -> None:
    project = make_project(tmp_path / "killed")
    try:
        for number, delay in enumerate((0.0, 0.05, 0.1, 0.3, 3.0)):
            with watching(project) as watch:
                project.write("one.txt", f"SLEEP {number}\n" if number % 2 else f"number {number}\n")
                project.write("gone.txt" if number % 2 else "come.txt", f"{number}\n")
                time.sleep(delay)
                watch.process.kill()
                watch.process.wait()
            (project.root / "app/src/gone.txt").unlink(missing_ok=True)
            with watching(project, "--keep-running"):
                assert project.get() == project.sources(), number
    finally:
        cleared(project)


def test_a_container_may_run_as_somebody_else(tmp_path: Path, engine: None) -> None:
    """The image's files are that user's, and so is what is synced and built."""
    project = make_project(tmp_path / "rootless", compose={"app": '    user: "1000:1000"\n'})
    file = project.root / "app/Dockerfile.fast"
    file.write_text(
        file.read_text()
        .replace("WORKDIR /app", "WORKDIR /app\nRUN chown 1000:1000 /app")
        .replace(
            "COPY . .\nRUN --network=none ./build.sh",
            "COPY --chown=1000:1000 . .\nUSER 1000:1000\nRUN --network=none ./build.sh",
        )
    )
    try:
        with watching(project) as watch:
            mark = watch.now
            project.write("one.txt", "as somebody\n")
            project.write("new/file.txt", "new\n")
            watch.wait("served", mark, path="live")
            project.until_served(seconds=5)
            owners = docker(
                "exec",
                project.container(),
                "sh",
                "-c",
                "stat -c %u:%g src/one.txt src/new src/new/file.txt out/page",
            )
            assert set(owners.split()) == {"1000:1000"}
    finally:
        cleared(project)


def test_a_users_container_of_files_that_are_roots(tmp_path: Path, engine: None) -> None:
    """Files stay root's, the program is somebody else's and is restarted all the same."""
    project = make_project(tmp_path / "mixed", compose={"app": '    user: "1000:1000"\n'})
    try:
        with watching(project) as watch:
            mark = watch.now
            project.write("one.txt", "as root\n")
            watch.wait("served", mark, path="live")
            project.until_served(seconds=5)
            assert docker("exec", project.container(), "stat", "-c", "%u", "/app/src/one.txt").strip() == "0"
            assert docker("exec", project.container(), "id", "-u").strip() == "1000"
    finally:
        cleared(project)


def test_what_cannot_be_live_is_built_with_the_reason(tmp_path: Path, engine: None) -> None:
    project = make_project(tmp_path / "not live", live="      run: ./build.sh\n      sync: {src: /app/src}\n")
    (project.root / "app/other.txt").write_text("no rule covers it\n")
    try:
        with watching(project) as watch:
            mark = watch.now
            (project.root / "app/other.txt").write_text("changed\n")
            row = watch.wait("served", mark)
            assert row["path"] == "image"
            assert row["cause"] == "other.txt changed; not live: no sync rule covers other.txt"
            mark = watch.now
            project.write("one.txt", "covered\n")
            assert watch.wait("served", mark)["path"] == "live"
            file = project.root / "kiro.yaml"
            file.write_text(file.read_text().replace("run: ./build.sh", "run: no-such-program"))
            watch.wait("ready", watch.now)
            mark = watch.now
            project.write("one.txt", "with nothing to build it\n")
            row = watch.wait("served", mark)
            assert row["path"] == "image"
            assert "not live: `no-such-program` cannot be started" in row["cause"]
            assert project.get() == project.sources()
    finally:
        cleared(project)


def test_commands_around_a_restart_run_where_they_should(tmp_path: Path, engine: None) -> None:
    live = (
        "      run: ./build.sh\n"
        '      before_restart: echo "before $GREETING" >>/tmp/ran && ! grep -q UNREADY src/one.txt\n'
        "      test: echo test >>/tmp/ran && grep -q good src/one.txt\n"
    )
    compose = {"app": "    environment: {GREETING: hello}\n"}
    project = make_project(tmp_path / "commands", live=live, compose=compose)
    try:
        with watching(project) as watch:
            mark = watch.now
            project.write("one.txt", "good\n")
            assert watch.wait("served", mark)["test"]["ok"] is True
            ran = docker("exec", project.container(), "cat", "/tmp/ran").splitlines()
            assert ran == ["before hello", "test"]
            mark = watch.now
            project.write("one.txt", "bad\n")
            assert watch.wait("served", mark)["test"]["ok"] is False
            mark, served = watch.now, project.get()
            project.write("one.txt", "UNREADY\n")
            row = watch.wait("broken", mark)
            assert "failed" in row["message"]
            assert project.get() == served
    finally:
        cleared(project)
