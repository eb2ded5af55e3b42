"""A hostile venue, on demand and from a seed: what happens to requests on their way in and to reports on their way out.

Requests may vanish, be refused, cut the connection, block the venue or kill it. Reports that answer a request may
vanish, come twice or in another order; a fill is never lost, only doubled or displaced, for no exchange loses one.
Every decision is taken per record from one random stream.
"""

from __future__ import annotations

import random

from oms_actors import record
from oms_actors.config import FaultsConfig
from oms_actors.core.controls import Verb, encode_command
from oms_actors.core.execution import INTENT_BYTES
from oms_actors.messages import Kind, ResponseType

_DROPPABLE = frozenset({
    ResponseType.ACK, ResponseType.REJECT, ResponseType.REPLACED, ResponseType.CANCEL_REJECT, ResponseType.CANCELED,
})  # fmt: skip
_AT_REQUEST, _AT_RESPONSE = 6, 7


class Faults:
    """`life` counts the starts of the venue, so that it does not die at the same request for ever; the same seed and
    life do the same to the same records."""

    def __init__(self, config: FaultsConfig, life: int) -> None:
        self._config = config
        self._random = random.Random(f"{config.seed}/{life}")
        self.block_ns = 0
        """How long the venue is to do nothing at all after this cycle."""
        self.dies_at = -1
        """Where in this cycle it is to die: 0 before the journal, 1 after it, 2 after the answers."""

    def requests(self, frame: bytes) -> tuple[bytes, bool]:
        """What arrives of a frame of INTENT records, and whether the connection is then cut."""
        chance, config = self._random.random, self._config
        kept, disconnect = [], False
        for at in range(0, len(frame), INTENT_BYTES):
            data = frame[at : at + INTENT_BYTES]
            if chance() < config.reject and data[0] == Kind.INTENT_NEW:
                kept.append(_refusal(data))
            elif chance() >= config.drop:
                kept.append(data)
            disconnect |= chance() < config.disconnect
            if chance() < config.block:
                self.block_ns = config.block_ms * 1_000_000
            if chance() < config.die:
                self.dies_at = self._random.randrange(3)
        return b"".join(kept), disconnect

    def reports(self, reports: list[bytes]) -> list[bytes]:
        """What is left of a batch of reports."""
        chance, config = self._random.random, self._config
        found: list[bytes] = []
        for data in reports:
            if data[_AT_RESPONSE] <= ResponseType.DISCONNECTED:  # the session's own words arrive, once
                found.append(data)
                continue
            if data[_AT_REQUEST] and data[_AT_RESPONSE] in _DROPPABLE and chance() < config.drop:
                continue
            found.append(data)
            if chance() < config.duplicate:
                found.append(data)
            if len(found) > 1 and chance() < config.reorder:
                found[-1], found[-2] = found[-2], found[-1]
        return found

    def delay_ns(self) -> int:
        """How long a batch of reports is late: exponential around `delay_ms`, at most ten times that."""
        delay_ms = self._config.delay_ms
        return int(min(self._random.expovariate(1 / delay_ms), 10 * delay_ms) * 1e6) if delay_ms else 0


def _refusal(data: bytes) -> bytes:
    """A NEW as the command to refuse it."""
    account, client_order_id = record.text(data[80:96]), record.text(data[96:132])
    return encode_command(Verb.REFUSE, account, client_order_id)
