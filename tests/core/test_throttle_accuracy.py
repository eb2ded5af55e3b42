"""The bench of the throttle on the real clock, in small, so that it cannot rot."""

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "throttle_accuracy.py"


def test_no_window_is_over_on_the_real_clock():
    """How much of the rate a busy machine can use is not judged here: the bench does, with its exit code."""
    command = [sys.executable, str(BENCH), "--rates", "2000", "--seconds", "0.2", "--json"]
    (result,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)["results"]
    assert result["calls"] > 2_000
    assert result["windows_over"] == 0
