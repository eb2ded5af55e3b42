"""Risk rules: against a model that keeps the whole history (naive_risk), then one table row or story per rule."""

from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from oms_actors.core.risk import KILL_ALL, Limits, Risk, RiskLimits, kill_flag
from oms_actors.errors import ONE, Field, reason_text
from oms_actors.messages import INT64_MAX, Kind, Side
from tests.core.naive_risk import NaiveRisk

SECOND = 1_000_000_000
KINDS = {"new": Kind.NEW, "modify": Kind.MODIFY, "cancel": Kind.CANCEL}


def padded(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


A, B, C = padded("A"), padded("B"), padded("C")
X, Y, Z = padded("X"), padded("Y"), padded("Z")


# -- against the model ---------------------------------------------------------------------------------------------


def some(*values):
    return st.sampled_from(values)


limits = st.builds(
    Limits,
    max_quantity=some(0, 0, 5 * ONE, 20 * ONE),
    max_notional=some(0, 0, 100 * ONE, 100 * ONE + 1),
    price_collar_percent=some(0, 0, 10 * ONE, ONE // 3),
    max_open_orders=some(0, 0, 1, 3),
)
risk_limits = st.builds(
    RiskLimits,
    desk=limits,
    accounts=st.dictionaries(some(A, B), limits),
    symbols=st.dictionaries(some(X, Y), limits),
    allowed_symbols=some(frozenset(), frozenset({X, Y})),
    messages_per_s=some(0, 0, 1, 2),
    duplicate_window_ns=some(0, SECOND // 2, 2 * SECOND),
    repeated_fills=some(0, 2, 3),
    repeated_fills_ns=some(SECOND // 2, SECOND),
)
prices = some(0, 9 * ONE, 10 * ONE, 10 * ONE + ONE // 30, 11 * ONE, 11 * ONE + 1, 12 * ONE)
names = (some(1, 2), some(A, B, C), some(X, Y, Z))
orders = st.tuples(
    *names, some(Side.BUY, Side.SELL), some(ONE, 5 * ONE, 5 * ONE + 1, 10 * ONE, 30 * ONE), prices, prices
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("new"), orders),
        st.tuples(st.just("new"), orders),
        st.tuples(st.just("again"), st.none()),
        st.tuples(st.just("again"), st.none()),
        st.tuples(some("modify", "cancel", "recheck"), orders),
        st.tuples(st.just("wait"), some(1, SECOND // 4, SECOND // 2, SECOND)),
        st.tuples(st.just("done"), st.integers(0, 9)),
        st.tuples(st.just("fill"), orders),
        st.tuples(st.just("fill"), orders),
        st.tuples(st.just("kill"), some(kill_flag(), kill_flag("A"), kill_flag("", "X"))),
        st.tuples(st.just("resume"), some(kill_flag(), kill_flag("A"), kill_flag("", "X"))),
        st.tuples(st.just("re_enable"), some(1, 2)),
        st.tuples(st.just("reload"), risk_limits),
    ),
    max_size=40,
)


class Pair:
    """The core and the model, told the same."""

    def __init__(self, limits: RiskLimits) -> None:
        self.core, self.model = Risk(limits), NaiveRisk(limits)
        self.now = 0
        self.last_new = None

    def ask(self, kind, order):
        said = self.core.check(KINDS[kind], *order, self.now)
        self.agree(said, self.model.check(kind, *order, self.now))
        if said is None or said.reason.name != "MESSAGE_RATE":
            self.core.on_request(order[0], self.now)
            self.model.requests.append((order[0], self.now))
        if kind == "new" and said is None:
            self.core.on_accepted(*order, self.now)
            self.model.accepted.append((order, self.now))
            self.model.open.append(order[1:3])

    def recheck(self, order):
        upstream, account, symbol, _, *values = order
        for kind, code in KINDS.items():
            expected = self.model.recheck(kind, upstream, account, symbol, *values)
            self.agree(self.core.recheck(code, upstream, account, symbol, *values), expected)

    def agree(self, said, expected):
        shown = said and (said.reason.name, said.field.name, said.value, said.limit)
        assert shown == expected
        event(expected[0] if expected else "passes")
        assert said is None or self.core.enabled

    def step(self, name, what):
        core, model = self.core, self.model
        if name == "wait":
            self.now += what
        elif name == "done" and model.open:
            core.on_done(*model.open.pop(what % len(model.open)))
        elif name == "fill":
            upstream, _, symbol, _, _, price, _ = what
            trips = core.on_fill(upstream, symbol, price, self.now)
            assert trips == model.fill(upstream, symbol, price, self.now)
            if trips:
                core.stop(upstream)
        elif name in ("kill", "resume"):
            flag = (what[0].name, what[1])
            model.killed = model.killed | {flag} if name == "kill" else model.killed - {flag}
            core.set_kill((Field[scope], named) for scope, named in model.killed)
        elif name == "re_enable":
            core.re_enable(what)
            model.re_enable(what)
        elif name == "again" and self.last_new:
            self.ask("new", self.last_new)
        elif name in KINDS:
            self.last_new = what if name == "new" else self.last_new
            self.ask(name, what)
        elif name == "recheck":
            self.recheck(what)


@settings(max_examples=400, deadline=None)
@given(risk_limits, steps)
def test_every_answer_is_the_model_s(limits, steps):
    pair = Pair(limits)
    for name, what in steps:
        if name != "reload":
            pair.step(name, what)


@settings(max_examples=150, deadline=None)
@given(risk_limits, risk_limits, steps, steps)
def test_a_reload_changes_the_limits_and_counts_open_orders_anew(first, then, before, after):
    """Windows start with what the old limits kept, so those are left out here."""
    pair = Pair(without_windows(first))
    for name, what in before:
        if name != "reload":
            pair.step(name, what)
    pair.core.reload(without_windows(then), pair.model.open)
    pair.model.limits = without_windows(then)
    for name, what in after:
        if name != "reload":
            pair.step(name, what)


def without_windows(limits: RiskLimits) -> RiskLimits:
    return replace(limits, messages_per_s=0, duplicate_window_ns=0, repeated_fills=0)


# -- rule by rule --------------------------------------------------------------------------------------------------

ORDER = {
    "kind": Kind.NEW, "upstream": 1, "account": A, "symbol": X, "side": Side.BUY, "quantity": 10 * ONE,
    "price": 100 * ONE, "stop_price": 0,
}  # fmt: skip


def check(risk: Risk, now_ns: int = 0, **changed) -> str:
    """The refusal in words, "" if it passes."""
    refusal = risk.check(**{**ORDER, **changed}, now_ns=now_ns)
    return reason_text(*refusal) if refusal else ""


def accept(risk: Risk, now_ns: int = 0, **changed) -> None:
    order = {**ORDER, **changed}
    order.pop("kind")
    risk.on_accepted(**order, now_ns=now_ns)


def desk(**limits) -> RiskLimits:
    return RiskLimits(Limits(**limits))


@pytest.mark.parametrize(
    ("limits", "passes", "fails", "text"),
    [
        (
            desk(max_quantity=10 * ONE),
            {"quantity": 10 * ONE},
            {"quantity": 10 * ONE + 1},
            "quantity: above risk limit max_quantity (value 10.00000001, limit 10)",
        ),
        (
            desk(max_notional=1_000 * ONE),
            {"quantity": 10 * ONE, "price": 100 * ONE},
            {"quantity": 10 * ONE, "price": 100 * ONE + 1},
            "notional: above risk limit max_notional (value 1000.0000001, limit 1000)",
        ),
        (
            desk(max_notional=ONE),
            {"quantity": 1, "price": ONE * ONE},
            {"quantity": 1, "price": ONE * ONE + 1},
            "notional: above risk limit max_notional (value 1.00000001, limit 1)",
        ),
        (
            RiskLimits(allowed_symbols=frozenset({X, Y})),
            {"symbol": Y},
            {"symbol": Z},
            "symbol: symbol is not on the allowed list",
        ),
        (
            RiskLimits(Limits(max_quantity=10 * ONE), {A: Limits(max_quantity=50 * ONE)}),
            {"account": A, "quantity": 50 * ONE},
            {"account": B, "quantity": 50 * ONE},
            "quantity: above risk limit max_quantity (value 50, limit 10)",
        ),
        (
            RiskLimits(Limits(), {A: Limits(max_quantity=50 * ONE)}, {X: Limits(max_quantity=20 * ONE)}),
            {"account": A, "symbol": Y, "quantity": 50 * ONE},
            {"account": A, "symbol": X, "quantity": 50 * ONE},
            "quantity: above risk limit max_quantity (value 50, limit 20)",
        ),
    ],
)
def test_a_limit_refuses_what_is_just_above_it_and_says_rule_value_and_limit(limits, passes, fails, text):
    assert check(Risk(limits), **passes) == ""
    assert check(Risk(limits), **fails) == text


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (105 * ONE, ""),
        (95 * ONE, ""),
        (105 * ONE + 1, "price: outside the price collar (value 105.00000001, limit 105)"),
        (95 * ONE - 1, "price: outside the price collar (value 94.99999999, limit 95)"),
    ],
)
def test_the_collar_is_around_the_last_execution_s_price(price, text):
    risk = Risk(desk(price_collar_percent=5 * ONE))
    assert check(risk, price=price) == ""  # no last price, no collar
    risk.on_fill(1, X, 100 * ONE, 0)
    assert check(risk, price=price) == text
    assert check(risk, symbol=Y, price=price) == ""


def test_a_stop_limit_order_is_held_against_its_stop_price():
    risk = Risk(desk(price_collar_percent=5 * ONE))
    risk.on_last_price(X, 100 * ONE)
    assert check(risk, price=122 * ONE, stop_price=120 * ONE) == ""
    assert "limit 126" in check(risk, price=127 * ONE, stop_price=120 * ONE)


@pytest.mark.parametrize("price", [0, -1, -(1 << 63)])
def test_a_last_price_that_no_order_could_have_leaves_the_collar_where_it_was(price):
    risk = Risk(desk(price_collar_percent=5 * ONE))
    risk.on_fill(1, X, price, 0)
    assert check(risk, price=105 * ONE) == ""
    risk.on_last_price(X, 100 * ONE)
    risk.on_fill(1, X, price, 0)
    assert check(risk, price=105 * ONE) == ""
    assert "limit 105" in check(risk, price=105 * ONE + 1)


def test_an_order_without_a_price_has_the_notional_of_the_last_price():
    risk = Risk(desk(max_notional=1_000 * ONE))
    assert check(risk, price=0, quantity=11 * ONE) == ""
    risk.on_last_price(X, 100 * ONE)
    assert check(risk, price=0, quantity=11 * ONE).endswith("(value 1100, limit 1000)")
    assert check(risk, price=0, stop_price=50 * ONE, quantity=11 * ONE) == ""


def test_a_notional_beyond_int64_is_refused_and_shown_as_the_largest_number():
    risk = Risk(desk(max_notional=ONE))
    refusal = risk.check(**{**ORDER, "quantity": INT64_MAX, "price": INT64_MAX}, now_ns=0)
    assert refusal is not None
    assert refusal.value == INT64_MAX


def test_a_modify_is_judged_at_intake_only_by_what_it_says_and_at_release_as_a_whole():
    risk = Risk(desk(max_quantity=10 * ONE, max_notional=1_000 * ONE, price_collar_percent=ONE))
    risk.on_last_price(X, 500 * ONE)
    modify = {"kind": Kind.MODIFY, "symbol": bytes(16)}
    assert check(risk, **modify, quantity=10 * ONE, price=0) == ""
    assert "max_quantity" in check(risk, **modify, quantity=11 * ONE, price=0)
    assert "max_notional" in check(risk, **modify, quantity=10 * ONE, price=101 * ONE)
    assert check(risk, **modify, quantity=0, price=999 * ONE) == ""
    whole = risk.recheck(Kind.MODIFY, 1, A, X, 10 * ONE, 101 * ONE, 0)
    assert whole is not None
    assert whole.field is Field.NOTIONAL


def test_open_orders_are_counted_for_the_desk_the_account_and_the_symbol():
    limits = RiskLimits(
        Limits(max_open_orders=3), {A: Limits(max_open_orders=2)}, {X: Limits(max_open_orders=1), Y: Limits()}
    )
    risk = Risk(limits)
    accept(risk, account=A, symbol=X)
    assert check(risk, account=B, symbol=X) == "symbol: too many open orders (value 2, limit 1)"
    accept(risk, account=A, symbol=Y)
    assert check(risk, account=A, symbol=Z) == "account: too many open orders (value 3, limit 2)"
    accept(risk, account=B, symbol=Y)
    assert check(risk, account=C, symbol=Z) == "open_orders: too many open orders (value 4, limit 3)"
    risk.on_done(A, X)
    assert check(risk, account=A, symbol=X) == ""


def test_at_release_an_order_is_one_of_the_open_ones():
    risk = Risk(desk(max_open_orders=1))
    risk.on_open(A, X)
    assert risk.recheck(Kind.NEW, 1, A, X, ONE, ONE, 0) is None
    risk.on_open(A, X)
    assert risk.recheck(Kind.NEW, 1, A, X, ONE, ONE, 0) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"upstream": 2}, {"account": B}, {"symbol": Y}, {"side": Side.SELL}, {"quantity": ONE}, {"price": ONE},
        {"stop_price": ONE},
    ],
)  # fmt: skip
def test_the_same_content_within_the_window_is_refused_anything_else_is_not(other):
    risk = Risk(RiskLimits(duplicate_window_ns=SECOND))
    accept(risk, now_ns=0)
    assert check(risk, now_ns=SECOND - 1) == (
        "age: same symbol, side, price and quantity as a moment ago (value 999.999999 ms, limit 1000 ms)"
    )
    assert check(risk, now_ns=SECOND - 1, **other) == ""
    assert check(risk, now_ns=SECOND) == ""


