"""The throttle: what it grants is judged by scanning every window over the calls' start and return instants."""

import copy
import random
from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from oms_actors.core.throttle import NEVER_NS, Throttle, ThrottleLimit
from tests.core.naive_throttle import Call, most_in_a_period, most_in_a_window

SECOND = 1_000_000_000


class Bench:
    """A sender around one throttle: keeps what really happened in true time, across restarts and reboots."""

    def __init__(self, limit: ThrottleLimit) -> None:
        self.throttle = Throttle(limit)
        self.now = 0
        self.boot_ns = 0  # true time of monotonic zero
        self.first_start_ns: int | None = None  # after a reboot
        self.in_flight: list[tuple[int, bool]] = []
        self.calls: list[Call] = []
        self.journal: list[tuple[int, bool]] = []

    def take(self, cancel: bool) -> bool:
        granted = self.throttle.take(self.now, cancel)
        if granted:
            self.in_flight.append((self.boot_ns + self.now, cancel))
        return granted

    def take_many(self, n: int) -> None:
        granted = self.throttle.take_many(self.now, n)
        self.in_flight += [(self.boot_ns + self.now, False)] * granted

    def give_back_orders(self) -> None:
        orders = [token for token in self.in_flight if not token[1]]
        self.in_flight = [token for token in self.in_flight if token[1]]
        self.calls += [Call(start, self.boot_ns + self.now, False) for start, _ in orders]
        self.journal += [(self.now, False)] * len(orders)
        self.throttle.returned_many(self.now, len(orders))

    def give_back(self, which: int) -> None:
        start_ns, cancel = self.in_flight.pop(which % len(self.in_flight))
        self.calls.append(Call(start_ns, self.boot_ns + self.now, cancel))
        self.journal.append((self.now, cancel))
        self.throttle.returned(self.now, cancel)

    def die(self) -> None:
        """The process is gone, and with it every call it was in."""
        lost = [(self.now, cancel) for _, cancel in self.in_flight]
        self.calls += [Call(start, self.boot_ns + self.now, cancel) for start, cancel in self.in_flight]
        self.in_flight.clear()
        self.journal += lost

    def restart(self) -> None:
        self.die()
        self.throttle = Throttle(self.throttle.limit)
        self.throttle.restore(self.journal, self.now, self.first_start_ns)

    def reboot(self) -> None:
        self.die()
        per = self.throttle.limit.per_ns
        self.boot_ns += -(-self.now // per) * per  # whole periods, so that a fixed window keeps its phase
        self.now = 0
        self.journal.clear()
        self.first_start_ns = 0
        self.throttle = Throttle(self.throttle.limit)
        self.throttle.restore([], self.now, self.first_start_ns)

    def step_back(self, ns: int) -> None:
        """The clock we are shown goes back, true time does not."""
        if self.throttle.limit.window == "sliding":  # a fixed window's resets are the clock's own
            self.now -= ns
            self.boot_ns += ns

    def run(self, steps: list[tuple[str, int]]) -> None:
        for name, number in steps:
            if name == "wait":
                self.now += number
            elif name == "until_free":
                self.now = min(self.throttle.next_free_ns(self.now, bool(number)), self.now + 100)
            elif name == "take":
                self.take(cancel=bool(number))
            elif name == "take_many":
                self.take_many(number)
            elif name == "return_orders":
                self.give_back_orders()
            elif name == "back":
                self.step_back(number)
            elif name == "return" and self.in_flight:
                self.give_back(number)
            elif name == "restart":
                self.restart()
            elif name == "reboot":
                self.reboot()
        self.die()


@st.composite
def limits(draw):
    rate = draw(st.integers(1, 6))
    return ThrottleLimit(
        rate=rate,
        per_ns=draw(st.integers(1, 40)),
        window=draw(st.sampled_from(["sliding", "fixed"])),
        margin_ns=draw(st.integers(0, 6)),
        reserve_cancels=draw(st.integers(0, rate - 1)),
        phase_ns=draw(st.integers(-50, 50)),
    )


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["take", "until_free"]), st.integers(0, 1)),
        st.tuples(st.just("take"), st.integers(0, 1)),
        st.tuples(st.just("return"), st.integers(0, 5)),
        st.tuples(st.just("take_many"), st.integers(0, 8)),
        st.tuples(st.just("return_orders"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 25)),
        st.tuples(st.just("back"), st.integers(1, 60)),
        st.tuples(st.sampled_from(["restart", "reboot"]), st.just(0)),
    ),
    max_size=80,
)


def worst(limit: ThrottleLimit, calls: list[Call]) -> int:
    late = [replace(call, return_ns=call.return_ns + limit.margin_ns) for call in calls]
    if limit.window == "fixed":
        return most_in_a_period(late, limit.per_ns, limit.phase_ns)
    return most_in_a_window(late, limit.per_ns)


