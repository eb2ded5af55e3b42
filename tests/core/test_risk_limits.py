"""Risk limits from the configuration."""

import pytest

from oms_actors.config import LimitsConfig, RiskConfig
from oms_actors.core.risk import NO_LIMITS, Limits, Risk
from oms_actors.edges.limits import limits_of
from oms_actors.errors import ONE, FieldError


def test_no_configuration_is_no_limit():
    risk = Risk(limits_of(RiskConfig()))
    assert risk.limits is NO_LIMITS
    assert not risk.enabled


def test_texts_become_fixed_point_and_names_are_padded():
    limits = limits_of(
        RiskConfig(
            max_quantity="1000",
            max_notional="2.5",
            price_collar_percent="0.25",
            max_open_orders=7,
            allowed_symbols=("INFY",),
            duplicate_window_ms=250,
            messages_per_second=40,
            repeated_fills=3,
            repeated_fills_ms=2_000,
            accounts={"HOUSE": LimitsConfig(max_open_orders=2)},
            symbols={"INFY": LimitsConfig(max_quantity="5")},
        )
    )
    assert limits.desk == Limits(1_000 * ONE, 5 * ONE // 2, ONE // 4, 7)
    assert limits.accounts == {b"HOUSE".ljust(16, b"\0"): Limits(max_open_orders=2)}
    assert limits.symbols == {b"INFY".ljust(16, b"\0"): Limits(max_quantity=5 * ONE)}
    assert limits.allowed_symbols == {b"INFY".ljust(16, b"\0")}
    assert (limits.duplicate_window_ns, limits.repeated_fills_ns) == (250_000_000, 2_000_000_000)
    assert (limits.messages_per_s, limits.repeated_fills) == (40, 3)


def test_a_limit_that_cannot_be_read_is_named_with_its_key():
    with pytest.raises(FieldError, match=r"risk\.accounts\.HOUSE\.max_notional"):
        limits_of(RiskConfig(accounts={"HOUSE": LimitsConfig(max_notional="much")}))
