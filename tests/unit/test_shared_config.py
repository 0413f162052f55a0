"""`builder:` and `cache:` of kiro.yaml: what they come to, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.service import Project
from kiro_invoke.model.shared import Builder, CacheEntry, SharedCache, made_name


def load(folder: Path, text: str, **environ: str) -> Project:
    (folder / "app").mkdir(exist_ok=True)
    (folder / "app/Dockerfile").write_text("FROM scratch\n")
    (folder / "kiro.yaml").write_text(f"services: [{{name: app}}]\n{text}")
    return config.load(folder, environ)


def test_nothing_is_shared_unless_it_is_said(tmp_path: Path) -> None:
    project = load(tmp_path, "")
    assert (project.builder, project.shared) == (None, None)


def test_a_builder_by_its_name(tmp_path: Path) -> None:
    assert load(tmp_path, "builder: team\n").builder == Builder("team")
    assert load(tmp_path, "builder: {name: team, patience: 2m}\n").builder == Builder("team", patience=120.0)
    assert load(tmp_path, "builder: team\n", KIRO_BUILDER="mine").builder == Builder("mine")
    assert load(tmp_path, "builder: team\n", KIRO_BUILDER="default").builder is None
    assert load(tmp_path, "builder: {driver: kubernetes}\n", KIRO_BUILDER="mine").builder == Builder("mine")


def test_a_builder_that_is_made_has_one_name_for_one_spec(tmp_path: Path) -> None:
    text = "builder: {driver: remote, endpoints: ['tcp://a.example:1234'], options: {cacert: ca.pem}}\n"
    builder = load(tmp_path, text).builder
    endpoints, options = ("tcp://a.example:1234",), (("cacert", "ca.pem"),)
    assert builder == Builder(made_name("remote", endpoints, options), "remote", endpoints, options)
    assert made_name("remote", endpoints, options) != made_name("remote", endpoints, ())


def test_a_cache_is_read_where_it_is_filled(tmp_path: Path) -> None:
    ref = "registry.example/shop/cache:{service}-{branch}"
    entry = CacheEntry("registry", (("ref", ref),))
    assert load(tmp_path, f"cache: {{to: '{ref}'}}\n").shared == SharedCache((entry,), entry)
    local = load(tmp_path, "cache: {to: {type: local, dest: /cache}}\n").shared
    assert local is not None
    assert local.sources == (CacheEntry("local", (("src", "/cache"),)),)


def test_all_of_a_cache(tmp_path: Path) -> None:
    text = (
        "cache:\n  from:\n    - type=s3,bucket=b,region=eu\n    - {type: gha}\n  to: registry.example/c\n"
        "  mode: min\n  compression: gzip\n  default_branch: trunk\n  patience: 3s\n"
    )
    project = load(tmp_path, text)
    assert project.shared == SharedCache(
        (CacheEntry("s3", (("bucket", "b"), ("region", "eu"))), CacheEntry("gha", ())),
        CacheEntry("registry", (("ref", "registry.example/c"),)),
        "min", "gzip", "trunk", 3.0,
    )  # fmt: skip
    told = {setting.key: setting.value for setting in project.settings}
    assert told["cache.from"] == "type=s3,bucket=b,region=eu, type=gha"
    assert told["cache.to"] == "type=registry,ref=registry.example/c"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("builder: 'a b'\n", 2, 'builder "a b" is no name'),
        ("builder: {patience: 1m}\n", 2, "neither name nor driver"),
        ("builder:\n  driver: remot\n", 3, 'did you mean|"remot" is not known'),
        ("builder:\n  driver: remote\n", 3, "needs endpoints"),
        ("builder:\n  name: x\n  endpoints: ['tcp://a:1']\n", 4, "without a driver"),
        ("builder:\n  driver: remote\n  endpoints: ['a b']\n", 4, "is no endpoint"),
        ("builder:\n  driver: remote\n  endpoints: ['tcp://me:secret@a:1']\n", 4, "a password stands in it"),
        ("builder:\n  driver: remote\n  patience: soon\n  endpoints: [x]\n", 4, '"soon" is no time'),
        ("cache: {}\n", 2, "neither from nor to"),
        ("cache:\n  to: type=redis,ref=x\n", 3, '"redis" is not known'),
        ("cache:\n  to: type=registry,mode=max\n", 3, "needs ref"),
        ("cache:\n  to: registry.example/c:{servce}\n", 3, '"{servce}" is not known'),
        ("cache:\n  to: me:secret@registry.example/c\n", 3, "a password stands in it"),
        ("cache:\n  to: type=s3,bucket=b,secret_access_key=abc\n", 3, "is a credential"),
        ("cache:\n  to: {type: azblob, account_url: x, secret_access_key: abc}\n", 3, "is a credential"),
        ("cache:\n  to: type=gha,token=abc\n", 3, "is a credential"),
        ("cache:\n  to: 'type=azblob,account_url=https://a.example/?sv=1&sig=abc'\n", 3, "signs a URL"),
        ("cache:\n  to: x\n  mode: most\n", 4, '"most" is not known'),
        ("cache:\n  to: x\n  compression: lz4\n", 4, '"lz4" is not known'),
        ("cache:\n  from: [type=local,src=/x]\n", 3, "needs src"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load(tmp_path, text)
    assert (caught.value.file, caught.value.line) == ("kiro.yaml", line)
    assert "abc" not in str(caught.value)
    assert "secret@" not in str(caught.value)
