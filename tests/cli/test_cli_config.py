"""`oms config init` and `oms check`."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Oms


def test_init_writes_a_file_that_check_finds_fine(oms: Oms, tmp_path: Path) -> None:
    assert oms("config", "init").code == 0
    ended = oms("check", "--json")
    assert ended.code == 0
    document = ended.document
    assert (document["ok"], document["problems"], document["file"]) == (True, [], "oms.toml")
    assert document["values"]["session.zone"] == {"value": "Asia/Kolkata", "source": "oms.toml"}
    assert document["values"]["queue.capacity"]["source"] == "default"


def test_a_new_file_is_for_its_owner_only(oms: Oms, tmp_path: Path) -> None:
    oms("config", "init", tmp_path / "mine.toml")
    assert stat.S_IMODE((tmp_path / "mine.toml").stat().st_mode) == 0o600


def test_init_does_not_overwrite_unless_forced(oms: Oms, tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text("mine")
    ended = oms("config", "init")
    assert ended.code == 2
    assert "--force" in ended.err
    assert (tmp_path / "oms.toml").read_text() == "mine"
    assert oms("config", "init", "--force").code == 0


def test_check_lists_every_problem(oms: Oms, tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text("[throttle]\nraet = 5\n[session]\nzone = 'Nowhere'\n")
    ended = oms("check")
    assert ended.code == 2
    assert 'oms.toml: throttle.raet = 5: unknown key: did you mean "rate"?' in ended.err
    assert 'oms.toml: session.zone = "Nowhere": must be an IANA time zone' in ended.err
    assert "2 problems" in ended.err
    problems = oms("check", "--json").document["problems"]
    assert [problem["key"] for problem in problems] == ["throttle.raet", "session.zone"]


def test_check_shows_values_and_sources_but_no_password(oms: Oms, tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text("[session]\npassword = 'hush'\n[throttle]\nrate = 777\n")
    ended = oms("check")
    assert ended.code == 0
    assert "777" in ended.out
    assert "hush" not in ended.out + oms("check", "--json").out


def test_a_named_file_that_is_not_there_is_said(oms: Oms) -> None:
    ended = oms("check", "-c", "none.toml")
    assert ended.code == 2
    assert "none.toml: no such file" in ended.err
