"""The restart core, concept by outcome, under a clock that only the test moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import restart
from supervisor.restart import (
    End,
    Exit,
    Exited,
    ExitKind,
    Finish,
    Phase,
    Ready,
    Shutdown,
    Start,
    Stop,
    Tick,
    add_restart,
    backoff_ns,
)
from supervisor.spec import ChildSpec, SupervisorSpec

MS = 1_000_000
S = 1_000 * MS
BACKOFF_MS = 50


class World:
    """Children that obey at once: started is ready, asked to stop is gone. `trace` is what they were told."""

    def __init__(self, children: str = "abc", obedient: bool = True, restarts: dict[str, Any] | None = None,
                 **spec: Any) -> None:
        kinds = restarts or {}
        specs = tuple(ChildSpec(name, ("x",), restart=kinds.get(name, "permanent")) for name in children)
        self.spec = SupervisorSpec(specs, **{"intensity": 3, "period_s": 10, "backoff_initial_ms": BACKOFF_MS,
                                             "backoff_max_ms": 400} | spec)
        self.state = restart.initial(self.spec)
        self.now_ns = 1_000 * S
        self.trace: list[str] = []
        self.obedient = obedient

    def tell(self, event: restart.Event) -> None:
        events = [event]
        while events:
            self.state, actions = restart.step(self.state, events.pop(0), self.now_ns)
            for action in actions:
                events += self._obey(action)

    def _obey(self, action: restart.Action) -> list[restart.Event]:
        match action:
            case Start(name):
                self.trace.append(f"start {name}")
                return [Ready(name)] if self.obedient else []
            case Stop(name):
                self.trace.append(f"stop {name}")
                return [Exited(name, Exit(ExitKind.NORMAL, ""))] if self.obedient else []
            case Finish():
                self.trace.append(f"finish {self.state.end}")
        return []

    def up(self) -> World:
        self.tell(Tick())
        self.trace.clear()
        return self

    def dies(self, name: str, kind: ExitKind = ExitKind.ERROR, text: str = "exit code 7") -> None:
        self.tell(Exited(name, Exit(kind, text)))

    def passes(self, ms: float) -> None:
        self.now_ns += int(ms * MS)
        self.tell(Tick())

    def told(self) -> str:
        told = ", ".join(self.trace)
        self.trace.clear()
        return told

    def phases(self) -> str:
        return " ".join(child.phase for child in self.state.children)


# -- order ------------------------------------------------------------------------------------------------------------


def test_children_start_left_to_right_each_when_the_former_is_ready() -> None:
    world = World(obedient=False)
    world.tell(Tick())
    assert world.told() == "start a"
    world.passes(5_000)
    assert world.told() == ""
    world.tell(Ready("a"))
    assert world.told() == "start b"
    world.tell(Ready("b"))
    assert world.told() == "start c"
    assert not restart.is_up(world.state)
    world.tell(Ready("c"))
    assert restart.is_up(world.state)


def test_children_stop_right_to_left_each_when_the_former_is_gone() -> None:
    world = World().up()
    world.obedient = False
    world.tell(Shutdown("asked"))
    assert world.told() == "stop c"
    world.passes(60_000)
    assert world.told() == ""
    world.dies("c", ExitKind.NOT_STOPPED)
    assert world.told() == "stop b"
    world.dies("b")
    world.dies("a")
    assert world.told() == "stop a, finish asked"


def test_a_shutdown_while_starting_starts_nobody_more() -> None:
    world = World(obedient=False)
    world.tell(Tick())
    world.tell(Ready("a"))
    world.tell(Shutdown("asked"))
    assert world.told() == "start a, start b, stop b"
    world.tell(Ready("b"))
    world.dies("b")
    world.dies("a")
    assert world.told() == "stop a, finish asked"


def test_a_shutdown_during_a_backoff_does_not_wait_for_it() -> None:
    world = World("a").up()
    world.dies("a")
    world.tell(Shutdown("asked"))
    assert world.told() == "finish asked"


def test_a_second_shutdown_keeps_the_first_reason() -> None:
    world = World(obedient=False).up()
    world.tell(Shutdown("first"))
    world.tell(Shutdown("second"))
    assert world.state.reason == "first"


# -- who comes back: strategy x restart x exit ------------------------------------------------------------------------

NORMAL, ABNORMAL = (ExitKind.NORMAL,), tuple(kind for kind in ExitKind if kind is not ExitKind.NORMAL)
ALONE = "start b"
REST = "stop c, start b, start c"
ALL = "stop c, stop a, start a, start b, start c"
STRATEGIES = {"one_for_one": ALONE, "rest_for_one": REST, "one_for_all": ALL}


@pytest.mark.parametrize("kind", ExitKind)
@pytest.mark.parametrize("kept", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_end_of_the_middle_child_restarts_whom_strategy_and_kind_say(
        strategy: Literal["one_for_one", "rest_for_one", "one_for_all"], kept: str, kind: ExitKind) -> None:
    world = World(strategy=strategy, restarts={"b": kept}).up()
    world.dies("b", kind)
    world.passes(BACKOFF_MS)
    comes_back = kept == "permanent" or (kept == "transient" and kind in ABNORMAL)
    assert world.told() == (STRATEGIES[strategy] if comes_back else "")
    assert world.state.end is None


@pytest.mark.parametrize(("dying", "expected"), [("a", "stop c, stop b, start a, start b, start c"),
                                                 ("c", "start c")])
def test_rest_for_one_takes_those_after_the_dead(dying: str, expected: str) -> None:
    world = World(strategy="rest_for_one").up()
    world.dies(dying)
    world.passes(BACKOFF_MS)
    assert world.told() == expected


@pytest.mark.parametrize(("kept", "expected"), [
    ("permanent", "stop c, stop a, start a, start b, start c"),
    ("transient", "stop c, stop a, start a, start b, start c"),
    ("temporary", "stop c, stop a, start b, start c"),
])
def test_a_group_restart_brings_back_all_but_the_temporary(kept: str, expected: str) -> None:
    world = World(strategy="one_for_all", restarts={"a": kept}).up()
    world.dies("b")
    world.passes(BACKOFF_MS)
    assert world.told() == expected


def test_a_group_restart_starts_a_transient_child_that_had_ended() -> None:
    world = World(strategy="one_for_all", restarts={"a": "transient"}).up()
    world.dies("a", ExitKind.NORMAL)
    assert world.told() == ""
    world.dies("b")
    world.passes(BACKOFF_MS)
    assert world.told() == "stop c, start a, start b, start c"


def test_one_for_one_brings_a_child_back_without_waiting_for_a_slow_one_before_it() -> None:
    world = World().up()
    world.obedient = False
    world.dies("a")
    world.dies("b")
    world.passes(BACKOFF_MS)
    assert world.told() == "start a, start b"


def test_a_child_that_was_never_ready_still_waits_for_those_before_it() -> None:
    world = World("ab", obedient=False)
    world.tell(Tick())
    world.dies("a", ExitKind.NOT_READY)
    world.passes(BACKOFF_MS)
    assert world.told() == "start a, start a"


def test_nobody_starts_while_a_group_is_going_down() -> None:
    world = World(strategy="one_for_all").up()
    world.obedient = False
    world.dies("b")
    world.passes(1_000)
    assert (world.told(), world.phases()) == ("stop c", "running down stopping")


def test_a_member_that_dies_while_its_group_goes_down_is_not_counted_again() -> None:
    world = World(strategy="one_for_all", intensity=1).up()
    world.obedient = False
    world.dies("b")
    world.dies("a", ExitKind.SIGNAL)
    world.dies("c", ExitKind.NOT_STOPPED)
    world.passes(BACKOFF_MS)
    assert world.told() == "stop c, start a"
    assert world.state.end is None


def test_a_death_left_of_a_group_that_goes_down_takes_more_with_it() -> None:
    world = World(strategy="rest_for_one").up()
    world.obedient = False
    world.dies("b")
    world.dies("a")
    assert [child.wanted for child in world.state.children] == [True, True, True]
    world.dies("c")
    world.passes(BACKOFF_MS)
    assert world.told() == "stop c, start a"
    assert len(world.state.restarts_ns) == 2


def test_when_nobody_is_left_to_watch_the_supervisor_is_done() -> None:
    world = World("ab", restarts={"a": "temporary", "b": "transient"}).up()
    world.dies("a", ExitKind.SIGNAL)
    assert world.told() == ""
    world.dies("b", ExitKind.NORMAL)
    assert world.told() == "finish done"


# -- intensity --------------------------------------------------------------------------------------------------------


def test_intensity_restarts_are_allowed_and_one_more_gives_up_in_reverse_order_with_the_reason() -> None:
    world = World(intensity=3).up()
    for _ in range(3):
        world.dies("b")
        world.passes(500)
    assert world.told() == "start b, start b, start b"
    world.dies("b", ExitKind.HANG, "no heartbeat for 1.2 s")
    assert world.told() == "stop c, stop a, finish gave_up"
    assert world.state.reason == ("4 restarts within 10 s, more than intensity = 3; "
                                  "the last was of 'b': no heartbeat for 1.2 s")


@pytest.mark.parametrize(("apart_ms", "end"), [(9_999, End.GAVE_UP), (10_000, End.GAVE_UP), (10_000.001, None)])
def test_a_restart_exactly_a_period_old_still_counts(apart_ms: float, end: End | None) -> None:
    world = World(intensity=1, period_s=10).up()
    world.dies("b")
    world.passes(apart_ms)
    world.dies("b")
    assert world.state.end is end


def test_intensity_zero_gives_up_at_the_first_death() -> None:
    world = World(intensity=0).up()
    world.dies("c")
    assert world.told() == "stop b, stop a, finish gave_up"


def test_deaths_of_different_children_count_together() -> None:
    world = World(intensity=2).up()
    for name in "abc":
        world.dies(name)
    assert world.state.end is End.GAVE_UP


@pytest.mark.parametrize("kind", [ExitKind.NO_SPAWN, ExitKind.NOT_READY, ExitKind.ERROR])
def test_a_start_that_fails_counts_like_a_death_and_is_tried_again(kind: ExitKind) -> None:
    world = World("a", obedient=False, intensity=2)
    world.tell(Tick())
    for _ in range(2):
        world.dies("a", kind)
        world.passes(400)
    assert world.told() == "start a, start a, start a"
    world.dies("a", kind)
    assert world.told() == "finish gave_up"


@pytest.mark.parametrize("kept", ["temporary", "transient"])
def test_an_end_that_brings_nobody_back_does_not_count(kept: str) -> None:
    world = World(intensity=0, restarts={"b": kept}).up()
    world.dies("b", ExitKind.NORMAL)
    assert world.state.end is None


def test_a_shutdown_after_giving_up_keeps_the_reason() -> None:
    world = World(intensity=0).up()
    world.obedient = False
    world.dies("b")
    world.tell(Shutdown("asked"))
    assert world.state.end is End.GAVE_UP


# -- backoff ----------------------------------------------------------------------------------------------------------


def test_the_backoff_doubles_with_each_failure_in_a_row_up_to_its_maximum() -> None:
    world = World("a", intensity=99).up()
    delays = []
    for _ in range(6):
        world.dies("a")
        due_ns = restart.next_due_ns(world.state, world.now_ns)
        assert due_ns is not None
        delays.append((due_ns - world.now_ns) // MS)
        world.passes(delays[-1] - 0.001)
        assert world.told() == ""
        world.passes(0.001)
        assert world.told() == "start a"
    assert delays == [50, 100, 200, 400, 400, 400]


@pytest.mark.parametrize(("lasted_ms", "delay_ms"), [(399, 100), (400, 50)])
def test_a_child_that_ran_for_the_longest_backoff_starts_with_the_shortest_again(lasted_ms: int, delay_ms: int) -> None:
    world = World("a").up()
    world.dies("a")
    world.passes(BACKOFF_MS)
    world.passes(lasted_ms)
    world.dies("a")
    assert restart.next_due_ns(world.state, world.now_ns) == world.now_ns + delay_ms * MS


def test_a_start_that_takes_long_and_fails_does_not_count_as_having_run() -> None:
    world = World("a", intensity=99).up()
    world.dies("a")
    world.obedient = False
    world.passes(BACKOFF_MS)
    world.passes(10_000)
    world.dies("a", ExitKind.NOT_READY)
    assert restart.next_due_ns(world.state, world.now_ns) == world.now_ns + 100 * MS


def test_a_life_that_its_group_ended_does_not_count_as_having_run_when_the_next_start_fails() -> None:
    world = World("ab", strategy="one_for_all", intensity=99).up()
    world.dies("a")
    world.passes(BACKOFF_MS)
    world.dies("b")
    world.obedient = False
    world.passes(BACKOFF_MS)
    world.passes(10_000)
    world.dies("a", ExitKind.NOT_READY)
    assert restart.next_due_ns(world.state, world.now_ns) == world.now_ns + 100 * MS


def test_a_group_waits_for_the_backoff_of_the_one_that_died() -> None:
    world = World(strategy="one_for_all").up()
    world.dies("b")
    world.passes(BACKOFF_MS - 1)
    assert world.told() == "stop c, stop a"
    world.passes(1)
    assert world.told() == "start a, start b, start c"


def test_the_next_due_instant_ignores_children_that_wait_for_others() -> None:
    world = World(obedient=False)
    world.tell(Tick())
    world.dies("a")
    assert restart.next_due_ns(world.state, world.now_ns) == world.now_ns + BACKOFF_MS * MS
    world.passes(BACKOFF_MS)
    assert restart.next_due_ns(world.state, world.now_ns) is None


# -- properties -------------------------------------------------------------------------------------------------------

times_ns = st.lists(st.integers(0, 40), max_size=30).map(lambda gaps: [sum(gaps[:i + 1]) for i in range(len(gaps))])


@given(times_ns, st.integers(1, 60))
def test_the_window_holds_what_a_naive_count_over_all_restarts_finds(at_ns: list[int], period_ns: int) -> None:
    window: tuple[int, ...] = ()
    for i, now_ns in enumerate(at_ns):
        window = add_restart(window, now_ns, period_ns)
        assert len(window) == sum(now_ns - earlier <= period_ns for earlier in at_ns[:i + 1])


@given(st.lists(st.integers(0, 4_000), min_size=1, max_size=25), st.integers(0, 5), st.integers(1, 8))
def test_it_gives_up_at_exactly_the_restart_that_a_naive_count_finds(
        gaps_ms: list[int], intensity: int, period_s: int) -> None:
    world = World("a", intensity=intensity, period_s=period_s).up()
    deaths_ns: list[int] = []
    for gap_ms in gaps_ms:
        world.passes(500 + gap_ms)  # longer than any backoff: it is up again
        deaths_ns.append(world.now_ns)
        world.dies("a")
        recent = sum(world.now_ns - at_ns <= period_s * S for at_ns in deaths_ns)
        assert (world.state.end is End.GAVE_UP) == (recent > intensity)
        if world.state.end:
            break


@given(st.integers(1, 5_000), st.integers(0, 60_000), st.integers(1, 100))
def test_the_backoff_never_spins_and_never_exceeds_its_maximum(initial_ms: int, more_ms: int, failures: int) -> None:
    spec = SupervisorSpec((), backoff_initial_ms=initial_ms, backoff_max_ms=initial_ms + more_ms)
    delay_ns = backoff_ns(spec, failures)
    assert initial_ms * MS <= delay_ns <= (initial_ms + more_ms) * MS
    assert delay_ns <= backoff_ns(spec, failures + 1)


class Judge:
    """A shell whose children do what they like. Judges every action by what is alive, not by the core's state."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self.spec = spec
        self.state = restart.initial(spec)
        self.names = [child.name for child in spec.children]
        self.alive: dict[str, Phase] = {}
        self.was_ready: set[str] = set()
        self.now_ns = 0
        self.asked = False
        self.finished = False

    def tell(self, event: restart.Event) -> None:
        self.state, actions = restart.step(self.state, event, self.now_ns)
        for action in actions:
            match action:
                case Start(name):
                    self.judge_start(name)
                    self.alive[name] = Phase.STARTING
                case Stop(name):
                    self.judge_stop(name)
                    self.alive[name] = Phase.STOPPING
                case Finish():
                    assert not self.alive, "left with children alive"
                    self.finished = True

    def judge_start(self, name: str) -> None:
        assert name not in self.alive, "two lives at once"
        assert not self.asked, "started after shutdown"
        assert Phase.STOPPING not in self.alive.values(), "started while others go down"
        before = self.state.children[:self.names.index(name)]
        in_order = all(self.alive.get(child.spec.name) is Phase.RUNNING for child in before if child.wanted)
        assert in_order or (self.spec.strategy == "one_for_one" and name in self.was_ready), "started out of order"

    def judge_stop(self, name: str) -> None:
        assert name in self.alive, "stopped a dead one"
        assert Phase.STOPPING not in self.alive.values(), "two at once"
        assert not set(self.names[self.names.index(name) + 1:]) & set(self.alive), "stopped out of order"

    def becomes_ready(self, name: str) -> None:
        if self.alive[name] is Phase.STARTING:
            self.alive[name] = Phase.RUNNING
            self.was_ready.add(name)
            self.tell(Ready(name))

    def exits(self, name: str, kind: ExitKind) -> None:
        del self.alive[name]
        self.tell(Exited(name, Exit(kind, "")))

    def settle(self) -> None:
        """From now on everybody obeys: it must come up or end, within a bounded number of moves."""
        for _ in range(10 * len(self.names)):
            for name, phase in list(self.alive.items()):
                if phase is Phase.STARTING:
                    self.becomes_ready(name)
                elif phase is Phase.STOPPING:
                    self.exits(name, ExitKind.NORMAL)
            self.now_ns += 3 * S
            self.tell(Tick())


