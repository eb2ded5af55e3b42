"""`[queue]`, `[exchange]` and `[throttle]` as the sender's core wants them: also for whoever folds its journal."""

from __future__ import annotations

from oms_actors.config import Config, ScopeLimitConfig, ThrottleConfig
from oms_actors.core.pending import SenderSettings
from oms_actors.core.scopes import ScopeLimit, Scopes
from oms_actors.core.throttle import Throttle, ThrottleLimit
from oms_actors.errors import Field
from oms_actors.messages import ACCOUNT_MAX, SYMBOL_MAX, Kind, text_of

MS = 1_000_000
_SCOPES = {"desk": (Field.NONE, 0), "account": (Field.ACCOUNT, ACCOUNT_MAX), "symbol": (Field.SYMBOL, SYMBOL_MAX)}


def settings_of(config: Config, deduplicates: bool) -> SenderSettings:
    """The configuration as the core wants it."""
    kinds = {"new": Kind.NEW, "modify": Kind.MODIFY, "cancel": Kind.CANCEL}
    throttle = config.throttle
    reserves = throttle.reserve_cancels > 0 or any(limit.reserve_cancels for limit in throttle.limits)
    return SenderSettings(
        after_send_forward=config.queue.after_send == "forward",
        modify_loses_place=config.queue.modify_loses_place,
        max_queue_age_ns=config.queue.max_queue_age_ms * MS,
        ack_timeout_ns=config.exchange.ack_timeout_ms * MS,
        retries=config.exchange.not_sent_retries,
        retry_delay_ns=config.exchange.not_sent_delay_ms * MS,
        counted=frozenset(int(kinds[name]) for name in throttle.count),
        cancel_lane=reserves or "cancel" not in throttle.count,  # else what they are spared holds them back
        query_settle_ns=config.exchange.query_settle_ms * MS,
        query_interval_ns=config.exchange.query_interval_ms * MS,
        query_attempts=config.exchange.query_attempts,
        resends=config.exchange.resend_attempts,
        crossing=config.queue.internal_crossing,
        deduplicates=deduplicates,
    )


def throttle_of(config: Config) -> Throttle:
    """The throttle of `[throttle]`."""
    return Throttle(_limit(config.throttle))


def scopes_of(config: Config) -> Scopes:
    """The limits of `[[throttle.limits]]`."""
    return Scopes(tuple(map(_scope, config.throttle.limits)))


def _scope(limit: ScopeLimitConfig) -> ScopeLimit:
    field, size = _SCOPES[limit.scope]
    name = text_of("throttle.limits.name", limit.name, size).ljust(size, b"\0") if limit.name else b""
    return ScopeLimit(field, name, _limit(limit))


def _limit(limit: ThrottleConfig | ScopeLimitConfig) -> ThrottleLimit:
    return ThrottleLimit(
        rate=limit.rate, per_ns=limit.per_ms * MS, window=limit.window, margin_ns=limit.margin_ms * MS,
        reserve_cancels=limit.reserve_cancels,
    )  # fmt: skip
