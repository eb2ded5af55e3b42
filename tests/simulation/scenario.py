"""What a seed decides before anything happens: the configuration, the venue's habits, what goes wrong how often."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random

import msgspec
from simulation.clock import MS, S

from oms_actors.config import (
    Config,
    DeskConfig,
    ExchangeConfig,
    HoursConfig,
    OverrideConfig,
    PersistenceConfig,
    QueueConfig,
    ScopeLimitConfig,
    SessionConfig,
    ThrottleConfig,
    VenueConfig,
)

DATE = "2026-03-02"
ROLLS = HoursConfig(days=("mon", "tue", "sun"), open="09:59:53", close="09:59:53")
START_NS = 1_772_445_590 * S
"""2026-03-02 09:59:50 UTC, a Monday."""
ADAPTER, RAW_ADAPTER = "simulation.exchange:HostileAdapter", "simulation.exchange:RawHostileAdapter"


@dataclass(frozen=True)
class Habits:
    """Of the venue and the network to it; probabilities per event."""

    raw: bool
    """The adapter takes whole frames of INTENTs, and knows whether one has left."""
    deduplicates: bool
    can_query: bool
    resumes: bool
    replays: bool
    latency_max_ns: int
    block_max_ns: int
    fill: float = 0.6
    fill_before_ack: float = 0.0
    late_fill: float = 0.0
    unsolicited: float = 0.0
    reject: float = 0.0
    swallow: float = 0.0
    lose: float = 0.0
    lose_in_flight: float = 0.5
    duplicate: float = 0.0
    reorder: float = 0.0
    not_sent: float = 0.0
    fail_before: float = 0.0
    fail_after: float = 0.0
    block: float = 0.0
    refuse_connect: float = 0.0
    ignore_logon: float = 0.0
    reject_logon: float = 0.0


@dataclass(frozen=True)
class Troubles:
    """Of the machine; probabilities per pass of a process, rates per second."""

    kill: float
    stop: float
    long_stop: float
    power: float
    lines: float
    """Share of the blows that hit at a line instead of a point."""
    cuts_per_s: float
    silences_per_s: float
    disk_per_s: float
    database_per_s: float
    clock_per_s: float
    restarts_per_s: float
    slow_clients_per_s: float
    operator_per_s: float
    """Somebody kills, resumes, cancels everything, reconnects."""
    snapshots_per_s: float
    aim: tuple[str, str] | None = None
    """Blows hit only this process, and there only at points whose name begins so."""
    scheduler_dies: float = 0.5
    """Share of the edges of sessions over which the scheduler is dead, if anybody is killed at all."""
    disk: tuple[str, ...] = ("write", "sync", "create", "full")
    """What the disk may refuse."""


@dataclass(frozen=True)
class Scenario:
    """A whole run."""

    seed: int
    config: Config
    habits: Habits
    troubles: Troubles
    length_ns: int
    clients: int
    waves: int
    wave_max: int
    repeats: float
    """Share of the requests that have been there before."""
    modifies: float
    """Share of the requests that change an order …"""
    cancels: float
    """… and of those that cancel one."""
    frame_records: int
    """After so many records the sender writes a frame."""
    few: int
    """So few records are not worth doing by columns."""
    power: bool
    """Does `durability` promise to survive a power cut?"""
    rolls: bool
    """Does a trade date end while orders flow? (The sessions follow each other without a gap.)"""

    def sessions(self) -> list[tuple[int, int]]:
        """Trading hours as UTC ns; none = always open."""
        return [
            (_wall_ns(opens), _wall_ns(closes))
            for override in self.config.session.overrides for opens, closes in override.sessions
        ]  # fmt: skip


def _wall_ns(time: str) -> int:
    return int(datetime.fromisoformat(f"{DATE}T{time}").replace(tzinfo=UTC).timestamp()) * S


def scenario(seed: int) -> Scenario:
    """Everything follows from the seed."""
    dice = Random(f"scenario {seed}")
    config = _config(dice)
    rolls = not config.session.overrides and Random(f"roll {seed}").random() < 0.3
    if rolls:
        config = msgspec.structs.replace(config, session=msgspec.structs.replace(config.session, hours=(ROLLS,)))
    habits = _habits(dice)
    config = _with_limits(config, Random(f"limits {seed}"))
    if Random(f"crossing {seed}").random() < 0.2:
        config = msgspec.structs.replace(config, queue=msgspec.structs.replace(config.queue, internal_crossing=True))
    if habits.raw:
        exchange = msgspec.structs.replace(config.exchange, adapter=RAW_ADAPTER)
        config = msgspec.structs.replace(config, exchange=exchange)
    found = Scenario(
        seed=seed, config=config, habits=habits, troubles=_troubles(dice, config.desk.durability == "power"),
        length_ns=dice.choice((3, 5, 8, 12, 30)) * S, clients=dice.randrange(1, 4), waves=dice.randrange(2, 10),
        wave_max=dice.choice((2, 5, 20, 60)), repeats=dice.choice((0.0, 0.03)) * (not rolls),
        modifies=0.15, cancels=0.15, frame_records=dice.choice((8, 64, 200)), few=dice.choice((2, 8)),
        power=config.desk.durability == "power", rolls=rolls,
    )  # fmt: skip
    alone = Random(f"alone {seed}")
    return _one_by_one(found, alone) if alone.random() < 0.3 else found


def _one_by_one(found: Scenario, dice: Random) -> Scenario:
    """Most requests are plain orders that come alone and need not wait: the short ways of intake and the sender."""
    config = found.config
    config = msgspec.structs.replace(
        config, throttle=msgspec.structs.replace(config.throttle, rate=10_000, limits=()),
        queue=msgspec.structs.replace(config.queue, capacity=100_000, max_queue_age_ms=0, internal_crossing=False),
    )  # fmt: skip
    return replace(
        found, config=config, waves=dice.randrange(50, 200), wave_max=2, modifies=0.03, cancels=0.03
    )  # fmt: skip


def _with_limits(config: Config, dice: Random) -> Config:
    """Sometimes accounts, symbols or the whole desk have further limits."""
    if dice.random() < 0.75:
        return config
    throttle = config.throttle
    limits = tuple(
        ScopeLimitConfig(scope=scope, name=name, rate=dice.randrange(2, 10), per_ms=dice.choice((50, 300, 1_000)))
        for scope, name in (("account", ""), ("symbol", "AAA"), ("desk", "")) if dice.random() < 0.5
    )  # fmt: skip
    return msgspec.structs.replace(config, throttle=msgspec.structs.replace(throttle, limits=limits))


def _config(dice: Random) -> Config:
    rate = dice.randrange(3, 40)
    return Config(
        desk=DeskConfig(
            durability="process" if dice.random() < 0.15 else "power", journal_keep_days=1,
            segment_bytes=dice.choice((512 << 10, 512 << 10, 1 << 20)),  # more than any cycle says
            upstream_request_bytes=dice.choice((16 << 10, 64 << 10)),
            upstream_report_bytes=dice.choice((16 << 10, 64 << 10)),
            inner_ring_bytes=dice.choice((8 << 10, 64 << 10)),
        ),
        session=_session(dice),
        throttle=ThrottleConfig(
            rate=rate, per_ms=dice.choice((50, 200, 1000)), margin_ms=dice.choice((0, 0, 5)),
            reserve_cancels=dice.choice((0, 0, 1, 2)),
        ),
        queue=QueueConfig(
            capacity=dice.choice((10, 50, 100_000)), modify_loses_place=dice.random() < 0.2,
            max_queue_age_ms=dice.choice((0, 0, 0, 3_000)), after_send="ignore" if dice.random() < 0.1 else "forward",
        ),
        exchange=ExchangeConfig(
            adapter=ADAPTER, ack_timeout_ms=dice.choice((300, 1_000, 4_000)), not_sent_retries=dice.randrange(4),
            not_sent_delay_ms=dice.choice((0, 20, 100)), query_settle_ms=dice.choice((100, 500)),
            query_attempts=dice.randrange(1, 4), query_interval_ms=dice.choice((100, 500)),
        ),
        venue=VenueConfig(enabled=False),
        persistence=PersistenceConfig(
            batch_records=dice.choice((10, 1_000)), commit_interval_ms=dice.choice((0, 50, 500))
        ),
    )  # fmt: skip


def _session(dice: Random) -> SessionConfig:
    hours: tuple[OverrideConfig, ...] = ()
    if dice.random() < 0.4:
        sessions = (("10:00:00", "10:00:08"), ("10:00:12", "10:00:25"), ("10:03:00", "23:59:00"))
        hours = (OverrideConfig(date=DATE, sessions=sessions[dice.randrange(2) :]),)
    return SessionConfig(
        overrides=hours, out_of_hours=dice.choice(("reject", "queue")),
        queued_at_close=dice.choice(("expire", "park", "cancel")), on_close=dice.choice(("leave", "leave", "cancel")),
        logon_timeout_ms=500, logout_timeout_ms=300, reconnect_initial_ms=dice.choice((50, 100)),
        reconnect_max_ms=1_000, logons_per_minute=dice.choice((6_000, 6_000, 6_000, 6_000, 30)),
    )  # fmt: skip


def _habits(dice: Random) -> Habits:
    def sometimes(most: float) -> float:
        return dice.random() * most if dice.random() < 0.4 else 0.0

    resumes = dice.random() < 0.25
    return Habits(
        raw=dice.random() < 0.4, deduplicates=dice.random() < 0.7, can_query=dice.random() < 0.7, resumes=resumes,
        replays=dice.random() < 0.7, latency_max_ns=dice.choice((1, 20, 200)) * MS,
        block_max_ns=dice.choice((1, 50, 3_000)) * MS, fill=dice.random(), fill_before_ack=sometimes(0.3),
        late_fill=sometimes(0.5), unsolicited=sometimes(0.1), reject=sometimes(0.3), swallow=sometimes(0.1),
        lose=sometimes(0.1), lose_in_flight=dice.random(), duplicate=sometimes(0.3), reorder=sometimes(0.3),
        not_sent=sometimes(0.3), fail_before=sometimes(0.1), fail_after=sometimes(0.1), block=sometimes(0.1),
        refuse_connect=sometimes(0.3), ignore_logon=sometimes(0.2), reject_logon=sometimes(0.2),
    )  # fmt: skip


def _troubles(dice: Random, power: bool) -> Troubles:
    def sometimes(most: float, share: float = 0.5) -> float:
        return dice.random() * most if dice.random() < share else 0.0

    return Troubles(
        kill=sometimes(0.03, 0.8), stop=sometimes(0.05), long_stop=sometimes(0.004),
        power=sometimes(0.002, 0.3) if power else 0.0,
        lines=dice.random(), cuts_per_s=sometimes(0.3), silences_per_s=sometimes(0.1), disk_per_s=sometimes(0.3, 0.3),
        database_per_s=sometimes(0.3), clock_per_s=sometimes(0.1, 0.15), restarts_per_s=sometimes(0.05, 0.2),
        slow_clients_per_s=sometimes(0.2), operator_per_s=sometimes(0.3, 0.3), snapshots_per_s=sometimes(1.0),
    )  # fmt: skip
