"""The send cursor: a few bytes that say how far the calls have come, also after a kill inside of one.

    0 boot | 8 cursor | 16 last | 24 position (u64 each)

`cursor` is 2 * sequence while the INTENT with that sequence is in its call, 2 * sequence + 1 once the call has come
back. A call may hand over several INTENTs: then `last` is the last one's sequence, the cursor has the first one's, and
`position` is where the adapter's line stood before: if the adapter can tell whether anything has left since, not even
such a call is in doubt. It lives in a mapped file beside the journals, so a kill loses nothing; after a reboot it is
not trusted.
"""

from __future__ import annotations

from collections.abc import Callable

from oms_actors.config import Resolved
from oms_actors.edges.journals import boot_word, folder, shared_words

_BOOT, _CURSOR, _LAST, _POSITION = range(4)


class SendCursor:
    """`words[1]` is the cursor: a hot loop stores it directly. `found` is what the predecessor left, None after a
    reboot."""

    def __init__(self, resolved: Resolved) -> None:
        self.words = shared_words(folder(resolved) / "sender.cursor", 4)
        same = self.words[_BOOT] == boot_word()
        self.found: int | None = self.words[_CURSOR] if same else None

    def enter_batch(self, first: int, last: int, position: int) -> None:
        """The call that hands over the INTENTs `first` … `last` begins; cursor last, so that it is all or nothing."""
        words = self.words
        words[_LAST] = last
        words[_POSITION] = position
        words[_CURSOR] = 2 * first

    def settled(self, has_left: Callable[[int], bool | None]) -> tuple[int | None, int]:
        """(cursor, last INTENT of the call it may be in) as the predecessor left them; where the adapter knows whether
        a batch has left (None: it does not), no call is open any more."""
        found, last = self.found, self.words[_LAST]
        if found is None or found & 1 or last <= found >> 1:
            return found, (found or 0) >> 1
        left = has_left(self.words[_POSITION])
        if left is None:
            return found, last
        return (2 * last + 1 if left else found - 1), last

    def trust(self) -> None:
        """From now on it belongs to this boot."""
        self.words[_CURSOR] = self.found or 0
        self.words[_BOOT] = boot_word()
