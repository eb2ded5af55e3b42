"""Specifications are checked before anything starts, and every error is listed at once."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervisor.__main__ import main
from supervisor.spec import ChildSpec, SupervisorSpec, check
from supervisor.specfile import SpecErrors, parse

GOOD = ChildSpec("a", ("/bin/true",))

FULL = """
strategy = "rest_for_one"
intensity = 3
period_s = 30
backoff_initial_ms = 10
backoff_max_ms = 500

[[children]]
name = "feed"
argv = ["/opt/feed", "--fast"]
env = {TZ = "UTC"}
restart = "transient"
ready_timeout_s = 2.5
shutdown_timeout_s = 1
heartbeat_timeout_ms = 0
call_timeout_ms = 100
memory_max_bytes = 1_000_000
cwd = "/tmp"
"""


def test_a_good_spec_has_no_errors() -> None:
    assert check(SupervisorSpec((GOOD,))) == []


@pytest.mark.parametrize(("wrong", "error"), [
    ({"name": ""}, "name: letters"),
    ({"name": "../up"}, "name: letters"),
    ({"name": "x" * 64}, "name: letters"),
    ({"argv": ()}, "argv: empty"),
    ({"argv": ("a\0b",)}, "argv: holds a NUL"),
    ({"env": (("A=B", "1"),)}, "env: 'A=B' is not"),
    ({"restart": "always"}, "restart: 'always' is none of permanent, transient, temporary"),
    ({"ready_timeout_s": 0}, "ready_timeout_s: 0 is not above 0"),
    ({"shutdown_timeout_s": math.inf}, "shutdown_timeout_s: inf is not above 0 and at most 86400"),
    ({"call_timeout_ms": -1}, "call_timeout_ms: -1 is not"),
    ({"heartbeat_timeout_ms": 499}, "heartbeat_timeout_ms: 499 is neither 0 (none) nor within 500 .. 86400000"),
    ({"memory_max_bytes": 0}, "memory_max_bytes: 0 is not above 0"),
])
def test_a_bad_child_is_named_with_value_and_limit(wrong: dict[str, Any], error: str) -> None:
    child = replace(GOOD, **wrong)
    errors = check(SupervisorSpec((child,)))
    assert len(errors) == 1
    assert errors[0].startswith(f"child {child.name!r}: {error}")


@pytest.mark.parametrize(("wrong", "error"), [
    ({"strategy": "all"}, "strategy: 'all' is none of one_for_one, one_for_all, rest_for_one"),
    ({"intensity": -1}, "intensity: -1 is below 0"),
    ({"period_s": math.nan}, "period_s: nan is not"),
    ({"backoff_initial_ms": 3000}, "backoff_initial_ms: 3000 is not above 0 and at most 2000"),
    ({"children": ()}, "children: none given"),
    ({"children": (GOOD, GOOD)}, "children: the name 'a' is used 2 times"),
])
def test_a_bad_supervisor_spec_is_refused_with_value_and_limit(wrong: dict[str, Any], error: str) -> None:
    errors = check(replace(SupervisorSpec((GOOD,)), **wrong))
    assert len(errors) == 1
    assert errors[0].startswith(error)


def test_a_file_can_say_all_that_a_spec_can() -> None:
    child = ChildSpec("feed", ("/opt/feed", "--fast"), (("TZ", "UTC"),), "transient", 2.5, 1, 0, 100, 1_000_000, "/tmp")
    assert parse(FULL) == SupervisorSpec((child,), "rest_for_one", 3, 30, 10, 500)


def test_every_error_of_a_file_is_listed_with_its_place() -> None:
    text = """
        strategy = "one_for_al"
        intensity = "3"
        bogus = 1
        [[children]]
        name = "x/y"
        argv = "sleep 1"
        [[children]]
        argv = ["sleep", "1"]
        memory_max_bytes = true
        env = {A = 1}
    """
    with pytest.raises(SpecErrors) as raised:
        parse(text)
    assert raised.value.errors == [
        "intensity: '3' is not a whole number",
        "bogus: unknown; known are backoff_initial_ms, backoff_max_ms, intensity, period_s, strategy",
        "child 'x/y': argv: 'sleep 1' is not a list of strings",
        "child 2: name: missing",
        "child 2: memory_max_bytes: True is not a whole number",
        "child 2: env: {'A': 1} is not a table of strings",
        "strategy: 'one_for_al' is none of one_for_one, one_for_all, rest_for_one",
        "child 'x/y': name: letters, digits, '_', '.', '-' only, at most 63, a letter or digit first",
    ]


@pytest.mark.parametrize(("text", "error"), [
    ("[", "not TOML: "),
    ("children = 7", "children: must be [[children]] tables"),
    ("", "children: none given"),
])
def test_a_file_that_is_no_spec_says_why(text: str, error: str) -> None:
    with pytest.raises(SpecErrors, match=error.replace("[", r"\[")):
        parse(text)


def test_check_only_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "feed.toml"
    path.write_text(FULL)
    assert main([str(path), "--check"]) == 0
    assert capsys.readouterr().out == f"{path}: 1 children, rest_for_one\n"


@pytest.mark.parametrize("text", [None, "[", "\xff"])
def test_a_bad_file_ends_in_exit_code_2_and_names_the_file(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None) -> None:
    path = tmp_path / "feed.toml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    assert main([str(path)]) == 2
    assert str(path) in capsys.readouterr().err
