"""Real kills by the hundred while orders flow: each process so many times, at named points and at random instants.

The campaign goes in rounds, each with a desk and a seed of its own (the first round has the campaign's, the next one
the number after it), so that a bad round can be run again by itself. A round ends when everything is answered, and is
judged by the venue's own record, the database, the journal and the upstreams' books.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from chaos.desk import ROLES, Desk
from chaos.flow import Flow
from chaos.run import POINTS, Run, config
from chaos.verdict import books, crashes, over_the_limit, settle

LIMIT_RATE, LIMIT_MS = 400, 100
"""The throttle: twice what flows at full rate, so that what has piled up goes out too."""
PATIENCE_S = 180.0


@dataclass
class Report:
    """What a campaign came to. `problems` empty: lost nothing, sent nothing twice."""

    deaths: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    books: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def orders(self) -> int:
        """Requests that were accepted."""
        return self.books["accepted"]


@dataclass
class Campaign:
    """`kills` of each process, `round_kills` of them with one desk; `rate` requests per second."""

    kills: int
    rate: float
    seed: int
    round_kills: int = 20

    def run(self, progress: Callable[[int], None], tell: Callable[[str], None] = lambda line: None) -> Report:
        """All rounds, up to the first bad one. `progress` is told how many kills there have been, `tell` the figures
        after each round."""
        report = Report()
        for number in range(-(-self.kills // self.round_kills)):
            aim = min(self.round_kills, self.kills - number * self.round_kills)
            before = report.deaths.copy()
            with Desk(config(LIMIT_RATE, LIMIT_MS)) as desk:
                found = _Round(desk, self.rate, self.seed + number, aim, report).go(
                    lambda deaths, before=before: progress(sum(before.values()) + deaths)  # type: ignore[misc]
                )
            report.problems += [f"seed {self.seed + number}: {problem}" for problem in found]
            tell(f"seed {self.seed + number}: {dict(report.deaths)}, {dict(report.books)}")
            if found:
                return report
        never = [point for point in POINTS if not report.points[point]]
        report.problems += [f"nobody ever came along {point}" for point in never]
        return report


class _Round:
    def __init__(self, desk: Desk, rate: float, seed: int, aim: int, report: Report) -> None:
        self.desk, self.aim, self.report = desk, aim, report
        self.dice = random.Random(f"campaign {seed}")
        self.run = Run(desk, *(Flow(name, rate / 2, seed) for name in ("one", "two")))
        self.earlier: Counter[str] = Counter()
        """Deaths under supervisors that are dead themselves."""

    def go(self, progress: Callable[[int], None]) -> list[str]:
        """Kills until everybody has died often enough; what is wrong then."""
        takeover = self.dice.randrange(self.aim)
        while victims := self._still_to_die():
            self._blow(victims)
            if sum(self.deaths().values()) >= takeover * len(ROLES):
                takeover = 1 << 60
                self._take_over()
            progress(sum(self.deaths().values()))
        self.run.until("the desk to be up", self.desk.is_up, PATIENCE_S)
        return self._judge()

    def deaths(self) -> Counter[str]:
        """How often each process has been started again."""
        return self.earlier + Counter(self.desk.restarts())

    def _still_to_die(self) -> list[str]:
        deaths = self.deaths()
        return [role for role in ROLES if deaths[role] < self.aim]

    def _blow(self, roles: list[str]) -> None:
        dice, desk = self.dice, self.desk
        if dice.random() < 0.7:
            self.run.until("the desk to be up", desk.is_up, PATIENCE_S)
            self.run.go_on(dice.uniform(0.0, 0.3))
        count = dice.choice((1, 1, 1, 2, 2, 3, len(roles)))
        victims = dice.sample(roles, min(count, len(roles)))
        self.run.until("the victims to be there", lambda: desk.pids().keys() >= set(victims), PATIENCE_S)
        pids = desk.pids()
        for role in victims:
            points = [point for point in POINTS if point.startswith(role)]
            if dice.random() >= 0.5 or not desk.arm(dice.choice(points), dice.choice((1, 2, 3, 5, 8, 30))):
                desk.kill(role)
        dead = {role: pids.get(role, 0) for role in victims}
        self._await_deaths(dead)

    def _await_deaths(self, pids: dict[str, int]) -> None:
        """Others have come in their place. Who does not come along his point in time dies where he is."""
        desk = self.desk

        def replaced() -> bool:
            now = desk.pids()
            return all(now.get(role, pid) != pid for role, pid in pids.items())

        try:
            self.run.until("deaths", replaced, 1.0)
        except AssertionError:
            now = desk.pids()
            desk.kill(*(role for role, pid in pids.items() if now.get(role) == pid))
            self.run.until("deaths", replaced, PATIENCE_S)

    def _take_over(self) -> None:
        """The supervisor dies, and everybody with it."""
        self.earlier = self.deaths()
        self.desk.kill_everything()
        self.report.deaths["supervisor"] += 1
        self.desk.start()
        self.run.until("the desk to be up", self.desk.is_up, PATIENCE_S)

    def _judge(self) -> list[str]:
        desk, flows, report = self.desk, self.run.flows, self.report
        found = settle(desk, flows, PATIENCE_S, PATIENCE_S)
        found += over_the_limit(desk, LIMIT_RATE, LIMIT_MS * 1_000_000) + crashes(desk)
        report.deaths += self.deaths()
        report.points.update(desk.points())
        report.books.update(books(desk, flows))
        return found
