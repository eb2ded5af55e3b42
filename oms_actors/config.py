"""Every limit and default of the desk, as data. `edges/settings.py` reads `oms.toml` and the environment into these.

Units are in the names. The app writes the checked result into the instance's runtime directory (`desk.json`, mode
0600), from where each process reads it: one truth for all of them.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

MAX_RATE = 1_000_000


class DeskConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[desk]`: where things are kept and how safely."""

    data_dir: str = "oms-data"
    """Relative to the working directory; the instance's name is appended."""
    durability: Literal["power", "process"] = "power"
    segment_bytes: int = 64 << 20
    snapshot_bytes: int = 32 << 20
    """A snapshot of intake or the sender whenever its journal has grown by so much; 0 = none."""
    journal_keep_days: int = 7
    """Segments of the journals that nobody needs any more stay for so long."""
    upstream_request_bytes: int = 1 << 20
    upstream_report_bytes: int = 4 << 20
    inner_ring_bytes: int = 16 << 20
    upstreams_max: int = 256
    look_us: int = 2_000
    """While requests come closer together than this, intake looks for the next one instead of sleeping; 0 = never."""
    real_time: bool = True
    """Where the system permits it the sender comes before all ordinary processes when it has something to do."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"


class HoursConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One weekly rule: `days` as "mon", "tue" …; wall times "HH:MM[:SS]"; close <= open ends the next day."""

    days: tuple[str, ...] = ("mon", "tue", "wed", "thu", "fri")
    open: str
    close: str


class OverrideConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A date with hours of its own; none = closed."""

    date: str
    sessions: tuple[tuple[str, str], ...] = ()
    reason: str = ""


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[session]`: trading hours and the logon. No `hours` = always open."""

    username: str = "oms"
    password: str = ""
    zone: str = "UTC"
    hours: tuple[HoursConfig, ...] = ()
    holidays: str = ""
    """Exchange code (ISO 10383 MIC) whose holidays close the session."""
    overrides: tuple[OverrideConfig, ...] = ()
    out_of_hours: Literal["reject", "queue"] = "reject"
    queued_at_close: Literal["expire", "park", "cancel"] = "expire"
    on_close: Literal["leave", "cancel"] = "leave"
    cancel_lead_ms: int = 5_000
    """With `on_close = "cancel"`: so long before the close only cancels are sent, for everything that works."""
    logon_lead_ms: int = 0
    """Logged on so long before the open; nothing is sent before it."""
    logon_timeout_ms: int = 5_000
    logout_timeout_ms: int = 2_000
    reconnect_initial_ms: int = 100
    reconnect_max_ms: int = 5_000
    logons_per_minute: int = 60


class ScopeLimitConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[throttle.limits]]`: a further limit, of the desk as a whole, of accounts or of symbols."""

    scope: Literal["desk", "account", "symbol"]
    name: str = ""
    """Of the account or symbol; "" = each of them by itself."""
    rate: int
    per_ms: int = 1_000
    window: Literal["sliding", "fixed"] = "sliding"
    margin_ms: int = 0
    reserve_cancels: int = 0


class ThrottleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[throttle]`: what the exchange lets us send."""

    rate: int = 100
    per_ms: int = 1_000
    window: Literal["sliding", "fixed"] = "sliding"
    margin_ms: int = 0
    reserve_cancels: int = 0
    count: tuple[Literal["new", "modify", "cancel"], ...] = ("new", "modify", "cancel")
    limits: tuple[ScopeLimitConfig, ...] = ()
    """All of them hold, besides the one above."""


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[queue]`: orders that wait for the throttle or the session."""

    capacity: int = 1_000_000
    modify_loses_place: bool = False
    max_queue_age_ms: int = 0
    """0 = no limit."""
    after_send: Literal["forward", "ignore"] = "forward"
    internal_crossing: bool = False


class UpstreamsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[upstreams]`: what holds for those who send orders."""

    cancel_on_disconnect: tuple[str, ...] = ()
    """Names of upstreams whose open orders are canceled once they are gone; "*": of all."""
    disconnect_grace_ms: int = 5_000
    """An upstream that is back so soon was not gone."""


class ExchangeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[exchange]`: the adapter and how its calls are treated."""

    adapter: str = "oms_actors.edges.venue_link:VenueAdapter"
    call_timeout_ms: int = 10_000
    ack_timeout_ms: int = 10_000
    """Without an answer for so long an order is IN_DOUBT; 0 = never."""
    not_sent_retries: int = 3
    not_sent_delay_ms: int = 100
    query_settle_ms: int = 500
    query_attempts: int = 3
    query_interval_ms: int = 500
    resend_attempts: int = 10
    """So often a request in doubt goes out again, marked as a possible resend, where the exchange deduplicates; then an
    operator must say what became of it."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Risk limits; decimals as text, "" or 0 = no limit."""

    max_quantity: str = ""
    max_notional: str = ""
    price_collar_percent: str = ""
    max_open_orders: int = 0


class RiskConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[risk]`: checked before the queue and again at release."""

    max_quantity: str = ""
    max_notional: str = ""
    price_collar_percent: str = ""
    max_open_orders: int = 0
    allowed_symbols: tuple[str, ...] = ()
    duplicate_window_ms: int = 0
    messages_per_second: int = 0
    repeated_fills: int = 0
    """After so many fills within `repeated_fills_ms` an upstream's orders stop until re-enabled; 0 = off."""
    repeated_fills_ms: int = 1_000
    accounts: dict[str, LimitsConfig] = msgspec.field(default_factory=dict)
    symbols: dict[str, LimitsConfig] = msgspec.field(default_factory=dict)


class FaultsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[venue.faults]`: probabilities per message, seeded."""

    seed: int = 1
    delay_ms: int = 0
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reject: float = 0.0
    disconnect: float = 0.0
    block: float = 0.0
    block_ms: int = 1_000
    die: float = 0.0


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[venue]`: the simulated exchange that the default adapter reaches."""

    enabled: bool = True
    """Start it as the desk's child (only used with the default adapter)."""
    model: Literal["fill", "match"] = "fill"
    latency_us: int = 200
    username: str = ""
    password: str = ""
    symbols: tuple[str, ...] = ()
    tick_size: str = "0.01"
    lot_size: str = "1"
    self_trade: Literal["allow", "cancel_newest", "cancel_oldest"] = "allow"
    snapshot_interval_sec: int = 60
    faults: FaultsConfig | None = None


class PersistenceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[persistence]`: the database, fed from the journals."""

    database: str = ""
    """Path of the SQLite file; "" = `oms.sqlite` in the instance's data directory."""
    batch_records: int = 20_000
    commit_interval_ms: int = 50
    responses_log: bool = False


class SupervisorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[supervisor]`: when a child counts as hung, and how often it may come back."""

    heartbeat_timeout_ms: int = 1_000
    intensity: int = 20
    period_s: float = 60.0
    memory_max_mb: int = 0
    """Per child; 0 = no limit."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole desk."""

    desk: DeskConfig = msgspec.field(default_factory=DeskConfig)
    session: SessionConfig = msgspec.field(default_factory=SessionConfig)
    throttle: ThrottleConfig = msgspec.field(default_factory=ThrottleConfig)
    queue: QueueConfig = msgspec.field(default_factory=QueueConfig)
    upstreams: UpstreamsConfig = msgspec.field(default_factory=UpstreamsConfig)
    exchange: ExchangeConfig = msgspec.field(default_factory=ExchangeConfig)
    risk: RiskConfig = msgspec.field(default_factory=RiskConfig)
    venue: VenueConfig = msgspec.field(default_factory=VenueConfig)
    persistence: PersistenceConfig = msgspec.field(default_factory=PersistenceConfig)
    supervisor: SupervisorConfig = msgspec.field(default_factory=SupervisorConfig)


Range = tuple[float, float]
_MS_MAX = 86_400_000

