"""Pure cores: one state, step(event, now_ns) -> effects; no clock, no I/O, no logging."""
