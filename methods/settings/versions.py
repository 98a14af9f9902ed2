"""The versions of the methods that come with the program, without importing them.

Tables need them to tell the records of an older version, and importing a method imports torch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1]


@dataclass(frozen=True)
class Versions:
    """The versions that the runs of a method have now.

    Attributes:
        version: see `methods.base.method.Method.version`.
        revised: see `methods.base.method.Method.revised`.
    """

    version: int = 1
    revised: Mapping[str, Mapping[Any, int]] = field(default_factory=dict)

    def of(self, params: Mapping[str, Any]) -> int:
        """The version of runs with these parameters: the latest of all that their values mean.

        Args:
            params: parameters by name; those with their default may be left out.
        """
        later = [
            version
            for name, versions in self.revised.items()
            for value, version in versions.items()
            if name in params and params[name] == value
        ]
        return max(self.version, *later, 0)


@cache
def shipped_versions(folder: Path = FOLDER) -> Mapping[str, Versions]:
    """The versions of every method with a file in this folder, by name.

    They are read from the text of the files, so that they must stand there as literals.
    """
    found: dict[str, Versions] = {}
    for path in sorted(folder.glob("*.py")):
        known: dict[str, dict[str, Any]] = {}
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                inherited = [known[base] for base in reversed(bases) if base in known]
                # A name is a class's own: what it inherits from a method is not.
                values = {k: v for own in inherited for k, v in own.items() if k != "name"}
                known[node.name] = values | dict(_literals(node))
                if isinstance(name := known[node.name].get("name"), str):
                    fields = {k: v for k, v in known[node.name].items() if k != "name"}
                    found[name] = Versions(**fields)
    return found


def _literals(node: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    """The class variables that say which version of which method it is."""
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in ("name", "version", "revised"):
                value = getattr(line, "value", None)
                if value is not None:
                    yield target.id, ast.literal_eval(value)
