"""The house keeps its shape: imports go one way (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("oms_actors", "ipc", "supervisor")

# What a part of the house may import of ours. The longest matching prefix counts.
ALLOWED: dict[str, tuple[str, ...]] = {
    "ipc": ("ipc",),
    "supervisor": ("supervisor", "ipc"),
    "oms_actors.core": ("oms_actors.core", "oms_actors.messages", "oms_actors.errors", "oms_actors.record"),
    "oms_actors.messages": ("oms_actors.errors",),
    "oms_actors.errors": (),
    "oms_actors.record": ("oms_actors.errors", "oms_actors.messages"),
    "oms_actors.config": ("oms_actors.errors",),
    "oms_actors.version": (),
    "oms_actors.edges": (
        "oms_actors.edges", "oms_actors.core", "oms_actors.messages", "oms_actors.errors", "oms_actors.record",
        "oms_actors.config", "oms_actors.instance", "oms_actors.version", "ipc",
    ),
    "oms_actors.actors": (
        "oms_actors.actors", "oms_actors.edges", "oms_actors.core", "oms_actors.messages", "oms_actors.errors",
        "oms_actors.record", "oms_actors.config", "oms_actors.instance", "ipc",
    ),
    "oms_actors.upstream": (
        "oms_actors.instance", "oms_actors.messages", "oms_actors.errors", "oms_actors.record", "oms_actors.config",
        "oms_actors.edges", "oms_actors.core", "ipc", "supervisor.published",
        "oms_actors.actors.remote", "oms_actors.actors.commands",  # to ask, only when somebody does
    ),
    "oms_actors.desk": (
        "oms_actors.actors", "oms_actors.edges", "oms_actors.core", "oms_actors.messages", "oms_actors.errors",
        "oms_actors.record", "oms_actors.config",
    ),
    "oms_actors.app": ("oms_actors", "ipc", "supervisor"),
    "oms_actors.cli": ("oms_actors", "ipc", "supervisor"),
}  # fmt: skip
# Third parties that a pure part must not know.
PURE = ("oms_actors.core", "oms_actors.messages", "oms_actors.errors", "oms_actors.record")
IMPURE = {"time", "os", "socket", "logging", "pykka", "sqlite3", "threading", "subprocess", "random", "pathlib", "mmap"}


def modules() -> list[tuple[str, Path]]:
    found = []
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found.append((name, path))
    return found


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


@pytest.mark.parametrize(("name", "path"), modules(), ids=[name for name, _ in modules()])
def test_a_module_imports_only_what_lies_below_it(name: str, path: Path) -> None:
    rules = [prefix for prefix in ALLOWED if under(name, prefix)]
    ours = {target for target in imports(path) if target.split(".")[0] in OURS}
    if name == "oms_actors":
        return  # the package's front door
    if rules:
        allowed = ALLOWED[max(rules, key=len)]
        assert not [target for target in ours if not any(under(target, prefix) for prefix in allowed)]
    assert under(name, "oms_actors.cli") or not [target for target in ours if under(target, "oms_actors.app")]


@pytest.mark.parametrize(
    ("name", "path"),
    [(n, p) for n, p in modules() if any(under(n, prefix) for prefix in PURE)],
    ids=[n for n, _ in modules() if any(under(n, prefix) for prefix in PURE)],
)
def test_the_pure_parts_have_no_clock_and_no_io(name: str, path: Path) -> None:
    assert not {target.split(".")[0] for target in imports(path)} & IMPURE