_LIMIT_RANGES: dict[str, Range] = {
    "rate": (1, MAX_RATE),
    "per_ms": (1, _MS_MAX),
    "margin_ms": (0, 60_000),
    "reserve_cancels": (0, MAX_RATE),
}
RANGES: dict[type[msgspec.Struct], dict[str, Range]] = {
    DeskConfig: {
        "segment_bytes": (4 << 20, 4 << 30),
        "snapshot_bytes": (0, 1 << 40),
        "journal_keep_days": (0, 36_500),
        "upstream_request_bytes": (4 << 10, 1 << 30),
        "upstream_report_bytes": (4 << 10, 1 << 30),
        "inner_ring_bytes": (64 << 10, 1 << 30),
        "upstreams_max": (1, 4_096),
        "look_us": (0, 100_000),
    },
    SessionConfig: {
        "cancel_lead_ms": (1, _MS_MAX),
        "logon_lead_ms": (0, _MS_MAX),
        "logon_timeout_ms": (1, _MS_MAX),
        "logout_timeout_ms": (1, _MS_MAX),
        "reconnect_initial_ms": (1, _MS_MAX),
        "reconnect_max_ms": (1, _MS_MAX),
        "logons_per_minute": (1, 6_000),
    },
    ThrottleConfig: _LIMIT_RANGES,
    ScopeLimitConfig: _LIMIT_RANGES,
    QueueConfig: {"capacity": (1, 100_000_000), "max_queue_age_ms": (0, _MS_MAX)},
    UpstreamsConfig: {"disconnect_grace_ms": (0, _MS_MAX)},
    ExchangeConfig: {
        "call_timeout_ms": (100, _MS_MAX),
        "ack_timeout_ms": (0, _MS_MAX),
        "not_sent_retries": (0, 1_000),
        "not_sent_delay_ms": (0, _MS_MAX),
        "query_settle_ms": (0, _MS_MAX),
        "query_attempts": (1, 1_000),
        "query_interval_ms": (1, _MS_MAX),
        "resend_attempts": (0, 1_000),
    },
    LimitsConfig: {"max_open_orders": (0, 100_000_000)},
    RiskConfig: {
        "max_open_orders": (0, 100_000_000),
        "duplicate_window_ms": (0, _MS_MAX),
        "messages_per_second": (0, MAX_RATE),
        "repeated_fills": (0, 1_000_000),
        "repeated_fills_ms": (1, _MS_MAX),
    },
    FaultsConfig: {
        "seed": (0, 2**63 - 1),
        "delay_ms": (0, _MS_MAX),
        "drop": (0, 1),
        "duplicate": (0, 1),
        "reorder": (0, 1),
        "reject": (0, 1),
        "disconnect": (0, 1),
        "block": (0, 1),
        "block_ms": (0, _MS_MAX),
        "die": (0, 1),
    },
    VenueConfig: {"latency_us": (0, 60_000_000), "snapshot_interval_sec": (1, 86_400)},
    PersistenceConfig: {"batch_records": (1, 1_000_000), "commit_interval_ms": (0, 60_000)},
    SupervisorConfig: {
        "heartbeat_timeout_ms": (500, 600_000),
        "intensity": (0, 1_000_000),
        "period_s": (0.1, 86_400),
        "memory_max_mb": (0, 1 << 20),
    },
}
"""Inclusive limits of every number above."""

_LIMIT_DECIMALS = frozenset({"max_quantity", "max_notional", "price_collar_percent"})
DECIMALS: dict[type[msgspec.Struct], frozenset[str]] = {
    LimitsConfig: _LIMIT_DECIMALS,
    RiskConfig: _LIMIT_DECIMALS,
    VenueConfig: frozenset({"tick_size", "lot_size"}),
}
"""Texts that are decimals above zero; those whose default is "" may be empty."""


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What `desk.json` holds: the configuration and what the app found out around it."""

    instance: str
    runtime_dir: str
    data_dir: str
    """Of the instance, absolute."""
    config_dir: str
    """Folder of `oms.toml` (or the working directory): adapters may be imported from it."""
    desk_id: int
    """Random u64 of the data directory: part of every order's UUID."""
    config: Config
