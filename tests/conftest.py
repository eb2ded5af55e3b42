"""How properties are looked for: everywhere without a clock, in CI always with the same examples. And Ctrl-C works."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("people", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "people")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun with `&`, which what we start would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
