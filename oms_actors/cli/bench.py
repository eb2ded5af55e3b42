"""`oms bench`: measure this machine, and the desk on it.

The benches themselves are in `bench/` beside this package; they come with a checkout (`make`), not with a wheel.
"""

from __future__ import annotations

import json as jsons
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oms_actors.cli import options
from oms_actors.cli.output import Failed, emit, note, table, usage
from oms_actors.errors import OmsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measure import Finding, Options
    from bench.suite import Bench

STRESS = "stress"
_GOAL_COLORS = {"aim": "bold green", "floor": "yellow", "below": "bold red", "not measured": "dim"}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel=options.SETUP)(bench)


def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; none: all. `list` names them.")]
    = None,
    rate: Annotated[int | None, typer.Option(min=1, max=10_000_000, help="Orders per second of the open loops [1000]; "
                                                                         "of `stress` the rate that it begins with "
                                                                         "[20000].")] = None,
    duration: Annotated[float | None, typer.Option(min=0.01, max=3600, help="Seconds of each timed run.")] = None,
    orders: Annotated[int | None, typer.Option(min=1, max=100_000_000, help="Orders of each run that is not timed "
                                                                             "[200000].")] = None,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="How often each is run; the spread is the noise.")] = 3,
    upstreams: Annotated[int, typer.Option(min=1, max=64, help="Of `stress`.")] = 2,
    durability: Annotated[str, typer.Option(help="Of `stress`: power or process.")] = "process",
    folder: Annotated[Path | None, typer.Option(exists=True, file_okay=False, writable=True,
                                                help="Where journals and databases go: the disk measured.")] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Only show that they work: the figures mean nothing.")] = False,
    html: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the report as one page of HTML.")] = None,
    hlog: Annotated[Path | None, typer.Option(file_okay=False, help="Write latencies as HdrHistogram logs into this "
                                                                    "folder.")] = None,
    compare: Annotated[Path | None, typer.Option(exists=True, dir_okay=False,
                                                 help="An earlier `--json` to compare with.")] = None,
    json: options.Json = False,
) -> None:
    """Measure throughput, latency and everything else that there are goals for.

    Every bench checks its own answer and fails on a wrong one. `oms bench stress` searches the highest rate that the
    whole path sustains and says what gives way first. Close other programs before: the noise is in the output. Ctrl-C
    ends it with what the benches before have found.
    """
    measure, report = _benches()
    wanted = measure.Options(runs=runs, rate=rate, seconds=duration, orders=orders, tiny=tiny, folder=folder)
    if "list" in (names or []):
        _list(json)
        return
    old = _before(compare) if compare is not None else None
    _make_places(html, hlog)
    findings, extra = _run(names or [], wanted, upstreams, durability)
    busy, failed = extra.pop("busy_elsewhere"), extra["failed"]
    found = report.document(findings, _host(folder) | {"busy_elsewhere": busy}) | extra
    if old is not None:
        from bench.compare import compare as compared
        from bench.compare import not_comparable

        found["compared"], found["not_comparable"] = compared(old, found), not_comparable(old, found)
    if html is not None:
        from bench.page import html as page

        html.write_text(page(found))
        note(f"written: {html}")
    if hlog is not None:
        note(f"written: {len(report.write_hlog(hlog, findings))} files in {hlog}")
    if json:
        emit(found)
    else:
        _show(found)
    if failed and json:  # they are in the document
        raise typer.Exit(1)
    if failed:
        raise Failed("; ".join(f"{name}: {why}" for name, why in failed.items()))


def _benches() -> tuple[Any, Any]:
    """The modules of `bench/`."""
    try:
        from bench import measure, report
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "bench":
            raise Failed("the benches are not installed: they come with a checkout; there, `make` and `.venv/bin/oms "
                         "bench`") from None  # fmt: skip
        raise
    return measure, report


def _list(json: bool) -> None:
    from bench.suite import SUITE

    stress = (STRESS, "highest sustained rate of the whole path, and what gives way")
    rows = [*((each.name, each.what) for each in SUITE), stress]
    if json:
        emit({"benches": [{"name": name, "what": what} for name, what in rows]})
    else:
        table("", ("name", "what"), rows)


