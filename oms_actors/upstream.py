"""An upstream's end of the desk: submit requests, read reports.

    with Upstream.attach("default", name="algo-1") as oms:
        oms.submit(NewOrder(client_order_id="A-1", symbol="AAPL", side="BUY", quantity=100, price="585.33"))
        for report in oms.reports(timeout=1.0):
            print(report)

An upstream is one file in shared memory, `upstreams/<name>.up`, with a ring each way. A call of the desk is a copy into
the ring; nothing waits for the other side. The name belongs to one living process at a time (a kernel lock); who comes
back under it finds the file of before, with the reports it had not yet taken.

What has been submitted is safe from the death of this process, and it is *accepted* once its report says so. Reports
come at least once: what this object has seen before (by origin and sequence) it drops, a new process may see a few
again. They count as taken when the iterator goes on, when the next call for reports is made, or at `close`.

Threads: one may submit while one other reads reports; not two the same. After a fork only the parent may go on.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic, monotonic_ns, sleep
from types import TracebackType
from typing import Self

from ipc import lock
from ipc.duplex import Client, Duplex, create_duplex
from ipc.errors import NotOurs, NotThere
from ipc.errors import RingFull as IpcRingFull
from ipc.wait import Bell, look_ns_of_the_others
from oms_actors import instance as places
from oms_actors.config import DeskConfig
from oms_actors.errors import DeskDown, FieldError, OmsError
from oms_actors.messages import ACCOUNT_MAX, SYMBOL_MAX, Kind, Report, ReportFlag, Request, text_of
from oms_actors.record import (
    AT_FLAGS,
    AT_SEQUENCE,
    REPORT_BYTES,
    REQUEST_BYTES,
    REQUEST_FRAME_BYTES_MAX,
    decode_report,
    encode,
)

CHECK_NS = 100_000_000
"""So often at most it is looked whether the desk still lives."""
SUPERVISOR_LOCK = "supervisor.lock"
"""Held by the living supervisor of a desk: the kernel's word, which cannot be stale."""
_SEND_TIME_WORD, _REQUEST_WORDS = 4, REQUEST_BYTES // 8
_FROM_SENDER = int(ReportFlag.FROM_SENDER)


class RingFull(OmsError, IpcRingFull):
    """The desk takes requests more slowly than they come. `submitted`: how many of this call's are in the ring."""

    def __init__(self, cause: IpcRingFull, submitted: int) -> None:
        Exception.__init__(self, str(cause))
        self.submitted = submitted


class NoAnswer(OmsError):
    """The desk lives but one of its processes does not answer."""


class WrongProcess(OmsError):
    """An upstream was used by a forked child of the process that attached it."""


