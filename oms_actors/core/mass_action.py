"""Mass actions (FIX's OrderMassActionRequest): one wish that concerns many orders.

A wish is journalled when it is taken up and when it is done, and carried out in steps of bounded size in between, so
that a million orders stop nobody. It concerns orders up to a number, those that were there when it was uttered. Doing
it again to an order that it has reached changes nothing, so after a restart what was not done is begun anew.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from oms_actors.core.pending import Order
from oms_actors.messages import ACCOUNT_MAX, SYMBOL_MAX
from oms_actors.record import text

TAIL = struct.Struct("<B3xIQ16s16sQQ24x")
"""In the reserve of a SESSION record, 88 bytes: action, upstream, order number, account, symbol, the sequence of the
wish and how many orders it concerned (both only once it is done)."""


class Mass(IntEnum):
    """What is done to each. Never renumbered."""

    CANCEL = 1
    """What waits ends CANCELED; for what the exchange has, a CANCEL of our own goes out."""
    CANCEL_WAITING = 2
    CANCEL_WORKING = 3
    EXPIRE_WAITING = 4
    GIVE_UP = 5
    """What is in doubt ends DONE_UNKNOWN."""
    ROLL = 6
    """The trade date is over: what is not carried over expires."""


class MassAction(NamedTuple):
    """`upstream` 0, `account` and `symbol` empty: any. Names are padded."""

    mass: Mass
    reason: int
    upstream: int = 0
    account: bytes = b""
    symbol: bytes = b""
    upto: int = (1 << 64) - 1
    """Orders with a greater number came later and are not meant."""

    def concerns(self, order: Order) -> bool:
        """Is this order meant?"""
        record = order.record
        return (
            (not self.upstream or order.upstream == self.upstream)
            and (not self.account or record[80:96] == self.account)
            and (not self.symbol or record[168:184] == self.symbol)
            and order.number <= self.upto
        )

    def tail(self, wish: int = 0, count: int = 0) -> bytes:
        """As it lies in a SESSION record."""
        return TAIL.pack(self.mass, self.upstream, self.upto, self.account, self.symbol, wish, count)

    def __str__(self) -> str:
        scope = [f"upstream {self.upstream}"] if self.upstream else []
        scope += [f"account {text(self.account)}"] if self.account else []
        scope += [f"symbol {text(self.symbol)}"] if self.symbol else []
        return f"{self.mass.name.lower()} of {', '.join(scope) or 'everything'}"


def mass_action(action: Mass, reason: int, upstream: int = 0, account: str = "", symbol: str = "") -> MassAction:
    """From names as people write them."""
    return MassAction(
        action, reason, upstream, account.encode().ljust(ACCOUNT_MAX, b"\0") if account else b"",
        symbol.encode().ljust(SYMBOL_MAX, b"\0") if symbol else b"",
    )  # fmt: skip


def read_action(tail: bytes, reason: int) -> MassAction:
    """The wish in a SESSION record."""
    action, upstream, upto, account, symbol, _, _ = TAIL.unpack(tail)
    account, symbol = (name if name[0] else b"" for name in (account, symbol))
    return MassAction(Mass(action), reason, upstream, account, symbol, upto)


def wish_of(tail: bytes) -> int:
    """The sequence of the wish that a SESSION record says to be fulfilled; 0 for none."""
    return int(TAIL.unpack(tail)[5])
