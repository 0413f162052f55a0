"""The engine's client: over unix sockets, TLS and ssh; what hangs, breaks off or is another engine is told."""

from __future__ import annotations

import io
import json
import shutil
import socketserver
import ssl
import subprocess
import tarfile
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from docker.errors import DockerException

from kiro_invoke.engine import client, docker
from kiro_invoke.engine.answers import PIECE
from kiro_invoke.engine.api import ANSWER_SECONDS, WORK_SECONDS, Refused, Unanswered, UnixApi, spoken
from kiro_invoke.engine.cli_files import KnownPlugins
from kiro_invoke.engine.image_files import LEFT_SECONDS, image_file
from kiro_invoke.engine.locate import Address, TlsFiles
from kiro_invoke.engine.protocol import CacheRecord, LocalImage, RegistryRefused, RegistrySilent
from kiro_invoke.model.errors import EngineError
from tests.unit.fakes import FakeRun

VERSION: dict[str, Any] = {"Version": "26.1.5", "ApiVersion": "1.45", "Arch": "amd64"}
RUN = FakeRun().on("docker", "buildx", out="buildx 0.13.1").on("docker", "compose", out="2.26.1")
REF = "acme/app:1"
READING = {
    "Image": REF,
    "Cmd": ["never started"],
    "NetworkDisabled": True,
    "Labels": {"dev.kiro.reading": "1"},
}
LEFT = '{"label": ["dev.kiro.reading=1"], "status": ["created"]}'

