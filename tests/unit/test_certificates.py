"""Which certificates a host trusts beyond its distribution's."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_invoke.engine.certificates import (
    certificates,
    extra_certificates,
    host_bundle,
    pem,
    shipped_texts,
)

BODIES = {name: (name * 64)[:130] for name in "ABC"}


def text(*names: str, newline: str = "\n") -> str:
    return "".join(pem(BODIES[name]) for name in names).replace("\n", newline)


@pytest.mark.parametrize(
    ("bundle", "found"),
    [
        ("", ""),
        ("no certificate", ""),
        (text("A"), "A"),
        (text("A", "B", "A"), "AB"),
        (text("A", "B", newline="\r\n"), "AB"),
        (f"# comment\n{text('A')}\nsubject=CN\n{text('B')}trailer", "AB"),
        (text("A").replace("-----END", "-----CUT"), ""),
        (text("A").replace("CERTIFICATE", "PRIVATE KEY"), ""),
    ],
    ids=["empty", "other text", "one", "duplicate", "CRLF", "comments", "cut off", "a key"],
)
def test_certificates(bundle: str, found: str) -> None:
    assert certificates(bundle) == {BODIES[name] for name in found}


@pytest.mark.parametrize(
    ("bundle", "shipped", "extra"),
    [
        (text("A", "B"), [text("A"), text("B")], ""),
        (text("A", "B", "C"), [text("A"), text("B")], "C"),
        (text("A", newline="\r\n"), [text("A")], ""),
        (text("A"), [text("A", "B", "C")], ""),
        (text("A"), [], "A"),
        ("", [text("A")], ""),
    ],
)
def test_extra_certificates(bundle: str, shipped: list[str], extra: str) -> None:
    assert extra_certificates(bundle, shipped) == {BODIES[name] for name in extra}


def test_pem_reads_back_and_has_short_lines() -> None:
    written = pem(BODIES["A"])
    assert certificates(written) == {BODIES["A"]}
    assert max(len(line) for line in written.splitlines()) == 64
    assert written.endswith("-----END CERTIFICATE-----\n")


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    folder = tmp_path / "share" / "mozilla"
    folder.mkdir(parents=True)
    (folder / "a.crt").write_text(text("A"))
    (folder / "b.crt").write_bytes(text("B").encode() + b"\xff")
    (folder / "c.txt").write_text(text("C"))
    return folder.parent


def test_shipped_texts_are_those_of_certificate_files(shipped: Path) -> None:
    assert [certificates(one) for one in shipped_texts(shipped)] == [{BODIES["A"]}, {BODIES["B"]}]


def test_a_missing_folder_ships_nothing(tmp_path: Path) -> None:
    assert shipped_texts(tmp_path / "none") == ()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(("names", "differs"), [("AB", False), ("A", False), ("ABC", True), ("C", True)])
def test_host_bundle(tmp_path: Path, shipped: Path, variable: str, names: str, differs: bool) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(text(*names))
    assert host_bundle({variable: str(bundle)}, shipped=shipped) == (bundle if differs else None)


def test_where_nothing_is_shipped_nothing_can_differ(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(text("A"))
    assert host_bundle({"SSL_CERT_FILE": str(bundle)}, shipped=tmp_path / "none") is None


def test_the_first_bundle_that_exists_counts(
    tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / "usual.pem"
    usual.write_text(text("C"))
    monkeypatch.setattr("kiro_invoke.engine.certificates._BUNDLES", (str(tmp_path / "none"), str(usual)))
    environ = {"SSL_CERT_FILE": str(tmp_path / "gone"), "CURL_CA_BUNDLE": ""}
    assert host_bundle(environ, shipped=shipped) == usual
    usual.unlink()
    assert host_bundle(environ, shipped=shipped) is None
