"""An upstream's segment: two rings, a bell, and the kernel's word on who is alive."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipc import duplex
from ipc.duplex import Duplex, create_duplex
from ipc.errors import AlreadyLocked, IpcError, NotThere, RingCorrupt, VersionMismatch
from ipc.wait import Bell


@pytest.fixture
def path(shm: Path) -> str:
    path = str(shm / "alpha.up")
    create_duplex(path, 4096, 8192, "alpha").close()
    return path


def test_requests_go_one_way_and_reports_the_other(path: str, shm: Path) -> None:
    bell = Bell.create(str(shm / "server.bell"))
    client, server = Duplex.attach_client(path, bell), Duplex.attach_server(path)
    client.requests.put(b"new order")
    server.reports.put(b"accepted")
    assert server.requests.peek() == b"new order"
    assert client.reports.peek() == b"accepted"
    assert client.name == server.name == "alpha"


def test_each_side_rings_the_other(path: str, shm: Path) -> None:
    server_bell = Bell.create(str(shm / "server.bell"))
    client, server = Duplex.attach_client(path, server_bell), Duplex.attach_server(path)
    server_bell.flag[0] = client.bell.flag[0] = 1
    client.requests.put(b"x")
    assert server_bell.flag[0] == 0
    server.reports.put(b"x")
    assert client.bell.flag[0] == 0


def test_one_client_at_a_time_and_the_server_knows_whether_it_lives(path: str) -> None:
    server = Duplex.attach_server(path)
    assert not server.client_alive()
    client = Duplex.attach_client(path)
    assert server.client_alive()
    assert server.client_pid == os.getpid()
    with pytest.raises(AlreadyLocked, match=f"process {os.getpid()}"):
        Duplex.attach_client(path)
    client.close()
    assert not server.client_alive()


def test_a_restarted_server_finds_what_was_not_committed(path: str) -> None:
    client, server = Duplex.attach_client(path), Duplex.attach_server(path)
    for i in range(3):
        client.requests.put(bytes([i]))
    server.requests.peek()
    server.requests.commit()
    server.requests.peek()
    server.close()
    assert Duplex.attach_server(path).requests.peek_many(1 << 20) == [b"\1", b"\2"]


def test_a_name_must_fit(shm: Path) -> None:
    for name in ("", "x" * 65):
        with pytest.raises(ValueError, match="1 to 64"):
            create_duplex(str(shm / "a.up"), 4096, 4096, name)


def test_what_is_no_segment_is_refused_by_name(shm: Path) -> None:
    with pytest.raises(NotThere):
        Duplex.attach_server(str(shm / "none.up"))
    (shm / "short.up").write_bytes(bytes(100))
    with pytest.raises(VersionMismatch, match="100 bytes"):
        Duplex.attach_server(str(shm / "short.up"))
    (shm / "other.up").write_bytes(bytes(8192))
    with pytest.raises(VersionMismatch, match="magic"):
        Duplex.attach_client(str(shm / "other.up"))


def test_regions_outside_the_file_are_refused(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(duplex.DUPLEX_REPORT_AT)
        file.write((1 << 40).to_bytes(8, "little"))
    with pytest.raises(RingCorrupt, match="region"):
        Duplex.attach_server(path)


@given(st.integers(0, 5119), st.binary(min_size=1, max_size=64))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_client_that_scribbles_anywhere_gets_a_named_refusal_or_no_attention(
    shm: Path, at: int, content: bytes
) -> None:
    path = str(shm / "scribbled.up")
    create_duplex(path, 1024, 1024, "scribbled").close()
    client, server = Duplex.attach_client(path), Duplex.attach_server(path)
    client.requests.put(b"before")
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(content)
    for attached in (True, False):
        try:
            side = server if attached else Duplex.attach_server(path)
            side.requests.peek_many(4096)
            side.reports.try_put(b"report")
        except IpcError:
            pass
    client.close()
    server.close()
