"""`python -m chaos [--kills N | --minutes M] [--seed S] [--rate R]`: long runs with real processes and a progress bar.

`make chaos KILLS=300` kills each process 300 times while 2,000 requests/s flow; `make chaos MINUTES=10` has ten minutes
of all kinds of faults at 300 requests/s, and watches memory, descriptors and shared memory.
"""

from __future__ import annotations

import argparse
import sys

from chaos.campaign import Campaign, Report
from chaos.desk import ROLES
from chaos.endurance import Endurance, Ordeal
from chaos.growth import SUPERVISOR, growths
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def main() -> int:
    """0 if everything held."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=300, help="of each process")
    parser.add_argument("--minutes", type=float, default=0.0, help="of random faults instead")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second, 0 = 2,000 (minutes: 300)")
    arguments = parser.parse_args()
    rate = arguments.rate or (300.0 if arguments.minutes else 2_000.0)
    console = Console(highlight=False)
    console.print(f"seed {arguments.seed}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as bar:
        if arguments.minutes:
            task = bar.add_task("seconds", total=int(arguments.minutes * 60))
            endurance = Endurance(arguments.minutes * 60, rate, arguments.seed)
            ordeal = endurance.run(lambda done: bar.update(task, completed=int(done)))
        else:
            task = bar.add_task("kills", total=arguments.kills * len(ROLES))
            campaign = Campaign(arguments.kills, rate, arguments.seed)
            report = campaign.run(lambda done: bar.update(task, completed=done), bar.console.print)
    if arguments.minutes:
        _tell_ordeal(console, ordeal)
        problems = ordeal.problems
    else:
        _tell_campaign(console, report)
        problems = report.problems
    for problem in problems:
        console.print(problem, style="red", markup=False)
    if not problems:
        console.print("lost = 0, duplicates = 0")
    return 1 if problems else 0


def _tell_campaign(console: Console, report: Report) -> None:
    console.print("deaths: " + ", ".join(f"{role} {count:,}" for role, count in report.deaths.items()))
    console.print("points: " + ", ".join(f"{point} {count:,}" for point, count in sorted(report.points.items())))
    console.print("books: " + ", ".join(f"{what} {count:,}" for what, count in report.books.items()))


def _tell_ordeal(console: Console, ordeal: Ordeal) -> None:
    console.print("faults: " + ", ".join(f"{what} {count:,}" for what, count in ordeal.faults.most_common()))
    console.print("books: " + ", ".join(f"{what} {count:,}" for what, count in ordeal.books.items()))
    console.print(f"{'s':>6} {'accepted':>9} {'shm KB':>7} {'files':>5}  memory MB/descriptors of each process")
    for sample in ordeal.samples:
        each = "  ".join(
            f"{role} {sample.memory.get(role, 0) >> 20}/{sample.descriptors.get(role, 0)}"
            for role in (*ROLES, SUPERVISOR)
        )
        console.print(
            f"{sample.at_s:6.0f} {sample.accepted:9,} {sample.shared_bytes >> 10:7,} {sample.shared_files:5}  {each}"
        )
    for growth in growths(ordeal.samples):
        console.print(str(growth))


if __name__ == "__main__":
    sys.exit(main())
