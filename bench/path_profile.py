"""Where the time of the whole path goes: py-spy on every stage while `path_throughput` runs.

    python -m bench.path_profile [--orders 300000] [--roles sender,intake] [--lines]

Prints per stage what its functions cost per order in ns of CPU: the process's CPU time, shared out by samples. Needs
py-spy and the right to trace one's own processes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench import path_throughput
from bench.desk import Desk, config_of, running
from bench.measure import Finding

RATE_HZ = 200
SHOWN = 24
IDLE = ("sigwait ", "Bell._futex_wait ")
"""Threads that sleep there are counted as busy by py-spy in some containers."""


class Spies:
    """py-spy on each role, from `__enter__` until the roles or the block end."""

    def __init__(self, desk: Desk, roles: list[str], folder: Path) -> None:
        spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
        if spy is None:
            raise SystemExit("py-spy is not here: pip install py-spy")
        self.files = {role: folder / role for role in roles}
        self._spies = [
            subprocess.Popen([spy, "record", "-p", str(desk.children()[role]), "-r", str(RATE_HZ), "-f", "raw", "-o",
                              str(file), "-d", "3600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for role, file in self.files.items()
        ]  # fmt: skip

    def stop(self) -> None:
        for spy in self._spies:
            spy.send_signal(2)
        for spy in self._spies:
            spy.wait()


def functions(file: Path, lines: bool) -> Counter[str]:
    """Samples by innermost function (or line)."""
    found: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frame = stack.rpartition(";")[2]
        if frame.startswith(IDLE):
            continue
        found[frame if lines else re.sub(r":\d+\)", ")", frame)] += int(count)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=300_000)
    parser.add_argument("--roles", default="intake,sender,venue,persistence")
    parser.add_argument("--lines", action="store_true", help="by line instead of by function")
    given = parser.parse_args()
    finding = Finding("profile", "where the time goes")
    with running(config_of()) as desk, tempfile.TemporaryDirectory() as folder:
        spies = Spies(desk, given.roles.split(","), Path(folder))
        path_throughput.run(desk, finding, given.orders, 2)
        spies.stop()
        for role, file in spies.files.items():
            show(role, functions(file, given.lines), finding[f"cpu of {role}"].best)
    print(f"with the spies: {finding['committed'].best:,.0f} orders/s")


def show(role: str, found: Counter[str], cost_ns: float) -> None:
    """The costliest, in ns per order."""
    total = sum(found.values()) or 1
    print(f"{role}: {cost_ns:,.0f} ns of CPU per order, {total} samples")
    for name, count in found.most_common(SHOWN):
        print(f"  {cost_ns * count / total:>7,.0f}  {name}")


if __name__ == "__main__":
    main()
