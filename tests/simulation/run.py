"""One seed from the dice to the verdict."""

from __future__ import annotations

import hashlib
import logging
import traceback
from dataclasses import dataclass, field

from simulation.checker import verify
from simulation.evidence import evidence_of
from simulation.process import Broken
from simulation.scenario import Scenario, scenario
from simulation.world import World


@dataclass
class Verdict:
    """What became of a seed. `problems` empty: everything held."""

    seed: int
    problems: list[str]
    history: list[tuple[object, ...]]
    counts: dict[str, int] = field(default_factory=dict)
    """What happened how often: calls, reports, kills, power cuts …"""
    points: dict[str, int] = field(default_factory=dict)
    """How often each point at which a process can be hit was passed."""

    @property
    def fingerprint(self) -> str:
        """Equal histories have equal ones."""
        return hashlib.sha256(repr(self.history).encode()).hexdigest()[:16]


def simulate(seed: int) -> Verdict:
    """Runs the scenario of a seed."""
    return simulate_scenario(scenario(seed))


def judge(seed: int) -> Verdict:
    """As `simulate`, without the history: it is not worth its way through a pipe."""
    try:
        verdict = simulate(seed)
    except Exception:  # of the simulation itself: the other seeds go on
        return Verdict(seed, [f"the simulation failed: {traceback.format_exc(limit=-4)}"], [])
    verdict.history = []
    return verdict


def simulate_scenario(wanted: Scenario) -> Verdict:
    """Runs a scenario; logs are for single runs by hand and stay off."""
    logging.disable(logging.CRITICAL)
    problems: list[str] = []
    try:
        with World(wanted) as world:
            try:
                world.run()
                problems = verify(evidence_of(world))
            except Broken as broken:
                problems = [f"{broken}{_where(broken.__cause__)}"]
            return Verdict(wanted.seed, problems, world.history, _counts(world), world.points)
    finally:
        logging.disable(logging.NOTSET)


def _where(error: BaseException | None) -> str:
    """The last lines of a crash."""
    if error is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return "".join(f"\n    {frame.filename}:{frame.lineno} {frame.name}" for frame in frames)


def _counts(world: World) -> dict[str, int]:
    lives = {name: process.lives for name, process in world.processes.items()}
    return {
        "calls": len(world.venue.calls), "arrivals": len(world.venue.arrivals),
        "requests": sum(len(client.submissions) for client in world.clients),
        "reports": sum(len(client.seen) for client in world.clients),
        "deaths": sum(lives.values()) - len(lives), "power cuts": world.power_cuts,
        "ended by themselves": len(world.crashes), "passes": world.passes,
        "simulated ms": world.clock.true_ns // 1_000_000,
    }  # fmt: skip
