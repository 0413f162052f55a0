"""The doors: `kiro`, `invoke`, a foreign tasks.py. As processes, for what only a process shows."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kiro_invoke import __version__, ns
from kiro_invoke.program import Kiro, program, repeated

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "kiro_invoke" / "schemas"
KIRO = ("-m", "kiro_invoke.cli")
INVOKE = ("-m", "invoke")
#: Tasks that answer with one object a line, and all tasks.
STREAMS = ("classify", "replay-history")
TASKS = (
    "warm-cache", "refresh-cache", "build", "up", "down", "logs", "watch", "setup", "config", *STREAMS,
    "test-build-performance", "report", "doctor", "pin-images", "show-cache", "clean-cache", "make-path",
    "tilt-path", "tilt-config",
    "init", "uninstall", "affected",
)  # fmt: skip
#: No command of these tests may find an engine.
ALONE = {
    "DOCKER_HOST": "tcp://127.0.0.1:1",
    "PYTHONPATH": str(ROOT),
    "PATH": os.environ["PATH"],
    "HOME": "/nowhere",
}


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        (line,) = self.out.splitlines()
        value = json.loads(line)
        assert isinstance(value, dict)
        return value


def run(
    *arguments: str, folder: Path = ROOT, door: tuple[str, ...] = KIRO, env: Mapping[str, str] | None = None
) -> Ran:
    done = subprocess.run(
        [sys.executable, *door, *arguments],
        cwd=folder,
        env={**ALONE, **(env or {})},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def in_process(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """The same without a process of its own: for what the parser says."""
    code = 0
    try:
        Kiro(name="kiro", binary="kiro", namespace=ns, version=__version__).run(["kiro", *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    return Ran(code, *capsys.readouterr())


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", ALONE["DOCKER_HOST"])
    monkeypatch.chdir(ROOT)


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def fits(value: Mapping[str, Any], name: str) -> None:
    validator(name).validate(value)


def repository(
    folder: Path, *, text: str = "FROM debian:13-slim AS final\nRUN x\n", config: str = ""
) -> Path:
    (folder / "web").mkdir(parents=True)
    for name in ("Dockerfile", "Dockerfile.fast"):
        (folder / "web" / name).write_text(text)
    (folder / "kiro.yaml").write_text(config or "project: shop\nservices:\n  - name: web\n")
    return folder


# --- what it loads

SLOW = ("docker", "requests", "rich", "asyncio", "unittest.mock", "filelock")
#: What only a setup needs, and only a build after which something is taken back.
TAKING_BACK = tuple(f"kiro_invoke.cache.{name}" for name in ("reclaim", "superseded"))
RARE = (
    *(
        f"kiro_invoke.engine.{name}"
        for name in ("daemon", "installer", "privileged", "setup", "standin_maker")
    ),
    *TAKING_BACK,
)


def telling_loaded(*modules: str) -> str:
    """The program, which tells at its end which of these modules it has loaded."""
    return (
        "import sys\nfrom kiro_invoke.cli import main\nsys.argv[0] = 'kiro'\ntry:\n    main()\n"
        f"finally:\n    print('LOADED', *sorted({{*{modules!r}}} & {{*sys.modules}}), file=sys.stderr)\n"
    )


def test_a_command_loads_nothing_slow_that_it_does_not_need(tmp_path: Path) -> None:
    """Together these take longer to load than a build takes in which nothing changed."""
    folder = repository(tmp_path)
    program = telling_loaded(*SLOW, *RARE)
    ran = run(
        "build", "--print", folder=folder, door=("-c", program), env={"DOCKER_HOST": "unix:///nowhere/e.sock"}
    )
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["target"]["web-dev-final"]
    assert ran.err.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize(("stream", "loaded"), [("cached", ()), ("success", TAKING_BACK)])
def test_a_build_with_nothing_to_do_loads_nothing_to_take_back_with(
    tmp_path: Path, stream: str, loaded: tuple[str, ...]
) -> None:
    """Told of a whole build, on an engine in memory."""
    on_fake = (
        "from kiro_invoke.commands import opening\nfrom tests.unit.build_fakes import recorded\n"
        "from tests.unit.fakes import FakeEngine\nfrom kiro_invoke.engine.protocol import ImageFacts\n"
        "engine = FakeEngine({'debian:13-slim': ImageFacts('sha256:1', {}, 1)})\n"
        f"engine.bake_lines = recorded({stream!r})\nopening.open_engine = lambda *_, **__: engine\n"
    )
    ran = run(
        "build", folder=repository(tmp_path / "shop"), door=("-c", on_fake + telling_loaded(*TAKING_BACK))
    )
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[-1].split() == ["LOADED", *loaded]


@pytest.mark.parametrize(("wanted", "loaded"), [((), ()), (("--output", "r.html"), ("jinja2", "plotly"))])
def test_a_report_loads_what_makes_pages_for_pages_alone(
    tmp_path: Path, wanted: tuple[str, ...], loaded: tuple[str, ...]
) -> None:
    program = telling_loaded("jinja2", "plotly", "plotly.graph_objects", "rich", "xml.etree.ElementTree")
    ran = run("report", *wanted, folder=repository(tmp_path / "shop"), door=("-c", program))
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[-1].split() == ["LOADED", *loaded]


def test_mocks_can_be_made_after_all() -> None:
    """Invoke's class for tests works in a program that was loaded without them."""
    program = (
        "import sys\nfrom kiro_invoke.cli import main\nsys.argv = ['kiro', '--version']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "from invoke import MockContext\nfrom unittest.mock import Mock\n"
        "made = MockContext(run={'x': True}, repeat=True)\n"
        "made.run('x')\nassert isinstance(made.run, Mock) and made.run.called\n"
    )
    ran = run(door=("-c", program))
    assert ran.code == 0, ran.err


