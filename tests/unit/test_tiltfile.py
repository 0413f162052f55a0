"""The Tilt extension and this repository's Tiltfile, in a real Starlark interpreter with Tilt's API written down."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.scaffold.files import files
from kiro_invoke.scaffold.repository import Repository
from tests.support.tilt import Step, Tilt, TiltError

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "kiro_invoke/Tiltfile"
#: No kiro is on this PATH.
BARE = {"PATH": "/usr/bin:/bin"}
STARTED = {"KIRO_TILT_STARTED": "1700000000"}
STAMP = "SOURCE_DATE_EPOCH"
LIVE: dict[str, Any] = {
    "fall_back_on": ["api/Cargo.lock", "api/Cargo.toml"],
    "sync": [{"from": "api/static", "to": "/srv"}, {"from": "api", "to": "/app"}],
    "run": ["cargo build", "kill -HUP 1"],
    "restart_container": False,
    "env": {},
}


class World:
    """Somebody's repository, in a folder with a space; a `kiro` that answers with what a test says."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "their repository"
        self.kiro = folder / "a bin/kiro"
        self.kiro.parent.mkdir()
        self.asked = folder / "asked"
        self.env: dict[str, str] = {**BARE, **STARTED, "KIRO": str(self.kiro)}
        self.write("api/Dockerfile.fast", "FROM debian:13-slim\n")
        self.write("api/Dockerfile", "FROM debian:13-slim\n")
        self.service: dict[str, Any] = {
            "name": "api",
            "image": "shop/api",
            "context": str(self.root / "api"),
            "dockerfile": str(self.root / "api/Dockerfile.fast"),
            "secret": ["id=ca_bundle,src=/etc/ca.pem"],
            "ssh": ["default"],
            "build_args": {"NS": "shop-1", "X": "kiro's"},
            "watched": [str(self.root / "api/Cargo.lock")],
            "unwatched": [],
            "live": self.live(),
        }
        self.answer: dict[str, Any] = {
            "ok": True,
            "root": str(self.root),
            "watched": [str(self.root / "kiro.yaml")],
            "notes": [],
            "services": [self.service],
        }

    def live(self, **other: Any) -> dict[str, Any]:
        rooted = {
            "fall_back_on": [str(self.root / path) for path in LIVE["fall_back_on"]],
            "sync": [{"from": str(self.root / rule["from"]), "to": rule["to"]} for rule in LIVE["sync"]],
        }
        return {**LIVE, **rooted, **other}

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, text: str, folder: str = "") -> Tilt:
        """Run a Tiltfile that has loaded the extension."""
        told = shlex.quote(json.dumps(self.answer))
        self.kiro.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$PWD: $*" >>{shlex.quote(str(self.asked))}\nprintf "%s\\n" {told}\n'
        )
        self.kiro.chmod(0o755)
        loading = (
            f"load('{EXTENSION}', 'kiro_config', 'kiro_docker_build', 'kiro_resources', 'kiro_services')\n"
        )
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        return Tilt(self.root / folder, self.env).run(loading + text)

    def built(self, text: str) -> Mapping[str, Any]:
        """What the one docker_build of a Tiltfile was given."""
        (given,) = self.run(text).named("docker_build")
        return given

    @property
    def steps(self) -> list[Step]:
        inner = str(self.root / "api")
        return [
            Step("fall_back_on", (f"{inner}/Cargo.lock", f"{inner}/Cargo.toml")),
            Step("sync", (f"{inner}/static", "/srv")),
            Step("sync", (inner, "/app")),
            Step("run", ("cargo build",)),
            Step("run", ("kill -HUP 1",)),
        ]

    @property
    def usual(self) -> dict[str, Any]:
        """What docker_build is given of the service."""
        return {
            "ref": "shop/api",
            "context": str(self.root / "api"),
            "dockerfile": str(self.root / "api/Dockerfile.fast"),
            "build_args": {"NS": "shop-1", "X": "kiro's", STAMP: "1700000000"},
            "secret": ["id=ca_bundle,src=/etc/ca.pem"],
            "ssh": ["default"],
            "live_update": self.steps,
            "extra_tag": ["shop/api:dev"],
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_loading_does_nothing(world: World) -> None:
    ran = world.run("")
    assert (ran.calls, ran.told, ran.warned, ran.watched) == ([], [], [], [])
    assert not world.asked.exists()


def test_services_are_built_as_kiro_says(world: World) -> None:
    ran = world.run("kiro_services()")
    assert ran.named("docker_build") == [world.usual]
    assert set(ran.watched) == {str(world.root / "kiro.yaml"), str(world.root / "api/Cargo.lock")}
    assert world.asked.read_text() == f"{world.root}: tilt-config --format json\n"


def test_services_may_be_chosen_and_given_more(world: World) -> None:
    text = "kiro_services(services=['api'], platform='linux/amd64')"
    assert world.built(text) == {**world.usual, "platform": "linux/amd64"}
    with pytest.raises(TiltError, match='there is no service "wbe"; choose from: api'):
        world.run("kiro_services(services=['wbe'])")


def test_without_live_every_change_takes_the_image(world: World) -> None:
    usual = {key: value for key, value in world.usual.items() if key != "live_update"}
    usual["build_args"] = {"NS": "shop-1", "X": "kiro's"}
    assert world.built("kiro_services(live=False)") == usual
    assert world.built("kiro_docker_build('shop/api', './api', live=False)") == usual
    world.service["live"] = None
    world.answer["notes"] = ["api: every change takes the image: why"]
    ran = world.run("kiro_services()")
    assert ran.named("docker_build") == [usual]
    assert ran.told == ["kiro: api: every change takes the image: why"]


@pytest.mark.parametrize("context", ["./api", "api", "api/", "api/../api"])
def test_a_service_is_found_by_its_context(world: World, context: str) -> None:
    given = world.built(f"kiro_docker_build('their/name', {context!r})")
    assert given == {**world.usual, "ref": "their/name"}


def test_a_service_is_found_by_its_name(world: World) -> None:
    twin = {**world.service, "name": "worker"}
    world.answer["services"] = [world.service, twin]
    assert world.built("kiro_docker_build('a', './api', service='worker')")["ref"] == "a"
    with pytest.raises(TiltError, match="name one by service=: api, worker"):
        world.run("kiro_docker_build('a', './api')")
    with pytest.raises(TiltError, match='no service "web"; choose from: api, worker'):
        world.run("kiro_docker_build('a', './api', service='web')")
    with pytest.raises(TiltError, match="no service has the context"):
        world.run("kiro_docker_build('a', '.')")


def test_what_is_given_wins(world: World) -> None:
    text = (
        "kiro_docker_build('shop/api', './api', build_args={'X': 'mine', 'Y': '1'}, ssh='default=/key',\n"
        "  secret=['id=token,env=TOKEN', 'src=/mine,id=ca_bundle'], ignore=['docs'], only=['src'], extra_tag='x')"
    )
    assert world.built(text) == {
        **world.usual,
        "build_args": {"NS": "shop-1", "X": "mine", "Y": "1", STAMP: "1700000000"},
        "ssh": ["default=/key"],
        "secret": ["id=token,env=TOKEN", "src=/mine,id=ca_bundle"],
        "ignore": ["docs"],
        "only": ["src"],
        "extra_tag": ["shop/api:dev", "x"],
    }
    given = world.built("kiro_docker_build('shop/api', './api', live_update=[sync('./api', '/x')])")
    assert given["live_update"] == [Step("sync", (str(world.root / "api"), "/x"))]
    given = world.built("kiro_docker_build('shop/api', './api', dockerfile='api/Dockerfile.fast')")
    assert given == world.usual
    with pytest.raises(TiltError, match='unexpected keyword argument "entrypiont"'):
        world.run("kiro_docker_build('shop/api', './api', entrypiont='x')")


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("dockerfile='api/Mine'", "api/Mine"),
        ("dockerfile_contents='FROM x'", "dockerfile_contents"),
        ("target='one'", "the target one"),
    ],
)
def test_another_image_than_kiros_is_not_updated_as_kiros_is(world: World, more: str, what: str) -> None:
    """Its files may lie elsewhere: what is synced would not be what runs."""
    world.write("api/Mine", "FROM x\n")
    world.write("api/Dockerfile.fast", "FROM x AS one\nRUN x\nFROM one AS Dev\nWORKDIR /app\n")
    ran = world.run(f"kiro_docker_build('shop/api', './api', {more})")
    (given,) = ran.named("docker_build")
    assert "live_update" not in given
    assert ran.warned[0].endswith(f"api/Dockerfile.fast, and not of {what}")
    own = f"kiro_docker_build('shop/api', './api', {more}, live_update=[sync('api', '/x')])"
    ran = world.run(own)
    assert (len(ran.named("docker_build")[0]["live_update"]), ran.warned) == (1, [])
    assert world.built("kiro_docker_build('a', './api', target='dev')")["live_update"] == world.steps


