"""Shells: each drains its sources, steps a core and performs the effects."""
