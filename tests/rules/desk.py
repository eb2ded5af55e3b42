"""A desk of real processes for a whole module of rules, an exchange that writes everything down, and a client."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oms_actors.edges.kill_switch import KillSwitch
from oms_actors.messages import CancelOrder, ModifyOrder, NewOrder, Report, Request
from oms_actors.upstream import Upstream
from tests.cli.places import LIMIT_S, Place, end_of, wait_for
from tests.rules.exchange import ADAPTER, Call, calls_in

ROOT = Path(__file__).parents[2]
TOML = """
[exchange]
adapter = "{adapter}"
{patience}options = {{ path = "{path}"{options} }}
{more}
"""


class Desk:
    """A running desk. `sent` are the requests that have reached the exchange, in order."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.folder
        self.path = place.folder / "calls.csv"

    @property
    def calls(self) -> list[Call]:
        return calls_in(self.path)

    @property
    def sent(self) -> list[Call]:
        return [call for call in self.calls if call.what == "send"]

    def sent_ids(self) -> list[str]:
        return [call.client_order_id for call in self.sent]

    def status(self) -> dict[str, Any]:
        return self.place.status()

    @property
    def switch(self) -> KillSwitch:
        """The kill switch, without the cost of a process."""
        return KillSwitch(next(path.parent for path in self.folder.rglob("kill.word")))

    def oms(self, *arguments: str) -> Any:
        """A command; its JSON answer."""
        ended = end_of(self.place.start(*arguments, "--json"))
        assert ended.out, ended.err
        return ended.document

    def pid(self, role: str) -> int:
        """0 while there is none."""
        return int(next(each["pid"] or 0 for each in self.status()["processes"] if each["name"] == role))


@contextmanager
def desk(
    folder: Path, more: str, wait: bool = True, adapter: str = ADAPTER, options: str = ""
) -> Iterator[Desk]:  # fmt: skip
    """Runs one with `more` TOML until the end of the block; `wait`: until it is logged on. `options`: more of the
    adapter's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OMS_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.delenv("OMS_CONFIG", raising=False)
        patience = "" if "ack_timeout_ms" in more else "ack_timeout_ms = 0\n"
        toml = TOML.format(
            adapter=adapter, path=folder / "calls.csv", options=options, more=more, patience=patience
        )  # fmt: skip
        (folder / "oms.toml").write_text(toml)
        with Place(folder, patch) as place:
            process = place.start("run")
            if wait:
                place.wait_until_up()
            else:
                wait_for(lambda: place.status().get("state") == "up")
            yield Desk(place)
            end_of(place.start("stop"))
            ended = end_of(process)
            assert ended.code == 0, ended.err
            assert place.is_empty()


class Client:
    """An upstream that remembers what it was told."""

    def __init__(self, name: str) -> None:
        self.upstream = Upstream.attach("default", name, timeout=LIMIT_S)
        self.reports: list[Report] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.upstream.close()

    def new(self, name: str, symbol: str = "X", side: str = "BUY", quantity: int = 10, price: str = "5",
            **more: Any) -> None:  # fmt: skip
        self.submit(NewOrder(
            client_order_id=name, symbol=symbol, side=side, quantity=quantity, price=price, **more
        ))  # fmt: skip

    def modify(self, name: str, orig: str, **values: Any) -> None:
        self.submit(ModifyOrder(client_order_id=name, orig_client_order_id=orig, **values))

    def cancel(self, name: str, orig: str, **more: Any) -> None:
        self.submit(CancelOrder(client_order_id=name, orig_client_order_id=orig, **more))

    def submit(self, request: Request) -> None:
        self.upstream.submit(request, timeout=LIMIT_S)

    def told(self, condition: Callable[[Report], object]) -> Report:
        """The first report of which this holds, waiting for it."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            for report in self.reports:
                if condition(report):
                    return report
            assert time.monotonic() < deadline, [str(report) for report in self.reports]
            self.reports += self.upstream.reports(timeout=0.05)

    def final(self, client_order_id: str) -> Report:
        """The final answer to a request."""
        return self.told(lambda report: report.final and report.client_order_id == client_order_id)

    def accepted(self, client_order_id: str) -> Report:
        """The first answer."""
        return self.told(lambda report: report.client_order_id == client_order_id)