@settings(max_examples=1_500)
@given(limits(), steps)
def test_no_window_ever_holds_more_than_the_rate_wherever_requests_arrive(limit, steps):
    bench = Bench(limit)
    bench.run(steps)
    event(f"calls: {min(len(bench.calls) // 5, 4) * 5}+")
    assert worst(limit, bench.calls) <= limit.rate
    orders = [call for call in bench.calls if not call.cancel]
    assert worst(limit, orders) <= limit.rate - limit.reserve_cancels


def test_the_judge_sees_a_throttle_that_stamps_at_the_grant_break_the_limit():
    """The trap the return stamp avoids: a call that is preempted lets its token age while it is out."""
    per, preempted = 100, Call(start_ns=0, return_ns=60, cancel=False)
    stamped_at_grant = [preempted, Call(start_ns=100, return_ns=100, cancel=False)]
    assert most_in_a_window(stamped_at_grant, per) == 2
    stamped_at_return = [preempted, Call(start_ns=160, return_ns=160, cancel=False)]
    assert most_in_a_window(stamped_at_return, per) == 1


@given(limits(), steps, st.booleans())
def test_next_free_is_the_very_instant_at_which_take_succeeds(limit, steps, cancel):
    bench = Bench(limit)
    bench.run(steps)
    bench.restart()  # nothing in flight, every return known
    bench.now += 3
    free_ns = bench.throttle.next_free_ns(bench.now, cancel)
    assert free_ns >= bench.now
    if free_ns > bench.now:
        assert not copy.deepcopy(bench.throttle).take(free_ns - 1, cancel)
    assert bench.throttle.take(free_ns, cancel)


@given(limits(), steps, st.booleans())
def test_available_is_how_many_takes_succeed_in_a_row(limit, steps, cancel):
    bench = Bench(limit)
    bench.run(steps)
    available = bench.throttle.available(bench.now, cancel)
    taken = 0
    while bench.throttle.take(bench.now, cancel):
        taken += 1
    assert taken == available


@given(limits(), steps, st.integers(0, 8), st.booleans())
def test_taking_many_is_taking_one_by_one(limit, steps, n, cancel):
    bench = Bench(limit)
    bench.run(steps)
    many, single = copy.deepcopy(bench.throttle), bench.throttle
    assert many.take_many(bench.now, n, cancel) == sum(single.take(bench.now, cancel) for _ in range(n))
    assert many.used(bench.now) == single.used(bench.now)
    assert many.available(bench.now, not cancel) == single.available(bench.now, not cancel)


@pytest.mark.parametrize("window", ["sliding", "fixed"])
@pytest.mark.parametrize("stalls", [False, True])
def test_a_saturated_sender_uses_99_percent_of_the_rate(window, stalls):
    random.seed(5)
    throttle = Throttle(ThrottleLimit(rate=100, per_ns=SECOND, window=window))
    now, sent, seconds = 0, 0, 60
    while now < seconds * SECOND:
        if not throttle.take(now):
            now = throttle.next_free_ns(now)
            continue
        now += 20_000_000 if stalls and random.random() < 0.0005 else random.randrange(5_000, 60_000)
        throttle.returned(now)
        sent += 1
    assert 0.99 * 100 * seconds <= sent <= 100 * (seconds + 1)


@pytest.mark.parametrize(("rate", "batch"), [(1_000, 1), (20_000, 1), (20_000, 32)])
def test_a_fast_sender_uses_99_percent_of_the_rate_and_no_window_holds_more(rate, batch):
    """Calls of 5 us in batches whose returns are stamped together, as the sender makes them."""
    throttle, now, starts, returns = Throttle(ThrottleLimit(rate=rate)), 0, [], []
    while now < 3 * SECOND:
        granted = throttle.take_many(now, batch)
        if not granted:
            now = throttle.next_free_ns(now)
            continue
        starts += [now + 5_000 * i for i in range(granted)]
        now += 5_000 * granted
        returns += [now] * granted
        throttle.returned_many(now, granted)
    assert len(starts) >= 0.99 * 3 * rate
    pairs = zip(returns, starts[rate:], strict=False)  # both ascend: call k + rate starts a full window after call k
    assert all(start_ns - return_ns >= SECOND for return_ns, start_ns in pairs)


def test_a_margin_keeps_requests_apart_that_arrive_late():
    throttle = Throttle(ThrottleLimit(rate=1, per_ns=100, margin_ns=7))
    throttle.take(0)
    throttle.returned(10)
    assert throttle.next_free_ns(50) == 117
    assert not throttle.take(116)
    assert throttle.take(117)


