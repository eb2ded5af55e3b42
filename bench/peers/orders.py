"""The dataclasses that the peers hand around."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class RequestType(Enum):
    """What is asked for."""

    NEW = 1
    MODIFY = 2
    CANCEL = 3


class ResponseKind(Enum):
    """What the exchange says."""

    ACCEPT = 1
    REJECT = 2


@dataclass
class OrderRequest:
    """One order on its way to the exchange."""

    symbol_id: int
    price: float
    quantity: int
    side: str
    order_id: int
    request_type: RequestType = RequestType.NEW
    received_ns: int = 0


@dataclass
class OrderResponse:
    """The exchange's answer."""

    order_id: int
    kind: ResponseKind
    latency_ns: int = 0


COUNT = "SELECT count(*), count(DISTINCT order_id) FROM responses"
SCHEMA = "CREATE TABLE responses (order_id INTEGER, kind TEXT, latency_ns INTEGER)"
INSERT = "INSERT INTO responses VALUES (?, ?, ?)"
