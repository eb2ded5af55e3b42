"""A desk of files and one thread: an intake that answers every request, so that `oms send` has somebody to talk to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from ipc.duplex import Duplex, Server
from ipc.errors import NotThere
from ipc.lock import FileLock
from ipc.ring import RingWriter
from ipc.wait import Bell
from oms_actors import instance
from oms_actors.config import Config, DeskConfig, Resolved
from oms_actors.core.reports import report
from oms_actors.errors import Reason
from oms_actors.messages import ExecType, Kind, OrdStatus, ReportFlag
from oms_actors.record import KEY, REQUEST_BYTES

RING_BYTES = 16 << 10
Decide = Callable[[bytes], int]
"""A request's refusal: a Reason, 0 = accepted."""


class FakeDesk:
    """`with FakeDesk(base, decide):` the desk "default" in runtime folder `base`; accepts what `decide` lets pass."""

    def __init__(self, base: Path, decide: Decide = lambda request: 0, finish: bool = True) -> None:
        self.runtime = base / "default"
        self.requests: list[bytes] = []
        self._decide, self._finish = decide, finish
        self._sequences = [0, 0]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._known: set[bytes] = set()

    def __enter__(self) -> FakeDesk:
        self.runtime.mkdir(parents=True)
        self._lock = FileLock(str(self.runtime / "supervisor.lock"))
        self._lock.acquire()
        desk = DeskConfig(upstream_request_bytes=RING_BYTES, upstream_report_bytes=RING_BYTES)
        instance.write_desk(Resolved(
            instance="default", runtime_dir=str(self.runtime), data_dir=str(self.runtime / "data"), config_dir="",
            desk_id=7, config=Config(desk=desk),
        ))  # fmt: skip
        Bell.create(str(self.runtime / "intake.bell"))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(Exception):
            self._lock.release()

    def leave(self) -> None:
        """The supervisor is gone."""
        self._lock.release()

    def _serve(self) -> None:
        servers: dict[Path, Server] = {}
        while not self._stop.wait(0.001):
            for path in (self.runtime / instance.UPSTREAMS).glob("[!.]*.up"):
                if path not in servers:
                    with contextlib.suppress(NotThere):
                        servers[path] = Duplex.attach_server(str(path))
            for server in servers.values():
                self._answer_all(server)
        for server in servers.values():
            server.close()

    def _answer_all(self, server: Server) -> None:
        for frame in server.requests.peek_many(1 << 20):
            for at in range(0, len(frame), REQUEST_BYTES):
                for answer in self._answers(frame[at : at + REQUEST_BYTES]):
                    self._put(server.reports, answer)
        server.requests.commit()

    def _answers(self, request: bytes) -> list[bytes]:
        self.requests.append(request)
        reason = self._decide(request)
        if request[KEY] in self._known:
            reason = Reason.DUPLICATE_CLIENT_ORDER_ID
        self._known.add(request[KEY])
        if reason:
            return [self._report(request, ExecType.REJECTED, 0, ReportFlag.FINAL, reason)]
        answers = [self._report(request, ExecType.PENDING_NEW, 0, 0)]
        if self._finish:
            answers.append(self._report(request, ExecType.TRADE, 1, ReportFlag.FINAL | ReportFlag.FROM_SENDER))
        return answers

    def _report(self, request: bytes, exec_type: ExecType, origin: int, flags: int, reason: int = 0) -> bytes:
        self._sequences[origin] += 1
        return report(
            key=request[KEY], exec_type=exec_type, ord_status=OrdStatus.NEW, request_kind=Kind(request[0]),
            sequence=self._sequences[origin], flags=flags, reason=reason,
        )  # fmt: skip

    def _put(self, ring: RingWriter, answer: bytes) -> None:
        while not ring.try_put(answer) and not self._stop.wait(0.001):
            pass
