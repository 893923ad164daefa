"""The floors of the house: imports point down only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenancy

ROOT = Path(tenancy.__file__).parent

# From the ground up. A name is a module or a folder of the package.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("exceptions", "signals"),
    ("context", "conf", "currencies", "identifiers", "origin", "seals", "tokens"),
    ("backends",),
    ("caches", "predicates", "rows"),
    ("constraints", "indexes", "policies", "querysets"),
    ("choices",),
    ("browsers", "fields", "documents", "encryption", "operations", "texts"),
    ("challenges", "hosts"),
    (
        "billing",
        "connections",
        "envelopes",
        "limits",
        "managers",
        "ownership",
        "permissions",
        "transactions",
    ),
    ("models", "management", "migrations"),
    (
        "attempts",
        "checks",
        "erasure",
        "mail",
        "passwords",
        "refusals",
        "resolvers",
        "testing",
        "trail",
    ),
    (
        "apps",
        "auth",
        "contrib",
        "impersonation",
        "middleware",
        "provenance",
        "pytest_plugin",
        "sessions",
        "visits",
    ),
    ("access", "context_processors", "decorators", "history", "templatetags"),
    # It signs people in and out, and switches: it stands on the edges.
    ("admin", "sites"),
    ("forms",),
    ("views",),
    ("urls",),
)
HEIGHTS = {name: height for height, names in enumerate(FLOORS) for name in names}

# Beside its own floor a room may look into these, which stand on it.
NEIGHBOURS = {
    ("admin", "sites"),
    ("context", "conf"),
    ("connections", "managers"),
    ("impersonation", "sessions"),
    ("management", "models"),
    ("middleware", "provenance"),
    ("middleware", "sessions"),
    ("middleware", "visits"),
    ("migrations", "models"),
    ("ownership", "transactions"),
    ("access", "decorators"),
    ("visits", "sessions"),
}

FORBIDDEN = {
    "common",
    "constants",
    "core",
    "helpers",
    "misc",
    "mixins",
    "services",
    "tools",
    "types",
    "utils",
}

FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def name_room(path: Path) -> str:
    """Return the module or folder of the package in which a file stands."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def read_imports(path: Path) -> Iterator[str]:
    """Yield each room that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "tenancy":
            names = [f"tenancy.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "tenancy" and rest:
                yield rest.split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_imports_only_below_it(path: Path) -> None:
    """A file imports from the floors below its own, or from its own folder."""
    room = name_room(path)

    faults = [
        imported
        for imported in read_imports(path)
        if imported != room
        and (room, imported) not in NEIGHBOURS
        and HEIGHTS[imported] >= HEIGHTS[room]
    ]

    assert faults == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_named_for_its_subject(path: Path) -> None:
    """No file or folder has a name that says nothing."""
    assert not FORBIDDEN & {part.removesuffix(".py") for part in path.parts}


def test_init_files_hold_no_logic() -> None:
    """An __init__.py lists names, and defines none."""
    for path in ROOT.rglob("__init__.py"):
        nodes = ast.parse(path.read_text()).body
        assert not any(
            isinstance(node, ast.FunctionDef | ast.ClassDef) for node in nodes
        ), path


def test_vendors_are_named_in_backends_only() -> None:
    """What differs between databases stands in backends/, and is asked for there."""
    for path in FILES:
        if name_room(path) == "backends":
            continue
        compared = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Compare)
            and any(
                isinstance(side, ast.Attribute) and side.attr == "vendor"
                for side in (node.left, *node.comparators)
            )
            and any(
                isinstance(side, ast.Constant)
                for side in (node.left, *node.comparators)
            )
        ]
        assert compared == [], path
