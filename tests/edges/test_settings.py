"""Configuration: file and environment, every problem at once, each with the place, the key, the value and a fix."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms_actors.config import DECIMALS, RANGES, Config, SessionConfig, ThrottleConfig
from oms_actors.edges import settings
from oms_actors.edges.reading import Problem
from oms_actors.errors import ConfigError


def problems_of(text: str, tmp_path: Path, **environ: str) -> list[Problem]:
    file = tmp_path / "oms.toml"
    file.write_text(text)
    return settings.examine(file, environ).problems


def the_problem(text: str, tmp_path: Path, **environ: str) -> Problem:
    (problem,) = problems_of(text, tmp_path, **environ)
    return problem


def config_of(text: str, tmp_path: Path, **environ: str) -> Config:
    file = tmp_path / "oms.toml"
    file.write_text(text)
    return settings.load(file, environ)[0]


def test_without_file_and_environment_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config, sources = settings.load(None, {})
    assert config == Config()
    assert set(sources.values()) == {"default"}
    assert {key for key, _ in settings.values(config)} <= set(sources)


def test_the_file_is_searched_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rate in (("oms.toml", 1), ("named.toml", 2), ("given.toml", 3)):
        Path(name).write_text(f"[throttle]\nrate = {rate}")
    assert settings.load(None, {})[0].throttle.rate == 1
    assert settings.load(None, {"OMS_CONFIG": "named.toml"})[0].throttle.rate == 2
    assert settings.load("given.toml", {"OMS_CONFIG": "named.toml"})[0].throttle.rate == 3


def test_the_environment_wins_and_each_value_knows_its_source(tmp_path: Path) -> None:
    file = tmp_path / "oms.toml"
    file.write_text("[throttle]\nrate = 5\nper_ms = 500")
    config, sources = settings.load(file, {"OMS_THROTTLE_RATE": "7", "OMS_SESSION_PASSWORD": "s3cret"})
    assert (config.throttle.rate, config.throttle.per_ms, config.session.password) == (7, 500, "s3cret")
    assert sources["throttle.rate"] == "OMS_THROTTLE_RATE"
    assert sources["throttle.per_ms"] == str(file)
    assert sources["throttle.window"] == "default"


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("OMS_THROTTLE_COUNT", "new,modify", "throttle.count", ("new", "modify")),
        ("OMS_VENUE_ENABLED", "false", "venue.enabled", False),
        ("OMS_SUPERVISOR_PERIOD_S", "30", "supervisor.period_s", 30.0),
        ("OMS_RISK_MAX_QUANTITY", "1000", "risk.max_quantity", "1000"),
        ("OMS_SESSION_PASSWORD", "12345", "session.password", "12345"),
        ("OMS_VENUE_FAULTS_DROP", "0.25", "venue.faults.drop", 0.25),
        ("OMS_SESSION_HOLIDAYS", "XNSE", "session.holidays", "XNSE"),
        ("OMS_EXCHANGE_OPTIONS_SESSION", "desk2", "exchange.options", {"session": "desk2"}),
        ("OMS_EXCHANGE_OPTIONS_REPORT_BYTES", "65536", "exchange.options", {"report_bytes": 65536}),
        ("OMS_RISK_ALLOWED_SYMBOLS", '["AAPL", "MSFT"]', "risk.allowed_symbols", ("AAPL", "MSFT")),
    ],
)  # fmt: skip
def test_a_variable_takes_the_type_of_its_key(name: str, text: str, key: str, value: Any, tmp_path: Path) -> None:
    found: Any = config_of("", tmp_path, **{name: text})
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ("[throttle]\nraet = 5", "throttle.raet", 'unknown key: did you mean "rate"?'),
        ("[throtle]\nrate = 5", "throtle", 'unknown section: did you mean "throttle"?'),
        ("throttle = 5", "throttle", "must be a table"),
        ("[throttle]\nrate = '5'", "throttle.rate", "must be a whole number, without quotes"),
        ("[throttle]\nrate = true", "throttle.rate", "must be a whole number"),
        ("[throttle]\nrate = 0", "throttle.rate", "must be 1 to 1000000"),
        ("[throttle]\nwindow = 'sliding '", "throttle.window", 'did you mean "sliding"?'),
        ("[throttle]\ncount = ['new', 'delete']", "throttle.count", 'must be a list of "new", "modify", "cancel"'),
        ("[throttle]\nrate = 5\nreserve_cancels = 5", "throttle.reserve_cancels", "must be below throttle.rate, 5"),
        ("[desk]\ndurability = 'none'", "desk.durability", 'must be one of "power", "process"'),
        ("[desk]\ninner_ring_bytes = 100001", "desk.inner_ring_bytes", "must be a multiple of 64"),
        ("[desk]\ndata_dir = 5", "desk.data_dir", 'must be text: write "5"'),
        ("[queue]\ninternal_crossing = 1", "queue.internal_crossing", "must be true or false"),
        ("[risk]\nmax_quantity = '1e'", "risk.max_quantity", ""),
        ("[risk]\nmax_quantity = '-1'", "risk.max_quantity", "must be greater than zero"),
        ("[risk]\nmax_quantity = 1.5", "risk.max_quantity", 'must be text: write "1.5"'),
        ("[risk]\nallowed_symbols = ['A B']", "risk.allowed_symbols", "without spaces"),
        ("[risk.accounts.HOUSE]\nmax_quantity = 'x'", "risk.accounts.HOUSE.max_quantity", ""),
        ("[venue]\ntick_size = ''", "venue.tick_size", ""),
        ("[venue.faults]\ndrop = 1.5", "venue.faults.drop", "must be 0 to 1"),
        ("[session]\nzone = 'Asia/Calcuta'", "session.zone", "must be an IANA time zone"),
        ("[session]\nholidays = 'XXXX'", "session.holidays", "XNSE"),
        ("[[session.hours]]\nopen = '10:00'", "session.hours[0].close", "is missing"),
        ("[[session.hours]]\nopen = '10'\nclose = '13:00'", "session.hours[0].open", 'must be a wall time "HH:MM"'),
        ("[[session.hours]]\ndays = ['xxx']\nopen = '10:00'\nclose = '13:00'", "session.hours[0].days", "mon, tue"),
        ("[[session.overrides]]\ndate = 'today'", "session.overrides[0].date", 'must be a date "YYYY-MM-DD"'),
        ("[session]\nhours = 5", "session.hours", "must be a list of tables: write [[session.hours]]"),
        ("[session]\nreconnect_initial_ms = 9000", "session.reconnect_initial_ms", "at most session.reconnect_max_ms"),
        ("[exchange]\nadapter = 'nowhere'", "exchange.adapter", 'must read "package.module:Class"'),
        ("[exchange]\nadapter = 'no_such_module:X'", "exchange.adapter", "no module 'no_such_module'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_key_and_a_fix(text: str, key: str, fix: str, tmp_path: Path) -> None:
    problem = the_problem(text, tmp_path)
    assert problem.file == str(tmp_path / "oms.toml")
    assert problem.key == key
    assert fix in problem.fix


def test_every_problem_is_found_in_one_go(tmp_path: Path) -> None:
    text = """
        [throttle]
        rate = 0
        wnidow = "sliding"
        [session]
        zone = "Mars/Olympus"
        [[session.hours]]
        open = "25:00"
        close = "13:00"
        [risk]
        max_notional = "NaN"
        [queue]
        capacity = "many"
    """
    keys = {problem.key for problem in problems_of(text, tmp_path, OMS_VENUE_LATENCY_US="-1")}
    assert keys == {"throttle.rate", "throttle.wnidow", "session.hours[0].open", "session.zone", "risk.max_notional",
                    "queue.capacity", "venue.latency_us"}  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        settings.load(tmp_path / "oms.toml", {})
    assert len(caught.value.problems) == 6
    assert all(str(tmp_path / "oms.toml") in line for line in caught.value.problems)


def test_overlapping_hours_are_refused(tmp_path: Path) -> None:
    hours = "[[session.hours]]\nopen = '09:00'\nclose = '12:00'\n[[session.hours]]\nopen = '11:00'\nclose = '13:00'\n"
    problems = problems_of(hours, tmp_path)
    assert problems
    assert all("overlaps" in problem.fix for problem in problems)


def test_a_wrong_variable_is_named_as_the_place(tmp_path: Path) -> None:
    problem = the_problem("[throttle]\nrate = 5", tmp_path, OMS_THROTTLE_RATE="fast")
    assert (problem.file, problem.key, problem.value) == ("OMS_THROTTLE_RATE", "throttle.rate", '"fast"')


def test_a_misspelt_variable_is_noticed_and_a_foreign_one_left_alone(tmp_path: Path) -> None:
    problem = the_problem("", tmp_path, OMS_THROTLE_RATE="5", OMS_PAGER="less", OMS_RUNTIME_DIR="/x")
    assert "OMS_THROTTLE_RATE" in problem.fix
    problem = the_problem("", tmp_path, OMS_QUEUE_SPEED="5")
    assert "OMS_QUEUE_CAPACITY" in problem.fix


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    problem = the_problem("[session]\npassword = 12345", tmp_path)
    assert "12345" not in str(problem)


def test_passwords_are_masked_among_the_values(tmp_path: Path) -> None:
    path = tmp_path / "oms.toml"
    path.write_text("[session]\npassword='hidden'\n[exchange.options]\nvenue_password='hidden'")
    shown = dict(settings.values(settings.examine(path, {}).config))
    assert shown["session.password"] == "***"
    assert "hidden" not in str(shown)


def test_a_missing_file_and_broken_toml_are_one_problem_each(tmp_path: Path) -> None:
    (problem,) = settings.examine(tmp_path / "none.toml", {}).problems
    assert "oms config init" in problem.fix
    assert "line 1" in the_problem("rate = = 5", tmp_path).fix


def test_a_bad_instance_name_is_a_problem_too() -> None:
    (problem,) = settings.examine(None, {}, "../etc").problems
    assert (problem.file, problem.value) == ("--instance", '"../etc"')


ADAPTER = """
class Mine:
    def __init__(self, host, port=1): ...
    def connect(self, on_response): ...
    def send_logon(self, username, password): ...
    def send_logout(self, username): ...
    def send(self, request): ...
    def close(self): ...