def _run(
    names: list[str], wanted: Options, upstreams: int, durability: str
) -> tuple[dict[str, Finding], dict[str, Any]]:
    """All findings by name, and what `stress` has to tell besides."""
    from bench import machine
    from bench.measure import WrongAnswer
    from bench.suite import chosen

    if durability not in ("power", "process"):
        usage(f"--durability {durability}: must be power or process")
    try:
        benches = [] if set(names) == {STRESS} else chosen(name for name in names if name != STRESS)
    except KeyError as error:
        usage(f"no bench is called {error}: `oms bench list` names them")
    sleeps = 10 if wanted.tiny else machine.SLEEPS
    findings: dict[str, Finding] = {"machine": machine.finding()}
    failed: dict[str, str] = {}  # a wrong answer in one bench says nothing about the others
    extra: dict[str, Any] = {"busy_elsewhere": _busy(), "failed": failed}
    under_way = ""
    try:
        with _progress(benches) as step:
            for each in benches:
                under_way = each.name
                machine.sample(findings["machine"], sleeps)
                began = time.monotonic()
                step(each, None)
                try:
                    findings[each.name] = found = each.run(wanted)
                    found.seconds = time.monotonic() - began
                except WrongAnswer as error:
                    failed[each.name] = f"wrong answer: {error}"
                except (Failed, OmsError) as error:
                    failed[each.name] = str(error)
                except Exception as error:  # a bug, ours or the machine's: the others go on
                    failed[each.name] = f"{type(error).__name__}: {error}"
                step(each, time.monotonic() - began)
        under_way = STRESS if STRESS in names else "machine"
        machine.sample(findings["machine"], sleeps)
        if STRESS in names:
            try:
                findings[STRESS], extra[STRESS] = _stress(wanted, upstreams, durability)
            except WrongAnswer as error:
                failed[STRESS] = f"wrong answer: {error}"
            except Exception as error:
                failed[STRESS] = f"{type(error).__name__}: {error}"
            machine.sample(findings["machine"], sleeps)
    except KeyboardInterrupt:
        if not (failed or findings.keys() - {"machine"}):  # there is nothing to show
            raise
        failed[under_way] = "interrupted"
    return findings, extra


def _stress(wanted: Options, upstreams: int, durability: str) -> tuple[Finding, dict[str, Any]]:
    from bench import stress

    def tell(trial: stress.Trial) -> None:
        late = f", last row after {trial.drained_s:.2f} s" * trial.sustained
        note(f"{trial.rate:>9,}/s for {trial.seconds:g} s: {trial.verdict()}{late}")

    found = stress.search(wanted, upstreams, durability, tell)
    return stress.finding(found), found


def _busy() -> float:
    from bench.host import busy_elsewhere

    busy = busy_elsewhere()
    if busy > 0.2:
        note(f"other programs use {100 * busy:.0f} % of this machine: the figures will be worse than it can do")
    return busy


def _host(folder: Path | None) -> dict[str, Any]:
    from bench.host import host

    return host(folder)


def _make_places(html: Path | None, hlog: Path | None) -> None:
    """Before minutes of work: the places that its results go to are there, and can be written."""
    for option, path, folder in (("--html", html, html and html.parent), ("--hlog", hlog, hlog)):
        if path is None or folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            usage(f"{option} {path}: cannot be written: {error.strerror}")


def _before(path: Path) -> dict[str, Any]:
    """An earlier document."""
    from bench.compare import compare, not_comparable

    try:
        old: dict[str, Any] = jsons.loads(path.read_text().strip().splitlines()[-1])
        compare(old, old)
        not_comparable(old, old)
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError):
        usage(f"--compare {path}: is not what `oms bench --json` wrote")
    return old


@contextmanager
def _progress(benches: Sequence[Bench]) -> Iterator[Callable[[Bench, float | None], None]]:
    """A bar on a terminal, else lines, on stderr: which bench is under way (None), and how many seconds it took."""
    if not sys.stderr.isatty():
        yield lambda bench, took_s: note(
            f"{bench.name}: {bench.what}, takes about {bench.weight} s ..." if took_s is None
            else f"{bench.name}: took {took_s:.0f} s"
        )
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from oms_actors.cli.output import console

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=sum(bench.weight for bench in benches) or 1)

        def step(bench: Bench, took_s: float | None) -> None:
            words = f"{bench.name}: {bench.what}, about {bench.weight} s"
            progress.update(task, advance=0 if took_s is None else bench.weight, description=words)

        yield step


def _show(found: dict[str, Any]) -> None:
    from rich.text import Text

    from bench.report import facts

    note(facts(found))
    for each in found["benches"]:
        if each["config"]:
            note(f"{each['name']}: " + ", ".join(f"{key} {value}" for key, value in each["config"].items()))
        table(each["title"], ("figure", "median", "min", "max", "unit"), (
            (metric["name"], metric["median"], metric["min"], metric["max"], metric["unit"])
            for metric in each["metrics"]
        ), right=("median", "min", "max"))  # fmt: skip
        for words in each["notes"]:
            note(words)
    if found.get("compared"):
        table("Against the other run", ("bench", "figure", "then", "now", "change %", "verdict"), (
            (row["bench"], row["name"], row["old"], row["new"], row["change_percent"], row["verdict"])
            for row in found["compared"] if row["verdict"] != "same"
        ), right=("then", "now", "change %"))  # fmt: skip
    for name, what in found.get("not_comparable", {}).items():
        note(f"{name}: not compared, it ran with another configuration ({what})")
    failed = found["failed"].keys()
    goals = [row for row in found["goals"] if row["measured"] is not None or failed & row["benches"]]
    if goals:
        table("Goals", ("what", "measured", "floor", "aim", "unit", "verdict"), (
            (row["what"], row["measured"], row["floor"], row["aim"], row["unit"],
             Text(row["verdict"], _GOAL_COLORS[row["verdict"]])) for row in goals
        ), right=("measured", "floor", "aim"))  # fmt: skip
