"""Benchmarks: `oms bench`, or each file by itself. Named by topology and metric; every one checks its own answer.

`measure` says what a bench hands back, `suite` which there are, `goals` what is wanted of them, `report` draws it.
"""