def test_another_context_than_kiros_is_not_updated_as_kiros_is(world: World) -> None:
    ran = world.run("kiro_docker_build('shop/api', '.', service='api')")
    (given,) = ran.named("docker_build")
    assert (given["context"], "live_update" in given) == (str(world.root), False)
    assert f"its context is {world.root}/api, and not ." in ran.warned[0]


# --- a container that was updated live holds what its image does not


def stamp(world: World, text: str = "kiro_services()", **env: str) -> str:
    world.env = {**BARE, **env, "KIRO": str(world.kiro)}
    return str(world.built(text)["build_args"].get(STAMP))


def test_each_start_of_tilt_has_images_of_its_own(world: World) -> None:
    before = int(time.time())
    assert before <= int(stamp(world)) <= time.time()
    assert stamp(world, **STARTED) == "1700000000", "one start runs the Tiltfile many times"
    ran = world.run("kiro_services()\nkiro_services()")
    assert len({each["build_args"][STAMP] for each in ran.named("docker_build")}) == 1


def test_so_has_a_live_update_of_ones_own(world: World) -> None:
    assert stamp(world, "kiro_docker_build('shop/api', './api', live_update=[])", **STARTED) == "1700000000"


def test_where_the_build_is_given_a_time_every_change_takes_the_image(world: World) -> None:
    ran = world.run(f"kiro_services(build_args={{'{STAMP}': '1'}})")
    (given,) = ran.named("docker_build")
    assert given["build_args"][STAMP] == "1"
    assert "live_update" not in given
    assert ran.warned == ["kiro: api: every change takes the image: SOURCE_DATE_EPOCH is given to its build"]


