"""Commands around the desk: kill switch, upstreams, calendar, doctor, layout, unit file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oms_actors import Upstream
from oms_actors.edges.kill_switch import KillSwitch
from tests.cli.fake_desk import FakeDesk

if TYPE_CHECKING:
    from tests.cli.conftest import Oms


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of a desk that has run once in the current folder."""
    data = tmp_path / "oms-data" / "default"
    data.mkdir(parents=True)
    return data


def test_kill_and_resume_need_no_running_desk(oms: Oms, data: Path) -> None:
    first = oms("kill", "--account", "HOUSE", "--reason", "test", "--json").document["stopped"]
    assert [(each["account"], each["symbol"], each["reason"]) for each in first] == [("HOUSE", "", "test")]
    assert first[0]["by"]
    assert len(oms("kill", "--json").document["stopped"]) == 2
    assert [each["account"] for each in oms("resume", "--account", "HOUSE", "--json").document["stopped"]] == [""]
    assert oms("resume", "--json").document["stopped"] == []
    assert (data / "kill.json").exists()


def test_resume_of_what_is_not_stopped_by_that_name_says_what_is(oms: Oms, data: Path) -> None:
    oms("kill", "--account", "HOUSE")
    ended = oms("resume", "--symbol", "NOPE")
    assert ended.code == 1
    assert "symbol NOPE is not stopped by name; stopped is: account HOUSE" in ended.err
    assert [kill.scope for kill in KillSwitch(data).read().kills] == ["account HOUSE"]


def test_kill_names_one_scope(oms: Oms, data: Path) -> None:
    assert oms("kill", "--account", "A", "--symbol", "B").code == 2


@pytest.mark.parametrize(
    ("command", "option", "name", "problem"),
    [
        ("kill", "--account", "ACCOUNT-SEVENTEEN", "'ACCOUNT-SEVENTEEN': must have 1 to 16 characters, has 17"),
        ("kill", "--symbol", "\xc4", "symbol: '\xc4': must be printable ASCII without spaces"),
        ("kill", "--symbol", "", "symbol: '': must have 1 to 16 characters, has 0"),
        ("resume", "--account", "", "account: '': must have 1 to 16 characters, has 0"),
    ],
)
def test_a_name_that_no_order_can_have_is_neither_killed_nor_taken_for_everything(
    oms: Oms, data: Path, command: str, option: str, name: str, problem: str
) -> None:
    oms("kill", "--account", "HOUSE")
    ended = oms(command, option, name)
    assert ended.code == 2
    assert problem in ended.err
    assert [kill.scope for kill in KillSwitch(data).read().kills] == ["account HOUSE"]


def test_kill_where_no_desk_ever_ran_says_what_to_do(oms: Oms) -> None:
    ended = oms("kill")
    assert ended.code == 1
    assert "name its configuration with -c" in ended.err


def test_the_kill_switch_is_an_alarm_in_the_status_of_a_running_desk(oms: Oms, tmp_path: Path) -> None:
    with FakeDesk(tmp_path / "runtime") as desk:
        (desk.runtime / "data").mkdir()
        assert oms("kill", "--symbol", "AAPL", "--reason", "odd prices").code == 0
        from oms_actors.status import kills

        (kill,) = kills(desk.runtime)
    assert (kill["scope"], kill["reason"]) == ("symbol AAPL", "odd prices")


def test_upstreams_are_listed_and_a_dead_one_can_be_removed(oms: Oms, tmp_path: Path) -> None:
    with FakeDesk(tmp_path / "runtime") as desk:
        with Upstream.attach("default", name="algo"):
            (listed,) = oms("upstream", "list", "--json").document["upstreams"]
            assert (listed["name"], listed["alive"]) == ("algo", True)
            assert [ring["name"] for ring in listed["rings"]] == ["algo/requests", "algo/reports"]
            refused = oms("upstream", "remove", "algo")
            assert (refused.code, "in use by a living process" in refused.err) == (1, True)
        assert "gone" in oms("upstream", "list").out
        assert oms("upstream", "remove", "algo").code == 0
        assert not (desk.runtime / "upstreams" / "algo.up").exists()
        assert "no upstream 'algo'" in oms("upstream", "remove", "algo").err


def test_the_calendar_shows_sessions_with_their_reasons(oms: Oms) -> None:
    oms("config", "init")
    document = oms("calendar", "show", "--from", "2026-11-20", "--days", "3", "--json").document
    assert document["zone"] == "Asia/Kolkata"
    assert [len(day["sessions"]) for day in document["days"]] == [1, 0, 0]
    assert "10:00-13:00" in oms("calendar", "show", "--from", "2026-11-20", "--days", "3").out


def test_the_calendar_explains_a_time_that_the_clocks_skip(oms: Oms) -> None:
    ended = oms("calendar", "explain", "2026-03-08T02:30", "--zone", "America/New_York")
    assert ended.code == 0
    assert "is skipped by the clocks of America/New_York" in ended.out
    assert oms("calendar", "explain", "2026-03-08T02:30", "--zone", "Nowhere").code == 2
    assert oms("calendar", "explain", "soon").code == 2


def test_doctor_looks_at_the_machine(oms: Oms) -> None:
    document = oms("doctor", "--json").document
    assert {"shared memory", "fdatasync", "clock"} <= {check["name"] for check in document["checks"]}


def test_the_layout_is_c_and_one_of_two_things(oms: Oms) -> None:
    assert "struct oms_request" in oms("layout", "--c").out
    assert '#include "oms.h"' in oms("layout", "--c-example").out
    assert oms("layout").code == 2


def test_the_unit_file_runs_this_configuration(oms: Oms, tmp_path: Path) -> None:
    oms("config", "init")
    unit = oms("service", "unit", "--user", "trader").out
    assert f"run --instance default --config {tmp_path}/oms.toml" in unit
    assert "User=trader" in unit
    assert f"ReadWritePaths=-/dev/shm -{tmp_path}/oms-data" in unit
