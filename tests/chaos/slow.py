"""An exchange in the sender's process whose calls do not return while a file named `block` is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from oms_actors import ExchangeResponse, ResponseType
from oms_actors.edges.exchange import ExchangeRequest

ADAPTER = "chaos.slow:SlowAdapter"


class SlowAdapter:
    """Every request is written down before it blocks, and acknowledged after it."""

    def __init__(self, folder: str) -> None:
        self._block, self._calls = Path(folder) / "block", Path(folder) / "calls"

    def connect(self, on_response: Callable[[ExchangeResponse], None]) -> None:
        self._on_response = on_response

    def send_logon(self, username: str, password: str) -> None:
        self._on_response(ExchangeResponse(type=ResponseType.LOGON_ACK))

    def send_logout(self, username: str) -> None:
        self._on_response(ExchangeResponse(type=ResponseType.LOGOUT_ACK))

    def send(self, request: ExchangeRequest) -> None:
        with self._calls.open("a") as calls:
            calls.write(f"{request.kind.name} {request.client_order_id}\n")
        while self._block.exists():
            time.sleep(0.005)
        kind = {"MODIFY": ResponseType.REPLACED, "CANCEL": ResponseType.CANCELED}.get(request.kind.name)
        self._on_response(ExchangeResponse(
            type=kind or ResponseType.ACK, client_order_id=request.client_order_id, quantity=request.quantity,
            price=request.price,
        ))  # fmt: skip

    def close(self) -> None:
        pass


def calls_in(folder: Path, but: str = "") -> list[str]:
    """The ids of all requests that were called, in order; of all kinds but one."""
    path = folder / "calls"
    calls = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [own for kind, own in calls if kind != but]
