"""The desk under test: `oms run`, but that its supervisor puts up with any number of deaths and hardly waits.

    python -m chaos.program FOLDER        FOLDER/config.json is the configuration
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from oms_actors import app
from oms_actors.config import Config
from supervisor.spec import SupervisorSpec

INSTANCE = "chaos"


def main() -> int:
    """Runs the desk until it is told to stop."""
    folder = Path(sys.argv[1])
    config = msgspec.json.decode((folder / "config.json").read_bytes(), type=Config)
    usual = app.supervisor_spec

    def patient(*arguments: Any) -> SupervisorSpec:
        return replace(usual(*arguments), intensity=1_000_000, backoff_initial_ms=20, backoff_max_ms=100)

    app.supervisor_spec = patient
    return app.run(app.resolve(config, INSTANCE, str(folder)))


if __name__ == "__main__":
    sys.exit(main())
