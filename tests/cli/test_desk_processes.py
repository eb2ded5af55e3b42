"""The command line with real desks: demo, run, status, send, stop."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Oms

from tests.cli.places import LIMIT_S, OMS, Place, end_of, wait_for

pytestmark = pytest.mark.process
HEADER = "time,action,client_order_id,orig_client_order_id,symbol,side,quantity,price,order_type,time_in_force\n"


def test_a_demo_loses_nothing_sends_nothing_twice_and_leaves_nothing_behind(place: Place) -> None:
    ended = end_of(place.start("demo", "--seconds", "1", "--rate", "600", "--throttle", "400", "--json"))
    assert ended.code == 0, ended.err
    found = ended.document
    assert (found["lost"], found["duplicates"], found["unanswered"]) == (0, 0, 0)
    assert found["submitted"] == found["accepted"] + found["rejected"]
    assert 0 < found["filled"] <= found["sent"] < found["submitted"]
    assert found["responses"] >= found["filled"]
    assert found["rows"] > found["submitted"]
    assert 0 < found["p50_us"] <= found["p99_us"]
    assert found["cancelled_in_queue"] > 0
    assert found["modified_in_queue"] > 0
    assert place.is_empty()


def test_on_a_terminal_a_demo_shows_the_living_desk(place: Place) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 140, 0, 0))
    demo = subprocess.Popen([*OMS, "demo", "--seconds", "1", "--rate", "300"], cwd=place.folder,
                            stdin=slave, stdout=slave, stderr=slave)  # fmt: skip
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError), open(master, "rb", buffering=0) as terminal:  # EIO: the other end is closed
        while chunk := terminal.read(1 << 16):
            shown += chunk
    assert demo.wait(LIMIT_S) == 0
    for words in ("oms demo", "exchange connection on", "persistence", "submit to send", "accepted and lost"):
        assert words in shown.decode(), words
    assert place.is_empty()


def test_a_demo_ends_with_a_summary_on_ctrl_c(place: Place) -> None:
    demo = place.start("demo", "--seconds", "60", "--rate", "200", "--json")
    instance = f"demo-{demo.pid}"
    wait_for(lambda: place.status(instance).get("counters", {}).get("sender", {}).get("responses"))
    demo.send_signal(signal.SIGINT)
    ended = end_of(demo)
    assert ended.code == 0, ended.err
    found = ended.document
    assert (found["interrupted"], found["lost"], found["duplicates"]) == (True, 0, 0)
    assert place.is_empty()


def test_a_demo_that_is_killed_takes_its_desk_with_it(place: Place) -> None:
    demo = place.start("demo", "--seconds", "60", "--rate", "200")
    wait_for(lambda: list(place.runtime.glob("demo-*/upstreams/demo.up")))
    demo.kill()
    demo.communicate()
    wait_for(place.is_empty)


def test_a_desk_runs_is_looked_at_takes_a_file_and_stops(oms: Oms, place: Place) -> None:
    desk = place.run("--json")
    status = oms("status", "--json").document
    assert {each["name"] for each in status["processes"]} == {"venue", "persistence", "sender", "intake", "scheduler"}
    assert status["session"]["state"] == "open"
    assert status["queue"]["capacity"] > 0

    second = end_of(place.start("run", "--json"))
    assert (second.code, second.document["exit_code"]) == (2, 2)
    assert "already" in second.err
    assert "already" in second.document["reason"]

    rows = [f"x,NEW,N{n},,AAPL,BUY,18,585.33,LIMIT,DAY\n" for n in range(50)]
    (place.folder / "orders.csv").write_text(HEADER + "".join(rows) + "x,DELETE,Z,,AAPL,BUY,1,1,LIMIT,DAY\n" + rows[0])
    sent = oms("send", "orders.csv", "--until-done", "--json")
    found = sent.document
    assert "line 52: action: 'DELETE'" in sent.err
    assert (found["submitted"], found["accepted"], found["rejected"]) == (51, 50, 1)
    assert found["rejects_by_reason"] == {"DUPLICATE_CLIENT_ORDER_ID": 1}

    def stored() -> list[str]:
        orders = oms("orders", "--symbol", "AAPL", "--limit", "100", "--json").document["orders"]
        return [order["status"] for order in orders]

    wait_for(lambda: stored() == ["REJECTED"] + ["FILLED"] * 50)  # the newest first: the duplicate
    history = oms("order", "show", "N7", "--json").document
    assert [event["what"] for event in history["events"]] == ["NEW", "SENT", "NEW", "TRADE"]
    assert history["order"]["cum_quantity"] == "18"
    unknown = oms("order", "show", "nobody")
    assert (unknown.code, "no order 'nobody'" in unknown.err) == (1, True)
    resolved = oms("resolve", "N7", "--sent")
    assert (resolved.code, "'N7' is not in doubt" in resolved.err) == (1, True)

    assert oms("journal", "verify", "--json").document["ok"]
    kinds = [json.loads(line)["kind"] for line in oms("journal", "cat", "intake", "--json").out.splitlines()]
    assert kinds.count("NEW") == 51
    stat = oms("journal", "stat", "intake", "--json").document["segments"]
    assert [segment["next_sequence"] for segment in stat] == [len(kinds) + 1]
    assert "no journal of 'nobody'" in oms("journal", "cat", "nobody").err

    stopped = oms("stop", "--json")
    assert (stopped.code, stopped.document["stopped"]) == (0, True)
    ended = end_of(desk)
    assert ended.code == 0, ended.err
    assert ended.document["exit_code"] == 0
    assert place.is_empty()


def test_status_answers_and_names_the_culprit_while_a_process_is_stopped(oms: Oms, place: Place) -> None:
    (place.folder / "oms.toml").write_text("[supervisor]\nheartbeat_timeout_ms = 60000\n")
    desk = place.run()
    stopped = {each["name"]: each["pid"] for each in place.status()["processes"]}
    for pid in stopped.values():
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all(f"{name} gave no sign of life" in str(place.status()["alarms"]) for name in stopped))
    assert "intake gave no sign of life" in oms("status").out
    for pid in stopped.values():
        os.kill(pid, signal.SIGCONT)
    desk.send_signal(signal.SIGINT)
    ended = end_of(desk)
    assert ended.code == 0, ended.err
    assert place.is_empty()


def test_ctrl_c_ends_a_send_with_a_summary_while_the_desk_goes_on(oms: Oms, place: Place) -> None:
    (place.folder / "oms.toml").write_text("[throttle]\nrate = 1\nper_ms = 3600000\n")
    desk = place.run()
    rows = [f"x,NEW,N{n},,AAPL,BUY,18,585.33,LIMIT,DAY\n" for n in range(10)]
    (place.folder / "orders.csv").write_text(HEADER + "".join(rows))
    send = place.start("send", "orders.csv", "--until-done", "--json")
    wait_for(lambda: place.status()["queue"]["depth"] == 9 and place.status()["counters"]["sender"]["responses"] == 2)
    wait_for(lambda: not any(ring["depth"] for ring in place.status()["rings"]))  # it has taken its reports
    send.send_signal(signal.SIGINT)
    ended = end_of(send)
    found = ended.document
    assert (ended.code, found["submitted"], found["unanswered"]) == (1, 10, 9)
    assert "9 requests have no answer yet" in ended.err

    why = oms("why", "N9", "--json").document
    assert (why["state"], why["position"]) == ("waiting", 9)
    assert "1 of 1 requests are used" in why["why"]
    assert why["send_time_ns"] > time.time_ns() + 7 * 3600 * 10**9
    assert "number 9 in the queue" in oms("why", "N9").out
    assert oms("kill", "--symbol", "AAPL").code == 0
    assert "the kill switch is on for symbol AAPL" in oms("why", "N9", "--json").document["why"]
    canceled = oms("order", "cancel-all", "--upstream", "send", "--json").document
    assert canceled == {"canceled": 9}
    wait_for(lambda: oms("why", "N9", "--json").document["state"] == "done")
    assert oms("stop").code == 0
    assert end_of(desk).code == 0


POLLED = """
from oms_actors import ExchangeResponse, ResponseType

class Polled:
    def __init__(self): self.waiting, self.polls = [], 0
    def connect(self, on_response): self.tell = on_response
    def send_logon(self, username, password): self.tell(ExchangeResponse(type=ResponseType.LOGON_ACK))
    def send_logout(self, username): self.tell(ExchangeResponse(type=ResponseType.LOGOUT_ACK))
    def send(self, request): self.waiting.append(request.client_order_id); self.polls = 0
    def close(self): ...
    def poll(self):
        self.polls += 1
        if self.polls == 5:
            for name in self.waiting: self.tell(ExchangeResponse(type=ResponseType.ACK, client_order_id=name))
            self.waiting = []
"""


def test_an_adapter_is_polled_while_nothing_else_happens(oms: Oms, place: Place) -> None:
    (place.folder / "polled.py").write_text(POLLED)
    (place.folder / "oms.toml").write_text('[exchange]\nadapter = "polled:Polled"\n')
    desk = place.run()
    told = oms("order", "new", "AAPL", "BUY", "1", "5", "--wait", "30", "--json")
    assert (told.code, told.document["final"]) == (0, True)
    wait_for(lambda: oms("status", "--json").document["throttle"]["used"] == 0)
    assert oms("stop").code == 0
    assert end_of(desk).code == 0