class Upstream:
    """An attached upstream. Made by `attach`."""

    def __init__(
        self, client: Client, sender: Bell | None, runtime: Path, check: Callable[[], None], desk_id: int
    ) -> None:
        self.name = client.name
        self.desk_id = desk_id
        """Part of every order's UUID."""
        self._client, self._sender, self._runtime, self._check = client, sender, runtime, check
        self._pid = os.getpid()
        self._checked_ns = 0
        fitting = client.requests.frame_bytes_max // REQUEST_BYTES * REQUEST_BYTES
        self._frame_bytes = min(fitting, REQUEST_FRAME_BYTES_MAX)
        self._seen = [0, 0]  # last sequence of intake's reports, of the sender's
        self._handed = False  # everything peeked was handed out and counts as taken from the next call on

    @classmethod
    def attach(cls, instance: str = places.DEFAULT_INSTANCE, name: str = "default", timeout: float = 0.0) -> Upstream:
        """Joins a running desk as `name`, waiting up to `timeout` seconds for it to be there.

        Raises DeskDown, AlreadyLocked (a living upstream has that name), FieldError (bad name), NoSpace, NotOurs,
        VersionMismatch and RingCorrupt (a file that another version or a mad process left).
        """
        runtime = places.runtime_dir(instance)
        path = places.upstream_path(runtime, name)
        deadline = monotonic() + timeout
        while True:
            try:
                return cls._attach(runtime, path, name)
            except DeskDown:
                if monotonic() >= deadline:
                    raise
                sleep(0.02)

    @classmethod
    def _attach(cls, runtime: Path, path: Path, name: str) -> Upstream:
        resolved = places.read_desk(runtime)
        _require_alive(runtime)
        try:
            bell = Bell.attach(str(runtime / "intake.bell"))
        except NotThere:
            raise DeskDown(f"desk {runtime.name!r} is still starting: try again, or give attach a timeout") from None
        if not path.exists():
            _require_owner(runtime)
            _create(path, name, resolved.config.desk)
        client = Duplex.attach_client(str(path), bell)
        client.bell.look_ns = look_ns_of_the_others(resolved.config.desk.look_us * 1_000)
        bell.wake()  # so that intake looks for new upstreams now
        file = os.stat(path).st_ino
        sender = _next_bell(runtime) if resolved.config.desk.look_us else None
        return cls(client, sender, runtime, lambda: _require_ours(runtime, path, file), resolved.desk_id)

    # -- requests -----------------------------------------------------------------------------------------------------

    def submit(self, request: Request, timeout: float = 0.0) -> None:
        """Hands one request to the desk.

        Raises RingFull, at once or after `timeout` seconds; DeskDown; FieldError for what cannot be encoded.
        """
        now_ns = monotonic_ns()
        if now_ns - self._checked_ns > CHECK_NS or os.getpid() != self._pid:
            self._look(now_ns)
        record = encode(request, 0, now_ns)
        if not self._client.requests.try_put(record):
            self._put(record, monotonic() + timeout, 0)
        if self._sender is not None:
            self._sender.announce()

    def submit_many(self, requests: Iterable[Request], timeout: float = 0.0) -> int:
        """Hands over many at a fraction of the cost of each; returns how many. Nothing is sent if one is invalid."""
        return self.submit_records(b"".join(map(encode, requests)), timeout)

    def submit_records(self, records: bytes | bytearray | memoryview, timeout: float = 0.0) -> int:
        """Like `submit_many` with requests that were encoded before (`record.encode`)."""
        if len(records) % REQUEST_BYTES:
            raise FieldError("records", len(records), f"must be whole requests of {REQUEST_BYTES} bytes")
        deadline = monotonic() + timeout
        for begin in range(0, len(records), self._frame_bytes):
            now_ns = monotonic_ns()
            self._look(now_ns)
            frame = bytearray(records[begin : begin + self._frame_bytes])
            count = len(frame) // REQUEST_BYTES
            with memoryview(frame).cast("q") as words:
                words[_SEND_TIME_WORD::_REQUEST_WORDS] = memoryview(now_ns.to_bytes(8, "little") * count).cast("q")
            if not self._client.requests.try_put(frame):
                self._put(frame, deadline, begin // REQUEST_BYTES)
        return len(records) // REQUEST_BYTES

    def _put(self, frame: bytes | bytearray, deadline: float, submitted: int) -> None:
        """The ring is full: tries on until the deadline, as long as there is a desk."""
        while True:
            left = deadline - monotonic()
            try:
                self._client.requests.put(frame, min(left, CHECK_NS / 1e9))
                return
            except IpcRingFull as error:
                self._look(monotonic_ns())
                if left <= CHECK_NS / 1e9:
                    raise RingFull(error, submitted) from None

    def cancel_all(self, account: str = "", symbol: str = "", timeout: float = 5.0) -> int:
        """Cancels all open orders of this upstream (of an account, of a symbol), waiting or at the exchange; returns
        how many there were. Each is reported. What was submitted just now and is not accepted yet is not meant.

        Raises DeskDown, and NoAnswer after `timeout` seconds: then nobody knows whether it was taken up.
        """
        import pykka

        from oms_actors.actors.commands import MassCancel, WhoIsThere
        from oms_actors.actors.remote import AskFailed, remote_ref

        self._mine()
        self._check()
        for field, name, limit in (("account", account, ACCOUNT_MAX), ("symbol", symbol, SYMBOL_MAX)):
            text_of(field, name, limit, empty=True)
        try:
            number, _ = remote_ref(self._runtime, "intake").ask(WhoIsThere(), timeout=timeout)[self.name]
            wish = MassCancel(number, account, symbol)
            return int(remote_ref(self._runtime, "sender").ask(wish, timeout=timeout))
        except (pykka.Timeout, pykka.ActorDeadError, AskFailed, KeyError) as error:
            raise NoAnswer(f"the desk did not take up the mass cancel: {error}") from None

    # -- reports ------------------------------------------------------------------------------------------------------

    def reports(self, timeout: float = 0.0) -> Iterator[Report]:
        """Reports as they come; ends once none came for `timeout` seconds. Raises DeskDown when all are read and
        the desk is gone, RingCorrupt."""
        self._settle()
        ring = self._client.reports
        while self._await_report(timeout) and (frame := ring.peek()) is not None:
            found = list(self._fresh(frame))
            if not found:
                ring.commit()
            for at, (record, words) in enumerate(found, 1):
                self._mark(record)
                self._handed = at == len(found)
                yield decode_report(record, self.desk_id, words)
            self._settle()

    def raw_reports(self, timeout: float = 0.0, max_bytes: int = 1 << 20) -> list[bytes]:
        """Frames of report records (256 bytes each, `record.decode_report`; a TEXT record may follow its REPORT),
        about `max_bytes` of them; empty if none came within `timeout` seconds. Raises DeskDown, RingCorrupt."""
        self._settle()
        if not self._await_report(timeout):
            return []
        frames = self._client.reports.peek_many(max_bytes)
        self._handed = True
        return [frame for frame in map(self._fresh_frame, frames) if frame]

    def _settle(self) -> None:
        """What was handed out whole counts as taken; what was not is read again (and dropped where it was seen)."""
        self._mine()
        if self._handed:
            self._handed = False
            self._client.reports.commit()
        else:
            self._client.reports.rewind()

    def _await_report(self, timeout: float) -> bool:
        ready = self._client.reports.ready
        deadline = monotonic() + timeout
        while not ready():
            self._look(monotonic_ns())
            left = deadline - monotonic()
            if left <= 0:
                return False
            self._client.bell.wait(ready, min(left, CHECK_NS / 1e9))
        return True

    def _fresh(self, frame: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """The frame's reports that were not seen before, each with its text."""
        for at in range(0, len(frame), REPORT_BYTES):
            if frame[at] == Kind.REPORT:
                record, end = frame[at : at + REPORT_BYTES], at + 2 * REPORT_BYTES
                if not self._was_seen(record):
                    has_text = record[AT_FLAGS] & ReportFlag.HAS_TEXT and len(frame) >= end
                    yield record, frame[end - REPORT_BYTES : end] if has_text else None

    def _fresh_frame(self, frame: bytes) -> bytes:
        """The frame without what was seen before; cheap where all of it is news."""
        last = frame[-REPORT_BYTES:]
        if last[0] == Kind.REPORT and not self._was_seen(frame[:REPORT_BYTES]) and not self._mixes_origins(frame):
            self._mark(last)
            return frame
        parts: list[bytes] = []
        for record, words in self._fresh(frame):
            self._mark(record)
            parts.append(record + words if words else record)
        return b"".join(parts)

    @staticmethod
    def _mixes_origins(frame: bytes) -> bool:
        return len({flags & _FROM_SENDER for flags in frame[AT_FLAGS::REPORT_BYTES]}) > 1

    def _was_seen(self, record: bytes) -> bool:
        sequence = int.from_bytes(record[AT_SEQUENCE : AT_SEQUENCE + 8], "little")
        return 0 < sequence <= self._seen[bool(record[AT_FLAGS] & _FROM_SENDER)]

    def _mark(self, record: bytes) -> None:
        sequence = int.from_bytes(record[AT_SEQUENCE : AT_SEQUENCE + 8], "little")
        if sequence:  # a refusal that is in no journal has none
            self._seen[bool(record[AT_FLAGS] & _FROM_SENDER)] = sequence

    # -- the desk -----------------------------------------------------------------------------------------------------

    def _mine(self) -> None:
        if os.getpid() != self._pid:
            raise WrongProcess(f"upstream {self.name!r} belongs to process {self._pid}: attach one of your own")

    def _look(self, now_ns: int) -> None:
        """Is this still our process and, now and then, is the desk still there? Raises DeskDown."""
        self._mine()
        if now_ns - self._checked_ns > CHECK_NS:
            self._check()
            self._checked_ns = now_ns

    def close(self) -> None:
        """Leaves. Reports that were not taken wait for the next one of that name. A forked child leaves nothing."""
        if os.getpid() != self._pid:
            return
        if self._handed:
            self._client.reports.commit()
        self._handed = False
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._handed = self._handed and error is None
        self.close()


def _next_bell(runtime: Path) -> Bell | None:
    """The doorbell of the sender, for announcements: it wakes up while intake decides. None: it has none yet, and is
    waked by intake."""
    try:
        return Bell.attach(str(runtime / "sender.bell"))
    except NotThere:
        return None


def _require_alive(runtime: Path) -> None:
    if lock.holder(str(runtime / SUPERVISOR_LOCK)) is None:
        name = runtime.name
        raise DeskDown(f"no desk runs as {name!r} (its supervisor is gone): start it: `oms run --instance {name}`")


def _require_owner(runtime: Path) -> None:
    """Root may write everywhere, but a desk serves its own user's files only."""
    owner = os.stat(runtime).st_uid
    if owner != os.geteuid():
        raise NotOurs(str(runtime), f"the desk belongs to user {owner}, not to {os.geteuid()}: attach as that user")


def _require_ours(runtime: Path, path: Path, file: int) -> None:
    """A supervisor lives, and our file is still the one that its intake serves."""
    _require_alive(runtime)
    try:
        same = os.stat(path).st_ino == file
    except FileNotFoundError:
        same = False
    if not same:
        raise DeskDown(f"desk {runtime.name!r} was started anew meanwhile: attach again")


def _create(path: Path, name: str, desk: DeskConfig) -> None:
    """The upstream's file, complete or not at all. Of two who create it at once, one wins and both may go on."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_name(f".{name}.{os.getpid()}.{threading.get_ident()}")
    create_duplex(str(temporary), desk.upstream_request_bytes, desk.upstream_report_bytes, name).close()
    try:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
