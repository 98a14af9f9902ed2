"""The approaches lie alone in their folder, and none leans on another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmark.machine.fingerprint import ROOT
from methods.base.registry import discover

FILES = sorted(p for p in (ROOT / "methods").glob("*.py") if p.name != "__init__.py")


def test_every_file_beside_the_rooms_is_an_approach() -> None:
    """So that a listing of the folder is a listing of the methods."""
    assert {f"methods.{path.stem}" for path in FILES} == {
        cls.__module__ for cls in discover().values()
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_approach_imports_no_other(path: Path) -> None:
    """import-linter has a list of today's; this holds for those to come."""
    others = {f"methods.{other.stem}" for other in FILES if other != path}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an approach names what it imports in full"
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            continue
        assert not others & names
