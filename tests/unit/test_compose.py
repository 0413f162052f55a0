"""Compose: the person's own files, what its JSON says in each version, ports that somebody else holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from kiro_invoke.engine.protocol import Completed
from kiro_invoke.loop.compose import (
    Compose,
    Composed,
    Port,
    Running,
    check_checkout,
    check_images,
    check_ports,
    check_runs,
    needed,
)
from kiro_invoke.model.errors import ConfigError, EngineError, ExitCode, KiroError
from tests.unit.fakes import FakeEngine

WEB = {
    "Service": "web",
    "Name": "shop-web-1",
    "State": "running",
    "Health": "healthy",
    "Publishers": [
        {"URL": "127.0.0.1", "TargetPort": 8080, "PublishedPort": 8081, "Protocol": "tcp"},
        {"URL": "", "TargetPort": 9090, "PublishedPort": 0, "Protocol": "tcp"},
    ],
}
DB = {"Service": "db", "Name": "shop-db-1", "State": "exited", "Health": "", "Publishers": None}
RUNNING = (
    Running("web", "shop-web-1", "running", "healthy", (Port("web", "127.0.0.1", 8081),)),
    Running("db", "shop-db-1", "exited", "", ()),
)


def compose(folder: Path, *, file: str = "compose.yaml", **answers: Completed) -> tuple[Compose, FakeEngine]:
    (folder / file).write_text("services: {}\n")
    engine = FakeEngine()
    engine.compose_answers = answers
    return Compose(engine, folder, {}), engine


def said(out: str = "", err: str = "", code: int = 0) -> Completed:
    return Completed(("docker", "compose"), code, out, err)


# --- files


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["compose.yaml"], ["compose.yaml"]),
        (["docker-compose.yml"], ["docker-compose.yml"]),
        (["docker-compose.yml", "compose.yml", "compose.yaml"], ["compose.yaml"]),
        (["compose.yaml", "compose.override.yaml"], ["compose.yaml", "compose.override.yaml"]),
        (["compose.yml", "compose.override.yml"], ["compose.yml", "compose.override.yml"]),
        (
            ["docker-compose.yml", "docker-compose.override.yml"],
            ["docker-compose.yml", "docker-compose.override.yml"],
        ),
        (["compose.yaml", "docker-compose.override.yml"], ["compose.yaml"]),
    ],
)
def test_the_files_are_those_that_compose_would_take(
    tmp_path: Path, there: list[str], taken: list[str]
) -> None:
    for name in there:
        (tmp_path / name).write_text("")
    assert [path.name for path in Compose(FakeEngine(), tmp_path, {}).files] == taken


def test_no_file_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"^compose.yaml: no compose file. Fix: add a compose.yaml"):
        _ = Compose(FakeEngine(), tmp_path, {}).files


class WithoutCompose(FakeEngine):
    @property
    def compose_version(self) -> str:
        return ""


def test_a_missing_plugin_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"docker compose is missing. Fix: install"):
        Compose(WithoutCompose(), tmp_path, {}).check()
    Compose(FakeEngine(), tmp_path, {}).check()


# --- ports


def config(**services: object) -> Completed:
    return said(json.dumps({"services": services}))


def test_published_ports_are_read_from_the_merged_file(tmp_path: Path) -> None:
    web = {"ports": [{"host_ip": "127.0.0.1", "published": "8081", "target": 80, "protocol": "tcp"}]}
    api = {"ports": [{"published": 8080, "target": 80}]}
    found, engine = compose(tmp_path, config=config(web=web, api=api, db={}))
    assert found.ports(()) == (Port("web", "127.0.0.1", 8081), Port("api", "0.0.0.0", 8080))
    assert found.ports(["api"]) == (Port("api", "0.0.0.0", 8080),)
    assert engine.composed[0] == ("config", "--format", "json")


@pytest.mark.parametrize(
    "port",
    [
        {"target": 80},
        {"target": 80, "published": "0"},
        {"target": 80, "published": ""},
        {"target": 80, "published": "8000-8010"},
        {"target": 53, "published": "53", "protocol": "udp"},
    ],
)
def test_what_is_no_fixed_tcp_port_is_not_looked_at(tmp_path: Path, port: Mapping[str, object]) -> None:
    assert compose(tmp_path, config=config(web={"ports": [port]}))[0].ports(()) == ()


@pytest.mark.parametrize("text", ["{}", '{"services": null}', '{"services": {"web": {"ports": null}}}'])
def test_a_file_without_ports(tmp_path: Path, text: str) -> None:
    assert compose(tmp_path, config=said(text))[0].ports(()) == ()


def test_a_file_that_compose_refuses_is_named(tmp_path: Path) -> None:
    found, _ = compose(tmp_path, config=said(err="yaml: line 3:\n  did not find\n", code=15))
    with pytest.raises(ConfigError) as caught:
        found.ports(())
    assert (
        str(caught.value) == "compose.yaml: docker compose: yaml: line 3: did not find. Fix: correct the file"
    )


def busy(*taken: int) -> Callable[[str, int], bool]:
    return lambda _host, port: port not in taken


WANTED = [Port("api", "127.0.0.1", 8080), Port("web", "0.0.0.0", 8081)]


def test_free_ports_are_fine() -> None:
    check_ports(WANTED, (), is_free=busy(), holder=lambda _: "nobody")


@pytest.mark.parametrize(
    ("who", "named"), [("container other-1", "container other-1"), (None, "another process")]
)
def test_a_port_that_somebody_holds_is_named_with_the_holder(who: str | None, named: str) -> None:
    with pytest.raises(KiroError) as caught:
        check_ports(WANTED, (), is_free=busy(8081), holder=lambda _: who)
    assert caught.value.message == f"web: port 8081 on 0.0.0.0 is in use by {named}"
    assert caught.value.code == ExitCode.MISSED
    assert caught.value.fix


def test_a_port_that_our_own_container_holds_is_fine() -> None:
    check_ports(WANTED, RUNNING, is_free=busy(8081), holder=lambda _: "us")


def test_a_container_that_does_not_run_holds_nothing() -> None:
    stopped = [Running("web", "shop-web-1", "exited", "", (Port("web", "0.0.0.0", 8081),))]
    with pytest.raises(KiroError):
        check_ports(WANTED, stopped, is_free=busy(8081), holder=lambda _: None)


# --- containers


@pytest.mark.parametrize(
    "out",
    [
        json.dumps([WEB, DB]),
        json.dumps([WEB, DB], indent=2) + "\n",
        f"{json.dumps(WEB)}\n{json.dumps(DB)}\n",
        f"\n{json.dumps(WEB)}\n\n{json.dumps(DB)}",
    ],
)
def test_containers_are_read_as_an_array_and_as_lines(tmp_path: Path, out: str) -> None:
    found, engine = compose(tmp_path, ps=said(out))
    assert found.running() == RUNNING
    assert engine.composed == [("ps", "--all", "--format", "json")]


@pytest.mark.parametrize("out", ["", "\n", "[]", "[]\n"])
def test_no_containers(tmp_path: Path, out: str) -> None:
    assert compose(tmp_path, ps=said(out))[0].running() == ()


def test_odd_characters_do_not_break_lines_apart(tmp_path: Path) -> None:
    row = json.dumps({**DB, "Command": "a\x85b\u2028c"}, ensure_ascii=False)
    assert compose(tmp_path, ps=said(f"{row}\n{row}"))[0].running() == (RUNNING[1], RUNNING[1])


@pytest.mark.parametrize("missing", ["Service", "Name", "State", "Health", "Publishers"])
def test_a_field_may_be_missing(tmp_path: Path, missing: str) -> None:
    row = {key: value for key, value in WEB.items() if key != missing}
    (one,) = compose(tmp_path, ps=said(json.dumps(row)))[0].running()
    assert one != RUNNING[0]


# --- up, down, logs


def test_up_starts_what_is_built_and_waits(tmp_path: Path) -> None:
    found, engine = compose(tmp_path)
    found.up(["web", "api"])
    assert engine.composed == [("up", "--detach", "--no-build", "--wait", "web", "api")]


@pytest.mark.parametrize(
    ("err", "message"),
    [
        ("Container a Starting\ncontainer shop-web-1 is unhealthy\n\n", "container shop-web-1 is unhealthy"),
        ("", "failed"),
    ],
)
def test_up_that_fails_says_composes_last_word(tmp_path: Path, err: str, message: str) -> None:
    found, _ = compose(tmp_path, up=said(err=err, code=1))
    with pytest.raises(KiroError) as caught:
        found.up(())
    assert str(caught.value) == f"compose.yaml: compose up: {message}. Fix: see `kiro logs`"
    assert caught.value.code == ExitCode.MISSED


@pytest.mark.parametrize(("volumes", "argv"), [(False, ("down",)), (True, ("down", "--volumes"))])
def test_volumes_go_only_where_asked_for(tmp_path: Path, volumes: bool, argv: tuple[str, ...]) -> None:
    found, engine = compose(tmp_path)
    engine.compose_status = 3
    assert found.down(volumes=volumes) == 3
    assert engine.composed == [argv]


@pytest.mark.parametrize(
    ("services", "follow", "argv"),
    [
        ((), False, ("logs", "--tail", "all")),
        (("web",), True, ("logs", "--tail", "all", "--follow", "web")),
    ],
)
def test_logs(tmp_path: Path, services: Sequence[str], follow: bool, argv: tuple[str, ...]) -> None:
    found, engine = compose(tmp_path)
    assert found.logs(services, follow=follow, tail="all") == 0
    assert engine.composed == [argv]


# -- what runs is what was built


SERVICES = (
    Composed("web", "shop/web:dev", ("api",)),
    Composed("api", "shop/api:dev", ("db",)),
    Composed("db", "x", ()),
)


@pytest.mark.parametrize(
    ("names", "started"),
    [
        ((), ("web", "api", "db")),
        (("web",), ("web", "api", "db")),
        (("api",), ("api", "db")),
        (("db",), ("db",)),
    ],
)
def test_what_is_started_includes_what_it_needs(names: tuple[str, ...], started: tuple[str, ...]) -> None:
    assert needed(SERVICES, names) == started


def test_services_that_need_each_other_come_to_an_end() -> None:
    assert needed((Composed("a", "x", ("b",)), Composed("b", "x", ("a",))), ("a",)) == ("a", "b")


def test_another_image_than_the_built_one_is_refused() -> None:
    check_images(SERVICES, {"web": "shop/web:dev", "worker": "shop/worker:dev"}, "compose.yaml")
    with pytest.raises(
        ConfigError, match="service api runs the image shop/api:dev, but clone/api:dev is built"
    ):
        check_images(SERVICES, {"api": "clone/api:dev"}, "compose.yaml")
    with pytest.raises(ConfigError, match="runs the image of its own build:"):
        check_images((Composed("web", "", ()),), {"web": "shop/web:dev"}, "compose.yaml")


def test_a_container_of_another_image_is_not_taken_for_the_new_one() -> None:
    running = [Running("web", "shop-web-1", "running", "healthy", (), image="sha256:old")]
    check_runs(running, {"web": "sha256:old"})
    check_runs(running, {"api": "sha256:new"})
    with pytest.raises(
        KiroError, match="web: container shop-web-1 does not run the image that was just built"
    ):
        check_runs(running, {"web": "sha256:new"})


@pytest.mark.parametrize(
    ("labels", "foreign"),
    [
        ("com.docker.compose.project.working_dir={here},a=b", False),
        ("a=b,com.docker.compose.project.working_dir={here}", False),
        ("com.docker.compose.project.working_dir={here}2", True),
        ("com.docker.compose.project.working_dir=/elsewhere", True),
        ("", False),
    ],
)
def test_containers_of_another_checkout_are_told_apart(tmp_path: Path, labels: str, foreign: bool) -> None:
    row = {"Service": "web", "Name": "shop-web-1", "Labels": labels.format(here=tmp_path)}
    found = compose(tmp_path, ps=said(json.dumps(row)))[0].running()
    assert [one.foreign for one in found] == [foreign]
    if foreign:
        with pytest.raises(KiroError, match="shop-web-1 belongs to another checkout"):
            check_checkout(found)
    else:
        check_checkout(found)