#: What the scripted engine does with a request: a body, or something of its own with the handler.
Answer = bytes | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Script:
    """What an engine answers, by the end of the path; anything else is status 404."""

    answers: dict[str, Answer] = field(
        default_factory=lambda: {"/version": json.dumps(VERSION).encode(), "/_ping": b"OK"}
    )
    asked: list[str] = field(default_factory=list)
    #: the bodies of questions
    sent: list[object] = field(default_factory=list)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                script.asked.append(self.path)
                if sent := self.rfile.read(int(self.headers.get("Content-Length") or 0)):
                    script.sent.append(json.loads(sent))
                path = self.path.partition("?")[0]
                answer = next((one for end, one in script.answers.items() if path.endswith(end)), None)
                if callable(answer):
                    answer(self)
                    return
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(answer or b'{"message": "not found"}')

            do_POST = do_DELETE = do_GET

            def address_string(self) -> str:
                return "test"

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that went away is what some tests are about."""


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """As above."""


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    return tmp_path


@pytest.fixture
def unix(script: Script, home: Path) -> Iterator[Address]:
    folder = Path(tempfile.mkdtemp(prefix="kiro-test-"))  # short: a socket's path has 108 bytes at most
    with serving(_Unix(str(folder / "e.sock"), script.handler())):
        yield Address(f"unix://{folder}/e.sock", "DOCKER_HOST")
    shutil.rmtree(folder)


@pytest.fixture
def engine(unix: Address) -> Iterator[docker.DockerEngine]:
    engine = docker.connect(unix, RUN, ours=False)
    yield engine
    engine._client.close()


# -- unix ---------------------------------------------------------------------------------------------


def test_it_connects_and_has_time_for_long_work(engine: docker.DockerEngine, unix: Address) -> None:
    assert engine.facts.version == "26.1.5"
    assert engine.facts.address == unix.url
    assert engine._client.api.timeout == WORK_SECONDS > ANSWER_SECONDS
    assert docker.answers(unix)


@pytest.mark.parametrize("said", [b"", b'HTTP/1.0 200 OK\r\n\r\n{"Version":'], ids=["first word", "within"])
def test_an_engine_that_hangs_is_told_soon(
    script: Script, unix: Address, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "ANSWER_SECONDS", 0.2)
    over = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(said)
        over.wait(20)

    script.answers["/version"] = hang
    begin = time.monotonic()
    with pytest.raises(EngineError, match=r"no Docker engine answers at unix://.*timed out"):
        docker.connect(unix, RUN, ours=False)
    assert time.monotonic() - begin < 5
    over.set()


def test_podman_is_called_by_its_name(script: Script, unix: Address) -> None:
    podman = {"Version": "4.9.3", "Components": [{"Name": "Podman Engine", "Version": "4.9.3"}]}
    script.answers["/version"] = json.dumps({**VERSION, **podman}).encode()
    with pytest.raises(EngineError, match=r"Podman 4\.9\.3 answers.*not supported yet") as caught:
        docker.connect(unix, RUN, ours=False)
    assert "docs/support.md" in str(caught.value.fix)


def test_other_components_are_no_podman(script: Script, unix: Address) -> None:
    script.answers["/version"] = json.dumps({**VERSION, "Components": [{"Name": "Engine"}]}).encode()
    docker.connect(unix, RUN, ours=False)._client.close()


IMAGE: dict[str, Any] = {"Id": "sha256:1", "Size": 7, "Config": {"Labels": {"a": "b"}}}


@pytest.mark.parametrize(
    ("config", "labels"), [({"Labels": {"a": "b"}}, {"a": "b"}), ({"Labels": None}, {}), ({}, {}), (None, {})]
)
def test_an_image_is_told_by_its_id_labels_and_size(
    engine: docker.DockerEngine, script: Script, config: object, labels: dict[str, str]
) -> None:
    script.answers["/images/acme/app:1/json"] = json.dumps({**IMAGE, "Config": config}).encode()
    found = engine.image(REF)
    assert found is not None
    assert (found.id, found.size, dict(found.labels)) == ("sha256:1", 7, labels)
    assert engine.image("acme/app:2") is None


@pytest.mark.parametrize(("told", "digests"), [(["a@sha256:1"], ("a@sha256:1",)), (None, ())])
def test_an_image_tells_what_registries_know_it_by(
    engine: docker.DockerEngine, script: Script, told: object, digests: tuple[str, ...]
) -> None:
    script.answers["/images/acme/app:1/json"] = json.dumps({**IMAGE, "RepoDigests": told}).encode()
    found = engine.image(REF)
    assert found is not None
    assert found.digests == digests


def archive(name: str = "app", *, kind: bytes = tarfile.REGTYPE, content: bytes = b"\x7fELF") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.size, member.linkname = kind, len(content), "elsewhere"
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


LINK = archive(kind=tarfile.SYMTYPE, content=b"")


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (archive(), b"\x7fELF"),
        (archive(content=b""), b""),
        (LINK, None),
        (archive(kind=tarfile.LNKTYPE, content=b""), None),
        (archive(kind=tarfile.DIRTYPE, content=b""), None),
        (None, None),
    ],
    ids=["file", "empty", "link", "hard link", "folder", "absent"],
)
def test_a_file_of_an_image_is_read_from_a_container_that_never_runs(
    engine: docker.DockerEngine, script: Script, answer: bytes | None, content: bytes | None
) -> None:
    script.answers["/containers/create"] = b'{"Id": "c1"}'
    script.answers["/containers/c1"] = b""
    if answer is not None:
        script.answers["/containers/c1/archive"] = answer
    script.asked.clear()
    assert engine.image_file(REF, "/usr/bin/app") == content
    assert asked_of(script) == [
        ("/containers/json", {"all": "true", "filters": LEFT}),
        ("/containers/create", {}),
        ("/containers/c1/archive", {"path": "/usr/bin/app"}),
        ("/containers/c1", {"v": "true", "force": "true"}),
    ]
    assert script.sent == [READING]


@pytest.mark.parametrize(
    "at", [0, 1000, PIECE - 3, 2 * PIECE - 1], ids=["begin", "within", "across", "last byte"]
)
def test_no_more_of_a_file_is_read_than_until_what_is_looked_for(
    engine: docker.DockerEngine, script: Script, at: int
) -> None:
    """The rest never comes here: to wait for it would end in an error, and so the container goes at once."""
    content = b"\0" * at + b"needle" + b"\0" * 8 * PIECE
    whole = archive(content=content)
    over = threading.Event()

    def stalls(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(whole[: 512 + 4 * PIECE])
        handler.wfile.flush()
        over.wait(10)

    script.answers |= {"/containers/create": b'{"Id": "c1"}', "/containers/c1": b""}
    script.answers["/containers/c1/archive"] = stalls
    try:
        found = engine.image_file(REF, "/usr/bin/app", until=b"needle")
        assert not over.is_set()
    finally:
        over.set()
    assert found is not None
    assert content.startswith(found)
    assert b"needle" in found
    assert script.asked[-1].startswith("/v1.45/containers/c1?")


def test_a_file_without_what_is_looked_for_is_read_to_its_end(
    engine: docker.DockerEngine, script: Script
) -> None:
    content = bytes(range(256)) * (3 * PIECE // 256) + b"need"
    script.answers |= {"/containers/create": b'{"Id": "c1"}', "/containers/c1": b""}
    script.answers["/containers/c1/archive"] = archive(content=content)
    assert engine.image_file(REF, "/usr/bin/app", until=b"needle") == content


def test_a_container_that_a_killed_run_left_goes_with_the_next_reading(unix: Address, script: Script) -> None:
    """One of a run that still reads stays."""
    rows = [{"Id": "old", "Created": 1000}, {"Id": "young", "Created": 1000 + LEFT_SECONDS}]
    script.answers = {
        "/containers/json": json.dumps(rows).encode(),
        "/containers/create": b'{"Id": "c1"}',
        "/containers/c1/archive": archive(),
        "/containers/c1": b"",
        "/containers/old": b"",
    }
    api = UnixApi(unix.url.removeprefix("unix://"), 5)
    assert image_file(api, REF, "/usr/bin/app", clock=lambda: 1001 + LEFT_SECONDS) == b"\x7fELF"
    paths = [path for path, _ in asked_of(script)]
    assert "/containers/old" in paths
    assert "/containers/young" not in paths


@pytest.mark.parametrize("cut", [100, 700])
def test_an_archive_that_breaks_off_is_the_engines_trouble(
    engine: docker.DockerEngine, script: Script, cut: int
) -> None:
    script.answers["/containers/create"] = b'{"Id": "c1"}'
    script.answers["/containers/c1"] = b""
    script.answers["/containers/c1/archive"] = archive(content=b"x" * 5000)[:cut]
    with pytest.raises(EngineError, match="broke off"):
        engine.image_file(REF, "/usr/bin/app")
    assert script.asked[-1].startswith("/v1.45/containers/c1?")


def asked_of(script: Script) -> list[tuple[str, dict[str, str]]]:
    """Paths without the version, and queries."""
    split = [urlsplit(path) for path in script.asked]
    return [(one.path.removeprefix("/v1.45"), dict(parse_qsl(one.query))) for one in split]


def error(status: int, body: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (error(500, b'{"message": "disk full"}'), "the engine refused: disk full"),
        (error(502, b"<html>"), "the engine refused: <html>"),
        (error(500, b""), "the engine refused: HTTP status 500"),
        (b'{"Id": ', "it broke off"),
        (b"[]", "no Docker engine"),
        (lambda handler: handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{}"), "broke off"),
        (lambda _: None, "closed the connection without an answer"),
        (lambda handler: handler.wfile.write(b"HTTP/1.0 2"), "broke off"),
    ],
    ids=[
        "error",
        "not JSON",
        "no words",
        "cut off",
        "another kind",
        "shorter than said",
        "nothing",
        "cut head",
    ],
)
def test_an_answer_that_cannot_be_used_is_the_engines_trouble(
    engine: docker.DockerEngine, script: Script, answer: Answer, words: str
) -> None:
    script.answers["/json"] = answer
    with pytest.raises(EngineError, match=words):
        engine.image(REF)


def test_of_the_engines_disk_use_the_build_cache_alone_is_asked_for(
    engine: docker.DockerEngine, script: Script
) -> None:
    """Adding up images, containers and volumes too can take an engine minutes."""
    records = [{"ID": "a", "Size": 5, "Shared": False}, {"ID": "b", "Size": 70, "Shared": True}, {"ID": "c"}]
    script.answers["/system/df"] = json.dumps({"BuildCache": records}).encode()
    assert [(r.id, r.size, r.shared) for r in engine.cache_records()] == [
        ("a", 5, False), ("b", 70, True), ("c", 0, False)
    ]  # fmt: skip
    assert script.asked[-1] == "/v1.45/system/df?type=build-cache"
    script.answers["/system/df"] = b'{"BuildCache": null}'
    assert engine.cache_records() == ()


@pytest.mark.parametrize(
    ("newest", "oldest", "version"),
    [("1.45", "1.24", "1.45"), ("1.54", "1.44", "1.45"), ("1.41", "1.12", "1.41"), ("2.0", "1.50", "1.50")],
)
def test_the_api_is_spoken_as_the_oldest_good_engine_does(newest: str, oldest: str, version: str) -> None:
    """Newer versions of it mean other things by the same words: 1.52 tells of the build cache elsewhere."""
    assert spoken({"ApiVersion": newest, "MinAPIVersion": oldest}) == version


def test_a_name_with_odd_letters_is_one_word_of_the_question(unix: Address, script: Script) -> None:
    api = UnixApi(unix.url.removeprefix("unix://"), 5)
    with pytest.raises(Refused):
        api.ask("GET", "/images/a b\r\nX: y/json", {"a": "b&c"})
    assert script.asked == ["/images/a%20b%0D%0AX:%20y/json?a=b%26c"]
    with pytest.raises(Unanswered, match="No such file"):
        UnixApi("/nowhere/e.sock", 5).ask("GET", "/version")


def test_over_tcp_the_sdk_asks_the_same(script: Script, home: Path) -> None:
    server = _Tcp(("127.0.0.1", 0), script.handler())
    script.answers["/images/acme/app:1/json"] = json.dumps(IMAGE).encode()
    script.answers["/images/broken/json"] = error(500, b'{"message": "disk full"}')
    script.answers["/system/df"] = b'{"BuildCache": [{"ID": "a", "Size": 5}]}'
    with serving(server):
        address = Address(f"tcp://127.0.0.1:{server.server_address[1]}", "DOCKER_HOST")
        assert docker.answers(address)
        engine = docker.connect(address, RUN, ours=False)
        found = engine.image(REF)
        assert found is not None
        assert found.labels == {"a": "b"}
        assert engine.image("acme/app:2") is None
        assert [record.size for record in engine.cache_records()] == [5]
        assert script.asked[-1] == "/v1.45/system/df?type=build-cache"
        with pytest.raises(EngineError, match="the engine refused: disk full"):
            engine.image("broken")
        script.answers["/containers/create"] = b'{"Id": "c1"}'
        script.answers["/containers/c1"] = b""
        script.answers["/containers/c1/archive"] = archive()
        assert engine.image_file(REF, "/usr/bin/app") == b"\x7fELF"
        assert script.sent == [READING]
        engine._client.close()
    with pytest.raises(EngineError, match="the engine refused"):
        engine.image(REF)


# -- what builds leave behind ---------------------------------------------------------------------------


def test_records_are_read_whatever_the_engine_leaves_out(engine: docker.DockerEngine, script: Script) -> None:
    """The key of the parents begins with a space at some engines; a record may never have been used."""
    whole = {
        "ID": "a",
        "Type": "regular",
        "Description": "x",
        "InUse": True,
        "Shared": True,
        "Size": 5,
        " Parents": ["p"],
        "CreatedAt": "2026-01-02T03:04:05.123456789Z",
        "LastUsedAt": None,
    }
    script.answers["/system/df"] = json.dumps(
        {"BuildCache": [whole, {"ID": "b", "Parents": ["a"], "LastUsedAt": "2026-01-02T03:04:05Z"}]}
    ).encode()
    assert engine.cache_records() == (
        CacheRecord("a", "regular", "x", ("p",), True, True, 5, 1767323045.123456, 0.0),
        CacheRecord("b", "", "", ("a",), used=1767323045.0),
    )


def test_records_are_removed_by_their_ids_and_never_those_of_images(
    engine: docker.DockerEngine, script: Script
) -> None:
    """With `all`, an engine would also drop what images hold; without a filter, everything."""
    script.answers["/build/prune"] = b'{"CachesDeleted": ["a1"], "SpaceReclaimed": 5}'
    script.asked.clear()
    assert engine.prune(["a1", "b2"]) == {"a1"}
    assert asked_of(script) == [("/build/prune", {"filters": '{"id": ["^(a1|b2)$"]}'})]
    script.asked.clear()
    engine.prune([f"id{number}" for number in range(250)])
    assert [query["filters"].count("id") for _, query in asked_of(script)] == [101, 101, 51]
    script.asked.clear()
    script.answers["/build/prune"] = b'{"CachesDeleted": null}'
    assert engine.prune([]) == frozenset()
    assert script.asked == []
    assert engine.prune(["a1"]) == frozenset()


def test_images_are_told_with_their_names_and_who_stands_on_them(
    engine: docker.DockerEngine, script: Script
) -> None:
    rows = [
        {"Id": "1", "RepoTags": ["a:1"], "RepoDigests": None, "Labels": {"x": "y"}, "Created": 7},
        {"Id": "2", "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"], "Labels": None},
        {"Id": "3", "RepoTags": [], "RepoDigests": ["a@sha256:1"]},
    ]
    script.answers["/images/json"] = json.dumps(rows).encode()
    script.answers["/containers/json"] = (
        b'[{"ImageID": "2", "Names": ["/web-1"]}, {"ImageID": "2", "Id": "c0ffee"}]'
    )
    script.asked.clear()
    assert engine.images_labelled("x=y") == (
        LocalImage("1", ("a:1",), {"x": "y"}, 7.0),
        LocalImage("2", (), {}, 0.0, in_use=True, containers=("web-1", "c0ffee")),
        LocalImage("3", ("a@sha256:1",), {}, 0.0),
    )
    assert asked_of(script) == [
        ("/images/json", {"filters": '{"label": ["x=y"]}'}),
        ("/containers/json", {"all": "true"}),
    ]


@pytest.mark.parametrize(("status", "gone"), [(200, True), (404, False), (409, False)])
def test_an_image_that_is_used_stays_without_a_word(
    engine: docker.DockerEngine, script: Script, status: int, gone: bool
) -> None:
    script.answers["/images/sha256:1/json"] = b'{"RepoTags": []}'
    script.answers["/images/sha256:1"] = error(status, b'{"message": "conflict"}')
    script.asked.clear()
    assert engine.remove_image("sha256:1") is gone
    assert asked_of(script) == [("/images/sha256:1/json", {}), ("/images/sha256:1", {"noprune": "true"})]
    script.answers["/images/sha256:1"] = error(500, b'{"message": "disk full"}')
    with pytest.raises(EngineError, match="disk full"):
        engine.remove_image("sha256:1")


@pytest.mark.parametrize("answer", [b'{"RepoTags": ["mine:1"]}', None], ids=["named", "gone"])
def test_an_image_that_was_given_a_name_meanwhile_stays(
    engine: docker.DockerEngine, script: Script, answer: bytes | None
) -> None:
    """The engine would remove it by its id, and the name with it."""
    if answer is not None:
        script.answers["/images/sha256:1/json"] = answer
    script.answers["/images/sha256:1"] = b"[]"
    script.asked.clear()
    assert not engine.remove_image("sha256:1")
    assert [path for path, _ in asked_of(script)] == ["/images/sha256:1/json"]


# -- buildx -------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(home: Path) -> KnownPlugins:
    """A CLI and its buildx, which may be remembered."""
    for name in (".docker/cli-plugins/docker-buildx", "bin/docker"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("#!/bin/sh\n")
        (home / name).chmod(0o755)
    return KnownPlugins(home / "plugins.json", {"HOME": str(home), "PATH": str(home / "bin")})


def cli(home: Path, **plugin: object) -> FakeRun:
    shown = {"Name": "buildx", "Version": "v0.14.0", "Path": str(home / ".docker/cli-plugins/docker-buildx")}
    plugins = [{"Name": "compose", "Version": "2"}, {**shown, **plugin}]
    told = json.dumps(plugins) if plugin != {"Name": ""} else ""
    return FakeRun().on("docker", "info", out=told).on("docker", "buildx", "version", out="buildx 0.13.1")


def test_buildx_is_asked_about_once_and_started_by_its_file(
    unix: Address, home: Path, plugin: KnownPlugins
) -> None:
    (home / ".docker/cli-plugins/docker-buildx").write_text('#!/bin/sh\necho "$0 $*" >&2\n')
    run = cli(home)
    for _ in range(2):
        engine = docker.connect(unix, run, ours=False, known=plugin)
        assert engine.facts.buildx == "0.14.0"
        said: list[str] = []
        assert engine.bake("{}", env={}, on_line=said.append).ok
        assert said == [f"{home}/.docker/cli-plugins/docker-buildx bake --progress=rawjson -f -"]
    assert [argv[:2] for argv in run.argvs] == [("docker", "info")]


@pytest.mark.parametrize(
    "plugin_row", [{"Err": "broken"}, {"Path": ""}, {"Name": "other"}, {"Name": ""}], ids=str
)
def test_a_buildx_that_the_cli_tells_nothing_of_is_asked_itself(
    unix: Address, home: Path, plugin: KnownPlugins, plugin_row: dict[str, object]
) -> None:
    run = cli(home, **plugin_row)
    engine = docker.connect(unix, run, ours=False, known=plugin)
    assert engine.facts.buildx == "0.13.1"
    assert engine._buildx_argv() == ["docker", "buildx"]


def test_a_buildx_that_is_too_old_is_refused_each_time(
    unix: Address, home: Path, plugin: KnownPlugins
) -> None:
    for _ in range(2):
        with pytest.raises(EngineError, match=r"buildx 0\.12\.1 is too old"):
            docker.connect(unix, cli(home, Version="0.12.1"), ours=False, known=plugin)


def test_compose_is_asked_for_its_version_when_it_is_wanted(unix: Address) -> None:
    run = FakeRun().on("docker", "buildx", out="buildx 0.13.1").on("docker", "compose", out="2.26.1-4")
    engine = docker.connect(unix, run, ours=False)
    assert [argv[:2] for argv in run.argvs] == [("docker", "buildx")]
    assert engine.compose_version == "2.26.1"
    run.on("docker", "compose", code=1)
    assert docker.connect(unix, run, ours=False).compose_version == ""


# -- registries ---------------------------------------------------------------------------------------


def test_a_probe_asks_one_question(engine: docker.DockerEngine, script: Script) -> None:
    script.answers["/json"] = b'{"Descriptor": {"digest": "sha256:1"}, "Platforms": []}'
    script.asked.clear()
    assert engine.probe(REF, 5) == "sha256:1"
    assert [path.rpartition("/v1.45")[2] for path in script.asked] == [f"/distribution/{REF}/json"]


def test_a_probe_ends_in_time(engine: docker.DockerEngine, script: Script) -> None:
    over = threading.Event()
    script.answers["/json"] = lambda _: (over.wait(20), None)[1]
    with pytest.raises(RegistrySilent):
        engine.probe(REF, 1)
    over.set()


def ask(engine: docker.DockerEngine, how: str) -> None:
    if how == "probe":
        engine.probe(REF, 5)
    else:
        engine.pull(REF, lambda _: None)


@pytest.mark.parametrize("how", ["probe", "pull"])
def test_a_credential_store_that_is_missing_is_named(
    engine: docker.DockerEngine, home: Path, how: str
) -> None:
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text('{"credsStore": "kiro-none"}')
    engine._client.api.reload_config()  # type: ignore[no-untyped-call,unused-ignore]
    warnings.filterwarnings("ignore", module=r"docker\.credentials")
    with pytest.raises(RegistryRefused, match=r"credential store.*docker-credential-kiro-none not installed"):
        ask(engine, how)


def chunked(handler: BaseHTTPRequestHandler, *, then: Callable[[], object]) -> None:
    """Begin a stream of events, and stop within."""
    event = b'{"status": "Pulling fs layer", "id": "a"}\n'
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
    handler.wfile.flush()
    then()


def test_a_pull_that_breaks_off_is_told(engine: docker.DockerEngine, script: Script) -> None:
    script.answers["/images/create"] = lambda handler: chunked(handler, then=lambda: None)
    with pytest.raises(RegistrySilent):
        engine.pull(REF, lambda _: None)


def test_a_pull_that_fails_within_says_what_the_registry_said(
    engine: docker.DockerEngine, script: Script
) -> None:
    script.answers["/images/create"] = lambda handler: chunked(
        handler, then=lambda: handler.wfile.write(b'1a\r\n{"error": "access denied"}\r\n0\r\n\r\n')
    )
    with pytest.raises(RegistryRefused, match="denied"):
        engine.pull(REF, lambda _: None)


# -- TLS ----------------------------------------------------------------------------------------------


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority (ca.pem), an engine's certificate for 127.0.0.1 and a client's, as dockerd wants them."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificates")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca = ("-addext", "keyUsage=critical,keyCertSign")
    openssl(
        folder, "req", "-x509", *new, "-subj", "/CN=kiro test", *ca, "-keyout", "ca.key", "-out", "ca.pem"
    )
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1"), ("", "extendedKeyUsage=clientAuth")):
        prefix = f"{name}-" if name else ""
        (folder / "extension").write_text(f"{extension}\nauthorityKeyIdentifier=keyid\n")
        request = ("-subj", f"/CN={name or 'client'}", "-keyout", f"{prefix}key.pem", "-out", "request")
        openssl(folder, "req", *new, *request)
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extension")
        openssl(folder, "x509", "-req", "-in", "request", *signed, "-out", f"{prefix}cert.pem")
    return folder


@pytest.fixture
def tls_url(script: Script, certificates: Path, home: Path) -> Iterator[str]:
    """An engine that speaks TLS only, and only with clients that have a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server-cert.pem", certificates / "server-key.pem")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    class Tls(_Tcp):
        def get_request(self) -> tuple[Any, Any]:
            plain, address = self.socket.accept()
            try:
                return context.wrap_socket(plain, server_side=True), address
            except OSError:
                plain.close()
                raise

    server = Tls(("127.0.0.1", 0), script.handler())
    with serving(server):
        yield f"tcp://127.0.0.1:{server.server_address[1]}"


