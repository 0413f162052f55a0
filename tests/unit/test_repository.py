"""The repository's own files: Dockerfiles as the guide promises them, scripts, templates at work."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from kiro_invoke.builds.clean import reads_context
from kiro_invoke.builds.dockerfile import Dockerfile, Instruction, Stage, parse

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "kiro_invoke" / "templates"
BACKEND = ("backend/Dockerfile", "backend/Dockerfile.fast")
FRONTEND = ("frontend/Dockerfile", "frontend/Dockerfile.fast")
PROD = ("backend/Dockerfile", "frontend/Dockerfile")
DEV = ("backend/Dockerfile.fast", "frontend/Dockerfile.fast")
ALL = (*BACKEND, *FRONTEND)
FILES = {name: parse((ROOT / name).read_text()) for name in ALL}


def instructions(file: Dockerfile) -> list[Instruction]:
    return [instruction for stage in file.stages for instruction in stage.instructions]


def mounts(file: Dockerfile, kind: str = "cache") -> list[dict[str, str]]:
    return [mount for one in instructions(file) for mount in one.mounts if mount.get("type") == kind]


def stage(file: str, name: str) -> Stage:
    found = FILES[file].stage(name)
    assert found is not None, f"{file} has no stage {name}"
    return found


def content(one: Stage) -> list[tuple[str, str, str]]:
    """What a stage is made of, wherever it stands in its file."""
    return [("FROM", one.base, ""), *((i.keyword, i.rest, i.heredoc) for i in one.instructions)]


# --- cache mounts


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "/kiro/registry") for name in BACKEND),
        ("backend/Dockerfile", "/app/target"),
        ("backend/Dockerfile.fast", "/mounted"),
        *((name, "/root/.npm") for name in FRONTEND),
    ],
)
def test_what_is_fetched_and_compiled_is_kept(name: str, target: str) -> None:
    assert target in {mount["target"] for mount in mounts(FILES[name])}


@pytest.mark.parametrize("name", ALL)
def test_cache_mounts_are_never_shared_by_two_at_once(name: str) -> None:
    found = mounts(FILES[name])
    assert found
    assert {mount.get("sharing") for mount in found} == {"locked"}
    assert all(mount.get("id", "").startswith("kiro-") for mount in found)


@pytest.mark.parametrize("name", BACKEND)
def test_a_mount_tells_whose_the_cooked_target_is(name: str) -> None:
    file = FILES[name]
    (telling,) = [mount for mount in mounts(file) if mount["target"] == "/kiro/cooked"]
    assert telling["from"] == "cook"
    assert telling["source"] == "/kiro/cooked"
    assert stage(name, "cook").instructions[-1].rest.endswith(" && mkdir /kiro/cooked")  # empty
    assert "ro" in telling


@pytest.mark.parametrize("name", ALL)
def test_the_engine_reads_no_whole_stage(name: str) -> None:
    """BuildKit hashes all that is below a step which takes a secret (0.13 to 0.15), or mounts of the stage below it."""
    file = FILES[name]
    for one in file.stages:
        for at, step in enumerate(one.instructions):
            between = {"COPY", "ADD", "RUN", "WORKDIR"} & {before.keyword for before in one.instructions[:at]}
            whole = [
                m
                for m in step.mounts
                if m.get("type") == "secret" or (not between and m.get("from") == one.base)
            ]
            assert not whole or not depends_on_the_context(file, one, at), f"{one.name}: {whole}"


def test_what_depends_on_the_context_is_told() -> None:
    file = FILES["backend/Dockerfile.fast"]
    told = {one.name: depends_on_the_context(file, one, len(one.instructions)) for one in file.stages}
    made = {"skeleton", "kiro-skeleton", "planner", "crates", "cook", "app", "test-cook", "test", "dev"}
    assert {name for name, depends in told.items() if depends} == made


def depends_on_the_context(file: Dockerfile, one: Stage, steps: int) -> bool:
    """Whether what the first steps of a stage leave can change with the sources."""
    return any(reads_context(step) for reached in _below(file, one, steps) for step in reached)


def _below(file: Dockerfile, one: Stage, steps: int) -> Iterator[tuple[Instruction, ...]]:
    """The steps that what the first steps of a stage leave is made of."""
    yield one.instructions[:steps]
    names = {one.base, *(name for step in one.instructions[:steps] for name in step.sources)}
    for other in filter(None, map(file.stage, names)):
        yield from _below(file, other, len(other.instructions))


@pytest.mark.parametrize("name", ALL)
def test_the_id_of_a_mount_with_what_was_built_names_project_service_profile_and_platform(name: str) -> None:
    service = name.partition("/")[0]
    for mount in mounts(FILES[name]):
        if mount["target"] in {"/app/target", "/mounted", "/deps", "/kiro/cooked"}:
            assert re.fullmatch(rf"kiro-{service}-(debug|release)-linux-amd64-[a-z-]+", mount["id"])


@pytest.mark.parametrize("name", BACKEND)
def test_every_mount_with_compiled_code_is_keyed_by_a_stage(name: str) -> None:
    compiled = {"/app/target", "/mounted", "/deps", "/tmp/chef-target"}
    keyed = [m for m in mounts(FILES[name]) if m["target"] in compiled]
    assert len(keyed) >= 3
    assert all(FILES[name].stage(mount["from"]) is not None for mount in keyed)


def test_a_mounts_id_means_one_place_everywhere() -> None:
    places: dict[str, set[str]] = {}
    for file in FILES.values():
        for mount in mounts(file):
            if mount["id"] != "kiro-cargo-registry":  # the step that copies from it has it beside
                places.setdefault(mount["id"], set()).add(mount["target"])
    assert all(len(targets) == 1 for targets in places.values()), places


@pytest.mark.parametrize("name", BACKEND)
def test_nothing_is_compiled_while_the_registry_is_locked(name: str) -> None:
    locking = [
        one
        for one in instructions(FILES[name])
        if any(m.get("id") == "kiro-cargo-registry" and m.get("type") == "cache" for m in one.mounts)
    ]
    assert len(locking) >= 2
    for one in locking:
        for command in re.split(r"&&|;|\|\|?", one.rest):
            assert not re.search(r"\bcargo (build|test|check|run)\b", command), command
            assert "chef cook" not in command or "--no-build" in command, command


# --- layers


@pytest.mark.parametrize("name", ALL)
def test_a_build_asks_no_registry_for_its_frontend(name: str) -> None:
    assert "syntax" not in FILES[name].directives
    assert not re.search(r"(?im)^#\s*syntax\s*=", (ROOT / name).read_text())


@pytest.mark.parametrize("name", BACKEND)
def test_cargos_home_is_where_the_mounts_are(name: str) -> None:
    env = [one.rest for one in stage(name, "base").instructions if one.keyword == "ENV"]
    assert any("CARGO_HOME=/usr/local/cargo" in text.split() for text in env)


@pytest.mark.parametrize("name", ALL)
def test_base_images_are_arguments_pinned_to_a_debian_version(name: str) -> None:
    file = FILES[name]
    assert file.arguments
    for default in file.arguments.values():
        assert default is not None
        assert re.fullmatch(
            r"(rust|node|nginx):\d+(\.\d+)*-(trixie-slim|slim-trixie|trixie)|debian:\d+-slim", default
        )
    outside = [one.base for one in file.stages if file.stage(one.base) is None and one.base != "scratch"]
    assert outside
    assert all(re.fullmatch(r"\$\{[A-Z_]+\}", base) and base[2:-1] in file.arguments for base in outside)
    assert set(file.bases({})) == set(file.arguments.values())


@pytest.mark.parametrize(
    ("names", "argument"), [(BACKEND, "RUST_IMAGE"), (FRONTEND, "NODE_IMAGE")], ids=["backend", "frontend"]
)
def test_both_files_of_a_service_stand_on_the_same_image(names: tuple[str, str], argument: str) -> None:
    assert len({FILES[name].arguments[argument] for name in names}) == 1


def test_the_production_backend_has_the_stages_of_the_guide() -> None:
    names = [one.name for one in FILES["backend/Dockerfile"].stages]
    assert {"chef", "planner", "builder", "runtime"} <= set(names)
    assert names[-1] == "runtime"


@pytest.mark.parametrize(
    ("names", "shared"),
    [*((BACKEND, name) for name in ("base", "chef", "planner")),
     (FRONTEND, "planner")],
)  # fmt: skip
def test_stages_that_both_files_share_are_solved_once(names: tuple[str, str], shared: str) -> None:
    first, second = (content(stage(name, shared)) for name in names)
    assert first == second


@pytest.mark.parametrize("name", PROD)
def test_production_images_run_without_rights_and_tell_their_health(name: str) -> None:
    final = FILES[name].stages[-1]
    users = [one.rest for one in final.instructions if one.keyword == "USER"]
    assert users
    assert users[-1].partition(":")[0] not in {"root", "0", ""}
    assert any(one.keyword == "HEALTHCHECK" and one.rest != "NONE" for one in final.instructions)
    after = [i.keyword for i in final.instructions[[i.keyword for i in final.instructions].index("USER") :]]
    assert "RUN" not in after


@pytest.mark.parametrize("name", DEV)
def test_development_images_are_supervised_and_tell_their_health(name: str) -> None:
    final = {one.keyword: one.rest for one in FILES[name].stages[-1].instructions}
    assert final["ENTRYPOINT"] == '["kiro-supervise"]'
    assert "HEALTHCHECK" in final


@pytest.mark.parametrize("name", ALL)
def test_an_install_takes_what_the_build_needs(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"--only=prod|--omit[= ]dev|--production", text)


@pytest.mark.parametrize("name", BACKEND)
def test_cargo_keeps_to_the_lockfile(name: str) -> None:
    for one in instructions(FILES[name]):
        for command in re.split(r"&&|;", one.rest):
            if re.search(r"\bcargo (build|test|fetch|install)\b|chef cook(?!.*--no-build)", command):
                assert "--locked" in command, command


# --- templates


@pytest.mark.parametrize(
    ("name", "target", "template"),
    [
        *((name, "/usr/local/bin/kiro-supervise", "kiro-supervise") for name in DEV),
        *((name, "/usr/local/lib/project-manifest.mjs", "project-manifest.mjs") for name in FRONTEND),
    ],
)
def test_templates_are_inlined_byte_for_byte(name: str, target: str, template: str) -> None:
    (found,) = [one for one in instructions(FILES[name]) if one.heredoc and one.rest.endswith(f" {target}")]
    assert f"{found.heredoc}\n" == (TEMPLATES / template).read_text()
    assert "<<'" in found.rest  # else the engine would fill in variables


@pytest.mark.parametrize(
    "script", [*sorted((ROOT / "scripts").glob("*.sh")), TEMPLATES / "kiro-supervise"], ids=lambda p: p.name
)
def test_scripts_are_shell(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    done = subprocess.run(["/bin/sh", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_runs_in_a_container_is_shell() -> None:
    """Each shell that is here takes it: containers have another."""
    shells = [found for name in ("sh", "dash", "bash") if (found := shutil.which(name))]
    for shell in shells:
        done = subprocess.run(
            [shell, "-n", TEMPLATES / "kiro-live"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), shell


def test_there_are_scripts_and_they_can_be_run() -> None:
    scripts = list((ROOT / "scripts").glob("*.sh"))
    assert scripts
    assert all(script.stat().st_mode & stat.S_IXUSR for script in scripts)


# --- what the tests on a real engine look for


def occurrences(text: str, pattern: str) -> list[str]:
    folder, _, glob = pattern.partition("/")
    skipped = {"node_modules", "target", "dist"}
    found = (path for path in (ROOT / folder).glob(glob) if skipped.isdisjoint(path.relative_to(ROOT).parts))
    return [str(path.relative_to(ROOT)) for path in found for _ in range(path.read_text().count(text))]


def test_the_greeting_is_written_in_one_place() -> None:
    assert occurrences("Hello from Kiro", "backend/**/*.rs") == ["backend/crates/kiro-domain/src/lib.rs"]


def test_the_title_is_written_in_one_place() -> None:
    assert len(occurrences("Kiro Notes", "frontend/src/**/*.tsx")) == 1


def test_services_are_reachable_from_this_machine_only() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"backend", "frontend"}
    for name, service in services.items():
        assert service["image"] == f"kiro/{name}:dev"
        assert service["ports"]
        assert all(str(port).startswith("127.0.0.1:") for port in service["ports"])
        assert "network_mode" not in service


# --- kiro-supervise

#: Tells of its start (with what `version` holds), of SIGTERM, and stays.
POLITE = """
exec 2>/dev/null
echo "start $$ $(cat version) $*" >>log
trap 'echo term >>log; exit 0' TERM
while :; do sleep 5 & wait $!; done
"""
STUBBORN = """
trap '' TERM
echo "start $$ $(cat version)" >>log
while :; do sleep 5; done
"""
PARENT = """
sh -c "trap '' TERM; exec sleep 60" & echo "child $!" >>log
echo "start $$ $(cat version)" >>log
wait
"""
LEAVER = """
sleep 60 & echo "child $!" >>log
echo "start $$ $(cat version)" >>log
exit 3
"""


class Supervised:
    """A program under kiro-supervise, on this host."""

    def __init__(self, folder: Path, program: str, stop_seconds: float) -> None:
        self.folder = folder
        self._stop_seconds = stop_seconds
        self._mark = f"KIRO_TEST_MARK={folder}"
        self.log = folder / "log"
        self.log.touch()
        self.set_version("1")
        self._errors = (folder / "errors").open("wb")
        name, _, value = self._mark.partition("=")
        self.process = subprocess.Popen(
            ["/bin/sh", TEMPLATES / "kiro-supervise", "sh", "-c", program, "program", "a b", "*"],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "KIRO_STOP_SECONDS": str(stop_seconds),
                "KIRO_STATE": str(folder / "state"),
                name: value,
            },
            stdin=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )

    def set_version(self, version: str) -> None:
        (self.folder / "version").write_text(version)

    def send(self, sign: signal.Signals) -> None:
        self.process.send_signal(sign)

    def lines(self, word: str) -> list[list[str]]:
        """The program's log: what follows `word`, of each line that begins with it."""
        rows = (line.split(" ") for line in self.log.read_text().splitlines())
        return [row[1:] for row in rows if row[0] == word]

    def started(self, count: int) -> int:
        """Wait for the program's start number `count`; its pid."""
        until(lambda: len(self.lines("start")) >= count)
        return int(self.lines("start")[count - 1][0])

    def said(self) -> str:
        return (self.folder / "errors").read_text()

    def ended(self) -> int:
        """Wait for the supervisor's end, which leaves no process behind; its status."""
        status = self.process.wait(5)
        until(lambda: not self.left())
        return status

    def left(self) -> list[int]:
        """The processes that came of it and still are, zombies apart."""
        return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if self._is_ours(folder)]

    def _is_ours(self, folder: Path) -> bool:
        with suppress(OSError):
            if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                # the killer's sleep, called off: it ends by itself, and does nothing then
                return (folder / "cmdline").read_bytes() != f"sleep\0{self._stop_seconds}\0".encode()
        return False

    def close(self) -> None:
        for pid in [self.process.pid, *self.left()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._errors.close()


def until(condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process has ended (nobody may have waited for it yet)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return True


Supervise = Callable[..., Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    made: list[Supervised] = []

    def start(program: str, stop_seconds: float = 2.0) -> Supervised:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Supervised(folder, program, stop_seconds))
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_the_program_runs_in_a_session_of_its_own_with_its_arguments(supervise: Supervise) -> None:
    one = supervise(POLITE)
    pid = one.started(1)
    assert os.getsid(pid) == pid
    assert one.lines("start") == [[str(pid), "1", "a", "b", "*"]]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_as_soon_as_the_program_has(supervise: Supervise, sign: signal.Signals) -> None:
    one = supervise(POLITE)
    pid = one.started(1)
    begun = time.monotonic()
    one.send(sign)
    assert one.ended() == 0
    assert time.monotonic() - begun < 1
    assert len(one.lines("term")) >= 1
    assert is_gone(pid)


def test_sighup_restarts_the_program(supervise: Supervise) -> None:
    one = supervise(POLITE)
    first = one.started(1)
    one.set_version("2")
    begun = time.monotonic()
    one.send(signal.SIGHUP)
    second = one.started(2)
    assert time.monotonic() - begun < 1
    assert first != second
    assert is_gone(first)
    assert [row[1] for row in one.lines("start")] == ["1", "2"]
    assert one.said() == ""


@pytest.mark.parametrize("sign", [signal.SIGHUP, signal.SIGTERM])
def test_a_program_that_ignores_sigterm_is_killed_after_its_time(
    supervise: Supervise, sign: signal.Signals
) -> None:
    one = supervise(STUBBORN, stop_seconds=0.2)
    pid = one.started(1)
    begun = time.monotonic()
    one.send(sign)
    until(lambda: is_gone(pid))
    assert 0.15 < time.monotonic() - begun < 1.5
    if sign is signal.SIGTERM:
        assert one.ended() == 0
    else:
        one.started(2)


def test_it_is_killed_the_second_time_too(supervise: Supervise) -> None:
    one = supervise(STUBBORN, stop_seconds=0.1)
    one.started(1)
    for count in (2, 3):
        one.send(signal.SIGHUP)
        one.started(count)
    one.send(signal.SIGTERM)
    assert one.ended() == 0


def test_a_program_that_ends_by_itself_is_waited_for_and_can_be_mended(supervise: Supervise) -> None:
    one = supervise(LEAVER)
    one.started(1)
    until(lambda: "program ended with status 3; waiting for a restart" in one.said())
    assert one.process.poll() is None
    one.send(signal.SIGHUP)
    one.started(2)
    until(lambda: one.said().count("status 3") == 2)
    one.send(signal.SIGTERM)
    assert one.ended() == 0


def test_a_program_that_cannot_be_run_is_waited_for_too(supervise: Supervise) -> None:
    one = supervise("exec /nowhere")
    until(lambda: "program ended with status 127" in one.said())
    one.send(signal.SIGTERM)
    assert one.ended() == 0


@pytest.mark.parametrize("program", [PARENT, LEAVER], ids=["that-runs", "that-ended"])
def test_a_programs_children_do_not_live_into_the_next_start(supervise: Supervise, program: str) -> None:
    one = supervise(program)
    one.started(1)
    if program is LEAVER:
        until(lambda: "program ended" in one.said())
    ((child,),) = one.lines("child")
    one.send(signal.SIGHUP)
    one.started(2)
    until(lambda: is_gone(int(child)), 0.5)


@pytest.mark.parametrize("pause", [*[0.0] * 8, 0.002])
def test_after_any_number_of_signals_the_newest_version_runs(supervise: Supervise, pause: float) -> None:
    """And no other: the shell loses a status, and so a program, where signals come within their own trap."""
    one = supervise(POLITE)
    one.started(1)
    for version in range(2, 22):
        one.set_version(str(version))
        one.send(signal.SIGHUP)
        time.sleep(pause)
    until(lambda: one.lines("start")[-1][1] == "21")
    time.sleep(0.05)
    assert one.lines("start")[-1][1] == "21"
    assert not is_gone(int(one.lines("start")[-1][0]))
    one.send(signal.SIGTERM)
    assert one.ended() == 0


def test_sigterm_counts_also_while_it_stops_the_program(supervise: Supervise) -> None:
    one = supervise(STUBBORN, stop_seconds=0.2)
    one.started(1)
    one.send(signal.SIGHUP)
    time.sleep(0.1)
    one.send(signal.SIGTERM)
    assert one.ended() == 0
    assert len(one.lines("start")) == 1


def test_sighup_does_not_call_off_an_end(supervise: Supervise) -> None:
    one = supervise(STUBBORN, stop_seconds=0.2)
    one.started(1)
    one.send(signal.SIGTERM)
    time.sleep(0.1)
    one.send(signal.SIGHUP)
    assert one.ended() == 0
    assert len(one.lines("start")) == 1


def test_sigterm_counts_at_any_moment_of_a_start(supervise: Supervise) -> None:
    each = []
    for number in range(12):
        each.append(supervise(POLITE))
        time.sleep(0.001 * number)
        each[-1].send(signal.SIGTERM)
    for one in each:
        assert one.ended() in {0, -signal.SIGTERM}  # the latter where it had not begun


# --- project-manifest.mjs

MANIFEST: dict[str, Any] = {
    "name": "web",
    "version": "1.2.3",
    "scripts": {"build": "vite build", "postinstall": "node patch.js"},
    "dependencies": {"react": "^19.0.0"},
    "engines": {"node": ">=20"},
}
LOCK: dict[str, Any] = {
    "name": "web",
    "version": "1.2.3",
    "lockfileVersion": 3,
    "packages": {
        "": {"name": "web", "version": "1.2.3", "license": "MIT", "dependencies": {"react": "^19.0.0"}},
        "node_modules/react": {"version": "19.0.0"},
    },
}

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node on this host")


#: Runs the template in one folder after the other, as `node project-manifest.mjs FOLDER/plan` does in each.
RUN_IN_EACH = """
const [template, ...folders] = process.argv.slice(1);
for (const folder of folders) {
  process.chdir(folder);
  process.argv[2] = `${folder}/plan`;
  await import(`file://${template}?${folder}`);
}
"""


def renamed(manifest: dict[str, Any], lock: dict[str, Any]) -> None:
    manifest["name"] = lock["name"] = lock["packages"][""]["name"] = "other"


def bumped(manifest: dict[str, Any], lock: dict[str, Any]) -> None:
    manifest["version"] = lock["version"] = lock["packages"][""]["version"] = "2.0.0"


def relicensed(manifest: dict[str, Any], lock: dict[str, Any]) -> None:
    manifest["license"] = lock["packages"][""]["license"] = "Apache-2.0"


def described(manifest: dict[str, Any], _lock: dict[str, Any]) -> None:
    manifest |= {"description": "x", "keywords": ["y"], "type": "module", "jest": {"verbose": True}}


def scripted(manifest: dict[str, Any], _lock: dict[str, Any]) -> None:
    manifest["scripts"] |= {"lint": "eslint .", "build": "tsc && vite build"}


def added(manifest: dict[str, Any], lock: dict[str, Any]) -> None:
    manifest["dependencies"]["zod"] = lock["packages"][""]["dependencies"]["zod"] = "^4.0.0"


def overridden(manifest: dict[str, Any], _lock: dict[str, Any]) -> None:
    manifest["overrides"] = {"react": "19.0.1"}


def unknown(manifest: dict[str, Any], _lock: dict[str, Any]) -> None:
    manifest["newInNpm99"] = True


def hooked(manifest: dict[str, Any], _lock: dict[str, Any]) -> None:
    manifest["scripts"]["postinstall"] = "node other.js"


def moved_on(_manifest: dict[str, Any], lock: dict[str, Any]) -> None:
    lock["packages"]["node_modules/react"]["version"] = "19.0.1"


def same(_manifest: dict[str, Any], _lock: dict[str, Any]) -> None:
    """Nothing is edited."""


def with_bom(_manifest: dict[str, Any], _lock: dict[str, Any]) -> None:
    """Nothing is edited: both files begin with a byte order mark."""


def bare(manifest: dict[str, Any], lock: dict[str, Any]) -> None:
    manifest.clear()
    lock.clear()


UNNOTICED = (renamed, bumped, relicensed, described, scripted)
NOTICED = (added, overridden, unknown, hooked, moved_on)
Projections = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def projections(tmp_path_factory: pytest.TempPathFactory) -> Projections:
    """What an install gets after each edit."""
    folders = {}
    for edit in (same, bare, with_bom, *UNNOTICED, *NOTICED):
        manifest, lock = json.loads(json.dumps([MANIFEST, LOCK]))
        edit(manifest, lock)
        folder = folders[edit.__name__] = tmp_path_factory.mktemp(edit.__name__)
        for name, value in (("package.json", manifest), ("package-lock.json", lock)):
            bom = "\ufeff" if edit is with_bom else ""
            (folder / name).write_text(bom + json.dumps(value), encoding="utf-8")
    script: list[str | Path] = [
        "node",
        "--input-type=module",
        "--eval",
        RUN_IN_EACH,
        TEMPLATES / "project-manifest.mjs",
    ]
    done = subprocess.run([*script, *folders.values()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {
        name: ((folder / "plan/package.json").read_text(), (folder / "plan/package-lock.json").read_text())
        for name, folder in folders.items()
    }


@needs_node
def test_what_an_install_can_depend_on_stays(projections: Projections) -> None:
    manifest, lock = map(json.loads, projections["same"])
    assert manifest == {
        "name": "app",
        "version": "0.0.0",
        "dependencies": {"react": "^19.0.0"},
        "engines": {"node": ">=20"},
        "lifecycle": {"postinstall": "node patch.js"},
    }
    assert lock["packages"]["node_modules/react"] == {"version": "19.0.0"}
    assert lock["packages"][""]["dependencies"] == {"react": "^19.0.0"}


@needs_node
@pytest.mark.parametrize("edit", [edit.__name__ for edit in (*UNNOTICED, with_bom)])
def test_an_edit_that_no_install_notices_changes_nothing(projections: Projections, edit: str) -> None:
    assert projections[edit] == projections["same"]


@needs_node
@pytest.mark.parametrize("edit", [edit.__name__ for edit in NOTICED])
def test_an_edit_that_an_install_may_notice_changes_it(projections: Projections, edit: str) -> None:
    assert projections[edit] != projections["same"]


@needs_node
def test_an_old_lockfile_and_a_manifest_without_scripts_will_do(projections: Projections) -> None:
    assert json.loads(projections["bare"][0])["lifecycle"] == {}
