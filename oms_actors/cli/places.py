"""Where an instance's data are, for commands that work with and without a running desk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from oms_actors.cli.output import Failed


class Located(NamedTuple):
    """An instance's data folder, and its database as `persistence.database` says it ("" = the usual)."""

    data_dir: Path
    database: str


def locate(config: Path | None, instance: str, must_exist: bool = True) -> Located:
    """Of the running desk or, where none runs, of the configuration. Failed if it is not there."""
    from oms_actors.edges import settings
    from oms_actors.errors import DeskDown
    from oms_actors.instance import read_desk, runtime_dir

    try:
        desk = read_desk(runtime_dir(instance))
        return Located(Path(desk.data_dir), desk.config.persistence.database)
    except DeskDown:
        found, _ = settings.load(config, os.environ, instance)
    folder = Path(found.desk.data_dir).expanduser().absolute() / instance
    if must_exist and not folder.is_dir():
        raise Failed(f"{folder}: no desk {instance!r} has ever run here: name its configuration with -c, or its folder")
    return Located(folder, found.persistence.database)


def data_dir(config: Path | None, instance: str, must_exist: bool = True) -> Path:
    """The data folder of `locate`."""
    return locate(config, instance, must_exist).data_dir
