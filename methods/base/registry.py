"""Finding methods: the files of `methods`, installed packages (``dfkd.methods``), and folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from methods.base.finder import find_classes
from methods.base.method import Method

ENTRY_POINT_GROUP = "dfkd.methods"


def discover(folders: Iterable[Path] = ()) -> Mapping[str, type[Method]]:
    """Every known method by name.

    Args:
        folders: more folders, or single files, whose Python files are imported. Their code runs in
            this process: name only what you trust.

    Raises:
        RegistryError: naming a file that does not import, or two methods of one name.
    """
    return find_classes(Method, "method", "methods", ENTRY_POINT_GROUP, folders)
