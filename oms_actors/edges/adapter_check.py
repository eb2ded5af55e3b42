"""Can the configured exchange adapter be imported? A throw-away process tries, so that whatever a user's module does
when it is imported (or how long it takes) stays there: the adapter itself is only ever made in the sender.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

TIMEOUT_S = 20


def problems(path: str, options: dict[str, Any], config_dir: str) -> Iterator[tuple[str, Any, str]]:
    """(key, value, fix) of each reason why `path` could not be made an adapter with `options`."""
    question = json.dumps({"path": path, "options": options, "config_dir": config_dir}, default=str)
    try:
        asked = subprocess.run([sys.executable, "-m", __name__], input=question, text=True, capture_output=True,
                               timeout=TIMEOUT_S)  # fmt: skip
    except subprocess.TimeoutExpired:
        yield "exchange.adapter", path, f"importing it takes longer than {TIMEOUT_S} s"
        return
    lines = asked.stdout.splitlines()
    if asked.returncode or not lines:
        why = (asked.stderr.splitlines() or ["nothing was said"])[-1]
        yield "exchange.adapter", path, f"importing it ended Python with exit code {asked.returncode}: {why}"
        return
    for problem in json.loads(lines[-1]):
        key, _, fix = problem.partition(": ")
        yield key, path if key == "exchange.adapter" else options, fix


def main() -> None:
    """Answers the question on stdin by a list of problems, the last line of stdout."""
    from oms_actors.edges.exchange import check_adapter
    from oms_actors.errors import ConfigError

    found: list[str] = []
    try:
        check_adapter(**json.load(sys.stdin))
    except ConfigError as error:
        found = error.problems
    print(f"\n{json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main()