def files(folder: Path, *, verify: bool = True) -> TlsFiles:
    return TlsFiles(folder / "ca.pem", folder / "cert.pem", folder / "key.pem", verify)


@pytest.mark.parametrize("verify", [True, False])
def test_an_engine_behind_tls(
    tls_url: str, script: Script, certificates: Path, verify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever bundle this machine's Python programs are told to trust."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "server-cert.pem"))
    if not verify:
        warnings.filterwarnings("ignore", message="Unverified HTTPS")
    address = Address(tls_url, "DOCKER_HOST", files(certificates, verify=verify))
    assert docker.answers(address)
    engine = docker.connect(address, RUN, ours=False)
    script.answers["/json"] = b"{}"
    engine.probe(REF, 5)
    engine._client.close()


def test_an_engine_behind_tls_is_not_spoken_to_without(tls_url: str, certificates: Path) -> None:
    assert not docker.answers(Address(tls_url, "DOCKER_HOST"))
    stranger = TlsFiles(
        certificates / "server-cert.pem", certificates / "cert.pem", certificates / "key.pem", True
    )
    assert not docker.answers(Address(tls_url, "DOCKER_HOST", stranger))


def test_an_authority_that_is_missing_is_named(tmp_path: Path) -> None:
    address = Address("tcp://127.0.0.1:1", "DOCKER_HOST", files(tmp_path))
    with pytest.raises(EngineError, match=r"ca\.pem, its certificate authority, is missing"):
        docker.connect(address, RUN, ours=False)


# -- ssh ----------------------------------------------------------------------------------------------


def test_ssh_goes_through_the_ssh_program(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, object]] = []

    def record(**arguments: object) -> None:
        made.append(arguments)
        raise DockerException("enough")

    monkeypatch.setattr(client, "_Api", record)
    address = Address("ssh://me@box", "context box")
    assert not docker.answers(address)
    with pytest.raises(EngineError, match="enough"):
        docker.connect(address, RUN, ours=False)
    assert [one["use_ssh_client"] for one in made] == [True, True]
    assert {one["base_url"] for one in made} == {"ssh://me@box"}
    assert [one["tls"] for one in made] == [False, False]


def test_the_history_is_asked_of_buildx(unix: Address) -> None:
    run = FakeRun().on("docker", "buildx", "history", out="{}").on("docker", "buildx", out="buildx 0.13.1")
    engine = docker.connect(unix, run, ours=False)
    assert engine.build_history("ls", "--format", "json", seconds=3.0).stdout == "{}"
    assert run.calls[-1].argv == ("docker", "buildx", "history", "ls", "--format", "json")
    assert run.calls[-1].timeout == 3.0