# --- wrong use


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--nope"], "--nope"),
        (["nope"], "nope"),
        (["build", "--nope"], "--nope"),
        (["build", "extra"], "extra"),
        (["build", "--service"], "--service needs a value"),
        (["build", "--service", "--dry-run"], "--service needs a value"),
        (["build", "--format"], "--format needs a value"),
        (["build", "--format", "--dry-run"], "--format needs a value"),
        (["logs", "--tail"], "--tail needs a value"),
        (["build", "-s", "web"], "-s"),
        (["warm-cache", "--prod"], "--prod"),
        (["build", "--dryrun"], "--dryrun"),
        (["build", "--dry-run=yes"], "yes"),
    ],
)
@pytest.mark.usefixtures("alone")
def test_wrong_use_is_one_line_and_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    ran = in_process(capsys, *arguments)
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert line.startswith("kiro: ")
    assert named in line
    assert "Fix: " in line


@pytest.mark.usefixtures("alone")
def test_an_option_may_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    ran = in_process(capsys, "config", "--service", "frontend", "--service=backend", "--format", "json")
    assert ran.code == 0
    rows = {row["key"]: row["value"] for row in ran.json["settings"]}
    assert set(rows["services"].split(", ")) == {"backend", "frontend"}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("task", [task for task in TASKS if task != "logs"])
