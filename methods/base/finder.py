"""Finding classes: in the files of a package, in installed packages, and in a user's files."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from methods.base.errors import RegistryError, does_not_import
from methods.base.user_files import load_file, python_files
from methods.settings.names import NAME


def find_classes(
    base: type, kind: str, package: str, group: str = "", folders: Iterable[Path] = ()
) -> dict[str, Any]:
    """Every concrete subclass that declares a name, by that name.

    Args:
        base: the class whose subclasses are wanted.
        kind: word for the classes in messages: ``method``, ``task`` or ``objective``.
        package: package whose files are searched; its subpackages are not.
        group: group of entry points by which installed packages offer more modules or classes.
        folders: further folders or single files, whose Python code is imported. It runs in this
            process: name only files that you trust.

    Raises:
        RegistryError: when a file does not import, a name is not valid, or two classes have the
            same name.
    """
    found: dict[str, Any] = {}
    for cls in _classes(base, kind, package, group, folders):
        if not NAME.fullmatch(cls.name):
            raise RegistryError(
                f"{cls.__qualname__} in '{file_name(cls)}' is called {cls.name!r}; write it like "
                f"my-{kind}"
            )
        other = found.setdefault(cls.name, cls)
        if other is not cls:
            raise RegistryError(
                f"two {kind}s are called '{cls.name}': {other.__qualname__} in "
                f"'{file_name(other)}' and {cls.__qualname__} in '{file_name(cls)}'; rename one"
            )
    return found


def classes_in(module: ModuleType, base: type) -> list[Any]:
    """The concrete subclasses of ``base`` with a name that a module defines itself."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
        and "name" in vars(value)
    ]


def file_name(cls: type) -> str:
    """Name of the file that defines a class, for messages."""
    return Path(inspect.getfile(cls)).name


def _classes(
    base: type, kind: str, package: str, group: str, folders: Iterable[Path]
) -> Iterator[Any]:
    for module in _modules(package, kind):
        yield from classes_in(module, base)
    for loaded in _offered(group, kind) if group else ():
        if isinstance(loaded, ModuleType):
            yield from classes_in(loaded, base)
        elif inspect.isclass(loaded) and issubclass(loaded, base):
            yield loaded
        else:
            raise RegistryError(
                f"an installed package offers {loaded!r} as a {kind}, but it is none; correct the "
                f"entry point in '{group}', or uninstall the package"
            )
    for folder in folders:
        for path in python_files(folder, kind):
            yield from classes_in(load_file(path, kind), base)


def _modules(package: str, kind: str) -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.ispkg:
            continue
        name = f"{package}.{info.name}"
        try:
            yield importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise does_not_import(f"{kind} file '{name.replace('.', '/')}.py'", error) from None


def _offered(group: str, kind: str) -> Iterator[Any]:
    for entry in entry_points(group=group):
        try:
            yield entry.load()
        except (Exception, SystemExit) as error:
            raise does_not_import(
                f"the installed {kind} '{entry.name}' ({entry.value})", error
            ) from None
