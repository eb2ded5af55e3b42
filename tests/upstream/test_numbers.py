"""Prices and quantities as they come in: exact, in FIX's syntax, and refused by field, value and limit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms_actors.errors import FieldError, decimal_text
from oms_actors.messages import INT64_MAX, fixed


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        ("585.33", 58533000000), ("18", 18 * 10**8), ("007.50", 750000000), ("23.", 23 * 10**8), (".23", 23000000),
        ("1.10000000000", 110000000), (18, 18 * 10**8), (Decimal("1E+3"), 10**11), ("92233720368.54775807", INT64_MAX),
    ],
)  # fmt: skip
def test_a_decimal_like_value_is_taken_exactly(value: str | int | Decimal, inside: int) -> None:
    assert fixed("price", value) == inside


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ("1_000", "digits and at most one point"), ("\u0663", "digits"), ("1e3", "digits"), (" 1", "digits"),
        ("1 ", "digits"), ("+1", "digits"), ("", "digits"), ("-", "digits"), (".", "digits"), ("1.2.3", "digits"),
        ("NaN", "digits"), ("-inf", "digits"), ("9" * 5000, "must be at most 92233720368.54775807"),
        ("92233720368.54775808", "must be at most 92233720368.54775807"), ("-5", "must be greater than zero"),
        ("0.000", "must be greater than zero"), ("0.123456789", "must have at most 8 decimals"),
        (1.5, "pass a str, an int or a Decimal"), (True, "must be a number"), (None, "must be a decimal number"),
        (Decimal("NaN"), "must be a finite number"), (Decimal("1E+30"), "must be at most"), (-5, "greater than zero"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_by_field_value_and_limit(value: object, limit: str) -> None:
    with pytest.raises(FieldError, match="price: ") as refusal:
        fixed("price", value)  # type: ignore[arg-type]
    assert refusal.value.field == "price"
    assert str(refusal.value.value) == str(value)
    assert limit in refusal.value.limit


@given(st.integers(1, INT64_MAX))
def test_what_is_written_is_read_back(value: int) -> None:
    text = decimal_text(value)
    assert fixed("price", text) == fixed("price", Decimal(text)) == value


@given(st.text(alphabet="0123456789.-+_eE \u0663", max_size=12))
def test_text_and_decimal_agree_wherever_the_text_is_taken(text: str) -> None:
    try:
        found = fixed("price", text)
    except FieldError:
        return
    assert found == fixed("price", Decimal(text))
