"""Real processes, really killed and stopped while orders flow: nothing lost, nothing twice."""

from __future__ import annotations

import random
import shutil
import signal

import pytest
from chaos.campaign import Campaign
from chaos.desk import ROLES, Desk
from chaos.endurance import Endurance
from chaos.flow import Flow
from chaos.run import POINTS, Run, config
from chaos.verdict import DATABASE_LAG_S, over_the_limit, settle

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]
RATE = 300.0


@pytest.mark.parametrize("nth", [1, 9])
def test_a_kill_at_every_point_loses_nothing_and_sends_nothing_twice(nth: int) -> None:
    """Every point is passed and kills whoever comes along for the n-th time; none is never passed."""
    at = {point: 1 if point.startswith("scheduler") else nth for point in POINTS}  # which publishes once in a life
    with Desk(config(), " ".join(f"{point}={count}:kill" for point, count in at.items())) as desk:
        run = Run(desk, Flow("up", RATE, nth))
        run.until("every point to be passed", lambda: all(desk.points().get(p, 0) > n for p, n in at.items()))
        run.until_up()
        run.judge()
        assert sum(desk.restarts().values()) >= len(POINTS)


def test_a_supervisor_killed_while_it_starts_the_desk_is_followed_by_one_that_finishes() -> None:
    with Desk(config(), "supervisor.spawned=2:kill supervisor.spawned=5:kill") as desk:
        for _ in range(2):
            assert desk.supervisor is not None
            assert desk.supervisor.wait(60) == -signal.SIGKILL
            desk.start()
        run = Run(desk, Flow("up", RATE, 1))
        run.until_up()
        run.go_on(0.5)
        run.judge()


def test_kills_of_one_two_and_all_at_once_lose_nothing_and_send_nothing_twice() -> None:
    dice = random.Random(7)
    with Desk(config()) as desk:
        run = Run(desk, Flow("one", RATE, 1), Flow("two", RATE, 2))
        run.until_up()
        for victims in ("sender", "intake", "sender intake", "venue persistence", " ".join(ROLES)):
            run.go_on(dice.uniform(0.05, 0.2))
            desk.kill(*victims.split())
            run.go_on(dice.uniform(0.0, 0.2))
            run.until_up()
        run.judge()


def test_a_desk_whose_supervisor_dies_is_taken_over_by_the_next_one() -> None:
    with Desk(config()) as desk:
        run = Run(desk, Flow("up", RATE, 1))
        for _ in range(2):
            run.until_up()
            run.go_on(0.2)
            desk.kill_everything()
            desk.start()
        run.until_up()
        run.go_on(0.3)
        run.judge()


@pytest.mark.parametrize("planted", [False, True])
def test_executions_that_nobody_has_read_are_not_lost_with_the_shared_memory_they_lay_in(planted: bool) -> None:
    """The sender stops after a call; the venue has executed and said so; then the machine's shared memory is gone. By
    asking, the desk learns that the orders are filled, but their executions only the venue can tell. With the mistake
    that it once made, that nobody waits for what it said before its rings were new, they are missing in the end."""
    with Desk(config(heartbeat_timeout_ms=60_000), "sender.called=3:stop", planted) as desk:
        run = Run(desk, Flow("up", RATE, 1))
        run.until("the sender to stop", lambda: desk.is_stopped("sender"))
        run.until("executions", lambda: desk.counter("venue", "fills") > desk.counter("sender", "fills"))
        desk.kill_everything()
        shutil.rmtree(desk.runtime)
        desk.start()
        run.until_up()
        problems = settle(desk, run.flows, database_lag_s=3.0 if planted else DATABASE_LAG_S)
        if planted:
            (problem,) = problems
            assert "executions in the database" in problem
        else:
            assert not problems


def test_an_orderly_stop_and_start_in_the_middle_of_the_flow_loses_nothing() -> None:
    with Desk(config()) as desk:
        run = Run(desk, Flow("up", RATE, 1))
        run.until_up()
        run.go_on(0.3)
        assert desk.stop() == 0
        desk.start()
        run.until_up()
        run.judge()


def test_a_process_stopped_for_less_than_the_watchdog_goes_on_and_no_burst_follows() -> None:
    with Desk(config(rate=50, per_ms=100)) as desk:
        run = Run(desk, Flow("up", 400.0, 1))
        run.until_up()
        pids = desk.pids()
        for role in ("sender", "intake", "venue"):
            run.go_on(0.1)
            desk.signal(role, signal.SIGSTOP)
            run.go_on(0.5)
            desk.signal(role, signal.SIGCONT)
        assert desk.pids() == pids
        run.judge()
        assert not over_the_limit(desk, 50, 100_000_000)


def test_a_process_stopped_for_longer_is_replaced_and_cannot_come_back() -> None:
    with Desk(config(heartbeat_timeout_ms=1_000)) as desk:
        run = Run(desk, Flow("up", RATE, 1))
        run.until_up()
        for role in ("sender", "intake"):
            before = desk.signal(role, signal.SIGSTOP)
            run.until(f"a new {role}", lambda before=before, role=role: desk.pids().get(role, before) != before)
            desk.signal(role, signal.SIGCONT)
            run.until_up()
        run.judge()


def test_a_small_campaign_of_kills_ends_with_nothing_lost_and_nothing_twice() -> None:
    report = Campaign(kills=2, rate=RATE, seed=3, round_kills=2).run(lambda done: None)
    assert not report.problems
    assert all(report.deaths[role] >= 2 for role in ROLES)
    assert report.orders > 0


def test_a_short_time_of_random_faults_leaves_descriptors_and_shared_memory_as_they_were() -> None:
    report = Endurance(seconds=6.0, rate=RATE, seed=3).run(lambda done: None)
    assert not report.problems
    assert report.faults
    assert len(report.samples) >= 2
