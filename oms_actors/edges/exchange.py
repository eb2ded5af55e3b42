"""The exchange port: what an adapter is, how it is loaded, who may call it and how its answers come back.

An adapter is any class with these methods, named in the configuration as "package.module:Class":

    connect(on_response)               make the connection; answers go to `on_response(ExchangeResponse)`, any thread
    send_logon(username, password)     answered by LOGON_ACK or LOGON_REJECT
    send_logout(username)              answered by LOGOUT_ACK
    send(request: ExchangeRequest)     NEW, MODIFY or CANCEL
    close()

It may also have `poll()`, called often on the sender's thread, `ready()`, whether `poll` has work to do,
`query(client_order_id)`, answered by QUERY_FOUND or QUERY_NOT_FOUND, `room()`, how many requests it takes now (what
is more waits in the queue), and two attributes: `deduplicates`, the
exchange recognises a client order id that it has seen; `resumes`, a new connection goes on where the last one ended,
so that nothing that was on its way is lost. One with `poll` and `rings = True` promises that the sender's bell is rung
whenever there is something to poll; any other is polled every 50 ms at least.
`send` may raise NotSent, which promises that nothing left; every other exception means that nobody knows. A
ConnectionError out of `send` or `query` says besides that the connection is gone, as the response DISCONNECTED does.

Answers are encoded on the sender's thread (`Responses.drain`), so that nothing an adapter says can raise inside it.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from functools import cached_property
from time import monotonic_ns
from typing import Any, NoReturn, Protocol

from oms_actors import record
from oms_actors.errors import ONE, ConfigError, FieldError, Reason, WrongCaller
from oms_actors.messages import (
    ACCOUNT_MAX,
    EXEC_ID_MAX,
    ID_MAX,
    INT64_MAX,
    ExchangeResponse,
    Flag,
    Kind,
    Number,
    OrderType,
    OrdStatus,
    ReportFlag,
    ResponseType,
    Side,
    TimeInForce,
    enum_of,
    fixed,
    text_of,
)

_FRAME_RECORDS = 512
REQUIRED = ("connect", "send_logon", "send_logout", "send", "close")
_SESSION_TYPES = frozenset(
    {ResponseType.LOGON_ACK, ResponseType.LOGON_REJECT, ResponseType.LOGOUT_ACK, ResponseType.DISCONNECTED}
)


class Adapter(Protocol):
    """What every adapter has."""

    def connect(self, on_response: Callable[[ExchangeResponse], None], /) -> None: ...
    def send_logon(self, username: str, password: str, /) -> None: ...
    def send_logout(self, username: str, /) -> None: ...
    def send(self, request: ExchangeRequest, /) -> None: ...
    def close(self) -> None: ...


class Vitals(Protocol):
    """The part of the process's vital signs that says how long a call lasts."""

    def enter_call(self, now_ns: int) -> None: ...
    def leave_call(self) -> None: ...


class Rings(Protocol):
    """A doorbell."""

    def ring(self) -> None: ...


# -- loading --------------------------------------------------------------------------------------------------------


def load_adapter(path: str, options: dict[str, Any], config_dir: str, offers: dict[str, Any] | None = None) -> Adapter:
    """An instance of the adapter class "package.module:Class" from PYTHONPATH or `config_dir`.

    `options` become keyword arguments. Of `offers`, facts about the desk (its runtime directory, its bell), an adapter
    gets those that its constructor names and `options` does not set. ConfigError says what does not fit.
    """
    cls = _adapter_class(path, config_dir)
    arguments = _arguments(path, cls, options, offers or {})
    try:
        adapter: Adapter = cls(**arguments)
    except Exception as error:
        raise ConfigError([f"exchange.adapter: {path} cannot be made: {type(error).__name__}: {error}"]) from error
    return adapter


def check_adapter(path: str, options: dict[str, Any], config_dir: str) -> None:
    """ConfigError if the class cannot be imported, is no adapter, or does not take one of the `options`."""
    cls = _adapter_class(path, config_dir)
    try:
        inspect.signature(cls).bind_partial(**options)
    except TypeError as error:
        raise ConfigError([f"exchange.options: do not fit {path}: {error}"]) from None
    except ValueError:
        pass  # a class written in C need not say what it takes


