"""What figures depend on: the machine, the versions, the disk, and how quiet it was."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIBRARIES = ("oms-actors", "pykka", "faster-fifo", "msgspec", "hdrhistogram")
FDATASYNC_SAMPLES = 50
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def host(folder: Path | None = None) -> dict[str, Any]:
    """The machine as JSON knows it."""
    import sqlite3

    return {
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "versions": {name: _version(name) for name in LIBRARIES},
        "commit": _commit(),
        "fdatasync_us": round(fdatasync_us(folder or Path.cwd()), 1),
        "load_average": os.getloadavg()[0],
        "argv": sys.argv[1:],
    }


def fdatasync_us(folder: Path) -> float:
    """Median of what a journal pays for one batch on this disk."""
    from oms_actors.doctor import measure_fdatasync_us

    return statistics.median(measure_fdatasync_us(folder, FDATASYNC_SAMPLES))


def keep_memory() -> None:
    """Has malloc keep what was freed, as in a desk's processes (`app.KEEP_MEMORY`)."""
    from oms_actors.app import KEEP_MEMORY

    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_THRESHOLD, int(KEEP_MEMORY["MALLOC_MMAP_THRESHOLD_"]))
    mallopt(_M_TRIM_THRESHOLD, int(KEEP_MEMORY["MALLOC_TRIM_THRESHOLD_"]))


def busy_elsewhere(seconds: float = 0.5) -> float:
    """Share of all CPUs that others use just now, 0 … 1; what is measured then suffers from it."""

    def look() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    before = look()
    time.sleep(seconds)
    after = look()
    total = after[0] - before[0]
    return 1 - (after[1] - before[1]) / total if total else 0.0


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _commit() -> str:
    """Of the checkout this runs from, with a + if it was changed; "" for none."""
    try:
        git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
