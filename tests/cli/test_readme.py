"""What the README shows works."""

from __future__ import annotations

import io
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oms_actors.edges import orders_file, settings
from oms_actors.edges.exchange import check_adapter
from oms_actors.messages import ExchangeResponse, Kind, NewOrder, ResponseType
from oms_actors.record import encode

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def test_the_adapter_is_one_and_takes_the_options_shown(tmp_path: Path) -> None:
    (code,) = [text for text in blocks("python") if "class MyExchange" in text]
    (tmp_path / "my_exchange.py").write_text(code)
    (tmp_path / "oms.toml").write_text(blocks("toml")[0])
    config, _ = settings.load(tmp_path / "oms.toml", {})
    check_adapter(config.exchange.adapter, config.exchange.options, str(tmp_path))
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(Kind.NEW, ResponseType.ACK), (Kind.MODIFY, ResponseType.REPLACED), (Kind.CANCEL, ResponseType.CANCELED)],
)
def test_the_adapter_answers_each_kind_of_request_as_an_exchange_does(kind: Kind, answer: ResponseType) -> None:
    (code,) = [text for text in blocks("python") if "class MyExchange" in text]
    names: dict[str, Any] = {}
    exec(code, names)
    exchange, heard = names["MyExchange"](host="here"), []
    exchange.connect(heard.append)
    exchange.send(SimpleNamespace(kind=kind, client_order_id="A-1"))
    assert heard == [ExchangeResponse(type=answer, client_order_id="A-1")]


def test_the_upstream_has_at_most_ten_lines_and_sends_an_order_that_can_be_sent() -> None:
    (code,) = [text for text in blocks("python") if "Upstream.attach" in text]
    compile(code, "README", "exec")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (order,) = re.findall(r"NewOrder\(.*?\)(?=\))", code)
    assert encode(eval(order, {"NewOrder": NewOrder}))


def test_the_order_file_can_be_read() -> None:
    (text,) = [text for text in blocks("") if text.startswith("time,action")]
    (batch,) = orders_file.read(io.BytesIO(text.encode()))
    assert (batch.requests, batch.errors) == (3, [])


def test_every_key_in_the_table_exists() -> None:
    known = dict(settings.values(settings.load(None, {})[0]))
    table = README.split("| key | default")[1].split("\n\n")[0]
    for key in re.findall(r"`([a-z]+\.[a-z_]+)`", table):
        assert key in known, key


def test_the_toml_is_toml() -> None:
    for text in blocks("toml"):
        tomllib.loads(text)
