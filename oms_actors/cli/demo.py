"""`oms demo`: a whole desk with a simulated exchange and a made-up flow, live on the terminal, gone afterwards."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oms_actors.cli import options
from oms_actors.cli.output import FAILED, FINE, Failed, emit, note, table

if TYPE_CHECKING:
    from oms_actors.cli.temporary import TemporaryDesk
    from oms_actors.config import Config

TICK_S = 0.005
DRAIN_QUIET_S, FILLS_QUIET_S, DRAIN_MAX_S, DRAIN_INTERRUPTED_S = 2.0, 0.2, 20.0, 3.0
"""The flow has drained when nothing waits and nothing has moved for so long (less once all are answered: only fills can
follow). What takes longer than the maximum is left in the queue, which is no loss."""
SETTLE_S = 15.0
"""The database may lag so long."""
_DRAW_S = 0.125


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel=options.DESK)(demo)


def demo(
    seconds: Annotated[float, typer.Option(min=0.1, help="How long orders flow.")] = 10.0,
    rate: Annotated[int, typer.Option(min=1, max=100_000, help="Requests per second.")] = 2000,
    throttle: Annotated[int, typer.Option(min=1, max=1_000_000, help="What the exchange allows per second.")] = 1500,
    seed: Annotated[int, typer.Option(help="Seed of the flow.")] = 1,
    json: options.Json = False,
) -> None:
    """Watch a whole desk at work: a temporary one, with a simulated exchange and made-up orders.

    More comes in than the exchange allows, so a queue builds up in which orders are changed and canceled before they
    are ever sent. Ends by itself (or with Ctrl-C) with a summary, and leaves nothing behind.
    """
    from oms_actors.cli.temporary import TemporaryDesk

    try:
        with TemporaryDesk("demo", _config(throttle)) as desk:
            show = Demo(desk, seconds, rate, seed)
            with _screen(show, json):
                show.run()
            summary = show.summary()
    except KeyboardInterrupt:
        raise Failed("interrupted before there was anything to sum up") from None
    if json:
        emit(summary)
    else:
        _show(summary)
        if rate > throttle:
            note(f"submit to send is nearly all waiting: {rate:,} requests/s came, the exchange allows {throttle:,}")
    lost, twice = summary["lost"], summary["duplicates"]
    if lost or twice:
        note(f"oms: that must not be: {lost} lost, {twice} sent twice")
    raise typer.Exit(FAILED if lost or twice else FINE)


def _config(throttle: int) -> Config:
    from oms_actors.config import Config, ThrottleConfig

    return Config(throttle=ThrottleConfig(rate=throttle))


class Demo:
    """The flow through a running desk, and what became of it."""

    def __init__(self, desk: TemporaryDesk, seconds: float, rate: int, seed: int) -> None:
        from oms_actors.cli.answers import Courier
        from oms_actors.flow import flow

        self.desk, self.seconds, self.rate = desk, seconds, rate
        self.phase = "orders flow"
        self.started = 0.0
        self.interrupted = False
        self._upstream = desk.attach("demo")
        self._courier = Courier(self._upstream, until_done=True, on_listen=self._listened)
        self.answers = self._courier.answers
        self._flow = flow(seed)
        self._drawn = 0.0
        self.draw: Any = lambda: None

    def run(self) -> None:
        """Lets orders flow at the rate, waits until the desk has worked them off, and leaves."""
        try:
            self._flow_on()
            self._drain(DRAIN_MAX_S)
        except KeyboardInterrupt:
            self.interrupted = True
            self._drain(DRAIN_INTERRUPTED_S)
        self.phase = "done"

    def _flow_on(self) -> None:
        """Open loop: what is due at an instant does not depend on how the desk keeps up."""
        from oms_actors.record import encode

        self.started = time.monotonic()
        while (passed := time.monotonic() - self.started) < self.seconds:
            due = int(passed * self.rate) - self.answers.submitted
            if due > 0:
                self._courier.submit(b"".join(map(encode, islice(self._flow, due))))
            self._courier.listen(0.0)
            time.sleep(TICK_S)

    def _drain(self, limit_s: float) -> None:
        """Until every request is done or, where orders rest at the exchange, nothing moves any more."""
        self.phase = "no new orders: the queue is worked off"
        last = begun = now = time.monotonic()
        seen = (-1, -1)
        while now - last < (DRAIN_QUIET_S if self.answers.missing else FILLS_QUIET_S) and now - begun < limit_s:
            self._courier.listen(0.05)
            now = time.monotonic()
            moved = (self.answers.awaited, self.counters("sender").get("responses", 0))
            if moved != seen or self.waiting:
                last, seen = now, moved
            self.desk.require_alive()

    @property
    def waiting(self) -> int:
        """Orders in the sender's queue."""
        return self.counters("sender").get("queue_depth", 0)

    def counters(self, role: str) -> dict[str, int]:
        """A role's counters now; none while it is being restarted."""
        from ipc.errors import IpcError
        from ipc.page import Page

        try:
            page = Page.attach(str(self.desk.runtime / f"{role}.page"))
        except IpcError:
            return {}
        with closing(page):
            return page.counters()

    def latency_us(self, role: str, name: str, percent: float) -> float:
        """A percentile of one of a role's histograms; 0 if there is none."""
        from ipc.errors import IpcError
        from ipc.page import Page

        try:
            page = Page.attach(str(self.desk.runtime / f"{role}.page"))
            with closing(page):
                return page.histogram(name).percentile(percent) / 1000
        except (IpcError, KeyError):
            return 0.0

    def _listened(self) -> None:
        now = time.monotonic()
        if now - self._drawn > _DRAW_S:
            self._drawn = now
            self.draw()

    def summary(self) -> dict[str, Any]:
        """What became of everything: by the answers, by the database, and by the venue's own record."""
        answers = self.answers
        stored = self._settled()
        sender = self.counters("sender")
        still_there = sender.get("queue_depth", 0) + sender.get("in_doubt", 0)
        stored["lost"] += max(0, answers.missing - still_there)  # neither answered nor waiting: nobody has it
        rejected = answers.first - len(answers.admitted)
        self._upstream.close()
        return {
            "submitted": answers.submitted,
            "accepted": len(answers.admitted),
            "rejected": rejected,
            "rejected_later": max(0, sum(answers.rejects.values()) - rejected),
            **stored,
            "duplicates": self.counters("venue").get("duplicates", 0),
            "p50_us": round(self.latency_us("sender", "submit_to_send_ns", 50), 1),
            "p99_us": round(self.latency_us("sender", "submit_to_send_ns", 99), 1),
            "unanswered": answers.missing,
            "restarts": self._restarts(),
            "interrupted": self.interrupted,
        }

    def _restarts(self) -> int:
        """How often a process died (or was killed by somebody curious) and came back."""
        from supervisor import published

        found = published.read(self.desk.runtime)
        return sum(child["restarts"] for child in found.document["children"]) if found else 0

    def _settled(self) -> dict[str, int]:
        """What the database says once it has everything: it lags a little, so it is given some time."""
        deadline = time.monotonic() + SETTLE_S
        responses = self.counters("sender").get("responses", 0)
        while True:
            found = self._stored()
            complete = not found["lost"] and found["responses"] >= responses
            if complete or time.monotonic() > deadline or not self.desk.alive:
                return found
            time.sleep(0.05)

    def _stored(self) -> dict[str, int]:
        """Counts of the database, and how many accepted requests it does not know (all, if it cannot be read)."""
        import sqlite3

        from oms_actors.errors import Reason
        from oms_actors.messages import Kind
        from oms_actors.record import key_of

        in_queue = "SELECT count(*) FROM reports WHERE kind = {} AND reason = {}"
        counts = {
            "sent": "SELECT count(*) FROM sends WHERE outcome IS NULL",  # anything else than SENT is written down
            "responses": "SELECT count(*) FROM responses",
            "filled": "SELECT count(*) FROM executions",
            "cancelled_in_queue": in_queue.format(int(Kind.CANCEL), int(Reason.CANCELED_IN_QUEUE)),
            "modified_in_queue": in_queue.format(int(Kind.MODIFY), int(Reason.REPLACED_IN_QUEUE)),
        }
        path = self.desk.data_dir / "oms.sqlite"
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)) as database:
                found = {name: int(database.execute(sql).fetchone()[0]) for name, sql in counts.items()}
                names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                found["rows"] = sum(database.execute(f'SELECT count(*) FROM "{each}"').fetchone()[0] for each in names)
                known = {key_of(*each) for each in database.execute("SELECT account, client_order_id FROM requests")}
        except sqlite3.Error:
            return dict.fromkeys((*counts, "rows"), 0) | {"lost": len(self.answers.admitted)}
        return found | {"lost": len(self.answers.admitted - known)}


@contextmanager
def _screen(show: Demo, json: bool) -> Iterator[None]:
    """A live view where there is a terminal to show it on."""
    if json or not sys.stdout.isatty():
        note(f"a desk runs for {show.seconds:g} s at {show.rate:,} requests/s ...")
        yield
        return
    from oms_actors.cli.demo_view import View

    with View(show) as view:
        show.draw = view.draw
        yield
        view.draw()


def _show(summary: dict[str, Any]) -> None:
    words = {
        "submitted": "requests submitted", "accepted": "accepted", "rejected": "rejected",
        "rejected_later": "refused after that (too late, say)",
        "cancelled_in_queue": "canceled before they were sent", "modified_in_queue": "changed before they were sent",
        "sent": "sent to the exchange", "responses": "responses", "filled": "fills", "rows": "rows in the database",
        "unanswered": "still waiting or working", "lost": "accepted and lost", "duplicates": "sent twice",
        "p50_us": "submit to send, median µs", "p99_us": "submit to send, 99 % µs",
    }  # fmt: skip
    table("", ("", "count"), [(text, summary[key]) for key, text in words.items()], right=("count",))