def test_contents_are_forgotten_after_the_window():
    risk = Risk(RiskLimits(duplicate_window_ns=SECOND))
    for n in range(10_000):
        accept(risk, now_ns=n * SECOND // 100, quantity=n + 1)
    assert len(risk._contents) == 100


def test_an_upstream_above_its_message_rate_is_refused_until_the_second_has_passed():
    risk = Risk(RiskLimits(messages_per_s=2))
    for now_ns in (0, SECOND // 2):
        assert check(risk, now_ns) == ""
        risk.on_request(1, now_ns)
    assert check(risk, SECOND - 1) == "message_rate: too many requests per second (value 3, limit 2)"
    assert check(risk, SECOND - 1, upstream=2) == ""
    assert check(risk, SECOND) == ""


def test_stamps_of_another_boot_refuse_nothing():
    risk = Risk(RiskLimits(messages_per_s=1, duplicate_window_ns=SECOND))
    risk.on_request(1, 10**15)
    accept(risk, now_ns=10**15)
    assert check(risk, now_ns=5) == ""


def test_after_so_many_executions_an_upstream_stops_until_it_is_re_enabled():
    risk = Risk(RiskLimits(repeated_fills=3, repeated_fills_ns=SECOND))
    assert [risk.on_fill(1, X, ONE, now) for now in (0, SECOND, SECOND + 1)] == [False, False, False]
    assert risk.on_fill(1, X, ONE, 2 * SECOND - 1)
    risk.stop(1)
    assert check(risk) == "upstream: repeated-execution guard tripped (value 3, limit 3)"
    assert check(risk, upstream=2) == ""
    assert check(risk, kind=Kind.CANCEL) == ""
    assert risk.recheck(Kind.NEW, 1, A, X, ONE, ONE, 0) is not None
    risk.re_enable(1)
    assert check(risk) == ""
    assert not risk.on_fill(1, X, ONE, 2 * SECOND)


@pytest.mark.parametrize(
    ("flag", "stopped", "free", "text"),
    [
        (KILL_ALL, {}, None, "the kill switch is on"),
        (kill_flag(account="A"), {"account": A}, {"account": B}, "account: the kill switch is on"),
        (kill_flag(symbol="X"), {"symbol": X}, {"symbol": Y}, "symbol: the kill switch is on"),
    ],
)
def test_the_kill_switch_stops_new_and_modify_but_never_a_cancel(flag, stopped, free, text):
    risk = Risk()
    risk.set_kill({flag})
    assert risk.enabled
    for kind in (Kind.NEW, Kind.MODIFY):
        assert check(risk, kind=kind, **stopped) == text
        assert risk.recheck(kind, 1, A, X, ONE, ONE, 0) is not None
        assert free is None or check(risk, kind=kind, **free) == ""
    assert check(risk, kind=Kind.CANCEL, **stopped) == ""
    risk.set_kill(())
    assert not risk.enabled


def test_a_reload_keeps_kill_switch_guard_and_last_prices():
    risk = Risk(RiskLimits(repeated_fills=1))
    assert risk.on_fill(1, X, 100 * ONE, 0)
    risk.stop(1)
    risk.set_kill({kill_flag(account="B")})
    risk.reload(desk(price_collar_percent=ONE), [])
    assert "guard" in check(risk)
    assert "kill" in check(risk, account=B)
    assert "collar" in check(risk, upstream=2, price=200 * ONE)


def test_a_desk_without_limits_is_not_asked():
    assert not Risk().enabled
    assert Risk(desk(max_quantity=1)).enabled
    assert Risk(RiskLimits(messages_per_s=1)).enabled


@pytest.mark.parametrize("name", ["\xc4", "A" * 17])
def test_a_kill_flag_for_a_name_that_no_order_can_have_stops_nothing_and_nobody(name: str) -> None:
    """Somebody may have written the switch's file by hand."""
    risk = Risk()
    risk.set_kill([kill_flag(account=name), kill_flag(symbol=name)])
    assert risk.killed(A, X) is None
    assert risk.killed(padded("A" * 16), padded("A" * 16)) is None