children_of = st.lists(st.sampled_from(["permanent", "transient", "temporary"]), min_size=1, max_size=5)
specs = st.builds(
    lambda kinds, strategy, intensity: SupervisorSpec(
        tuple(ChildSpec(f"c{i}", ("x",), restart=kind) for i, kind in enumerate(kinds)),
        strategy=strategy, intensity=intensity, period_s=5),
    children_of, st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]), st.integers(0, 12))
moves = st.lists(st.tuples(st.sampled_from(["tick", "tick", "ready", "ready", "exit", "exit", "shutdown"]),
                           st.integers(0, 2_500), st.sampled_from(ExitKind)), max_size=60)


@given(specs, moves)
def test_whatever_children_do_starts_and_stops_keep_their_order_and_nobody_lives_twice(
        spec: SupervisorSpec, plan: list[tuple[str, int, ExitKind]]) -> None:
    judge = Judge(spec)
    judge.tell(Tick())
    for move, number, kind in plan:
        living = sorted(judge.alive)
        match move:
            case "ready" if living:
                judge.becomes_ready(living[number % len(living)])
            case "exit" if living:
                judge.exits(living[number % len(living)], kind)
            case "shutdown" if number < 250:
                judge.asked = True
                judge.tell(Shutdown("asked"))
            case _:
                judge.now_ns += number * MS
                judge.tell(Tick())
    judge.settle()
    assert judge.finished or restart.is_up(judge.state)


@given(specs, moves)
def test_a_step_is_a_pure_function_of_state_event_and_instant(
        spec: SupervisorSpec, plan: list[tuple[str, int, ExitKind]]) -> None:
    state = restart.initial(spec)
    now_ns = 0
    for move, number, kind in plan:
        name = spec.children[number % len(spec.children)].name
        alive = next(child for child in state.children if child.spec.name == name).alive
        event: restart.Event = Tick()
        if move == "ready":
            event = Ready(name)
        elif move == "exit" and alive:
            event = Exited(name, Exit(kind, ""))
        now_ns += number * MS
        before = replace(state)
        first = restart.step(state, event, now_ns)
        assert state == before
        assert restart.step(state, event, now_ns) == first
        state = first[0]
