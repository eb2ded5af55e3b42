"""An exchange in the sender's process that writes down every call, for tests to read. What it does with an order is in
the order's symbol: FILL is filled at once, MUTE gets no answer, BUSY is promised not to have been sent, TORN breaks in
the middle of the call, CUT loses the connection in it; RACE executes 3 before it replaces and all before it would
cancel; everything else is acknowledged and works until it is changed or canceled."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from oms_actors import ExchangeResponse, NotSent, ResponseType
from oms_actors.edges.exchange import ExchangeRequest

ADAPTER = "tests.rules.exchange:Recorder"


class Call(NamedTuple):
    """One call: when (UTC ns), what, and for a request its kind, ids and values."""

    time_ns: int
    what: str
    kind: str = ""
    client_order_id: str = ""
    orig_client_order_id: str = ""
    quantity: str = ""
    price: str = ""
    resend: str = ""
    """Marked as a possible resend?"""


def calls_in(path: Path) -> list[Call]:
    """Every call so far."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [Call(int(first), *rest) for first, *rest in (line.split(",") for line in lines)]


class Recorder:
    """The adapter. `logout`: does it answer a logout?"""

    def __init__(self, path: str, logout: bool = True) -> None:
        self._answers_logout = logout
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        self._executions = time.time_ns()

    def _note(self, *words: object) -> None:
        os.write(self._file, (",".join([str(time.time_ns()), *map(str, words)]) + "\n").encode())

    def _say(
        self, kind: ResponseType, client_order_id: str, quantity: Decimal, price: Decimal | None, exec_id: str
    ) -> None:  # fmt: skip
        self._on_response(ExchangeResponse(
            type=kind, client_order_id=client_order_id, quantity=quantity, price=price or 0, exec_id=exec_id
        ))  # fmt: skip

    def connect(self, on_response: Callable[[ExchangeResponse], None]) -> None:
        self._on_response = on_response
        self._note("connect")

    def send_logon(self, username: str, password: str) -> None:
        self._note("logon")
        self._on_response(ExchangeResponse(type=ResponseType.LOGON_ACK))

    def send_logout(self, username: str) -> None:
        self._note("logout")
        if self._answers_logout:
            self._on_response(ExchangeResponse(type=ResponseType.LOGOUT_ACK))

    def send(self, request: ExchangeRequest) -> None:
        name, quantity, price = request.client_order_id, request.quantity, request.price
        kind = request.kind.name
        resend = "again" if request.possible_resend else ""
        self._note("send", kind, name, request.orig_client_order_id, quantity, price, resend)
        if request.symbol == "BUSY":
            raise NotSent("no room on the line")
        if request.symbol == "TORN":
            raise OSError("the line broke in the middle")
        if request.symbol == "CUT":
            raise ConnectionResetError("the other end is gone")
        if request.symbol == "MUTE":
            return
        if request.symbol == "RACE" and kind != "NEW":
            self._fill(request.orig_client_order_id, Decimal(3) if kind == "MODIFY" else quantity, Decimal("5.01"))
            if kind == "CANCEL":
                self._say(ResponseType.CANCEL_REJECT, name, Decimal(0), price, "")
                return
        answer = {"NEW": ResponseType.ACK, "MODIFY": ResponseType.REPLACED, "CANCEL": ResponseType.CANCELED}[kind]
        self._say(answer, name, quantity if kind == "MODIFY" else Decimal(0), price, "")
        if kind == "NEW" and request.symbol == "FILL":
            self._fill(name, quantity, price or Decimal(5))

    def _fill(self, name: str, quantity: Decimal, price: Decimal) -> None:
        self._executions += 1
        self._say(ResponseType.FILL, name, quantity, price, f"E{self._executions}")

    def close(self) -> None:
        self._note("close")


class Asked(Recorder):
    """Can be asked about an order, and recognises one that it has seen. Of MUTE it has every order; of TORN only what
    comes again has arrived."""

    deduplicates = True

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._there: set[str] = set()
        self._torn: set[str] = set()

    def send(self, request: ExchangeRequest) -> None:
        name = request.client_order_id
        if request.symbol == "TORN" and name in self._torn:
            self._note("send", "NEW", name, "", request.quantity, request.price, "again" * request.possible_resend)
            self._say(ResponseType.ACK, name, Decimal(0), None, "")
            return
        (self._torn if request.symbol == "TORN" else self._there).add(name)
        super().send(request)

    def query(self, client_order_id: str) -> None:
        self._note("query", "", client_order_id)
        found = ResponseType.QUERY_FOUND if client_order_id in self._there else ResponseType.QUERY_NOT_FOUND
        self._say(found, client_order_id, Decimal(0), None, "")
