"""The desk's settings: `oms.toml`, then the environment (`OMS_<SECTION>_<KEY>`), checked as a whole.

`edges/reading.py` finds what is wrong with single values; here is what needs more than one of them, or the world:
trading hours that overlap, an exchange nobody knows, an adapter that cannot be imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from oms_actors.config import Config, ExchangeConfig
from oms_actors.edges import hours
from oms_actors.edges.reading import DEFAULT, Problem, Reading, masked
from oms_actors.errors import ConfigError, FieldError
from oms_actors.instance import DEFAULT_INSTANCE, check_name
from oms_actors.messages import ACCOUNT_MAX, SYMBOL_MAX, text_of

__all__ = ["DEFAULT", "Examined", "Problem", "config_dir", "examine", "find", "load", "template", "values"]

FILE_NAME = "oms.toml"
_NOT_SETTINGS = frozenset({"OMS_CONFIG", "OMS_INSTANCE", "OMS_RUNTIME_DIR"})
_RING_ALIGN_BYTES = 64

Where = str | os.PathLike[str] | None


class Examined(NamedTuple):
    """A configuration (defaults where something is wrong), the origin of each value by "section.key", all problems."""

    config: Config
    sources: dict[str, str]
    problems: list[Problem]


def load(path: Where, environ: Mapping[str, str], instance: str = DEFAULT_INSTANCE) -> tuple[Config, dict[str, str]]:
    """The checked configuration and where each value comes from; ConfigError carries every problem.

    `path` None: OMS_CONFIG, else ./oms.toml, else the embedded defaults.
    """
    config, sources, problems = examine(path, environ, instance)
    if problems:
        raise ConfigError([str(problem) for problem in problems])
    return config, sources


def find(path: Where, environ: Mapping[str, str]) -> Path | None:
    """The file that `load` reads; None: there is none, and the defaults hold."""
    named = path or environ.get("OMS_CONFIG")
    if named:
        return Path(named)
    return Path(FILE_NAME) if Path(FILE_NAME).exists() else None


def config_dir(path: Where, environ: Mapping[str, str]) -> Path:
    """The folder adapters may be imported from: the file's, else the working directory."""
    found = find(path, environ)
    return (found.parent if found else Path()).absolute()


def template() -> str:
    """A commented oms.toml with every key, for people to change."""
    from importlib.resources import files

    return files(__package__).joinpath("template.toml").read_text("utf-8")


def examine(path: Where, environ: Mapping[str, str], instance: str = DEFAULT_INSTANCE) -> Examined:
    """Like `load`, but returns the problems."""
    reading = Reading(Config, "OMS")
    try:
        check_name("instance", instance)
    except FieldError as error:
        reading.problem("--instance", "", instance, error.limit)
    found = find(path, environ)
    if found:
        reading.file(found)
    reading.environment(environ, _NOT_SETTINGS)
    config: Config = reading.struct(Config, reading.tree)
    for key, value, fix in _across(config, config_dir(path, environ)):
        reading.at(key, value, fix)
    return Examined(config, reading.sources, reading.problems)


def values(config: Config) -> Iterator[tuple[str, Any]]:
    """Every ("section.key", value) in order; secrets as stars, lists and tables of tables left whole."""
    for section in config.__struct_fields__:
        yield from _values(section, getattr(config, section))


def _values(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _values(f"{path}.{name}", getattr(value, name))
    else:
        yield path, masked(path, msgspec.to_builtins(value))


def _across(config: Config, folder: Path) -> Iterator[tuple[str, Any, str]]:
    """(key, value, fix) of what is wrong although each value by itself is right."""
    wrong: list[hours.HoursProblem] = []
    schedule = hours.read(config.session, wrong)
    found = hours.check(config.session, schedule)
    for key, value, fix in (*wrong, *(each for each in found if not wrong or each.key in ("zone", "holidays"))):
        yield f"session.{key}", value, fix
    throttle, session = config.throttle, config.session
    yield from _reserve("throttle", throttle.reserve_cancels, throttle.rate)
    for at, limit in enumerate(throttle.limits):
        yield from _reserve(f"throttle.limits[{at}]", limit.reserve_cancels, limit.rate)
        if limit.scope == "desk" and limit.name:
            yield f"throttle.limits[{at}].name", limit.name, 'must be left out for scope "desk"'
    if session.reconnect_initial_ms > session.reconnect_max_ms:
        most = f"must be at most session.reconnect_max_ms, {session.reconnect_max_ms}"
        yield "session.reconnect_initial_ms", session.reconnect_initial_ms, most
    yield from _ring_sizes(config)
    yield from _names(config)
    if config.exchange.adapter != ExchangeConfig().adapter or config.exchange.options:
        from oms_actors.edges.adapter_check import problems

        yield from problems(config.exchange.adapter, config.exchange.options, str(folder))


def _reserve(key: str, reserve: int, rate: int) -> Iterator[tuple[str, Any, str]]:
    if reserve >= rate:
        yield f"{key}.reserve_cancels", reserve, f"must be below {key}.rate, {rate}"


def _ring_sizes(config: Config) -> Iterator[tuple[str, Any, str]]:
    for name in ("upstream_request_bytes", "upstream_report_bytes", "inner_ring_bytes"):
        size = getattr(config.desk, name)
        if size % _RING_ALIGN_BYTES:
            yield f"desk.{name}", size, f"must be a multiple of {_RING_ALIGN_BYTES}"


def _names(config: Config) -> Iterator[tuple[str, Any, str]]:
    """Symbols and accounts that no order could carry."""
    risk = config.risk
    for key, names, limit in (
        ("venue.symbols", config.venue.symbols, SYMBOL_MAX),
        ("risk.allowed_symbols", risk.allowed_symbols, SYMBOL_MAX),
        ("risk.symbols", risk.symbols, SYMBOL_MAX),
        ("risk.accounts", risk.accounts, ACCOUNT_MAX),
        ("throttle.limits", [each.name for each in config.throttle.limits if each.name], ACCOUNT_MAX),
    ):
        for name in names:
            try:
                text_of(key, name, limit)
            except FieldError as error:
                yield key, name, error.limit
