"""The waiting queue: FIFO by acceptance, with changes and removals in O(1) wherever an item stands.

Items are never searched for. One that was removed (canceled, expired, sent otherwise) is dead and skipped when it
comes to the head; one that lost its place stands in line twice and carries `stale`, the number of its entries to skip.
The dead are swept out when somebody joins and they outnumber the living, so memory follows what waits. An item says
itself whether it still waits (`waits()`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

SWEEP_MIN = 1024
"""So many dead entries are not worth a sweep."""


class Item(Protocol):
    """What can stand in line."""

    stale: int

    def waits(self) -> bool:
        """Still to be sent?"""


class Lane:
    """A line of items; `dead` counts entries that will be skipped."""

    __slots__ = ("_entries", "dead")

    def __init__(self) -> None:
        self._entries: deque[Item] = deque()
        self.dead = 0

    def __len__(self) -> int:
        return len(self._entries) - self.dead

    def append(self, item: Item) -> None:
        """To the end of the line."""
        if self.dead > SWEEP_MIN and self.dead > len(self._entries) >> 1:
            self._sweep()
        self._entries.append(item)

    def extend(self, items: Iterable[Item]) -> None:
        """Several to the end of the line."""
        if self.dead > SWEEP_MIN and self.dead > len(self._entries) >> 1:
            self._sweep()
        self._entries.extend(items)

    def first(self, limit: int) -> list[Any]:
        """A look at the entries at the head, up to `limit`; dead ones too."""
        return list(islice(self._entries, limit))

    def leave(self, count: int) -> None:
        """Takes the first `count` entries out, none of them dead."""
        popleft = self._entries.popleft
        for _ in range(count):
            popleft()

    def return_first(self, item: Item) -> None:
        """To the head: it was there before."""
        if item.stale:  # the entry to be skipped is the old one, which is further back
            self._sweep()
        self._entries.appendleft(item)

    def lose_place(self, item: Item) -> None:
        """To the end; its former entry is skipped."""
        item.stale += 1
        self.removed()
        self.append(item)

    def removed(self) -> None:
        """One entry dies where it stands (its item may say so only after this)."""
        self.dead += 1

    def head(self) -> Item | None:
        """The first that waits."""
        entries = self._entries
        while entries:
            item = entries[0]
            if item.stale:
                item.stale -= 1
            elif item.waits():
                return item
            entries.popleft()
            self.dead -= 1
        return None

    def pop(self) -> None:
        """Takes the head out (call `head` before)."""
        self._entries.popleft()

    def __iter__(self) -> Iterator[Item]:
        """Those that wait, in order; a look only."""
        skips: dict[int, int] = {}
        for item in self._entries:
            skipped = skips.get(id(item), 0)
            if skipped < item.stale:
                skips[id(item)] = skipped + 1
            elif item.waits():
                yield item

    def _sweep(self) -> None:
        living = list(self)
        for item in self._entries:  # also of those that just lost their last entry and will stand in line again
            item.stale = 0
        self._entries = deque(living)
        self.dead = 0