def test_a_container_may_have_to_be_restarted(world: World) -> None:
    world.service["live"] = world.live(restart_container=True, run=[])
    assert world.built("kiro_services()")["live_update"] == [*world.steps[:3], Step("restart_container", ())]


def test_variables_that_live_containers_need_are_put_into_the_image(world: World) -> None:
    world.service["live"] = world.live(env={"KIRO_LIVE": "1", "B": 'a "$b" \\'})
    given = world.built("kiro_services()")
    assert "dockerfile" not in given
    assert given["dockerfile_contents"] == (
        'FROM debian:13-slim\n\nENV B="a \\"\\$b\\" \\\\"\nENV KIRO_LIVE="1"\n'
    )
    assert given["live_update"] == world.steps
    ran = world.run("kiro_services()")
    assert str(world.root / "api/Dockerfile.fast") in ran.watched


@pytest.mark.parametrize(
    ("more", "ignore_file"),
    [
        (", dockerfile='api/Dockerfile.fast'", ""),
        ("", "api/Dockerfile.fast.dockerignore"),
        ("", "api/Dockerfile.dockerignore"),
    ],
)
def test_where_the_image_cannot_have_them_every_change_takes_it(
    world: World, more: str, ignore_file: str
) -> None:
    """Tilt looks for the ignore file beside the Dockerfile that it is given by name."""
    world.service["live"] = world.live(env={"KIRO_LIVE": "1"})
    if ignore_file:
        world.write(ignore_file, "")
    ran = world.run(f"kiro_docker_build('shop/api', './api'{more})")
    (given,) = ran.named("docker_build")
    assert "live_update" not in given
    assert ran.warned == ["kiro: api: every change takes the image: it lacks KIRO_LIVE"]


def test_what_kiro_yaml_ignores_is_not_watched_and_sent_all_the_same(world: World) -> None:
    world.service["unwatched"] = ["docs/**", "/notes.txt", "!docs/package.json"]
    ran = world.run("kiro_services()")
    patterns = ["api/docs/**", "api/notes.txt", "!api/docs/package.json"]
    assert ran.named("watch_settings") == [{"ignore": patterns}]
    assert ran.named("docker_build") == [world.usual]
    ran = world.run("kiro_services(config='..')", folder="tilt")
    assert ran.named("watch_settings") == []
    assert "`ignore` of api is not heeded" in ran.warned[0]


