"""The fingerprint of a program: a hash of the syntax of every module that it really imports.

Results made by other code are neither continued nor used again, and the record of a run keeps the
fingerprint of the code that made it. Comments, docstrings and layout do not count, nor does a
module that is not imported: a new method or a new page makes nothing stale.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("methods", "benchmark")
"""The packages of this repository. A method's images depend on nothing in ``benchmark`` but the
networks: the rest of it is part of a run's identity, or out of a method's sight."""
NETWORKS = ROOT / "benchmark" / "tasks" / "models"

NAMES_A_FILE = re.compile(r"(?!/)[^\x00-\x1f]{1,100}")
"""A text that may be a path below a folder, or the name of a module."""

LIBRARIES = ("site-packages", "dist-packages")
"""Folders of installed packages. A module there counts only if it belongs to the method's own
package; a record keeps the versions of the libraries."""


@cache
def fingerprint(*files: Path) -> str:
    """A hash of what these files and the modules that they import compute; 16 hexadecimal digits.

    Imports are followed into ``methods``, the tasks' networks, and a file's own folder or package;
    imports inside functions count too, and so do the files beside a user's file that it names in a
    text. A name that a package's ``__init__`` only passes on leads to the module that defines it.
    The hash is equal on every machine and version of Python.

    Args:
        files: the sources to start from, such as a method's and a task's.
    """
    reached = {file.resolve() for file in files}
    waiting = list(reached)
    while waiting:
        new = {path for path in _imported(waiting.pop()) if _counts(path)} - reached
        reached |= new
        waiting.extend(new)
    contents = "".join(sorted(map(_digest, reached)))
    return hashlib.sha256(contents.encode()).hexdigest()[:16]


def forget() -> None:
    """Forget the files that were read, because they were edited."""
    for remembered in (fingerprint, _tree, _digest, _imported):
        remembered.cache_clear()


def sources(*classes: type) -> tuple[Path, ...]:
    """The files to take a fingerprint of: those of these classes and of their base classes.

    Abstract classes, which are contracts, are reached through imports.
    """
    bases = (base for cls in classes for base in cls.__mro__ if not inspect.isabstract(base))
    own = (base for base in bases if base.__module__.split(".")[0] not in sys.stdlib_module_names)
    return tuple({Path(inspect.getfile(base)): None for base in own})


def _counts(path: Path) -> bool:
    return NETWORKS in path.parents or ROOT / "benchmark" not in path.parents


class _WithoutText(ast.NodeTransformer):
    """Removes everything that does not run: docstrings, and imports for type checkers alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        self.generic_visit(node)
        return node

    def visit_If(self, node: ast.If) -> ast.If | list[ast.stmt]:
        self.generic_visit(node)
        typing_alone = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        return node.orelse if typing_alone else node


@cache
def _tree(path: Path) -> ast.Module:
    text = path.read_bytes()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # a file that does not parse is told apart by its text
        tree = ast.parse(repr(text))
    bare: ast.Module = _WithoutText().visit(tree)
    return bare


@cache
def _digest(path: Path) -> str:
    if path.suffix != ".py":
        with path.open("rb") as file:
            return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}"
    # With its name, so that two files that swap their contents are noticed.
    return hashlib.sha256(repr((path.name, _plain(_tree(path)))).encode()).hexdigest()


def _plain(node: object) -> object:
    """A syntax tree as tuples, without empty fields, which differ between versions of Python."""
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in ast.iter_fields(node))
        return type(node).__name__, [(name, value) for name, value in fields if value]
    if isinstance(node, list):
        return [_plain(item) for item in node]
    return "" if node is None else repr(node)


@cache
def _imported(path: Path) -> frozenset[Path]:
    """The files of the modules that a file imports, and those it names, as far as they count."""
    if path.suffix != ".py":
        return frozenset()
    return frozenset(_imports(path)) | frozenset(() if _ours(path) else _named(path))


def _named(path: Path) -> Iterator[Path]:
    """The files in a user's folder that a file there names in a text: settings, or modules.

    So ``importlib.import_module("_layers")`` counts, and so does ``open(HERE / "scales.json")``.
    """
    folder = path.parent
    if folder.name in LIBRARIES:
        return
    for node in ast.walk(_tree(path)):
        text = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(text, str) or not NAMES_A_FILE.fullmatch(text):
            continue
        found = (
            folder / text if (folder / text).is_file() else _file(folder / Path(*text.split(".")))
        )
        if found is not None and found.resolve().is_relative_to(folder):
            yield found.resolve()


def _imports(path: Path) -> Iterator[Path]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(alias.name, path)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield from _name(node, alias.name, path)


def _name(node: ast.ImportFrom, name: str, path: Path) -> Iterator[Path]:
    """The files behind a name that ``path`` imports from a module."""
    module = node.module or ""
    submodule = list(_module(f"{module}.{name}".lstrip("."), path, node.level))
    if submodule:
        yield from submodule
        return
    files = list(_module(module, path, node.level))
    passed_on = _passed_on(files[-1], name) if files else None
    if passed_on is None:
        yield from files
        return
    package = files.pop()
    yield from files if _ours(package) else [*files, package]
    yield from _name(*passed_on, package)


def _passed_on(package: Path, name: str) -> tuple[ast.ImportFrom, str] | None:
    """The import by which a package passes on another module's name, and the name there."""
    if package.name == "__init__.py":
        imports = (n for n in ast.walk(_tree(package)) if isinstance(n, ast.ImportFrom))
        for node in imports:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return node, alias.name
    return None


def _module(name: str, seen_in: Path, level: int = 0) -> Iterator[Path]:
    """The file of a module, after the ``__init__`` files of packages around it that are not ours.

    Args:
        name: name of the module, absolute or relative to a package.
        seen_in: file that imports the module.
        level: number of dots before a relative name; 0 for an absolute one.
    """
    for folder in _folders(name.partition(".")[0], seen_in, level):
        file = _file(folder.joinpath(*name.split(".")))
        if file is not None:
            for package in reversed(file.relative_to(folder).parents):
                around = folder / package / "__init__.py"
                if around.is_file() and not _ours(around) and around != file:
                    yield around.resolve()
            yield file.resolve()
            return


def _folders(top: str, seen_in: Path, level: int) -> list[Path]:
    """The folders in which a module is looked for, by the first part of its name."""
    if level:
        return [seen_in.parents[level - 1]]
    if top in OURS:
        return [ROOT]
    if top in sys.stdlib_module_names:
        return []
    outermost = seen_in
    while (outermost.parent / "__init__.py").is_file():
        outermost = outermost.parent
    # A user's folder is on the path, also for helpers in folders below it.
    above = [Path(entry) for entry in sys.path if Path(entry) in seen_in.parents]
    folders = [seen_in.parent, outermost.parent, *above]
    return [f for f in folders if f.name not in LIBRARIES or outermost.name == top]


def _file(path: Path) -> Path | None:
    """The file of the module or package at a path without suffix; None if there is none."""
    for candidate in (path / "__init__.py", path.parent / f"{path.name}.py"):
        if candidate.is_file():
            return candidate
    return None


def _ours(path: Path) -> bool:
    return any(ROOT / package in path.parents for package in OURS)
