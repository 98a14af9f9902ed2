"""The static site: the README, the leaderboard and every page of ``docs/``, as they are."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark.errors import UserError
from methods.base.method import Method

PAGES = {
    "README.md": "Home",
    "leaderboard.md": "Leaderboard",
    "CONTRIBUTING.md": "Contribute",
    "CHANGELOG.md": "Changes",
}
"""Pages beside ``docs/``, and their names in the menu."""

LINKED = ("CITATION.cff",)
"""Files that pages link to and that are no pages."""

ROOMS = ("methods", "tasks")
"""Folders of ``docs/`` with a page for each thing of a kind."""

EXTRA = "the site needs mkdocs-material: pip install 'dfkd-bench[docs]'"


def build_site(root: Path, output: Path, methods: Mapping[str, type[Method]]) -> int:
    """Build the site; needs no network, and the pages open from the disk.

    Args:
        root: the repository: the folder of the README, the leaderboard and ``docs/``.
        output: the folder to write; what is in it is replaced.
        methods: gives the titles of the methods' pages.

    Returns:
        The number of pages.

    Raises:
        UserError: when mkdocs is not installed, a page is missing, a link leads nowhere, or the
            folder holds something that is no site.
    """
    try:
        from mkdocs.commands.build import build
        from mkdocs.config import load_config
        from mkdocs.exceptions import Abort
    except ImportError:
        raise UserError(EXTRA) from None
    missing = [name for name in PAGES if not (root / name).is_file()]
    if missing or not (root / "docs").is_dir():
        raise UserError(
            f"'{root}' has no {missing[0] if missing else 'docs/'}; "
            "the site is made in the repository"
        )
    if output.exists() and any(output.iterdir()) and not (output / "sitemap.xml").is_file():
        raise UserError(f"'{output}' holds something that is no site; give another folder")
    faults = _Faults()
    logger = logging.getLogger("mkdocs")
    logger.addHandler(faults)
    try:
        with TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            pages = gather(root, source)
            written = {
                **SETTINGS,
                "docs_dir": str(source),
                "site_dir": str(output.resolve()),
                "nav": menu(pages, methods),
            }
            file = Path(folder) / "mkdocs.yml"  # YAML, of which JSON is a part
            file.write_text(json.dumps(written), encoding="utf-8")
            config = load_config(str(file))
            build(config)
    except Abort:
        first = faults.found[0] if faults.found else "mkdocs gave no reason"
        raise UserError(f"the site was not built: {first}") from None
    finally:
        logger.removeHandler(faults)
    return len(pages)


SETTINGS: Mapping[str, Any] = {
    "site_name": "dfkd-bench",
    "strict": True,
    "use_directory_urls": False,
    "theme": {
        "name": "material",
        "font": False,
        "features": ["navigation.sections", "content.code.copy"],
        "palette": [
            {
                "media": "(prefers-color-scheme: light)",
                "scheme": "default",
                "toggle": {"icon": "material/weather-night", "name": "Dark"},
            },
            {
                "media": "(prefers-color-scheme: dark)",
                "scheme": "slate",
                "toggle": {"icon": "material/weather-sunny", "name": "Light"},
            },
        ],
    },
    "markdown_extensions": ["tables", "fenced_code", "md_in_html", "sane_lists"],
    "plugins": ["search"],
    "validation": {"nav": {"omitted_files": "warn"}, "links": {"anchors": "warn"}},
}


class _Faults(logging.Handler):
    """Keeps what mkdocs complains about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(" ".join(record.getMessage().split()))


def gather(root: Path, source: Path) -> list[str]:
    """Copy the pages and their pictures, at the same places so that links hold.

    Returns:
        The Markdown files, relative to ``source``.
    """
    source.mkdir()
    for name in (*PAGES, *(name for name in LINKED if (root / name).is_file())):
        shutil.copy(root / name, source / name)
    shutil.copytree(root / "docs", source / "docs")
    return sorted(path.relative_to(source).as_posix() for path in source.rglob("*.md"))


def menu(pages: Sequence[str], methods: Mapping[str, type[Method]]) -> list[dict[str, Any]]:
    """The site's menu: home, leaderboard, a page a question, a page a method, and the rest."""
    home, board, *rest = PAGES.items()
    questions = [page for page in pages if page.count("/") == 1]
    return [
        *({title: page} for page, title in (home, board)),
        {"Questions": [{_title(page, methods): page} for page in questions]},
        *(
            {room.capitalize(): [{_title(page, methods): page} for page in own]}
            for room in ROOMS
            if (own := _room(room, pages, methods))
        ),
        *({title: page} for page, title in rest),
    ]


def _room(room: str, pages: Sequence[str], methods: Mapping[str, type[Method]]) -> list[str]:
    """The pages of one folder, its list first."""
    own = [page for page in pages if page.startswith(f"docs/{room}/")]
    return sorted(own, key=lambda p: (not p.endswith("/index.md"), _title(p, methods).lower()))


def _title(page: str, methods: Mapping[str, type[Method]]) -> str:
    name = Path(page).stem
    if name == "index":
        return "All"
    if page.startswith("docs/methods/") and name in methods:
        return methods[name].title
    return name.replace("-", " ").capitalize()