@pytest.mark.parametrize("config", ["", "config='kiro.yaml'", "config='.'", "config='kiro.yml'"])
def test_the_repository_is_that_of_the_tiltfile_or_of_the_configuration(world: World, config: str) -> None:
    world.run(f"kiro_services({config})")
    assert world.asked.read_text() == f"{world.root}: tilt-config --format json\n"


def test_it_may_be_asked_once_for_several_calls(world: World) -> None:
    world.run("c = kiro_config()\nkiro_services(config=c)\nkiro_docker_build('x', 'api', config=c)\n")
    assert world.asked.read_text().count("\n") == 1


def test_a_tiltfile_elsewhere_names_the_repository(world: World) -> None:
    ran = world.run("kiro_services(config='../kiro.yaml')", folder="a folder")
    assert ran.named("docker_build") == [world.usual]


def test_an_error_of_kiro_is_told_in_one_line(world: World) -> None:
    error = {"code": 2, "message": "unknown key", "file": "kiro.yaml", "line": 4, "fix": "write services"}
    world.answer = {"ok": False, "error": error}
    with pytest.raises(TiltError, match=r"kiro: kiro.yaml:4: unknown key. Fix: write services"):
        world.run("kiro_services()")
    world.answer = {"ok": False, "error": {"message": "found no service"}}
    with pytest.raises(TiltError, match=r"kiro: found no service\n"):
        world.run("kiro_docker_build('a', 'api')")


def test_a_kiro_that_is_too_old_is_an_error(world: World) -> None:
    old = world.write("old", "#!/bin/sh\necho \"No idea what 'tilt-config' is\" >&2; exit 2\n")
    old.chmod(0o755)
    world.env["KIRO"] = str(old)
    with pytest.raises(TiltError, match="Is it too old"):
        world.run("kiro_services()")


# --- without kiro


@pytest.mark.parametrize(
    "config",
    [
        "project: shop\nservices:\n  - name: api\n",
        "project: shop\nservices:\n  - {name: api, context: ./api, image: shop/api}\n",
        "project: shop\n",
    ],
)
def test_without_kiro_the_fast_dockerfiles_are_built_and_it_is_said(world: World, config: str) -> None:
    world.write("kiro.yaml", config)
    world.env = BARE
    ran = world.run("kiro_services(platform='linux/amd64')")
    (given,) = ran.named("docker_build")
    wanted = {key: world.usual[key] for key in ("ref", "context", "dockerfile", "extra_tag")}
    assert given == {**wanted, "platform": "linux/amd64"}
    (warning,) = ran.warned
    assert "kiro is not installed here (pip install kiro-invoke, or set KIRO)" in warning
    assert "every change takes the image" in warning


def test_without_kiro_a_service_of_a_workspace_has_its_own_dockerfile(world: World) -> None:
    world.write(
        "kiro.yaml",
        "project: shop\nservices:\n  - {name: api, context: ., fast_dockerfile: api/Dockerfile.fast}\n",
    )
    world.env = BARE
    (given,) = world.run("kiro_services()").named("docker_build")
    assert (given["context"], given["dockerfile"]) == (str(world.root), world.usual["dockerfile"])


def test_without_kiro_and_kiro_yaml_folders_are_looked_at(world: World) -> None:
    world.write("a web/Dockerfile.fast", "FROM x\n")
    world.env = BARE
    given = world.run("kiro_services()").named("docker_build")
    assert [(each["ref"], each["context"]) for each in given] == [
        ("their-repository/a-web", str(world.root / "a web")),
        ("their-repository/api", str(world.root / "api")),
    ]
    (world.root / "empty").mkdir()
    with pytest.raises(TiltError, match="without it no service is found"):
        world.run("kiro_services(config='empty')")


def test_without_kiro_a_docker_build_is_a_docker_build(world: World) -> None:
    world.env = BARE
    given = world.built("kiro_docker_build('a/b', './api', live=True, service='api', build_args={'X': '1'})")
    context = str(world.root / "api")
    fast = f"{context}/Dockerfile.fast"
    assert given == {
        "ref": "a/b",
        "context": context,
        "dockerfile": fast,
        "build_args": {"X": "1"},
        "extra_tag": ["a/b:dev"],
    }
    given = world.built("kiro_docker_build('reg:5000/a/b:x', './api', dockerfile='api/Dockerfile')")
    assert given["dockerfile"] == str(world.root / "api/Dockerfile")
    assert "extra_tag" not in given
    ran = world.run("kiro_resources()")
    assert ran.calls == []
    assert "there are no resources of kiro" in ran.warned[0]


