"""Finding methods: the package's own, installed ones (``dfkd.methods``), and folders by name."""

from __future__ import annotations

import importlib.util
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from methods.base.method import Method

ENTRY_POINT_GROUP = "dfkd.methods"
FOLDER = Path(__file__).parents[1]
"""The folder of the methods that come with the package."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a method or task may be called: names become folders of the results."""


class RegistryError(Exception):
    """A method file that does not import, or two methods of one name; one line."""


def discover(folders: Iterable[Path] = ()) -> Mapping[str, type[Method]]:
    """Every known method by name.

    Args:
        folders: more folders, or single files, to import methods from. Their code runs in this
            process: name only what you trust.

    Raises:
        RegistryError: naming the file.
    """
    found: dict[str, type[Method]] = {}
    for module in _own_modules():
        _add(found, module)
    for loaded in load_entry_points(ENTRY_POINT_GROUP):
        if isinstance(loaded, ModuleType):
            _add(found, loaded)
        else:
            _add_class(found, loaded)
    for folder in folders:
        for path in python_files(folder):
            _add(found, load_file(path))
    return found


def load_entry_points(group: str, kind: str = "method") -> Iterator[Any]:
    """What installed packages offer under ``group``: modules or classes.

    Raises:
        RegistryError: when one does not import.
    """
    for entry in entry_points(group=group):
        try:
            yield entry.load()
        except (Exception, SystemExit) as error:
            raise RegistryError(
                f"the installed {kind} '{entry.name}' ({entry.value}) does not import: "
                f"{_where(error)}"
            ) from None


def load_file(path: Path, kind: str = "method") -> ModuleType:
    """Import one file under a name of its own, which executes it.

    Args:
        path: path of the file.
        kind: what the file defines, for messages.

    Raises:
        RegistryError: when it does not import.
    """
    path = path.resolve()
    name = f"dfkd_{kind}_{path.stem}_{abs(hash(path)):x}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RegistryError(f"'{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise RegistryError(f"{kind} file '{path}' does not import: {_where(error)}") from None
    return module


def methods_in(module: ModuleType) -> list[type[Method]]:
    """The concrete methods a module defines itself."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Method)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
        and "name" in vars(value)
    ]


def _own_modules() -> Iterable[ModuleType]:
    for info in pkgutil.iter_modules([str(FOLDER)]):
        name = f"methods.{info.name}"
        try:
            yield importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise RegistryError(
                f"method file 'methods/{info.name}.py' does not import: {_where(error)}"
            ) from None


def python_files(folder: Path, kind: str = "method") -> list[Path]:
    """The Python files of a folder except those that start with ``_``; a file stands for itself.

    Raises:
        RegistryError: when it does not exist.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise RegistryError(f"{kind}s folder '{folder}' does not exist")
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))


def _add(found: dict[str, type[Method]], module: ModuleType) -> None:
    for cls in methods_in(module):
        _add_class(found, cls)


def _add_class(found: dict[str, type[Method]], cls: type[Method]) -> None:
    other = found.get(cls.name)
    if other is not None and other is not cls:
        raise RegistryError(
            f"two methods are called '{cls.name}': {other.__qualname__} in '{_file(other)}' and "
            f"{cls.__qualname__} in '{_file(cls)}'; rename one"
        )
    if not NAME.fullmatch(cls.name):
        raise RegistryError(
            f"{cls.__qualname__} in '{_file(cls)}' is called {cls.name!r}; write it like my-method"
        )
    found[cls.name] = cls


def _file(cls: type) -> str:
    return Path(inspect.getfile(cls)).name


def _where(error: BaseException) -> str:
    """``SyntaxError: invalid syntax (line 3)``."""
    message = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, SyntaxError):
        return message
    frames = traceback.extract_tb(error.__traceback__)
    return f"{message} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
