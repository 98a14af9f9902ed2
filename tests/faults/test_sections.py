from __future__ import annotations

from pathlib import Path

from tests.faults.sections import write_section, write_top


def test_every_command_writes_its_own_part_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write_section(page, "## Two\n\nold\n")
    write_top(page, "# Page\n\ntop\n")
    write_section(page, "## Three\n\nthird\n")
    write_section(page, "## Two\n\nsecond\n")
    assert page.read_text() == "# Page\n\ntop\n\n## Two\n\nsecond\n\n## Three\n\nthird\n"
    write_top(page, "# Page\n\nnew\n")
    assert page.read_text().startswith("# Page\n\nnew\n\n## Two\n")