def test_kiro_is_taken_from_the_repositorys_own_environment_first(world: World) -> None:
    own = world.write(".venv/bin/kiro", f'#!/bin/sh\nexec {shlex.quote(str(world.kiro))} own "$@"\n')
    own.chmod(0o755)
    world.env = {"PATH": f"{world.kiro.parent}:{BARE['PATH']}"}
    world.run("kiro_services()")
    assert world.asked.read_text() == f"{world.root}: own tilt-config --format json\n"
    world.env["KIRO"] = "/nowhere/kiro"  # who names one means that one
    assert "kiro is not installed here" in world.run("kiro_services()").warned[0]
    del world.env["KIRO"]
    own.unlink()
    world.run("kiro_services()")
    assert world.asked.read_text().splitlines()[1:] == [f"{world.root}: tilt-config --format json"]


# --- buttons


def test_resources_are_done_by_hand(world: World) -> None:
    ran = world.run("kiro_resources()")
    rest = {
        "trigger_mode": "manual", "auto_init": False, "allow_parallel": True, "labels": ["kiro"],
        "dir": str(world.root),
    }  # fmt: skip
    kiro = str(world.kiro)
    assert ran.named("local_resource") == [
        {"name": "kiro-warm-cache", "cmd": [kiro, "warm-cache"], **rest},
        {"name": "kiro-clean-cache", "cmd": [kiro, "clean-cache", "--what", "all", "--yes"], **rest},
        {
            "name": "kiro-test-build-performance",
            "cmd": [kiro, "test-build-performance", "--quick"],
            **rest,
        },
        {"name": "kiro-report", "cmd": [kiro, "report"], **rest},
    ]
    assert not world.asked.exists()
    ran = world.run("kiro_resources(config=kiro_config(), labels=['tools'])")
    assert {tuple(each["labels"]) for each in ran.named("local_resource")} == {("tools",)}


# --- as an extension


@pytest.mark.parametrize("url", [f"file://{ROOT}"])
def test_it_loads_as_an_extension_and_paths_are_the_callers(world: World, url: str) -> None:
    text = (
        f"v1alpha1.extension_repo(name='kiro', url='{url}')\n"
        "v1alpha1.extension(name='kiro_invoke', repo_name='kiro', repo_path='kiro_invoke')\n"
        "load('ext://kiro_invoke', 'kiro_services')\nkiro_services()\n"
    )
    world.run("")  # writes kiro
    ran = Tilt(world.root, world.env).run(text)
    assert ran.named("docker_build") == [world.usual]


def test_it_loads_from_a_path_with_a_space(world: World) -> None:
    world.write("an extension/Tiltfile", EXTENSION.read_text())
    world.run("")
    ran = Tilt(world.root, world.env).run(
        "load('./an extension/Tiltfile', 'kiro_services')\nkiro_services()\n"
    )
    assert ran.named("docker_build") == [world.usual]


# --- the lines that `kiro init --extra tilt` writes


def init_lines(*there: str) -> str:
    """Those for a repository with these files at its root."""
    read = Repository("shop", frozenset(there), lambda _path: "")
    return next(file.text for file in files(read, (), "shop", ("tilt",)) if file.path == "Tiltfile")


@pytest.mark.parametrize("place", ["KIRO", ".venv/bin/kiro", "PATH"])
def test_the_lines_of_init_find_the_extension_where_kiro_is(world: World, place: str) -> None:
    world.run("")
    answers = world.kiro.read_text()
    own = world.write(".venv/bin/kiro", "") if place.startswith(".venv") else world.kiro
    own.write_text(
        f'#!/bin/sh\n[ "$1" != tilt-path ] || {{ echo {shlex.quote(str(EXTENSION))}; exit; }}\n{answers}'
    )
    own.chmod(0o755)
    path = {"KIRO": BARE["PATH"], "PATH": f"{world.kiro.parent}:{BARE['PATH']}"}.get(place, BARE["PATH"])
    env = {"PATH": path, **STARTED} | ({"KIRO": str(own)} if place == "KIRO" else {})
    world.write("compose.yaml", "services: {}\n")
    ran = Tilt(world.root, env).run(init_lines())
    assert ran.named("docker_build") == [world.usual]
    assert len(ran.named("docker_compose")) == 1
    assert not ran.warned