class Half:
    def connect(self, on_response): ...
"""


def test_an_adapter_beside_the_file_is_found_and_checked(tmp_path: Path) -> None:
    (tmp_path / "my_exchange.py").write_text(ADAPTER)
    good = "[exchange]\nadapter = 'my_exchange:Mine'\n[exchange.options]\nhost = 'x'\n"
    assert problems_of(good, tmp_path) == []
    assert the_problem(good + "prot = 5", tmp_path).key == "exchange.options"
    assert "send_logon()" in the_problem("[exchange]\nadapter = 'my_exchange:Half'", tmp_path).fix


def test_an_adapter_that_ends_python_when_imported_is_a_problem_and_not_an_end(tmp_path: Path) -> None:
    (tmp_path / "bad_exchange.py").write_text("raise SystemExit(3)")
    assert "exit code 3" in the_problem("[exchange]\nadapter = 'bad_exchange:Mine'", tmp_path).fix


# -- the template ---------------------------------------------------------------------------------------------------


def test_the_template_is_valid_and_shows_the_classic_session(tmp_path: Path) -> None:
    config = config_of(settings.template(), tmp_path)
    (hours,) = config.session.hours
    assert (config.session.zone, hours.open, hours.close) == ("Asia/Kolkata", "10:00", "13:00")


def test_the_template_changes_nothing_but_the_session(tmp_path: Path) -> None:
    config = config_of(settings.template(), tmp_path)
    assert msgspec.structs.replace(config, session=SessionConfig()) == Config()


def test_what_the_template_comments_out_are_the_defaults_and_every_key_is_there(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^# (\w+ = |\[)", r"\1", settings.template())
    assert problems_of(text, tmp_path) == []
    tree = tomllib.loads(text)
    for section, kind in get_type_hints(Config).items():
        table = tree[section]
        missing = set(kind.__struct_fields__) - set(table)
        assert missing <= ({"username", "password"} if section == "session" else set()), section
        for name in kind.__struct_fields__:
            if name in ("zone", "hours", "overrides", "accounts", "symbols", "faults", "options", "limits"):
                continue
            assert msgspec.convert(table[name], get_type_hints(kind)[name]) == getattr(kind(), name), (section, name)


def _render(config: Config) -> str:
    """Plain values of a configuration as TOML (JSON's scalars and lists are TOML's)."""
    lines = []
    for section, table in msgspec.to_builtins(config).items():
        lines.append(f"[{section}]")
        plain = {key: value for key, value in table.items() if not isinstance(value, dict) and value is not None}
        lines += [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in plain.items()]
    return "\n".join(lines)


@given(
    rate=st.integers(1, 1_000_000), per_ms=st.integers(1, 86_400_000), window=st.sampled_from(["sliding", "fixed"]),
    quantity=st.decimals(min_value="0.00000001", max_value="1000000", places=8),
    password=st.text("abc\"\\ äß#'", max_size=8),
)  # fmt: skip
def test_any_valid_configuration_survives_the_way_through_a_file(
    rate: int, per_ms: int, window: Any, quantity: Any, password: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = Config(
        throttle=ThrottleConfig(rate=rate, per_ms=per_ms, window=window),
        session=SessionConfig(password=password),
        risk=msgspec.structs.replace(Config().risk, max_quantity=f"{quantity:f}"),
    )
    assert config_of(_render(config), tmp_path_factory.mktemp("settings")) == config


def test_every_number_has_a_range_and_every_range_its_number() -> None:
    def structs(kind: Any) -> list[Any]:
        inner = [hint for hint in get_type_hints(kind).values() if isinstance(hint, type)]
        return [kind, *(each for hint in inner if issubclass(hint, msgspec.Struct) for each in structs(hint))]

    for kind in structs(Config):
        numbers = {name for name, hint in get_type_hints(kind).items() if hint in (int, float)}
        assert numbers == set(RANGES.get(kind, {})), kind
    for kind, names in DECIMALS.items():
        assert names <= set(kind.__struct_fields__)
