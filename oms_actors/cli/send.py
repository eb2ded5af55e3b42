"""`oms send`: an order file as an upstream."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from oms_actors.cli import options
from oms_actors.cli.output import FAILED, FINE, Failed, console, emit, note, table

if TYPE_CHECKING:
    from oms_actors.cli.answers import Answers
    from oms_actors.edges.orders_file import LineError
    from oms_actors.upstream import Upstream

ERRORS_SHOWN, ERRORS_KEPT = 100, 1000
_POLL_S = 0.1
_DRAW_S = 0.1


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel=options.ORDERS)(send)


def send(
    file: Annotated[str, typer.Argument(help="CSV with a header, or JSON lines; - reads stdin.")],
    until_done: Annotated[
        bool, typer.Option("--until-done", help="Wait for every request's final answer, not only the first.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(help="Stop waiting when nothing was answered for so many seconds; 0: wait on."),
    ] = 0.0,
    name: Annotated[str, typer.Option(help="Name of the upstream.")] = "send",
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Send the orders of a file, wait for the answers, and sum up.

    The CSV columns are time, action, client_order_id, orig_client_order_id, symbol, side, quantity, price, order_type,
    time_in_force, and if you like account, stop_price, expire_time, post_only. A line that is no request is reported
    and the rest goes through. A request counts as rejected if the answer that was waited for is a reject.
    """
    with _open(file) as source, attach(instance, name) as upstream:
        sending = Sending(upstream, until_done, timeout)
        why = sending.run(source)
    summary = sending.summary()
    if not json:
        _show(summary)
    for reason in why:
        note(f"oms: {reason}")
    if json:
        emit(summary | ({"error": "; ".join(why)} if why else {}))
    raise typer.Exit(FAILED if why or sending.malformed or sending.answers.missing else FINE)


def attach(instance: str, name: str) -> Upstream:
    """An upstream of this name or, while another process uses it, one with our pid added."""
    from ipc.errors import AlreadyLocked
    from oms_actors.upstream import Upstream

    try:
        return Upstream.attach(instance, name)
    except AlreadyLocked:
        return Upstream.attach(instance, f"{name}-{os.getpid()}")


def _open(file: str) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    if not Path(file).is_file():
        raise Failed(f"{file}: no such file" if not Path(file).exists() else f"{file}: is no file")
    return open(file, "rb")


class Sending:
    """One file on its way: submits, listens, draws; `run` returns why it ended early (nothing if it did not)."""

    def __init__(self, upstream: Upstream, until_done: bool, timeout: float) -> None:
        from oms_actors.cli.answers import Courier

        self._courier = Courier(upstream, until_done, self._listened)
        self.answers: Answers = self._courier.answers
        self.errors: list[LineError] = []
        self.malformed = 0
        self.seconds = 0.0
        self._timeout = timeout
        self._draw: Callable[[int, int | None], None] = lambda done, total: None
        self._drawn = 0.0
        self._complete = False

    def run(self, source: BinaryIO) -> list[str]:
        """Sends all of it and waits for the answers."""
        from oms_actors.edges.orders_file import BadFile
        from oms_actors.errors import DeskDown

        started = time.monotonic()
        try:
            with _Progress() as self._draw:
                self._submit_all(source)
                self._complete = True
                self._wait()
        except KeyboardInterrupt:
            return [f"interrupted: {self.answers.missing:,} requests have no answer yet; the desk goes on with them"]
        except (DeskDown, BadFile) as error:
            return [str(error)]
        finally:
            self.seconds = time.monotonic() - started
        if missing := self.answers.missing:
            return [f"nothing was answered for {self._timeout:g} s: {missing:,} requests have no answer yet"]
        return []

    def _submit_all(self, source: BinaryIO) -> None:
        from oms_actors.edges.orders_file import read

        courier = self._courier
        for batch in read(_Listening(source, courier.listen)):
            courier.submit(batch.records)
            self._report(batch.errors)
            courier.listen(0.0)

    def _report(self, errors: list[LineError]) -> None:
        for error in errors:
            if self.malformed < ERRORS_SHOWN:
                note(str(error))
            elif self.malformed == ERRORS_SHOWN:
                note("... and more lines like these")
            self.malformed += 1
        self.errors += errors[: max(0, ERRORS_KEPT - len(self.errors))]

    def _wait(self) -> None:
        """Until every request has its answer; with a timeout, until nothing was answered for so long."""
        answers, last, seen = self.answers, time.monotonic(), -1
        while answers.missing:
            self._courier.listen(_POLL_S)
            now = time.monotonic()
            if answers.awaited != seen:
                last, seen = now, answers.awaited
            elif self._timeout and now - last > self._timeout:
                return

    def _listened(self) -> None:
        now = time.monotonic()
        if now - self._drawn > _DRAW_S or (self._complete and not self.answers.missing):
            self._drawn = now
            self._draw(self.answers.awaited, self.answers.submitted if self._complete else None)

    def summary(self) -> dict[str, Any]:
        """What became of the file."""
        answers = self.answers
        return {
            "submitted": answers.submitted,
            "accepted": answers.awaited - answers.rejected,
            "rejected": answers.rejected,
            "rejects_by_reason": answers.rejects_by_reason(),
            "seconds": round(self.seconds, 3),
            "unanswered": answers.missing,
            "outcomes": answers.final_by_outcome(),
            "malformed": self.malformed,
            "errors": [error._asdict() for error in self.errors],
        }


class _Listening:
    """A source that goes on listening to the desk while it waits for bytes (a pipe may be slow)."""

    def __init__(self, source: BinaryIO, listen: Callable[[float], None]) -> None:
        self._source, self._listen = source, listen

    def read1(self, count: int) -> bytes:
        fd = self._source.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while not poll.poll(0):
            self._listen(_POLL_S)
        return os.read(fd, count)


class _Progress:
    """A progress bar on stderr, if that is a terminal: yields draw(done, total or None while it is not known)."""

    def __enter__(self) -> Callable[[int, int | None], None]:
        self._bar: Any = None
        if not sys.stderr.isatty():
            return lambda done, total: None
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("answered"), BarColumn(None), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), console=console(stderr=True),
        )  # fmt: skip
        task = self._bar.add_task("", total=None, rate="")
        self._bar.start()
        begun = time.monotonic()

        def draw(done: int, total: int | None) -> None:
            rate = done / max(time.monotonic() - begun, 1e-3)
            self._bar.update(task, completed=done, total=total, rate=f"{rate:,.0f}/s")

        return draw

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()


def _show(summary: dict[str, Any]) -> None:
    seconds = summary["seconds"]
    answered = summary["submitted"] - summary["unanswered"]
    rows: list[tuple[str, Any]] = [(name, summary[name]) for name in ("submitted", "accepted", "rejected")]
    rows += [(f"  {name}", count) for name, count in summary["rejects_by_reason"].items()]
    rows += [(name, summary[name]) for name in ("unanswered", "malformed") if summary[name]]
    rows += [(f"ended as {name}", count) for name, count in summary["outcomes"].items()]
    rows += [("seconds", f"{seconds:.3f}"), ("answered per second", round(answered / seconds) if seconds else 0)]
    table("", ("requests", ""), rows, right=("",))