def test_without_kiro_the_lines_of_init_leave_the_images_to_compose(world: World) -> None:
    world.write("compose.yaml", "services: {}\n")
    ran = Tilt(world.root, BARE).run(init_lines())
    assert [call.name for call in ran.calls if call.name.startswith("docker")] == ["docker_compose"]
    assert [each for each in ran.warned if each.startswith("kiro is not installed here (pip install")]


def test_without_kiro_a_persons_tiltfile_runs_nothing_that_nobody_builds(world: World) -> None:
    with pytest.raises(TiltError, match="kiro is not installed here"):
        Tilt(world.root, BARE).run(init_lines("Tiltfile"))


# --- this repository


@pytest.fixture(scope="module")
def real_kiro(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which `kiro` is this checkout's."""
    file = tmp_path_factory.mktemp("bin") / "kiro"
    words = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m kiro_invoke.cli"
    file.write_text(f'#!/bin/sh\n{words} "$@"\n')
    file.chmod(0o755)
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "KIRO": str(file)}


def test_the_root_tiltfile_with_compose(real_kiro: dict[str, str]) -> None:
    ran = Tilt(ROOT, real_kiro).run()
    assert ran.named("docker_compose") == [{"configPaths": "compose.yaml"}]
    assert ran.named("k8s_yaml") == []
    backend, frontend = ran.named("docker_build")
    assert (backend["ref"], backend["dockerfile"]) == ("kiro/backend", f"{ROOT}/backend/Dockerfile.fast")
    assert backend["build_args"]["BUILDKIT_CACHE_MOUNT_NS"].startswith("kiro-")
    falls_back, syncs, *runs = backend["live_update"]
    manifests = [
        f"{ROOT}/backend/{path}" for path in ("Cargo.lock", "Cargo.toml", "crates/kiro-store/Cargo.toml")
    ]
    assert set(manifests) <= set(falls_back.values)
    assert not any(path.endswith(".rs") for path in falls_back.values)
    assert syncs == Step("sync", (f"{ROOT}/backend", "/app"))
    assert "cargo build --workspace --bins --locked" in runs[0].values[0]
    assert "kill -HUP 1" in runs[1].values[0]
    assert (frontend["ref"], frontend["context"]) == ("kiro/frontend", f"{ROOT}/frontend")
    assert frontend["dockerfile_contents"].endswith('\nENV KIRO_LIVE="1"\n')
    assert frontend["live_update"][-1] == Step("run", ("kiro-serve refresh",))
    assert [each["name"] for each in ran.named("local_resource")] == [
        "kiro-warm-cache", "kiro-clean-cache", "kiro-test-build-performance", "kiro-report",
    ]  # fmt: skip


def test_the_root_tiltfile_with_a_cluster(real_kiro: dict[str, str]) -> None:
    ran = Tilt(ROOT, real_kiro, words={"k8s": True}).run()
    assert ran.named("docker_compose") == []
    (given,) = ran.named("k8s_yaml")
    assert all((ROOT / path).is_file() for path in given["yaml"])
    assert len(ran.named("docker_build")) == 2


def test_the_root_tiltfile_without_kiro(tmp_path: Path) -> None:
    """In a fresh clone, where no environment was made yet."""
    services = [f"{name}/Dockerfile.fast" for name in ("backend", "frontend")]
    for name in ("Tiltfile", "kiro_invoke/Tiltfile", "kiro.yaml", "compose.yaml", *services):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    ran = Tilt(tmp_path, {**BARE, "KIRO": "/nowhere/kiro"}).run()
    assert [(each["ref"], each["dockerfile"]) for each in ran.named("docker_build")] == [
        (f"kiro/{name.partition('/')[0]}", f"{tmp_path}/{name}") for name in services
    ]
    assert ran.named("local_resource") == []
    assert len(ran.warned) == 2


def test_the_form_of_the_guide_is_still_valid() -> None:
    form = "docker_build('kiro/backend', context='./backend', dockerfile='./backend/Dockerfile.fast')"
    assert form in (ROOT / "Tiltfile").read_text()
    (given,) = Tilt(ROOT, BARE).run(form).named("docker_build")
    fast = f"{ROOT}/backend/Dockerfile.fast"
    assert given == {"ref": "kiro/backend", "context": f"{ROOT}/backend", "dockerfile": fast}
