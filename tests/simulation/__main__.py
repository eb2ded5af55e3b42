"""`python -m simulation [--seeds N] [--seed FIRST]`: many seeds over all processors, a progress bar, the failures.

One seed alone is told in full: its history goes to a file.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from simulation.run import Verdict, judge, simulate

SHOWN_MAX = 20


def main() -> int:
    """0 if every seed holds."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    arguments = parser.parse_args()
    console = Console()
    if arguments.seeds == 1:
        return _one(console, arguments.seed)
    return _many(console, range(arguments.seed, arguments.seed + arguments.seeds), arguments.jobs)


def _one(console: Console, seed: int) -> int:
    verdict = simulate(seed)
    path = Path(tempfile.gettempdir()) / f"oms-simulation-{seed}.txt"
    path.write_text("".join(f"{event[0] / 1e9:12.6f} {_shown(event[1:])}\n" for event in verdict.history))  # type: ignore[operator]
    console.print(f"seed {seed}: {dict(verdict.counts)}", highlight=False)
    console.print(f"history {verdict.fingerprint} in {path}", highlight=False)
    _tell(console, verdict)
    return 1 if verdict.problems else 0


def _many(console: Console, seeds: range, jobs: int) -> int:
    failed: list[Verdict] = []
    counts: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress, multiprocessing.get_context("spawn").Pool(jobs) as pool:
        task = progress.add_task("seeds", total=len(seeds))
        for verdict in pool.imap_unordered(judge, seeds, chunksize=4):
            progress.advance(task)
            counts.update(verdict.counts)
            if verdict.problems:
                failed.append(verdict)
                if len(failed) <= SHOWN_MAX:
                    _tell(progress.console, verdict)
    console.print(", ".join(f"{name} {count:,}" for name, count in counts.items()), highlight=False)
    console.print(f"{len(seeds)} seeds, {len(failed)} failed: {sorted(v.seed for v in failed)}", highlight=False)
    return 1 if failed else 0


def _tell(console: Console, verdict: Verdict) -> None:
    for problem in verdict.problems[:5]:
        console.print(f"seed {verdict.seed}: {problem}", style="red", highlight=False, markup=False)
    if verdict.problems:
        console.print(f"  again: make simulate SEEDS=1 SEED={verdict.seed}", highlight=False)


def _shown(event: tuple[object, ...]) -> str:
    return " ".join(
        part.replace(b"\0", b"").decode("ascii", "replace") if isinstance(part, bytes) else str(part) for part in event
    )


if __name__ == "__main__":
    sys.exit(main())
