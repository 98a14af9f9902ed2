"""The versions that are read from the methods' files are those of the classes."""

from __future__ import annotations

from pathlib import Path

from methods.base.registry import discover
from methods.settings.versions import Versions, shipped_versions
from tests.helpers import write_file


def test_the_versions_in_the_files_are_those_of_the_methods() -> None:
    shipped = {n: m for n, m in discover().items() if m.__module__.startswith("methods.")}
    read = shipped_versions()
    assert read == {n: Versions(m.version, m.revised) for n, m in shipped.items()}
    for name, method in shipped.items():
        for overrides in [{}, *({n: v} for n, values in method.revised.items() for v in values)]:
            params = method.build_params(overrides)
            assert read[name].of(params.recorded()) == method.version_of(params)
    assert any(own.revised for own in read.values())


def test_a_version_may_be_inherited_and_a_name_is_not(tmp_path: Path) -> None:
    text = "class A(Method):\n    version: int = 3\n\n\nclass B(A):\n    name = 'b'\n"
    write_file(tmp_path / "a.py", text + "\n\nclass C(B):\n    revised = {'x': {1: 5}}\n")
    write_file(tmp_path / "d.py", "class D(A):\n    name = 'd'\n")
    read = shipped_versions(tmp_path)
    assert read == {"b": Versions(3), "d": Versions(1)}
    assert [Versions(3, {"x": {1: 5}}).of({"x": x}) for x in (0, 1)] == [3, 5]
    assert Versions(3, {"x": {1: 2}}).of({"x": 1}) == 3
