from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.docs.site import PAGES, build_site, gather, menu
from benchmark.errors import UserError
from methods.base.registry import discover

METHODS = discover([])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of very few pages."""
    folder = tmp_path / "repository"
    (folder / "docs" / "methods").mkdir(parents=True)
    for name in PAGES:
        (folder / name).write_text(f"# {name}\n")
    (folder / "README.md").write_text("[speed](docs/speed.md), [RDSKD](docs/methods/rdskd.md)\n")
    (folder / "docs" / "speed.md").write_text("# Speed\n\n[back](../leaderboard.md)\n")
    (folder / "docs" / "methods" / "rdskd.md").write_text("# RDSKD\n")
    return folder


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(
    root: Path, tmp_path: Path
) -> None:
    assert build_site(root, tmp_path / "site", METHODS) == 6
    home = (tmp_path / "site" / "index.html").read_text()
    assert 'href="docs/methods/rdskd.html"' in home
    assert "../leaderboard.html" in (tmp_path / "site" / "docs" / "speed.html").read_text()
    loaded = [part.split('"')[0] for part in home.split('src="')[1:]]
    assert loaded
    assert not [path for path in loaded if path.startswith(("http", "//"))]


def test_a_link_to_nowhere_stops_it(root: Path, tmp_path: Path) -> None:
    (root / "docs" / "speed.md").write_text("[gone](gone.md)\n")
    with pytest.raises(UserError, match=r"not built: .*gone\.md"):
        build_site(root, tmp_path / "site", METHODS)


def test_a_folder_of_something_else_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="holds something that is no site"):
        build_site(root, tmp_path, METHODS)
    assert (tmp_path / "mine.txt").exists()


def test_a_folder_without_pages_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no README\.md; the site is made in the repository"):
        build_site(tmp_path, tmp_path / "site", METHODS)


def test_methods_have_their_titles_in_the_menu(root: Path, tmp_path: Path) -> None:
    pages = gather(root, tmp_path / "source")
    parts = {title: entry for part in menu(pages, METHODS) for title, entry in part.items()}
    assert parts["Methods"] == [{"RDSKD": "docs/methods/rdskd.md"}]
    assert parts["Questions"] == [{"Speed": "docs/speed.md"}]
    assert next(iter(parts)) == "Home"
