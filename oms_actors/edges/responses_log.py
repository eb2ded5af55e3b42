"""`responses.log`: one line for each response of the exchange, for people: time, order, response, latency.

    2026-01-05T09:15:00.000250Z  A-1  ACK  250.0 us  #4711

It is written from the database after a commit, and each line ends with its sequence, so that after a restart it goes on
where it was.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from oms_actors.edges.store import Store
from oms_actors.messages import ResponseType

_TAIL_BYTES = 4096
_NAMES = {int(kind): kind.name for kind in ResponseType}
_QUERY = """
    SELECT sequence, time_ns, client_order_id, response_type, latency_ns, text FROM responses
    WHERE sequence > ? AND sequence <= ? ORDER BY sequence
"""
_CHUNK = 50_000


class ResponsesLog:
    """Appends what is new; the file may be moved away at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = self._last_written()

    def follow(self, store: Store, last: int) -> None:
        """Writes what has been committed since the last time, up to sequence `last`. OSError: later, then."""
        while self._last < last:
            until = min(self._last + _CHUNK, last)
            found = store.query(_QUERY, (self._last, until))
            if found:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write("".join(_line(*row) for row in found))
            self._last = until

    def _last_written(self) -> int:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return 0
        ends = [line.rpartition(b"#")[2] for line in lines[:-1]]
        return max((int(end) for end in ends if end.isdigit()), default=0)


def _line(
    sequence: int, time_ns: int, client_order_id: str | None, response: int, latency_ns: int, text: str | None
) -> str:  # fmt: skip
    when = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    words = f"  {text!r}" if text else ""
    return (
        f"{when}.{time_ns // 1000 % 1_000_000:06d}Z  {client_order_id or '?'}  {_NAMES.get(response, response)}  "
        f"{latency_ns / 1000:.1f} us{words}  #{sequence}\n"
    )
