"""mkdocs's hook: the site has the repository's layout, so that a link is good in both places and no text is copied."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The style, the README, every page below docs/, and all files that these link to, and so on from there."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    waiting = [ROOT / "docs" / "site.css", ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    while waiting:
        path = waiting.pop()
        uri = path.relative_to(ROOT).as_posix()
        if uri in files.src_uris:
            continue
        files.append(File.generated(config, uri, abs_src_path=str(path)))
        if path.suffix == ".md":
            links = re.findall(r"\]\(([^)#:]+)", path.read_text(encoding="utf-8"))
            waiting += filter(Path.is_file, ((path.parent / link).resolve() for link in links))
    return files