def _adapter_class(path: str, config_dir: str) -> type[Any]:
    cls = _class_of(path, config_dir)
    missing = [name for name in REQUIRED if not callable(getattr(cls, name, None))]
    if missing:
        raise ConfigError([f"exchange.adapter: {path} lacks {', '.join(f'{name}()' for name in missing)}"])
    return cls


def _class_of(path: str, config_dir: str) -> type[Any]:
    module_name, colon, class_name = path.partition(":")
    if not colon or not module_name or not class_name:
        raise ConfigError([f'exchange.adapter: {path!r} must read "package.module:Class"'])
    if config_dir and config_dir not in sys.path:
        sys.path.append(config_dir)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError([_import_problem(module_name, config_dir, error)]) from error
    cls = getattr(module, class_name, None)
    if not isinstance(cls, type):
        raise ConfigError([f"exchange.adapter: no class {class_name!r} in {module.__file__ or module_name}"])
    return cls


def _import_problem(module_name: str, config_dir: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
        return f"exchange.adapter: no module {error.name!r} on PYTHONPATH or in {config_dir or 'the current folder'}"
    return f"exchange.adapter: importing {module_name!r} failed: {type(error).__name__}: {error}"


def _arguments(path: str, cls: type[Any], options: dict[str, Any], offers: dict[str, Any]) -> dict[str, Any]:
    try:
        signature = inspect.signature(cls)
    except (TypeError, ValueError):  # a class written in C need not say
        return options
    arguments = {name: value for name, value in offers.items() if name in signature.parameters} | options
    try:
        signature.bind(**arguments)
    except TypeError as error:
        takes = ", ".join(signature.parameters) or "none"
        raise ConfigError([f"exchange.options: do not fit {path}: {error} (it takes: {takes})"]) from None
    return arguments


# -- calling --------------------------------------------------------------------------------------------------------


class _NoVitals:
    def enter_call(self, now_ns: int) -> None: ...
    def leave_call(self) -> None: ...


def _never() -> bool:
    return False


def _endless() -> int:
    return sys.maxsize


def _unknown(position: int) -> None:
    return None


class Caller:
    """The adapter behind a guard: only the process and thread that made the Caller may call it.

    A call from anywhere else raises WrongCaller and never reaches the adapter. While a call lasts, the vital signs say
    since when.
    """

    def __init__(self, adapter: Adapter, vitals: Vitals | None = None) -> None:
        self.adapter = adapter
        self.deduplicates = bool(getattr(adapter, "deduplicates", False))
        self.can_query = callable(getattr(adapter, "query", None))
        self.is_raw = callable(getattr(adapter, "send_records", None))
        """The adapter takes INTENT records as they are: `send_record`, `send_records`."""
        self.room: Callable[[], int] = getattr(adapter, "room", _endless)
        """How many INTENTs the adapter takes now."""
        self.has_left: Callable[[int], bool | None] = getattr(adapter, "has_left", _unknown)
        """Has anything left since the adapter's `position` was this? None: nobody knows."""
        self.ready: Callable[[], bool] = getattr(adapter, "ready", _never)
        """Has the adapter work for `poll`? Asked before every sleep."""
        self._vitals: Vitals = vitals or _NoVitals()
        self._owner = (os.getpid(), threading.get_ident())
        self._poll = getattr(adapter, "poll", None)
        self.must_be_polled = self._poll is not None and not getattr(adapter, "rings", False)
        """Nobody tells when there is something to poll."""
        self.must_be_asked = self.must_be_polled and self.ready is _never
        """Only `poll` shows whether there is."""
        self._query_takes_account = self.can_query and _takes(adapter, "query", "account")

    def connect(self, responses: Responses) -> None:
        """Makes the connection; what the adapter says goes to `responses` (raw frames too, if it has them)."""
        if hasattr(self.adapter, "on_records"):
            self.adapter.on_records = responses.on_records
        self._call(self.adapter.connect, responses.on_response)

    def send_logon(self, username: str, password: str) -> None:
        self._call(self.adapter.send_logon, username, password)

    def send_logout(self, username: str) -> None:
        self._call(self.adapter.send_logout, username)

    def send(self, intent: bytes) -> None:
        """Hands over one INTENT record (192 bytes). Raises NotSent (nothing left), or anything: nobody knows."""
        self._call(self.adapter.send, ExchangeRequest(intent))

    def send_record(self, intent: bytes) -> None:
        """Like `send`, for an adapter that `is_raw`: the record goes as it is. (As `_call`, for it is waited for.)"""
        if self._owner != (os.getpid(), threading.get_ident()):
            self._refuse("send_record")
        vitals = self._vitals
        vitals.enter_call(monotonic_ns())
        try:
            self.adapter.send_record(intent)  # type: ignore[attr-defined]
        finally:
            vitals.leave_call()

    def send_records(self, frame: bytes, count: int) -> None:
        """Like `send_record` for `count` INTENT records at once: all of them leave, or NotSent and none."""
        self._call(self.adapter.send_records, frame, count)  # type: ignore[attr-defined]

    @property
    def position(self) -> int:
        """How far the adapter's line has come, for `has_left`; 0 where it does not say."""
        return int(getattr(self.adapter, "position", 0))

    def query(self, client_order_id: str, account: str = "") -> None:
        """Asks what became of a request (only if `can_query`)."""
        query: Callable[..., None] = self.adapter.query  # type: ignore[attr-defined]
        if self._query_takes_account:
            self._call(query, client_order_id, account)
        else:
            self._call(query, client_order_id)

    def poll(self) -> None:
        """Lets the adapter work on this thread, if it wants to."""
        if self._poll is not None:
            self._call(self._poll)

    def close(self) -> None:
        self._call(self.adapter.close)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._owner != (os.getpid(), threading.get_ident()):
            self._refuse(function.__name__)
        self._vitals.enter_call(monotonic_ns())
        try:
            function(*arguments)
        finally:
            self._vitals.leave_call()


    def _refuse(self, what: str) -> NoReturn:
        raise WrongCaller(
            f"the exchange API belongs to process {self._owner[0]}, thread {self._owner[1]}; {what} was called by "
            f"process {os.getpid()}, thread {threading.get_ident()}"
        )


def _takes(adapter: Adapter, method: str, parameter: str) -> bool:
    try:
        return parameter in inspect.signature(getattr(adapter, method)).parameters
    except (TypeError, ValueError):
        return False


class ExchangeRequest:
    """What `send` gets: an INTENT record that decodes a field when it is asked for. `record` is its 192 bytes."""

    def __init__(self, intent: bytes) -> None:
        self.record = intent

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return dict(zip(record.REQUEST_NAMES, record.REQUEST.unpack(self.record), strict=True))

    @property
    def kind(self) -> Kind:
        """NEW, MODIFY or CANCEL."""
        return Kind(self.record[0] & 31)

    @property
    def client_order_id(self) -> str:
        return record.text(self._fields["client_order_id"])

    @property
    def orig_client_order_id(self) -> str:
        """Of MODIFY and CANCEL: the id under which the exchange knows the order."""
        return record.text(self._fields["orig_client_order_id"])

    @property
    def symbol(self) -> str:
        return record.text(self._fields["symbol"])

    @property
    def account(self) -> str:
        return record.text(self._fields["account"])

    @property
    def side(self) -> Side:
        return Side(self._fields["side"])

    @property
    def quantity(self) -> Decimal:
        """Total order quantity; of MODIFY the new one."""
        return _decimal(self._fields["quantity"])

    @property
    def price(self) -> Decimal | None:
        """None for an order without a limit."""
        return _decimal(self._fields["price"]) if self._fields["price"] else None

    @property
    def stop_price(self) -> Decimal | None:
        return _decimal(self._fields["stop_price"]) if self._fields["stop_price"] else None

    @property
    def order_type(self) -> OrderType:
        return OrderType(self._fields["order_type"])

    @property
    def time_in_force(self) -> TimeInForce:
        return TimeInForce(self._fields["time_in_force"])

    @property
    def expire_time_ns(self) -> int:
        """Of GTD: ns since the epoch (UTC)."""
        return int(self._fields["expire_time_ns"])

    @property
    def post_only(self) -> bool:
        return bool(self._fields["flags"] & Flag.POST_ONLY)

    @property
    def possible_resend(self) -> bool:
        """It may have been sent before under the same client order id (FIX 97)."""
        return bool(self._fields["flags"] & Flag.POSSIBLE_RESEND)

    @property
    def order_number(self) -> int:
        """Our number of the order, the same in all its requests."""
        return int(self._fields["order_number"])

    @property
    def sequence(self) -> int:
        """Of the INTENT in the sender's journal: never used twice."""
        return int(self._fields["sequence"])

    def __repr__(self) -> str:
        return f"<ExchangeRequest {self.kind.name} {self.client_order_id}>"


def _decimal(value: int) -> Decimal:
    return Decimal(value) / ONE


# -- answers --------------------------------------------------------------------------------------------------------


class Responses:
    """The inbox for what the exchange says: filled from any thread, drained by the sender as REPORT records.

    A drained record has the flag FROM_VENUE, its `response_type`, the ids and `time_ns` of the response; its quantity
    and price in `last_quantity` and `last_price`; HAS_TEXT if a TEXT record follows. What cannot be encoded becomes an
    UNMATCHED record with a text that says why.
    """

    def __init__(self, bell: Rings | None = None) -> None:
        self.inbox: deque[object] = deque()
        """What was said and is not drained yet."""
        self._bell = bell

    def on_response(self, response: ExchangeResponse) -> None:
        """Takes whatever an adapter says, from any thread. Never raises, never blocks."""
        said: object = response
        self.inbox.append(repr(said) if isinstance(said, bytes) else said)  # bytes mean a frame from our own link
        if self._bell:
            self._bell.ring()

    def on_records(self, frame: bytes) -> None:
        """Takes ready REPORT and TEXT records (256 bytes each) from our own link."""
        self.inbox.append(frame)
        if self._bell:
            self._bell.ring()

    def ready(self) -> bool:
        """Is there something to drain?"""
        return bool(self.inbox)

    def drain_frames(self) -> list[bytes]:
        """Everything said so far, in order, as frames of whole records, none of them very long."""
        found: list[bytes] = []
        inbox = self.inbox
        parts: list[bytes] = []
        for _ in range(len(inbox)):
            said = inbox.popleft()
            whole = isinstance(said, bytes) and not len(said) % record.REPORT_BYTES
            if parts and (whole or len(parts) >= _FRAME_RECORDS):
                found.append(b"".join(parts))
                parts = []
            if whole:
                found.append(_sound(said))  # type: ignore[arg-type]
            else:
                parts += _split(said) if isinstance(said, bytes) else encode_response(said)
        if parts:
            found.append(b"".join(parts))
        return found

    def drain(self) -> list[bytes]:
        """Everything said so far, as records of 256 bytes, in order."""
        return [piece for frame in self.drain_frames() for piece in _split(frame)]


_WITHOUT_TEXT = bytes(flags for flags in range(256) if not flags & ReportFlag.HAS_TEXT)


def _sound(frame: bytes) -> bytes:
    """A frame of REPORT records, each with its TEXT if it says so; what is neither becomes an UNMATCHED record."""
    size = record.REPORT_BYTES
    has_text = int(ReportFlag.HAS_TEXT)
    plain = not frame[record.AT_FLAGS :: size].translate(None, _WITHOUT_TEXT)
    if plain and frame[::size].count(Kind.REPORT) * size == len(frame):
        return frame
    parts: list[bytes] = []
    texts = 0  # awaited
    for at in range(0, len(frame), size):
        kind, flags = frame[at], frame[at + record.AT_FLAGS]
        followed = frame[at + size : at + size + 1] == bytes((Kind.TEXT,))
        if kind == Kind.REPORT:
            texts = flags & has_text
            head = frame[at : at + size]
            parts.append(head if followed or not texts else head[:5] + bytes((flags & ~has_text,)) + head[6:])
        elif kind == Kind.TEXT and texts:
            texts = 0
            parts.append(frame[at : at + size])
        else:
            parts += _unmatched(0, f"a record of kind {kind} is no answer")
    return b"".join(parts)


def _split(frame: bytes) -> list[bytes]:
    size = record.REPORT_BYTES
    if len(frame) % size:
        return _unmatched(0, f"a frame of {len(frame)} bytes is not a number of {size}-byte records")
    return [frame[at : at + size] for at in range(0, len(frame), size)]


def encode_response(response: object) -> list[bytes]:
    """A response as its REPORT record, and the TEXT record behind it. Never raises."""
    try:
        if not isinstance(response, ExchangeResponse):
            raise FieldError("response", response, "must be an ExchangeResponse")
        return _encode(response)
    except Exception as error:  # whatever an adapter may hand over: it is told, and stops nothing
        return _unmatched(_type_or_zero(response), _told(error, response))


def _told(error: Exception, response: object) -> str:
    try:
        return f"{type(error).__name__}: {error}: in {response!r}"
    except Exception:
        return f"{type(error).__name__} in a response that cannot be shown"


def _encode(response: ExchangeResponse) -> list[bytes]:
    kind = enum_of("type", ResponseType, response.type)
    if kind not in _SESSION_TYPES and not response.client_order_id:
        raise FieldError("client_order_id", response.client_order_id, "must not be empty")
    if type(response.time_ns) is not int or not 0 <= response.time_ns <= INT64_MAX:
        raise FieldError("time_ns", response.time_ns, "must be ns since the epoch")
    is_fill = kind == ResponseType.FILL
    text = response.text
    if not isinstance(text, str):
        raise FieldError("text", text, "must be text")
    flags = ReportFlag.FROM_VENUE | (ReportFlag.HAS_TEXT if text else 0)
    head = record.REPORT.pack(
        Kind.REPORT, record.VERSION, 0, 0, enum_of("ord_status", OrdStatus, response.ord_status), flags, 0, kind, 0, 0,
        0, 0, Reason.VENUE_REJECT if kind == ResponseType.REJECT else 0, 0, response.time_ns, 0,
        _number("quantity", response.quantity, is_fill), _number("price", response.price, is_fill),
        _number("cum_quantity", response.cum_quantity, False), 0, 0, 0,
        text_of("account", response.account, ACCOUNT_MAX, empty=True),
        text_of("client_order_id", response.client_order_id, ID_MAX, empty=True),
        text_of("order_id", response.order_id, ID_MAX, empty=True), b"",
        text_of("exec_id", response.exec_id, EXEC_ID_MAX, empty=not is_fill), 0, 0, 0, 0,
    )  # fmt: skip
    return [head, record.encode_text(0, text)] if text else [head]


def decode_response(head: bytes, text: str = "") -> ExchangeResponse:
    """The response that a REPORT record of the exchange link stands for."""
    fields = dict(zip(record.REPORT_NAMES, record.REPORT.unpack(head), strict=True))
    return ExchangeResponse(
        type=ResponseType(fields["response_type"]),
        client_order_id=record.text(fields["client_order_id"]),
        exec_id=record.text(fields["exec_id"]),
        quantity=_decimal(fields["last_quantity"]),
        price=_decimal(fields["last_price"]),
        text=text,
        account=record.text(fields["account"]),
        time_ns=fields["time_ns"],
        cum_quantity=_decimal(fields["cum_quantity"]),
        ord_status=OrdStatus(fields["ord_status"]),
    )


def _number(field: str, value: Number, positive: bool) -> int:
    return fixed(field, value, allow_zero=not positive)


def _type_or_zero(response: object) -> int:
    kind = getattr(response, "type", 0)
    return int(kind) if isinstance(kind, ResponseType) else 0


def _unmatched(response_type: int, why: str) -> list[bytes]:
    flags = ReportFlag.FROM_VENUE | ReportFlag.UNMATCHED | ReportFlag.HAS_TEXT
    head = record.REPORT.pack(
        Kind.REPORT, record.VERSION, 0, 0, 0, flags, 0, response_type, 0, 0, 0, 0, Reason.MALFORMED, 0, 0, 0, 0, 0, 0,
        0, 0, 0, b"", b"", b"", b"", b"", 0, 0, 0, 0,
    )  # fmt: skip
    return [head, record.encode_text(0, why)]
