"""Which engine commands talk to, and whether it is new enough."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kiro_invoke.engine.locate import (
    DEFAULT_ADDRESS,
    Address,
    TlsFiles,
    check_versions,
    locate,
    version_text,
    version_tuple,
)
from kiro_invoke.model.errors import EngineError, ExitCode
from tests.unit.fakes import FakeRun


def context(name: str, host: str | None) -> FakeRun:
    docker = {} if host is None else {"Host": host}
    shown = {"Name": name, "Metadata": {}, "Endpoints": {"docker": docker}}
    return FakeRun().on("docker", "context", "inspect", out=json.dumps(shown) + "\n")


def test_docker_host_wins_and_the_cli_is_not_asked() -> None:
    run = context("other", "ssh://box")
    assert locate({"DOCKER_HOST": "tcp://10.0.0.1:2375"}, run) == Address(
        "tcp://10.0.0.1:2375", "DOCKER_HOST"
    )
    assert run.calls == []


@pytest.mark.parametrize(
    ("run", "address", "is_default"),
    [
        (context("default", DEFAULT_ADDRESS), Address(DEFAULT_ADDRESS, "context default"), True),
        (context("default", None), Address(DEFAULT_ADDRESS, "context default"), True),
        (context("default", ""), Address(DEFAULT_ADDRESS, "context default"), True),
        (context("remote", "ssh://me@box"), Address("ssh://me@box", "context remote"), False),
        (FakeRun(otherwise=127), Address(DEFAULT_ADDRESS, "default"), True),
    ],
    ids=["default", "no host", "empty host", "remote", "no docker CLI"],
)
@pytest.mark.parametrize("environ", [{}, {"DOCKER_HOST": ""}], ids=["unset", "empty"])
def test_else_the_context(run: FakeRun, address: Address, is_default: bool, environ: dict[str, str]) -> None:
    found = locate(environ, run)
    assert found == address
    assert found.is_default is is_default


def test_the_default_context_costs_no_question(tmp_path: Path) -> None:
    """`docker context inspect` says the same, 30 ms later."""
    (tmp_path / "docker").touch(mode=0o755)
    run = context("never asked", "ssh://box")
    environ = {"HOME": str(tmp_path), "PATH": str(tmp_path)}
    assert locate(environ, run) == Address(DEFAULT_ADDRESS, "context default")
    assert run.calls == []
    assert locate({**environ, "DOCKER_CONTEXT": "box"}, run).url == "ssh://box"


def files(folder: str, *, verify: bool = True) -> TlsFiles:
    ca, cert, key = (Path(folder) / name for name in ("ca.pem", "cert.pem", "key.pem"))
    return TlsFiles(ca, cert, key, verify)


@pytest.mark.parametrize(
    ("environ", "tls"),
    [
        ({}, None),
        ({"DOCKER_CERT_PATH": "/c"}, None),
        ({"DOCKER_TLS_VERIFY": ""}, None),
        ({"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}, files("/c")),
        ({"DOCKER_TLS_VERIFY": "1", "DOCKER_CONFIG": "/d"}, files("/d")),
        ({"DOCKER_TLS_VERIFY": "1", "HOME": "/h"}, files("/h/.docker")),
        ({"DOCKER_TLS": "1", "DOCKER_CERT_PATH": "/c"}, files("/c", verify=False)),
    ],
)
def test_tls_from_the_environment(environ: dict[str, str], tls: TlsFiles | None) -> None:
    assert locate({"DOCKER_HOST": "tcp://box:2376", **environ}, FakeRun()).tls == tls
    assert locate({"DOCKER_HOST": "ssh://box", **environ}, FakeRun()).tls is None
    assert locate({"DOCKER_HOST": DEFAULT_ADDRESS, **environ}, FakeRun()).tls is None


@pytest.mark.parametrize(
    ("names", "storage", "skip", "tls"),
    [
        (["ca.pem", "cert.pem", "key.pem"], "/s", False, files("/s/docker")),
        (["ca.pem"], "/s", False, TlsFiles(Path("/s/docker/ca.pem"), None, None, True)),
        (["ca.pem", "cert.pem", "key.pem"], "/s", True, files("/s/docker", verify=False)),
        ([], "/s", True, TlsFiles(None, None, None, False)),
        ([], "/s", False, None),
        (["ca.pem", "cert.pem", "key.pem"], "<IN MEMORY>", False, files("/c")),
    ],
    ids=["all", "authority only", "unverified", "unverified, no files", "none", "environment's"],
)
def test_tls_from_the_context(names: list[str], storage: str, skip: bool, tls: TlsFiles | None) -> None:
    shown = {
        "Name": "box",
        "Endpoints": {"docker": {"Host": "tcp://box:2376", "SkipTLSVerify": skip}},
        "TLSMaterial": {"docker": names} if names else {},
        "Storage": {"MetadataPath": "/m", "TLSPath": storage},
    }
    run = FakeRun().on("docker", "context", "inspect", out=json.dumps(shown))
    environ = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"} if storage.startswith("<") else {}
    assert locate(environ, run) == Address("tcp://box:2376", "context box", tls)


def test_an_address_that_somebody_named_is_not_the_default() -> None:
    assert not locate({"DOCKER_HOST": DEFAULT_ADDRESS}, FakeRun()).is_default


@pytest.mark.parametrize(
    ("code", "out", "err", "why"),
    [
        (1, "", 'context "typo": context not found\n', "context not found"),
        (0, "not json", "", "names no engine"),
        (0, "[]", "", "names no engine"),
        (0, '{"Name": "k8s", "Endpoints": {}}', "", "names no engine"),
        (0, '{"Name": "k8s", "Endpoints": null}', "", "names no engine"),
    ],
)
def test_a_context_that_cannot_be_used_is_no_reason_to_take_another_engine(
    code: int, out: str, err: str, why: str
) -> None:
    run = FakeRun().on("docker", "context", "inspect", code=code, out=out, err=err)
    with pytest.raises(EngineError, match=why) as caught:
        locate({}, run)
    assert "docker context use default" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("26.1.5+dfsg1", (26, 1, 5)),
        ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", (0, 13, 1)),
        ("buildx v0.30.0-desktop.1 abc", (0, 30, 0)),
        ("Docker Compose version 2.26.1-4", (2, 26, 1)),
        ("unknown", ()),
        ("", ()),
    ],
)
def test_versions(text: str, numbers: tuple[int, ...]) -> None:
    assert version_tuple(text) == numbers
    assert version_text(text) == (".".join(map(str, numbers)) or "unknown")


@pytest.mark.parametrize(
    ("engine", "buildx"), [("26.0.0", "0.13.0"), ("26.1.5", "0.13.1"), ("29.0.1", "1.0")]
)
def test_new_enough(engine: str, buildx: str) -> None:
    check_versions(engine, buildx)


@pytest.mark.parametrize(
    ("engine", "buildx", "what"),
    [
        ("25.0.9", "0.13.1", "Docker Engine 25.0.9 is too old"),
        ("20.10.24", "", "Docker Engine 20.10.24 is too old"),
        ("unknown", "0.13.1", "Docker Engine unknown"),
        ("26.1.5", "0.12.1", "buildx 0.12.1 is too old"),
        ("26.1.5", "", "docker buildx is missing: 0.13"),
    ],
)
def test_too_old(engine: str, buildx: str, what: str) -> None:
    with pytest.raises(EngineError, match=what) as caught:
        check_versions(engine, buildx)
    assert caught.value.code == ExitCode.NO_ENGINE
    assert "docs/support.md" in str(caught.value.fix)
