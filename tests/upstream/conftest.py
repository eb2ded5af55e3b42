"""A desk that is nothing but its files: what an upstream needs to attach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.duplex import Duplex, Server
from ipc.lock import FileLock
from ipc.wait import Bell
from oms_actors import instance
from oms_actors.config import Config, DeskConfig, Resolved
from oms_actors.core.reports import report
from oms_actors.messages import ExecType, Kind, OrdStatus
from oms_actors.record import key_of
from oms_actors.upstream import SUPERVISOR_LOCK

REQUEST_BYTES, REPORT_BYTES = 64 << 10, 64 << 10


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileLock]:
    """What tells that the desk "default" lives: released = gone."""
    monkeypatch.setenv("OMS_RUNTIME_DIR", str(tmp_path))
    runtime = instance.runtime_dir("default")
    runtime.mkdir(mode=0o700)
    with FileLock(str(runtime / SUPERVISOR_LOCK)) as lock:
        yield lock


@pytest.fixture
def runtime(supervisor: FileLock, tmp_path: Path) -> Path:
    """The runtime directory of that desk."""
    runtime = Path(supervisor.path).parent
    desk = DeskConfig(upstream_request_bytes=REQUEST_BYTES, upstream_report_bytes=REPORT_BYTES)
    instance.write_desk(Resolved(
        instance="default", runtime_dir=str(runtime), data_dir=str(tmp_path / "data"), config_dir=str(tmp_path),
        desk_id=7, config=Config(desk=desk),
    ))  # fmt: skip
    Bell.create(str(runtime / "intake.bell"))
    return runtime


@pytest.fixture
def serve(runtime: Path) -> Iterator[Callable[[str], Server]]:
    """Opens an upstream's file as intake does."""
    servers: list[Server] = []

    def attach(name: str) -> Server:
        servers.append(Duplex.attach_server(str(instance.upstream_path(runtime, name))))
        return servers[-1]

    yield attach
    for server in servers:
        server.close()


def a_report(sequence: int, client_order_id: str = "A-1", flags: int = 0) -> bytes:
    """Some report record."""
    return report(
        key=key_of("", client_order_id), exec_type=ExecType.NEW, ord_status=OrdStatus.NEW, request_kind=Kind.NEW,
        sequence=sequence, flags=flags, quantity=100,
    )  # fmt: skip
