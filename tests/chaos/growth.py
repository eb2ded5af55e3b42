"""What must not grow while a desk runs: memory, descriptors, shared memory. Looks at it, and judges.

A run is judged by its second half: what a process needs at all it has by then. Memory is that of the middle of the run
(the fifth around it) against that of its last fifth, by the median, for a process that has just come back is smaller
or larger than it will be. What may follow the number of requests is said here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from chaos.desk import ROLES

SUPERVISOR = "supervisor"
MB = 1 << 20
FIFTH = 5
MEMORY_SLACK = 12 * MB
"""Chance: how much a recovery took, what the allocator keeps of it."""
BYTES_PER_REQUEST = {
    "intake": 256,  # every id of the trade date, for its duplicate check: 85 bytes and a place in a set
    "venue": 512,  # the simulated exchange knows every id of its day and what became of it: the same and more in a dict
    "sender": 160,  # a finished order that is put away, until there are 100,000 of them (`bench/finished_orders.py`)
}
"""So much may a process grow with each request that was accepted meanwhile; those not named here not at all."""
FILES_SLACK = 4


@dataclass(frozen=True)
class Sample:
    """A look at a desk that is up."""

    at_s: float
    accepted: int
    memory: dict[str, int]
    """By process: what it alone holds, in bytes (of the machine's, not of shared files)."""
    descriptors: dict[str, int]
    shared_bytes: int
    shared_files: int


@dataclass(frozen=True)
class Growth:
    """One process's memory in the middle of a run and at its end, and how much it may be more."""

    role: str
    half: int
    end: int
    allowed: int

    def __str__(self) -> str:
        return (
            f"{self.role}: {self.half / MB:.1f} MB at half time, {self.end / MB:.1f} at the end"
            f" ({(self.end - self.half) / MB:+.1f}, {self.allowed / MB:.1f} allowed)"
        )


def growths(samples: list[Sample]) -> list[Growth]:
    """Of every process; none if there is too little to look at."""
    if len(samples) < 2 * FIFTH:
        return []
    share = len(samples) // FIFTH
    begin = (len(samples) - share) // 2
    half, last = samples[begin : begin + share], samples[-share:]
    requests = _middle(sample.accepted for sample in last) - _middle(sample.accepted for sample in half)
    return [
        Growth(
            role, _middle(s.memory[role] for s in half), _middle(s.memory[role] for s in last),
            MEMORY_SLACK + BYTES_PER_REQUEST.get(role, 0) * requests,
        ) for role in (*ROLES, SUPERVISOR)
    ]  # fmt: skip


def _middle(values: Iterable[int]) -> int:
    return int(median(values))


def grown(samples: list[Sample]) -> list[str]:
    """What has become more than it may."""
    found = [f"{growth}: it grows" for growth in growths(samples) if growth.end - growth.half > growth.allowed]
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    for role in (*ROLES, SUPERVISOR):
        fds = max(s.descriptors.get(role, 0) for s in first), max(s.descriptors.get(role, 0) for s in last)
        if fds[1] > fds[0] + FILES_SLACK:
            found.append(f"{role} has {fds[1]} descriptors, it had {fds[0]}")
    files = max(s.shared_files for s in first), max(s.shared_files for s in last)
    shared = max(s.shared_bytes for s in first), max(s.shared_bytes for s in last)
    if files[1] > files[0] + FILES_SLACK:
        found.append(f"{files[1]} files in shared memory, there were {files[0]}")
    if shared[1] > shared[0] + MB:
        found.append(f"{shared[1] >> 10} KB of shared memory, there were {shared[0] >> 10}")
    return found
