"""The command line. `oms_actors.cli:main` is the entry point of `oms`."""

from oms_actors.cli.main import main

__all__ = ["main"]
