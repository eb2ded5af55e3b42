"""The session page: one writer (the scheduler) publishes trading hours, anybody reads them without waiting.

A page of int64 words (ipc.page) under a sequence lock: `version` is odd while the words behind it change. A reader
that saw this version before compares one word; else it copies the words until the version is even and the same before
and after. Should the writer have died in the middle, the reader keeps what it had: the interval is absolute, so old
news are still right about the close. A restarted writer goes on in the same file.
"""

from __future__ import annotations

from pathlib import Path

from ipc import inject
from ipc.errors import NotThere, VersionMismatch
from ipc.page import Page
from oms_actors.core.hours import CLOSED, SessionState

COUNTERS = (
    "version", "state", "trade_date", "open_ns", "close_ns", "next_open_ns", "next_trade_date", "published_ns",
    "clock_steps",
)  # fmt: skip
_SPINS = 100
_FIELDS = len(SessionState._fields)


class SessionWriter:
    """The scheduler's end. Adopts the page that is there; raises NoSpace, NoDescriptors."""

    def __init__(self, path: Path) -> None:
        self.page = _adopt(path) or Page.create(str(path), COUNTERS)
        self._words = self.page.words
        self._version = self.page.index("version")

    def publish(self, session: SessionState, mono_ns: int) -> None:
        """Readers see all of it or nothing."""
        words, at = self._words, self._version
        odd = words[at] | 1
        words[at] = odd
        inject.point("scheduler.publishing")
        for i, value in enumerate(session, at + 1):
            words[i] = value
        words[at + _FIELDS + 1] = mono_ns
        words[at] = odd + 1
        inject.point("scheduler.published")

    def close(self) -> None:
        """Lets go of the page, which stays for its readers."""
        self.page.close()


def _adopt(path: Path) -> Page | None:
    try:
        page = Page.attach(str(path))
    except (NotThere, VersionMismatch):
        return None
    if tuple(page.counters()) == COUNTERS:
        return page
    page.close()
    return None


class SessionView:
    """A reader's end. The page may appear later than its readers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._page: Page | None = None
        self._seen = 0
        self._state = CLOSED

    @property
    def known(self) -> bool:
        """Has anything ever been published? Until then `read` says closed."""
        return self._seen != 0

    def changed(self) -> bool:
        """Is there something that `read` has not seen? Costs one load."""
        page = self._page or self._attach()
        if page is None:
            return False
        version: int = page.words[self._at]
        return version != self._seen and not version & 1

    def read(self) -> SessionState:
        """The hours as last published whole."""
        page = self._page
        if page is None:
            page = self._attach()
            if page is None:
                return self._state
        if page.words[self._at] != self._seen:
            self._look(page.words)
        return self._state

    def _attach(self) -> Page | None:
        page = _adopt(self._path)
        if page is not None:
            self._page, self._at = page, page.index("version")
        return page

    def _look(self, words: memoryview) -> None:
        at = self._at
        for _ in range(_SPINS):
            version = words[at]
            values = words[at + 1 : at + 1 + _FIELDS].tolist()
            if not version & 1 and words[at] == version:
                self._seen, self._state = version, SessionState._make(values)
                return

    def close(self) -> None:
        """Lets go of the page."""
        if self._page is not None:
            self._page.close()
            self._page = None
