"""The link to the simulated venue: an adapter over one pair of rings.

    <runtime>/venue/<session>.up       requests (192-byte INTENTs, 256-byte controls) and reports (REPORT, TEXT)
    <runtime>/venue/<session>.bell     link to the bell at which the client sleeps, if it is not the file's own
    <runtime>/venue.bell               the venue's

The file outlives both ends: whoever is killed and comes back goes on where its rings stand. Reports are given back to
the ring only at the next `poll`, so the sender journals what it drained before it polls again.

The adapter is deliberately not thread safe, as most exchange interfaces are; it finds two callers at once, refuses
the second and tells the venue, which counts it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import NoReturn

from ipc.duplex import Client, Duplex, create_duplex
from ipc.errors import FrameTooLarge, IpcError, NotThere, RingCorrupt, VersionMismatch
from ipc.wait import Bell
from oms_actors.core.controls import Verb, encode_command, encode_session
from oms_actors.core.execution import EXECUTION
from oms_actors.edges.exchange import ExchangeRequest, decode_response
from oms_actors.errors import NotSent, OmsError, Reason, reason_text
from oms_actors.messages import ExchangeResponse, Kind, ReportFlag, ResponseType, SessionEvent
from oms_actors.record import REPORT_BYTES, REQUEST_BYTES, decode_text

LINK_SUFFIX, BELL_SUFFIX = ".up", ".bell"
REATTACH_S = 0.1
_NO_BELL = memoryview(bytes(4)).cast("I")
_POLL_BYTES = 3 << 20
"""Of reports in one poll: more than the answers to all that a cycle of the sender lets out, so that they never pile up.
"""


class ConcurrentCall(OmsError):
    """Two callers were inside the adapter at once. Nothing left by the second."""


class VenueAdapter:
    """An exchange adapter that speaks with the venue process of `directory` (<runtime>/venue) as `session`.

    `bell` is the path of the bell that the venue rings when it has reports. `on_records(frame)`, if set before
    `connect`, gets reports as they come over the ring; else each becomes an ExchangeResponse.
    """

    deduplicates = True

    def __init__(
        self, directory: str, session: str = "desk", bell: str = "", request_bytes: int = 4 << 20,
        report_bytes: int = 16 << 20,
    ) -> None:  # fmt: skip
        self.on_records: Callable[[bytes], None] | None = None
        self.concurrent_calls = 0
        self._directory, self._session, self._bell_path = directory, session, bell
        self.rings = bool(bell)
        self._path = os.path.join(directory, session + LINK_SUFFIX)
        self._sizes = (request_bytes, report_bytes)
        self._inside = threading.Lock()
        self._told_concurrent_calls = 0
        self._client: Client | None = None
        self._put: Callable[[bytes], bool] = _unconnected
        self._on_response: Callable[[ExchangeResponse], None] | None = None
        self._venue_bell: Bell | None = None
        self._venue_flag = _NO_BELL
        self._look_s = 0.0
        self._file = 0
        self._polled = (0, 0)  # the venue's token of the file, and how far its reports were handed out

    # -- the port ---------------------------------------------------------------------------------------------------

    def connect(self, on_response: Callable[[ExchangeResponse], None]) -> None:
        """Attaches the session's rings, or makes them. Raises AlreadyLocked while another process holds them."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        self._on_response = on_response
        self._link_bell()
        try:
            self._client = Duplex.attach_client(self._path)
        except (NotThere, VersionMismatch, RingCorrupt):
            create_duplex(self._path, *self._sizes, self._session).close()
            self._client = Duplex.attach_client(self._path)
        self._put = self._client.requests.try_put
        self._file = os.stat(self._path).st_ino
        self._skip_polled(self._client)
        self._find_venue_bell()

    def send_logon(self, username: str, password: str) -> None:
        self.send_record(encode_session(SessionEvent.LOGON_SENT, username, password))

    def send_logout(self, username: str) -> None:
        self.send_record(encode_session(SessionEvent.LOGOUT_SENT, username))

    def send(self, request: ExchangeRequest) -> None:
        self.send_record(request.record)

    def query(self, client_order_id: str, account: str = "") -> None:
        """What became of a request? Answered by QUERY_FOUND (with the state) or QUERY_NOT_FOUND."""
        self.send_record(encode_command(Verb.QUERY, account, client_order_id))

    def mass_cancel(self, account: str = "") -> None:
        """Cancels every order of the session (of one account); each is answered by CANCELED."""
        self.send_record(encode_command(Verb.MASS_CANCEL, account))

    def poll(self) -> None:
        """Gives the reports of the last poll back to the ring and takes the next ones out of it."""
        if not self._inside.acquire(blocking=False):
            self._refuse()
        try:
            if monotonic() >= self._look_s:
                self._look()
            if self._client:
                self._client.reports.commit()
                deliver = self.on_records or self._decode
                for frame in self._client.reports.peek_many(_POLL_BYTES):
                    deliver(frame)
        finally:
            self._inside.release()

    def ready(self) -> bool:
        """Are there reports to poll?"""
        return self._client is not None and self._client.reports.ready()

    def close(self) -> None:
        """Lets go of the rings; what was not polled twice stays there for the next client's process."""
        if self._client:
            self._polled = self._client.server_word, self._client.reports.position
            self._client.close()
            self._client = None
            self._put = _unconnected

    @property
    def resumes(self) -> bool:
        """The session's rings are there: what was on its way when their last client ended still is."""
        return os.path.exists(self._path)

    # -- the short way: records as they are -------------------------------------------------------------------------

    def send_record(self, record: bytes) -> None:
        """Puts one record, or a frame of them, on its way: whole, or NotSent and nothing left."""
        if not self._inside.acquire(blocking=False):
            self._refuse()
        try:
            if self.concurrent_calls != self._told_concurrent_calls:
                self._tell_concurrent_calls()
            if not self._put(record):
                raise NotSent("the ring to the venue is full: the venue does not read")
        except FrameTooLarge as error:
            raise NotSent(str(error)) from None
        finally:
            self._inside.release()  # and the fence that a look at the venue's flag needs before it (ipc.wait)
        if self._venue_flag[0] and self._venue_bell:
            self._venue_bell.wake()

    def send_records(self, frame: bytes, count: int) -> None:
        """Puts `count` INTENT records on their way at once: all, or NotSent and none."""
        self.send_record(frame)

    def room(self) -> int:
        """How many INTENTs would certainly fit into one frame now."""
        if self._client is None:
            return 0
        ring = self._client.requests
        return min(ring.free_bytes() // 2, ring.frame_bytes_max) // REQUEST_BYTES  # half may be lost at the ring's end

    @property
    def position(self) -> int:
        """How far the session's requests have left, ever growing; also after a restart of this end."""
        return self._client.requests.position if self._client else 0

    def has_left(self, position: int) -> bool | None:
        """Has anything left since a predecessor's line stood at `position`? None: that cannot be told any more."""
        try:
            client = self._client or Duplex.attach_client(self._path)
        except IpcError:
            return None
        try:
            now = client.requests.position
            return now > position if now >= position else None
        finally:
            if client is not self._client:
                client.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _refuse(self) -> NoReturn:
        self.concurrent_calls += 1
        raise ConcurrentCall(f"venue adapter: {reason_text(Reason.CONCURRENT_CALL)}")

    def _tell_concurrent_calls(self) -> None:
        while self._told_concurrent_calls < self.concurrent_calls and self._put(encode_command(Verb.CONCURRENT_CALL)):
            self._told_concurrent_calls += 1

    def _skip_polled(self, client: Client) -> None:
        """Steps over what this adapter has handed out before it was closed: it is given back at the next `poll`."""
        token, position = self._polled
        if token and token == client.server_word:
            while client.reports.position < position and client.reports.peek() is not None:
                pass

    def _link_bell(self) -> None:
        """Leaves word beside the file where the client sleeps."""
        link = os.path.join(self._directory, self._session + BELL_SUFFIX)
        temporary = f"{link}.{os.getpid()}.new"
        if self._bell_path:
            os.symlink(self._bell_path, temporary)
            os.rename(temporary, link)
        elif os.path.islink(link):
            os.unlink(link)

    def _look(self) -> None:
        """Are we still speaking with the venue that will be looking for us?"""
        self._look_s = monotonic() + REATTACH_S
        self._find_venue_bell()
        if self._client is None:
            return
        try:
            is_ours = os.stat(self._path).st_ino == self._file
        except FileNotFoundError:
            is_ours = False
        if not is_ours and self._on_response:
            self.close()
            words = f"{self._path} was removed: the venue has ended and taken its directory with it"
            self._on_response(ExchangeResponse(type=ResponseType.DISCONNECTED, text=words))

    def _find_venue_bell(self) -> None:
        """The venue's bell, again if the venue has made a new one."""
        path = os.path.realpath(self._directory) + BELL_SUFFIX
        try:
            inode = os.stat(path).st_ino
            known = self._venue_bell.segment if self._venue_bell else None
            if known and os.fstat(known.fd).st_ino == inode:
                return
            self._venue_bell = Bell.attach(path)
            self._venue_flag = self._venue_bell.flag
        except (OSError, NotThere, VersionMismatch):
            return  # no venue yet

    def _decode(self, frame: bytes) -> None:
        """Hands each report to `on_response`, with the text behind it."""
        if self._on_response is None:
            return
        for at in range(0, len(frame), REPORT_BYTES):
            head = frame[at : at + REPORT_BYTES]
            if head[0] == Kind.REPORT:
                has_text = head[5] & ReportFlag.HAS_TEXT
                text = decode_text(frame[at + REPORT_BYTES : at + 2 * REPORT_BYTES]) if has_text else _reason(head)
                self._on_response(decode_response(head, text))


def _reason(report: bytes) -> str:
    """In words, if the report has any."""
    _, _, reason, field, *_, value, limit, _, _ = EXECUTION.unpack(report)
    return reason_text(reason, field, value, limit) if reason else ""


def _unconnected(record: bytes) -> bool:
    raise NotSent("not connected to the venue")
