"""What the supervisor holds: listeners, the state directory, the runtime directory."""

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from gateway.core.config import Address
from gateway.runtime.places import (
    LONGEST_SOCKET_PATH,
    PlaceTaken,
    Record,
    StateDirectory,
    address_of,
    listen_tcp,
    listen_unix,
    make_runtime_directory,
    read_record,
)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1")])
def test_port_0_is_whatever_the_kernel_chose(host: str, shown: str) -> None:
    with listen_tcp(Address(host, 0), "listen.admin") as listener:
        port = listener.getsockname()[1]

        assert address_of(listener) == f"{shown}:{port}"
        with socket.create_connection((host, port)):
            pass


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    if not has_ipv6():
        with pytest.raises(PlaceTaken):
            listen_tcp(Address("::1", 0), "listen.admin")
        return
    with listen_tcp(Address("::1", 0), "listen.admin") as listener:
        assert address_of(listener) == f"[::1]:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (Address("192.0.2.1", 0), "this machine has no such address"),
        (Address("name.invalid", 0), ""),
    ],
)
def test_an_address_that_cannot_be_had_is_said_with_its_key(address: Address, reason: str) -> None:
    with pytest.raises(PlaceTaken, match=f"listen.admin: cannot listen on {address}: .*{reason}"):
        listen_tcp(address, "listen.admin")


def test_a_unix_socket_is_for_this_user_only(tmp_path: Path) -> None:
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    path = directory / "s.sock"
    try:
        with listen_unix(str(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        path.unlink()
        directory.rmdir()


def test_the_runtime_directory_is_private_and_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("long" * 30)))

    directory = make_runtime_directory()

    try:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert len(str(directory / "model-0123456789ab.sock")) <= LONGEST_SOCKET_PATH
    finally:
        directory.rmdir()


def test_the_runtime_directory_is_where_the_user_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        monkeypatch.setenv("XDG_RUNTIME_DIR", base)

        assert make_runtime_directory().parent == Path(base)


def test_a_state_directory_is_held_by_one(tmp_path: Path) -> None:
    held = StateDirectory.hold(tmp_path / "state")
    held.write_record(Record(os.getpid(), "127.0.0.1:1", "127.0.0.1:2", "/nowhere"))

    with pytest.raises(PlaceTaken, match=rf"in use by another gateway \(pid {os.getpid()}\)"):
        StateDirectory.hold(tmp_path / "state")

    held.release()
    StateDirectory.hold(tmp_path / "state").release()


def test_the_record_is_there_while_the_gateway_runs(tmp_path: Path) -> None:
    held = StateDirectory.hold(tmp_path)
    record = Record(os.getpid(), "127.0.0.1:1", "127.0.0.1:2", "/nowhere")

    held.write_record(record)
    assert read_record(tmp_path) == record

    held.release()
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "x"}', b"[]"])
def test_a_damaged_record_is_no_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "gateway.json").write_bytes(content)

    assert read_record(tmp_path) is None
    StateDirectory.hold(tmp_path).release()


def test_what_a_killed_gateway_left_behind_is_cleaned_up(tmp_path: Path) -> None:
    left, other = tmp_path / "tiltyard-left", tmp_path / "precious"
    for directory in (left, other):
        directory.mkdir()
        (directory / "shadow.sock").touch()
        held = StateDirectory.hold(tmp_path / "state")
        held.write_record(Record(1, "127.0.0.1:1", "127.0.0.1:2", str(directory)))
        os.close(held.lock)

        StateDirectory.hold(tmp_path / "state").release()

    assert not left.exists()
    assert other.exists()