def test_a_margin_at_a_reset_counts_a_late_request_in_the_next_period():
    throttle = Throttle(ThrottleLimit(rate=1, per_ns=100, window="fixed", margin_ns=7))
    throttle.take(92)
    throttle.returned(93)
    assert throttle.next_free_ns(94) == 200
    assert not throttle.take(199)
    assert throttle.take(200)


def test_a_restart_forgets_nothing_and_grants_nothing_twice():
    limit = ThrottleLimit(rate=3, per_ns=100)
    throttle = Throttle(limit)
    for now in (0, 10, 20):
        throttle.take(now)
        throttle.returned(now + 1)
    after = Throttle(limit)
    after.restore([(1, False), (11, False), (21, False)], now_ns=50)
    assert (after.used(50), after.next_free_ns(50)) == (3, 101)
    assert [now for now in range(50, 130) if after.take(now)] == [101, 111, 121]


def test_a_second_restart_after_a_reboot_still_waits_for_the_first():
    throttle = Throttle(ThrottleLimit(rate=2, per_ns=100))
    throttle.restore([], now_ns=40, spent_at_ns=10)
    assert throttle.next_free_ns(40) == 110


def test_a_token_in_flight_never_frees():
    throttle = Throttle(ThrottleLimit(rate=1))
    assert throttle.take(0)
    assert not throttle.take(3_600 * SECOND)
    assert throttle.next_free_ns(3_600 * SECOND) == NEVER_NS
    throttle.returned(3_600 * SECOND)
    assert throttle.next_free_ns(3_600 * SECOND) == 3_601 * SECOND


def test_orders_leave_the_reserve_to_cancels_and_cancels_may_use_everything():
    throttle = Throttle(ThrottleLimit(rate=10, reserve_cancels=3))
    assert sum(throttle.take(0) for _ in range(20)) == 7
    assert throttle.available(0) == 0
    assert sum(throttle.take(0, cancel=True) for _ in range(20)) == 3
    other = Throttle(ThrottleLimit(rate=10, reserve_cancels=3))
    assert sum(other.take(0, cancel=True) for _ in range(20)) == 10
    assert not other.take(0)


def test_a_fixed_window_resets_at_its_phase():
    throttle = Throttle(ThrottleLimit(rate=2, per_ns=100, window="fixed", phase_ns=30))
    for now in (125, 128):
        assert throttle.take(now)
        throttle.returned(now)
    assert not throttle.take(129)
    assert throttle.next_free_ns(129) == 130
    assert throttle.take(130)


def test_after_a_reboot_the_budget_counts_as_just_spent():
    throttle = Throttle(ThrottleLimit(rate=5, reserve_cancels=2))
    throttle.restore([], now_ns=77, spent_at_ns=77)
    assert throttle.used(77) == 5
    assert not throttle.take(76 + SECOND)
    assert not throttle.take(76 + SECOND, cancel=True)
    assert throttle.available(77 + SECOND) == 3
    assert throttle.available(77 + SECOND, cancel=True) == 5


def test_a_snapshot_carries_the_spent_budget_under_a_lower_rate():
    throttle = Throttle(ThrottleLimit(rate=4))
    for now in (1, 2, 3, 4):
        throttle.take(now)
        throttle.returned(now)
    lower = Throttle(ThrottleLimit(rate=2))
    lower.restore(throttle.snapshot(), now_ns=5)
    assert lower.used(5) == 4
    assert lower.available(5) == 0
    assert lower.next_free_ns(5) == 3 + SECOND
    assert not lower.take(2 + SECOND)
    assert lower.take(3 + SECOND)


def test_a_clock_that_goes_back_only_makes_it_wait_longer():
    throttle = Throttle(ThrottleLimit(rate=2))
    throttle.take(10 * SECOND)
    throttle.returned(10 * SECOND)
    throttle.take(4 * SECOND)
    throttle.returned(4 * SECOND)
    assert not throttle.take(5 * SECOND)
    assert throttle.next_free_ns(5 * SECOND) == 11 * SECOND


def test_a_clock_that_jumps_ahead_frees_as_if_that_time_had_passed():
    throttle = Throttle(ThrottleLimit(rate=2))
    for _ in range(2):
        throttle.take(SECOND)
        throttle.returned(SECOND)
    assert throttle.take(500 * SECOND)
    throttle.returned(500 * SECOND)
    assert throttle.used(500 * SECOND) == 1


def test_a_return_stamp_from_the_future_counts_as_now():
    throttle = Throttle(ThrottleLimit(rate=1))
    throttle.restore([(500 * SECOND, False)], now_ns=SECOND)
    assert throttle.next_free_ns(SECOND) == 2 * SECOND


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0}, {"per_ns": 0}, {"margin_ns": -1}, {"reserve_cancels": 100}, {"reserve_cancels": -1}, {"window": "x"}],
)
def test_an_impossible_limit_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match="throttle"):
        ThrottleLimit(**wrong)
