"""systemd's notify protocol against a real datagram socket, and the unit file."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.service import Notifier, unit_file
from tests.supervisor.running import WAIT_S, Instance, table

MS = 1_000_000


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The service manager's socket and what NOTIFY_SOCKET says of it."""
    address = f"@supervisor-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(WAIT_S)
        listener.bind(address.replace("@", "\0", 1) if request.param == "abstract" else address)
        yield listener, address


def received(listener: socket.socket) -> list[str]:
    """What is there already."""
    messages = []
    listener.setblocking(False)
    try:
        while True:
            messages.append(listener.recv(4096).decode())
    except BlockingIOError:
        listener.settimeout(WAIT_S)
    return messages


def test_each_message_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.status("2 of 5\nchildren running")
    notifier.status("2 of 5 children running")
    notifier.ready()
    notifier.stopping()
    notifier.stopping()
    notifier.close()
    assert received(listener) == ["STATUS=2 of 5 children running", "READY=1", "STOPPING=1"]


def test_the_watchdog_is_fed_twice_per_period(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())})
    for ms in range(1_000, 3_000, 100):
        notifier.alive(ms * MS)
    assert received(listener) == ["WATCHDOG=1"] * 4
    notifier.close()


@pytest.mark.parametrize("environ", [
    {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, {}, {"WATCHDOG_USEC": "much"}])
def test_a_watchdog_that_is_not_ours_is_not_fed(manager: tuple[socket.socket, str], environ: dict[str, str]) -> None:
    listener, address = manager
    Notifier({"NOTIFY_SOCKET": address} | environ).alive(1_000 * MS)
    assert received(listener) == []


def test_a_manager_that_is_gone_or_does_not_read_stops_nobody(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
    Notifier({}).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "deaf"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "deaf")})
        for number in range(5_000):  # far more than the socket's queue holds
            notifier.status(f"{number}")
        notifier.close()


@pytest.mark.process
def test_a_supervisor_tells_status_ready_watchdog_and_stopping_and_its_children_cannot(
        instance: Callable[..., Instance], manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    printenv = table("env", argv=["/bin/sh", "-c", "exec env"], heartbeat_timeout_ms=0, restart="temporary")
    desk = instance(printenv, table("a"))
    desk.start(env=os.environ | {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"})
    heard: list[str] = []
    while not {"READY=1", "WATCHDOG=1"} <= set(heard):
        heard.append(listener.recv(4096).decode())
    desk.processes[-1].send_signal(signal.SIGTERM)
    while "STOPPING=1" not in heard:
        heard.append(listener.recv(4096).decode())
    assert desk.ended() == 0
    heard += received(listener)
    assert "STATUS=1 of 2 children running" in heard
    assert heard.index("READY=1") < heard.index("STOPPING=1")
    assert "STATUS=asked to stop by SIGTERM" in heard
    assert "NOTIFY_SOCKET" not in (desk.directory / "logs" / "env.out").read_text()


# -- the unit ---------------------------------------------------------------------------------------------------------


def unit(**changes: object) -> str:
    arguments: dict[str, object] = {
        "exec_start": ["/bin/sh", "-c", "echo $HOME 100%", 'a"b\\c'], "user": "root", "working_dir": Path("/var"),
        "writable": [Path("/var/lib/my desk")], "environment": {"TZ": "UTC"}}
    return unit_file(**(arguments | changes))  # type: ignore[arg-type]


def test_a_unit_is_a_notify_service_that_can_write_only_what_it_names() -> None:
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(unit())
    service = dict(parser["Service"])
    expected = {"Type": "notify", "WatchdogSec": "10", "Restart": "on-failure", "NoNewPrivileges": "yes",
                "ProtectSystem": "strict", "KillMode": "mixed", "LimitMEMLOCK": "infinity", "PrivateTmp": "yes",
                "RemoveIPC": "no", "User": "root", "RestartPreventExitStatus": "2 3",
                "ReadWritePaths": '-/dev/shm "-/var/lib/my desk"', "Environment": "TZ=UTC",
                "ExecStart": '/bin/sh -c "echo $$HOME 100%%" "a\\"b\\\\c"'}
    assert service | expected == service
    assert "PrivateDevices" not in service  # it would hide /dev/shm of the machine


@pytest.mark.parametrize(("home", "protect"), [("/home/trader/data", "read-only"), ("/srv/data", "yes")])
def test_homes_are_closed_unless_something_lives_there(home: str, protect: str) -> None:
    assert f"ProtectHome={protect}\n" in unit(writable=[Path(home)])


@pytest.mark.parametrize("wrong", [{"exec_start": ["oms"]}, {"working_dir": Path("here")}, {"user": "a\nExecStart=x"},
                                   {"environment": {"A": "b\nc"}}])
def test_what_a_unit_cannot_hold_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        unit(**wrong)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "desk.service"
    path.write_text(unit())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True,
                          timeout=WAIT_S, check=False)
    assert (done.returncode, str(path) in done.stderr) == (0, False), done.stderr
