"""Loading a user's files, which may import helper modules that lie in their own folder.

The folder is appended to `sys.path` and stays there: a function may import a helper when it is
called, and worker processes load the same files again. Python knows a module by its name alone, so
two folders with a ``helper.py`` each would share the first one: such a clash is refused. An
installed module of the same name comes first, because the folder is at the end of the path.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from methods.base.errors import RegistryError, does_not_import

_folders: set[Path] = set()
"""Folders from which this process has loaded files, and may therefore import helpers."""


def python_files(folder: Path, kind: str) -> list[Path]:
    """The Python files of a folder, without those that start with ``_``; or the given file itself.

    Raises:
        RegistryError: when the folder does not exist.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise RegistryError(f"{kind}s folder '{folder}' does not exist")
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))


def load_file(path: Path, kind: str) -> ModuleType:
    """Import one file, which executes it once, however often it is asked for.

    Args:
        path: path of the file.
        kind: word for the classes that it defines, for messages.

    Raises:
        RegistryError: when the file does not import, or another user's folder has a helper of the
            same name.
    """
    path = path.resolve()
    # If another module has the file's name, the file gets its own: two folders may have a blur.py.
    own_name = f"dfkd_{kind}_{path.stem}_{abs(hash(path)):x}"
    for name in (path.stem, own_name):
        known = sys.modules.get(name)
        if known is not None and getattr(known, "__file__", None) == str(path):
            return known
    _folders.add(path.parent)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    importlib.invalidate_caches()
    helpers_of(path, kind)
    try:
        if _found(path.stem) == [path]:
            return importlib.import_module(path.stem)
        return _import_as(own_name, path)
    except RegistryError:
        raise
    except (Exception, SystemExit) as error:
        raise does_not_import(f"{kind} file '{path}'", error) from None


def helpers_of(path: Path, kind: str = "method") -> list[Path]:
    """The files in a file's own folder that it imports, directly or through each other, sorted.

    Args:
        path: absolute path of the file.
        kind: word for the classes that it defines, for messages.

    Raises:
        RegistryError: when ``import`` would find a helper of the same name in another folder.
    """
    helpers: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        for name in _imported_names(file):
            own = _module_in(path.parent, name)
            if own is None or own == path:
                continue
            others = [place for place in _found(name) if place != own]
            if any(place.parent in _folders for place in others):
                raise RegistryError(
                    f"{kind} file '{path}' imports '{name}', which is '{own}' and also "
                    f"'{others[0]}'; rename one of them"
                )
            if others:
                continue  # an installed module comes first
            files = set(own.rglob("*.py")) if own.is_dir() else {own}
            waiting += files - helpers
            helpers |= files
    return sorted(helpers)


def _imported_names(file: Path) -> Iterator[str]:
    """Top-level names of the modules that a file imports, in functions too."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # importing the file will report the error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def _module_in(folder: Path, name: str) -> Path | None:
    """The file of a module, or the folder of a package, that has this name in a folder."""
    package, module = folder / name, folder / f"{name}.py"
    if module.is_file() and not (package / "__init__.py").is_file():
        return module
    return package if any(package.glob("*.py")) else None


def _found(name: str) -> list[Path]:
    """The file, or the folders of the package, that ``import name`` would find."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    places = spec.submodule_search_locations or [spec.origin or "built-in"]
    return [Path(place).resolve() for place in places]


def _import_as(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RegistryError(f"'{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
