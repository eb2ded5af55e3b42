"""Who has been answered: an upstream that counts its requests against the reports that come back.

Every request gets one first answer from intake, accepted or rejected, and one final answer, from intake or the sender
(flag FINAL). Requests are known by their 52-byte key; two with the same key are two answers. The *awaited* answer is
the first one or, until done, the final one; a request is rejected if that answer is a reject.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from oms_actors.errors import Reason
from oms_actors.messages import ExecType, Kind, ReportFlag
from oms_actors.record import AT_FLAGS, KEY, REPORT_BYTES, REPORT_KEY, REQUEST_BYTES
from oms_actors.upstream import RingFull, Upstream

_FINAL, _FROM_SENDER = int(ReportFlag.FINAL), int(ReportFlag.FROM_SENDER)
_REJECTS = (ExecType.REJECTED, ExecType.CANCEL_REJECT)


class Answers:
    """Feed it with `expect` before, and `take` after; reports of other requests are left alone."""

    def __init__(self, until_done: bool) -> None:
        self.until_done = until_done
        self.submitted = self.first = self.final = 0
        """Requests: handed over, with a first answer, with a final one."""
        self.admitted: set[bytes] = set()
        """Keys of those that intake accepted."""
        self.rejects: Counter[int] = Counter()
        """By reason: requests whose awaited answer is a reject."""
        self.outcomes: Counter[int] = Counter()
        """By ExecType: final answers."""
        self._first: Counter[bytes] = Counter()
        self._final: Counter[bytes] = Counter()

    def expect(self, records: bytes) -> None:
        """Encoded requests that are about to be submitted."""
        begin, end = KEY.start, KEY.stop
        keys = [records[at + begin : at + end] for at in range(0, len(records), REQUEST_BYTES)]
        self._first.update(keys)
        self._final.update(keys)
        self.submitted += len(keys)

    def forget(self, records: bytes) -> None:
        """The same that could not be submitted after all."""
        keys = [records[at + KEY.start : at + KEY.stop] for at in range(0, len(records), REQUEST_BYTES)]
        self._first.subtract(keys)
        self._final.subtract(keys)
        self.submitted -= len(keys)

    @property
    def awaited(self) -> int:
        """How many requests have the answer that is waited for."""
        return self.final if self.until_done else self.first

    @property
    def missing(self) -> int:
        """How many have not."""
        return self.submitted - self.awaited

    @property
    def rejected(self) -> int:
        """Requests whose awaited answer is a reject."""
        return self.rejects.total()

    def take(self, frames: Iterable[bytes]) -> None:
        """Frames of report records."""
        begin, end = REPORT_KEY.start, REPORT_KEY.stop
        for frame in frames:
            for at in range(0, len(frame), REPORT_BYTES):
                if frame[at] == Kind.REPORT:
                    flags = frame[at + AT_FLAGS]
                    if flags & _FINAL or not flags & _FROM_SENDER:
                        self._answer(frame, at, flags, frame[at + begin : at + end])

    def _answer(self, frame: bytes, at: int, flags: int, key: bytes) -> None:
        awaited = False
        if not flags & _FROM_SENDER and self._first[key] > 0:
            self._first[key] -= 1
            self.first += 1
            if frame[at + 3] not in _REJECTS:
                self.admitted.add(key)
            awaited = not self.until_done
        if flags & _FINAL and self._final[key] > 0:
            self._final[key] -= 1
            self.final += 1
            self.outcomes[frame[at + 3]] += 1
            awaited = awaited or self.until_done
        if awaited and frame[at + 3] in _REJECTS:
            self.rejects[int.from_bytes(frame[at + 28 : at + 30], "little")] += 1

    def rejects_by_reason(self) -> dict[str, int]:
        """Names of `errors.Reason`, the most frequent first."""
        known = Reason._value2member_map_
        return {Reason(code).name if code in known else str(code): n for code, n in self.rejects.most_common()}

    def final_by_outcome(self) -> dict[str, int]:
        """Names of ExecType of the final answers, the most frequent first."""
        return {ExecType(code).name: n for code, n in self.outcomes.most_common()}


class Courier:
    """An upstream with its answers. `on_listen` is called whenever reports were looked for."""

    def __init__(self, upstream: Upstream, until_done: bool, on_listen: Callable[[], None] = lambda: None) -> None:
        self.answers = Answers(until_done)
        self._upstream, self._on_listen = upstream, on_listen

    def submit(self, records: bytes) -> None:
        """Hands over encoded requests. A full ring is waited for, and the reports that come meanwhile are taken."""
        self.answers.expect(records)
        left = memoryview(records)
        try:
            while left:
                try:
                    self._upstream.submit_records(left)
                    left = left[len(left) :]
                except RingFull as full:
                    left = left[full.submitted * REQUEST_BYTES :]
                    self.listen(0.005)
        finally:
            self.answers.forget(bytes(left))

    def listen(self, timeout: float) -> None:
        """Takes the reports that are there, waiting up to `timeout` seconds for some."""
        self.answers.take(self._upstream.raw_reports(timeout))
        self._on_listen()