def test_an_unknown_format_is_2(capsys: pytest.CaptureFixture[str], task: str) -> None:
    ran = in_process(capsys, task, "--format", "xml")
    assert (ran.code, ran.out) == (2, "")
    form = "jsonl" if task in (*STREAMS, "watch") else "json"
    assert ran.err == f"kiro {task}: --format xml: not a format. Fix: use one of text, {form}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("clean-cache", "--what", "all", "--yes", "--what", "build", "--dry-run"),
        ("clean-cache", "--what", "build", "--what=images"),
        ("clean-cache", "--dry-run", "--dry-run"),
    ],
)
def test_an_option_of_one_value_is_given_once(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Invoke takes the second value for a task: it would clean all, and then `build --dry-run`."""
    ran = in_process(capsys, *words)
    assert (ran.code, ran.out) == (2, "")
    assert "is given twice. Fix: " in ran.err


@pytest.mark.parametrize(
    "words",
    [
        "build --service build --service up --dry-run",
        "build --dry-run config --service build --format json",
        "clean-cache --what build build --dry-run",
        "classify --since build --path build --path build",
        "",
        "nothing --what --what",
    ],
)
def test_what_is_given_to_several_tasks_or_as_a_list_is_not_repeated(words: str) -> None:
    assert repeated(words.split()) == ""


# --- help


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process(capsys, "--version") == Ran(0, f"kiro {__version__}\n", "")
    assert program.version == __version__


def test_every_task_is_listed_with_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    listed = in_process(capsys, "--list")
    found = dict(re.findall(r"^  ([a-z-]+)  +(\S.*)$", listed.out, re.MULTILINE))
    assert (listed.code, set(found)) == (0, set(TASKS))


def test_every_option_has_a_text_and_a_long_name_only(doors: Doors) -> None:
    tasks = doors.options.result().json
    assert set(tasks) == set(TASKS)
    for name, options in tasks.items():
        assert options
        assert all(len(option) > 1 and "/" not in option for option in options), name
        assert all(options.values()), name
        assert ("format" in options) is (name != "logs")


def test_a_shell_completes_tasks_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        ran = in_process(capsys, "--print-completion-script", shell)
        assert (ran.code, ran.err) == (0, "")
        assert "_complete_kiro" in ran.out
    assert set(TASKS) <= set(in_process(capsys, "--complete", "--", "kiro", "").out.split())
    assert "--no-live" in in_process(capsys, "--complete", "--", "kiro", "watch", "--n").out.split()


def test_the_help_of_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    ran = in_process(capsys, "--help", "build")
    assert (ran.code, ran.err) == (0, "")
    assert "Build the services' images." in ran.out
    assert "--service" in ran.out


# --- as a process


EVIL = "FROM \x1b[2J\x1b]0;x\x07evil\x9b1m AS final\n"
#: Invoke gives an argument its help text once only: asked in a process of its own.
HELP = """\
import json, kiro_invoke
tasks = {name: kiro_invoke.ns[name].get_arguments() for name in kiro_invoke.ns.task_names}
print(json.dumps({name: {"/".join(a.names): a.help for a in each} for name, each in tasks.items()}))
"""
FOREIGN = """\
import kiro_invoke
from invoke import Collection, task


@task
def build(_):
    print("mine")


ns = Collection(build)
ns.add_collection(kiro_invoke.ns, name="kiro")
"""


class Doors:
    """Every process that these tests look at, begun together: each takes a third of a second to start."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.odd = repository(folder / "ü ✓", config="services:\n  - name: web\n")
        foreign, evil = repository(folder / "foreign"), repository(folder / "evil", text=EVIL)
        (foreign / "tasks.py").write_text(FOREIGN)

        def begin(*arguments: str, **where: Any) -> Future[Ran]:
            return pool.submit(run, *arguments, **where)

        self.options = begin(HELP, door=("-c",))
        self.definition = begin("build", "--print")
        self.invoke = begin("build", "--format", "json", door=INVOKE)
        twice = ("config", "config", "--format", "json")
        self.ascii = begin(*twice, folder=self.odd, env={"PYTHONIOENCODING": "ascii"})
        ours = ("build", "kiro.build", "--dry-run", "--format", "json")
        self.foreign = begin(*ours, folder=foreign, door=INVOKE)
        self.untaken = {sink: pool.submit(into, sink) for sink in ("pipe", "full")}
        wrong = ("build", "--service", "wbe")
        self.coloured = pool.submit(on_terminal, evil, *wrong, env={"TERM": "xterm-256color"})
        plain = {"TERM": "xterm-256color", "NO_COLOR": "1"}
        self.plain = pool.submit(on_terminal, evil, "build", "--dry-run", env=plain)


@pytest.fixture(scope="module", autouse=True)
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield Doors(tmp_path_factory.mktemp("doors"), pool)


def into(sink: str) -> Ran:
    """`kiro config` whose standard output nobody takes."""
    if sink == "full":
        out = os.open("/dev/full", os.O_WRONLY)
    else:
        read, out = os.pipe()
        os.close(read)
    try:
        argv = [sys.executable, *KIRO, "config"]
        done = subprocess.run(
            argv, cwd=ROOT, env=ALONE, stdout=out, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(out)
    return Ran(done.returncode, "", done.stderr.decode())


def test_print_without_an_engine_is_a_definition(doors: Doors) -> None:
    ran = doors.definition.result()
    assert ran.code == 0
    definition = json.loads(ran.out)
    assert definition["group"]["default"]["targets"] == ["backend-dev-dev", "frontend-dev-dev"]
    assert "without an engine, stand-ins are not looked for" in ran.err
    assert "\x1b" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("build",), 3),
        (("warm-cache", "--setup"), 3),
        (("up",), 3),
        (("down",), 3),
        (("setup",), 3),
    ],
)
@pytest.mark.usefixtures("alone")
def test_an_engine_that_does_not_answer_is_3(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int
) -> None:
    ran = in_process(capsys, *arguments, "--format", "json")
    value = ran.json
    fits(value, "error")
    assert (ran.code, value["command"], value["ok"]) == (code, arguments[0], False)
    assert "tcp://127.0.0.1:1" in value["error"]["message"]
    assert value["error"]["fix"]
    assert value["error"]["message"] in ran.err


