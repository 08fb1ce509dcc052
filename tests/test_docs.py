"""Pages lead where they say: every relative link has its file and heading, and the site lists every page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "results/README.md")),
    *DOCS,
    *sorted((ROOT / "benchmarks").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


def prose(page):
    return re.sub(r"^ *```.*?^ *```$", "```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(page):
    return re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))


def anchors(page):
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        there = page.parent / path if path else page
        assert there.is_file(), link
        assert not anchor or anchor in anchors(there), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_list_begins_after_an_empty_line_else_markdown_runs_it_together(page):
    item = re.compile(r" *(?:[-*]|\d+\.) ")
    for block in re.split(r"\n\s*\n", prose(page)):
        items = [bool(item.match(line)) for line in block.splitlines() if line and not line.startswith("#")]
        assert not any(items) or items[0], block


def test_the_site_lists_every_page_of_docs_and_no_other_than_there_are():
    listed = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert {page.relative_to(ROOT).as_posix() for page in DOCS} <= set(listed)
    assert [name for name in listed if not (ROOT / name).is_file()] == []
