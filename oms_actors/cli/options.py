"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Instance = Annotated[str, typer.Option("--instance", "-i", envvar="OMS_INSTANCE", help="Name of the desk.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line, for machines.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="OMS_CONFIG", help="Configuration file (default: ./oms.toml, if there)."),
]
Account = Annotated[str, typer.Option("--account", "-a", help="Account of the order.")]

DEFAULT = "default"
DESK, ORDERS, CONTROL, MARKET, SETUP = "Desk", "Orders", "Control", "Simulated exchange", "Setup and tools"
"""Panels of `oms --help`."""
