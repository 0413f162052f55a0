"""The engine's client: over unix sockets, TLS and ssh; what hangs, breaks off or is another engine is told."""

from __future__ import annotations

import json
import shutil
import socketserver
import ssl
import subprocess
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

import pytest
from docker.errors import DockerException

from kiro_invoke.engine import client, docker
from kiro_invoke.engine.client import ANSWER_SECONDS, WORK_SECONDS
from kiro_invoke.engine.locate import Address, TlsFiles
from kiro_invoke.engine.protocol import RegistryRefused, RegistrySilent
from kiro_invoke.model.errors import EngineError
from tests.unit.fakes import FakeRun

VERSION: dict[str, Any] = {"Version": "26.1.5", "ApiVersion": "1.45", "Arch": "amd64"}
RUN = FakeRun().on("docker", "buildx", out="buildx 0.13.1").on("docker", "compose", out="2.26.1")
REF = "acme/app:1"

#: What the scripted engine does with a request: a body, or something of its own with the handler.
Answer = bytes | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Script:
    """What an engine answers, by the end of the path; anything else is status 404."""

    answers: dict[str, Answer] = field(
        default_factory=lambda: {"/version": json.dumps(VERSION).encode(), "/_ping": b"OK"}
    )
    asked: list[str] = field(default_factory=list)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                script.asked.append(self.path)
                path = self.path.partition("?")[0]
                answer = next((one for end, one in script.answers.items() if path.endswith(end)), None)
                if callable(answer):
                    answer(self)
                    return
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(answer or b'{"message": "not found"}')

            do_POST = do_GET

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


@pytest.mark.parametrize("step", ["first word", "second"])
def test_an_engine_that_hangs_is_told_soon(
    script: Script, unix: Address, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.2)
    over = threading.Event()
    known = script.answers["/version"]

    def hang(_: BaseHTTPRequestHandler) -> None:
        over.wait(20)

    def once(handler: BaseHTTPRequestHandler) -> None:
        script.answers["/version"] = hang
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(known))  # type: ignore[arg-type]

    script.answers["/version"] = hang if step == "first word" else once
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


# -- registries ---------------------------------------------------------------------------------------


def test_a_probe_asks_one_question(engine: docker.DockerEngine, script: Script) -> None:
    script.answers["/json"] = b"{}"
    script.asked.clear()
    engine.probe(REF, 5)
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
