"""What the scheduler says of trading hours, as everybody else sees it: a value.

It is enough to stop at the close without asking anybody: the interval is absolute, so who holds it and knows the time
needs no living scheduler.
"""

from __future__ import annotations

from typing import NamedTuple

FOREVER_NS = 1 << 62
"""The close of a desk that never closes."""


class SessionState(NamedTuple):
    """Trading hours as last published. Times are UTC ns; `[open_ns, close_ns)` is 0, 0 while closed.

    `trade_date` is yyyymmdd (0 while closed); `next_open_ns` is 0 where no opening is known, and so is the trade date
    that begins or goes on then.
    """

    state: int
    trade_date: int
    open_ns: int
    close_ns: int
    next_open_ns: int
    next_trade_date: int = 0

    @property
    def date(self) -> int:
        """Of the session, while closed of the next one: so it changes when the last session of a date closes. 0 where
        neither is known."""
        return self.trade_date or self.next_trade_date

    def is_open_at(self, wall_ns: int) -> bool:
        """Inside the published interval: half open, so at `close_ns` it is closed."""
        return self.open_ns <= wall_ns < self.close_ns


CLOSED = SessionState(0, 0, 0, 0, 0)
ALWAYS = SessionState(1, 0, 0, FOREVER_NS, 0)
