"""A real desk to measure: processes of its own, on a temporary instance, watched from outside.

Pages and /proc are read, nobody is asked, so watching costs the desk nothing.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench.measure import WrongAnswer
from ipc.page import Page
from oms_actors.cli.temporary import TemporaryDesk
from oms_actors.config import MAX_RATE, Config, DeskConfig, PersistenceConfig, QueueConfig, ThrottleConfig, VenueConfig
from supervisor import published

OPEN = ThrottleConfig(rate=MAX_RATE, per_ms=1)
"""An open throttle: a billion a second."""
PATIENCE_S = 30.0
"""So long without anything moving, and a bench gives up."""
LOOK_S = 0.02


def config_of(
    *, durability: str = "process", throttle: ThrottleConfig = OPEN, adapter: str = "", options: dict[str, Any] | None =
    None, latency_us: int = 0, capacity: int = 10_000_000,
) -> Config:  # fmt: skip
    """A desk without limits; `adapter` "": the venue process."""
    import msgspec

    config = Config(
        desk=DeskConfig(durability=durability, log_level="WARNING"),  # type: ignore[arg-type]
        throttle=throttle,
        queue=QueueConfig(capacity=capacity),
        venue=VenueConfig(latency_us=latency_us),
        persistence=PersistenceConfig(),
    )
    if adapter:
        exchange = msgspec.structs.replace(config.exchange, adapter=adapter, options=options or {})
        config = msgspec.structs.replace(config, exchange=exchange)
    return config


class Desk:
    """A running desk: its counters, its processes' CPU times, its database."""

    def __init__(self, desk: TemporaryDesk) -> None:
        self._desk = desk
        self.instance, self.runtime, self.data_dir = desk.instance, desk.runtime, desk.data_dir
        self._pages: dict[str, tuple[Page, int]] = {}

    @property
    def database(self) -> Path:
        return self.data_dir / "oms.sqlite"

    def page(self, role: str) -> Page:
        """As its process wrote it last: one that was started again has made another."""
        path = str(self.runtime / f"{role}.page")
        page, file = self._pages.get(role, (None, 0))
        if page is None or os.stat(path).st_ino != file:
            file = os.stat(path).st_ino
            page = Page.attach(path)
            self._pages[role] = page, file
        return page

    def counter(self, role: str, name: str) -> int:
        return self.page(role)[name]

    def wait(self, what: str, done: Callable[[], bool], patience_s: float = PATIENCE_S, progress: Callable[[], object] |
             None = None) -> None:  # fmt: skip
        """Until `done`; WrongAnswer once nothing has moved (`progress`) for so long."""
        seen, until = progress() if progress else None, time.monotonic() + patience_s
        while not done():
            if progress and (now := progress()) != seen:
                seen, until = now, time.monotonic() + patience_s
            if time.monotonic() > until:
                raise WrongAnswer(f"{what}: nothing has moved for {patience_s:g} s, at {seen}; {self.health()}")
            self._desk.require_alive()
            time.sleep(LOOK_S)

    def children(self) -> dict[str, int]:
        """Pids by role."""
        found = published.read(self.runtime)
        assert found is not None
        return {child["name"]: child["pid"] for child in found.document["children"]}

    def restarts(self) -> int:
        """Of all children together."""
        found = published.read(self.runtime)
        return sum(child["restarts"] for child in found.document["children"]) if found else 0

    def health(self) -> str:
        """In words: who was started again, and what the supervisor said last."""
        found = published.read(self.runtime)
        again = [f"{child['name']} {child['restarts']} ×" for child in found.document["children"] if child["restarts"]
                 ] if found else []  # fmt: skip
        return f"started again: {', '.join(again) or 'nobody'}; the desk's last words: {self._desk.last_words()}"

    def supervisor_pid(self) -> int:
        found = published.read(self.runtime)
        assert found is not None
        return int(found.document["pid"])

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far, by role."""
        return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in self.children().items()}

    def rss_bytes(self) -> dict[str, int]:
        """Resident memory by role."""
        return {name: psutil.Process(pid).memory_info().rss for name, pid in self.children().items()}


@contextmanager
def running(config: Config, folder: Path | None = None) -> Iterator[Desk]:
    """A desk that is up and logged on; gone afterwards."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder) if folder else tempfile.tempdir
    try:
        with TemporaryDesk("bench", config) as temporary:
            desk = Desk(temporary)
            desk.wait("logon", lambda: desk.counter("sender", "logons") > 0)
            yield desk
    finally:
        tempfile.tempdir = before
