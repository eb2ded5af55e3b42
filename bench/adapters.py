"""Exchanges that cost nothing, for benches: made by the sender from the configuration, in its own process."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from time import monotonic_ns, perf_counter_ns

from bench.load import ID_DIGITS
from oms_actors.edges.exchange import ExchangeRequest
from oms_actors.messages import ExchangeResponse, ExecType, Kind, OrdStatus, ReportFlag, ResponseType
from oms_actors.record import AT_CLIENT_ORDER_ID, REPORT_BYTES, REQUEST_BYTES, VERSION

_HEAD = bytes((Kind.REPORT, VERSION, 0, ExecType.NEW, OrdStatus.NEW, ReportFlag.FROM_VENUE, Kind.NEW, ResponseType.ACK))
_IN, _OUT = REQUEST_BYTES // 8, REPORT_BYTES // 8


def acknowledgements(intents: bytes) -> bytes:
    """One ACK for each INTENT."""
    reports = bytearray((_HEAD + bytes(REPORT_BYTES - len(_HEAD))) * (len(intents) // REQUEST_BYTES))
    with memoryview(reports).cast("Q") as out, memoryview(intents).cast("Q") as words:
        for word in range(13):  # account, client order id, original id, symbol
            out[12 + word :: _OUT] = words[10 + word :: _IN]
    return bytes(reports)


class NullVenue:
    """Takes everything at once and acknowledges it at the next poll."""

    deduplicates = True

    def __init__(self) -> None:
        self.on_records: Callable[[bytes], None] | None = None
        self._said: list[bytes] = []
        self._tell: Callable[[ExchangeResponse], None] = lambda response: None

    def connect(self, on_response: Callable[[ExchangeResponse], None]) -> None:
        self._tell = on_response

    def send_logon(self, username: str, password: str) -> None:
        self._tell(ExchangeResponse(type=ResponseType.LOGON_ACK))

    def send_logout(self, username: str) -> None:
        self._tell(ExchangeResponse(type=ResponseType.LOGOUT_ACK))

    def send(self, request: ExchangeRequest) -> None:
        self.send_record(request.record)

    def send_record(self, intent: bytes) -> None:
        self._said.append(acknowledgements(intent))

    def send_records(self, frame: bytes, count: int) -> None:
        self._said.append(acknowledgements(frame))

    def poll(self) -> None:
        said, self._said = self._said, []
        for frame in said:
            if self.on_records is not None:
                self.on_records(frame)

    def ready(self) -> bool:
        return bool(self._said)

    def close(self) -> None:
        self._said.clear()


class Noting(NullVenue):
    """Knows when each single request came."""

    def __init__(self) -> None:
        super().__init__()
        self.called_ns: list[int] = []
        """perf_counter ns."""

    def send_record(self, intent: bytes) -> None:
        self.called_ns.append(perf_counter_ns())
        super().send_record(intent)


class Recorder(NullVenue):
    """Writes down when each order came: word n of `path` is the monotonic ns at which the order whose id ends in the
    number n was handed over."""

    def __init__(self, path: str) -> None:
        super().__init__()
        fd = os.open(path, os.O_RDWR)
        self._words = memoryview(mmap.mmap(fd, os.fstat(fd).st_size)).cast("q")
        os.close(fd)

    def send_record(self, intent: bytes) -> None:
        self._note(intent, 0, monotonic_ns())
        super().send_record(intent)

    def send_records(self, frame: bytes, count: int) -> None:
        now_ns = monotonic_ns()
        for at in range(0, len(frame), REQUEST_BYTES):
            self._note(frame, at, now_ns)
        super().send_records(frame, count)

    def _note(self, frame: bytes, at: int, now_ns: int) -> None:
        begin = at + AT_CLIENT_ORDER_ID
        name = frame[begin : begin + 36].rstrip(b"\0")
        self._words[int(name[-ID_DIGITS:])] = now_ns
