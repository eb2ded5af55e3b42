"""A venue and its clients in one process: the role without its shell, driven by hand."""

from __future__ import annotations

import logging
from pathlib import Path
from time import time_ns
from types import SimpleNamespace
from typing import Any

import msgspec

from ipc.wait import Bell
from oms_actors import record
from oms_actors.actors.venue import VenueRole
from oms_actors.config import Config, DeskConfig, Resolved, VenueConfig
from oms_actors.edges.exchange import decode_response
from oms_actors.edges.venue_link import VenueAdapter
from oms_actors.messages import ExchangeResponse, Kind, Request, ResponseType
from tests.support.roles import Calls


class Bench:
    """`role` may be dropped and made again: that is a kill, as far as the files can tell."""

    def __init__(self, folder: Path, **venue: Any) -> None:
        self.runtime, self.data = folder / "run", folder / "data"
        self.runtime.mkdir()
        config = Config(
            desk=DeskConfig(segment_bytes=4 << 20), venue=VenueConfig(**({"latency_us": 0} | venue))
        )
        self.resolved = Resolved(
            instance="t", runtime_dir=str(self.runtime), data_dir=str(self.data), config_dir="", desk_id=1,
            config=config,
        )  # fmt: skip
        (self.runtime / "desk.json").write_bytes(msgspec.json.encode(self.resolved))
        self.bell = Bell.create(str(self.runtime / "venue.bell"))
        self.role = self.start()

    def start(self) -> VenueRole:
        """A new life of the venue over the same files."""
        context = SimpleNamespace(
            runtime=self.runtime, path=lambda name: str(self.runtime / name), log=logging.getLogger("venue"),
            beat=lambda: None, bell=self.bell, vitals=Calls(),
        )  # fmt: skip
        self.role = VenueRole(context)  # type: ignore[arg-type]
        self.role.start()
        return self.role

    def kill(self, moment: int) -> None:
        """Dies in the middle of a cycle: 0 before the journal, 1 after it, 2 after the answers; comes back."""
        wall_ns = time_ns()
        self.role._take(wall_ns)
        if moment >= 1:
            self.role._journal.flush(wall_ns)
        if moment >= 2:
            self.role._say()
            self.role._send(1 << 62)
        self.start()

    def scan(self) -> None:
        self.role._scan_due_ns = 0

    def work(self, cycles: int = 3) -> None:
        for _ in range(cycles):
            self.scan()
            self.role.work()

    def counters(self) -> dict[str, int]:
        return self.role._page.counters()


class Client:
    """A session with the venue that keeps what it was told."""

    def __init__(self, bench: Bench, session: str, user: str = "", logon: bool = True, **options: Any) -> None:
        self.bench = bench
        self.user = user or session
        self.adapter = VenueAdapter(str(bench.runtime / "venue"), session, **options)
        self.records: list[bytes] = []
        self.adapter.on_records = self._keep
        self.adapter.connect(lambda response: None)
        if logon:
            self.adapter.send_logon(self.user, "secret")
            assert [r.type for r in self.told()] == [ResponseType.LOGON_ACK]

    def _keep(self, frame: bytes) -> None:
        self.records += [frame[at : at + 256] for at in range(0, len(frame), 256)]

    def told(self) -> list[ExchangeResponse]:
        """What the venue answers to everything sent so far."""
        self.bench.work()
        self.adapter.poll()
        self.adapter.poll()
        found = [decode_response(data) for data in self.records if data[0] == Kind.REPORT]
        self.records.clear()
        return found

    def send(self, *requests: Request, flags: int = 0) -> list[ExchangeResponse]:
        for request in requests:
            self.adapter.send_record(intent(request))
        return self.told()


def intent(request: Request, sequence: int = 0) -> bytes:
    """A request as the sender puts it on its way."""
    data = bytearray(record.encode(request, sequence))
    data[0] += Kind.INTENT_NEW - Kind.NEW
    return bytes(data)
