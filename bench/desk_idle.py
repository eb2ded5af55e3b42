"""A desk with nothing to do: CPU time of each process, as the scheduler of the kernel counts it, and memory.

    python -m bench.desk_idle [--seconds 5] [--runs 3] [--json]

/proc/PID/task/*/schedstat of all children and the supervisor, in % of one core. One upstream is attached and silent.
Memory is what a process has for itself alone (USS), and that with shared pages (RSS).
"""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from bench.desk import Desk, config_of, running
from bench.measure import Finding, Options, WrongAnswer
from bench.program import main
from oms_actors.upstream import Upstream

SETTLE_S = 1.0


def bench(options: Options) -> Finding:
    """Several desks."""
    seconds = options.duration(5.0, 0.3)
    finding = Finding("idle", "idle desk: CPU and memory")
    finding.config = {"seconds": seconds, "upstreams attached": 1}
    for _ in range(options.repeats()):
        with running(config_of(), options.folder) as desk, Upstream.attach(desk.instance, "quiet"):
            time.sleep(0 if options.tiny else SETTLE_S)
            run(desk, finding, seconds)
    finding.checked = ["no process died, nothing was received"]
    return finding


def run(desk: Desk, finding: Finding, seconds: float) -> None:
    """One look."""
    processes = desk.children() | {"supervisor": desk.supervisor_pid()}
    before, began = {name: cpu_ns(pid) for name, pid in processes.items()}, time.perf_counter()
    time.sleep(seconds)
    took_ns = (time.perf_counter() - began) * 1e9
    shares = {name: 100 * (cpu_ns(pid) - before[name]) / took_ns for name, pid in processes.items()}
    finding.add("idle desk", "% of a core", sum(shares.values()), "lower")
    for name, share in shares.items():
        finding.add(f"cpu of {name}", "% of a core", share, "lower")
    for name, pid in processes.items():
        memory = psutil.Process(pid).memory_full_info()
        finding.add(f"memory of {name}", "MiB of its own", memory.uss / 2**20, "lower")
    if desk.restarts() or desk.counter("sender", "received"):
        raise WrongAnswer("the desk was not idle")


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process so far."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


if __name__ == "__main__":
    main(bench, __doc__)
