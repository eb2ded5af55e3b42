"""`[risk]` as text becomes `core.risk.RiskLimits`: fixed point, names padded as records have them."""

from __future__ import annotations

from oms_actors.config import LimitsConfig, RiskConfig
from oms_actors.core.risk import Limits, RiskLimits
from oms_actors.messages import ACCOUNT_MAX, SYMBOL_MAX, fixed, text_of

NS_PER_MS = 1_000_000


def limits_of(risk: RiskConfig) -> RiskLimits:
    """The limits of a checked configuration; FieldError where a value was not checked."""
    return RiskLimits(
        desk=_limits("risk", risk),
        accounts=_own("accounts", ACCOUNT_MAX, risk.accounts),
        symbols=_own("symbols", SYMBOL_MAX, risk.symbols),
        allowed_symbols=frozenset(_name("risk.allowed_symbols", name, SYMBOL_MAX) for name in risk.allowed_symbols),
        messages_per_s=risk.messages_per_second,
        duplicate_window_ns=risk.duplicate_window_ms * NS_PER_MS,
        repeated_fills=risk.repeated_fills,
        repeated_fills_ns=risk.repeated_fills_ms * NS_PER_MS,
    )


def _own(table: str, size: int, limits: dict[str, LimitsConfig]) -> dict[bytes, Limits]:
    where = f"risk.{table}"
    return {_name(where, name, size): _limits(f"{where}.{name}", own) for name, own in limits.items()}


def _limits(where: str, limits: LimitsConfig | RiskConfig) -> Limits:
    def decimal(key: str) -> int:
        text = getattr(limits, key)
        return fixed(f"{where}.{key}", text, allow_zero=True) if text else 0

    return Limits(
        max_quantity=decimal("max_quantity"),
        max_notional=decimal("max_notional"),
        price_collar_percent=decimal("price_collar_percent"),
        max_open_orders=limits.max_open_orders,
    )


def _name(field: str, name: str, size: int) -> bytes:
    return text_of(field, name, size).ljust(size, b"\0")