def test_the_same_under_invoke(doors: Doors) -> None:
    ran = doors.invoke.result()
    assert (ran.code, ran.json["error"]["code"]) == (3, 3)
    assert len(ran.err.splitlines()) == 1


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("arguments", "schema"),
    [
        (("config",), "config"),
        (("report",), "report"),
        (("build", "--dry-run"), "build"),
        (("build", "--prod", "--dry-run"), "build"),
        (("build", "--print"), "build"),
        (("warm-cache", "--dry-run"), "warm-cache"),
    ],
)
def test_answers_fit_their_schemas(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], schema: str
) -> None:
    ran = in_process(capsys, *arguments, "--format", "json")
    assert ran.code == 0
    fits(ran.json, schema)


@pytest.mark.usefixtures("alone")
def test_a_stream_answers_with_one_object_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository(tmp_path / "r"))
    ran = in_process(capsys, "classify", "--format", "jsonl")
    assert (ran.code, ran.err) == (0, "")
    for line in ran.out.splitlines():
        fits(json.loads(line), "classify")


@pytest.mark.usefixtures("alone")
def test_a_stream_that_fails_says_so_in_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository(tmp_path / "r"))
    ran = in_process(capsys, "classify", "--path", "/nowhere", "--format", "jsonl")
    assert ran.code == 2
    fits(ran.json, "error")
    assert "lies outside the repository" in ran.err


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_broken_configuration_is_2_and_names_the_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(repository(tmp_path / "r", config="project: shop\n\nservics: []\n"))
    ran = in_process(capsys, "build", "--format", form)
    assert ran.code == 2
    assert ran.err.startswith("kiro build: kiro.yaml:3: ")
    if form == "json":
        fits(ran.json, "error")
        assert (ran.json["error"]["file"], ran.json["error"]["line"]) == ("kiro.yaml", 3)
    else:
        assert ran.out == ""


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    "name", ["with space", "quo'te\"s", "ünï-日本", "${dollar} %{x}", "semi;colon&", "comma,eq=", "#-x"]
)
def test_a_repository_may_lie_anywhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = repository(tmp_path / name)
    monkeypatch.chdir(root)
    ran = in_process(capsys, "build", "--print", "--format", "json")
    assert ran.code == 0, ran.err
    target = json.loads(ran.json["definition"])["target"]["web-dev-final"]
    assert target["context"].replace("$${", "${").replace("%%{", "%{") == str(root / "web")


def test_a_stream_that_cannot_write_a_character_ends_nothing(doors: Doors) -> None:
    ran = doors.ascii.result()
    assert ran.code == 0
    *text, value = ran.out.splitlines()
    assert json.loads(value)["root"] == str(doors.odd)
    assert any("\\xfc \\u2713" in line for line in text)


@pytest.mark.parametrize(("sink", "said"), [("pipe", ""), ("full", "No space left on device")])
def test_output_that_nobody_takes_is_no_traceback(doors: Doors, sink: str, said: str) -> None:
    ran = doors.untaken[sink].result()
    assert ran.code == 1
    assert len(ran.err.splitlines()) == bool(said)
    assert said in ran.err


def test_a_message_that_nobody_takes_leaves_the_exit_code(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        argv = [sys.executable, *KIRO, "build", "--format", "xml"]
        done = subprocess.run(
            argv, cwd=tmp_path, env=ALONE, stderr=writer, stdout=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_foreign_tasks_file_may_take_the_tasks_under_a_name(doors: Doors) -> None:
    ran = doors.foreign.result()
    mine, ours = ran.out.splitlines()
    assert (ran.code, mine) == (0, "mine")
    fits(json.loads(ours), "build")


# --- terminals


def on_terminal(folder: Path, *arguments: str, env: Mapping[str, str]) -> str:
    """What a command writes to a terminal."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, *KIRO, *arguments],
        cwd=folder,
        env={**ALONE, **env},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        close_fds=True,
    )
    os.close(follower)
    try:
        return b"".join(read_all(leader)).decode()
    finally:
        child.wait(60)
        os.close(leader)


def read_all(terminal: int) -> Iterator[bytes]:
    deadline = time.monotonic() + 60
    with suppress(OSError):  # the last writer is gone
        while time.monotonic() < deadline and (data := os.read(terminal, 65536)):
            yield data


def test_a_terminal_gets_colour(doors: Doors) -> None:
    text = doors.coloured.result()
    assert "\x1b[31m" in text
    assert 'kiro build: no service "wbe"' in text


def test_with_no_color_nothing_controls_a_terminal_not_even_a_repositorys_names(doors: Doors) -> None:
    text = doors.plain.result()
    assert "evil" in text
    assert text.replace("\r\n", "").isprintable()
