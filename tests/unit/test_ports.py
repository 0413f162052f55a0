"""Whether a port is free, and who holds it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke.engine import ports
from kiro_invoke.engine.ports import holder, is_free


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def test_a_port_that_a_server_listens_on_is_taken_until_it_ends(server: socket.socket) -> None:
    port = port_of(server)
    assert not is_free("127.0.0.1", port)
    assert not is_free("0.0.0.0", port)
    assert is_free("127.0.0.2", port)
    server.close()
    assert is_free("127.0.0.1", port)


def test_a_port_whose_last_connection_lingers_is_free(server: socket.socket) -> None:
    port = port_of(server)
    client = socket.create_connection(("127.0.0.1", port))
    accepted, _ = server.accept()
    for one in (accepted, client, server):  # the server's side closes first and keeps TIME_WAIT
        one.close()
    assert is_free("127.0.0.1", port)


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_both_families(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("no such family here")
    with server:
        assert not is_free(host, port_of(server))


def test_an_address_of_another_machine_is_not_free() -> None:
    assert not is_free("192.0.2.1", 8080)


@pytest.mark.parametrize(("listening", "free"), [((), True), (("socket:[1]",), False)])
def test_a_low_port_that_only_the_engine_may_open(
    listening: tuple[str, ...], free: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bind(_socket: socket.socket, _address: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket.socket, "bind", bind)
    monkeypatch.setattr(ports, "_listening", lambda _port, _proc: iter(listening))
    assert is_free("127.0.0.1", 80) is free


def test_the_holder_is_told_with_pid_and_name(server: socket.socket) -> None:
    name = Path("/proc/self/comm").read_text().strip()
    assert holder(port_of(server)) == f"process {os.getpid()} ({name})"


HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(port: int, state: str, inode: int, address: str = "0100007F") -> str:
    return (
        f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 0 0 0 {inode} 1 0\n"
    )


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with two processes: 7 has no open files to see, 12 holds sockets 501 and 502."""
    (tmp_path / "net").mkdir()
    (tmp_path / "7").mkdir()
    (tmp_path / "12" / "fd").mkdir(parents=True)
    (tmp_path / "12" / "comm").write_text("vite server\n")
    (tmp_path / "12" / "fd" / "0").symlink_to("/dev/null")
    for number, inode in ((3, 501), (4, 502)):
        (tmp_path / "12" / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
    return tmp_path


@pytest.mark.parametrize(
    ("table", "text", "found"),
    [
        ("tcp", row(8080, "0A", 501), "process 12 (vite server)"),
        ("tcp6", row(8080, "0A", 502, "0" * 32), "process 12 (vite server)"),
        ("tcp", row(80, "0A", 7) + row(8080, "0A", 501), "process 12 (vite server)"),
        ("tcp", row(8080, "01", 501), None),
        ("tcp", row(8081, "0A", 501), None),
        ("tcp", row(8080, "0A", 999), None),
    ],
    ids=["IPv4", "IPv6", "second row", "a connection", "another port", "nobody we can see"],
)
def test_the_holder_is_found_in_proc(proc: Path, table: str, text: str, found: str | None) -> None:
    (proc / "net" / table).write_text(HEADER + text)
    assert holder(8080, proc) == found


def test_where_proc_does_not_tell(tmp_path: Path) -> None:
    assert holder(8080, tmp_path / "none") is None
