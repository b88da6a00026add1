"""How long chapters take, on the pages that say so: `python tests/times.py` puts the chapters' own numbers into them.

A chapter's opening names its minutes. On README.md and nbs/index.ipynb three things repeat them: a table's row about
one chapter ends in its minutes; a line with links to several chapters and a time has their sum, in hours; the line that
counts exercises has the sum of all.
"""

import json
import re
import sys
from pathlib import Path

from silen_lib.board import Chapter, cell_text, chapter_outline, in_hours

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "README.md", ROOT / "nbs" / "index.ipynb"
LINK = re.compile(r"\]\((?:nbs/)?(\d\d_\w+\.ipynb)\)")
ROW = re.compile(r"^(\|.*\|) *\d* *\|$")
HOURS = re.compile(r"(?:\d+½?|½) hours?\b")
WHOLE = re.compile(r"^.*\b\d+ exercises\b.*\bhours?\b.*$")
EXERCISES = re.compile(r"\b\d+ exercises\b")


def outlines() -> dict[str, Chapter]:
    "{file name: what the chapter says about itself}."
    return {p.name: chapter_outline(p) for p in sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))}


def put_right(line: str, chapters: dict[str, Chapter]) -> str:
    "A line of a page with the chapters' own numbers; a line that holds none is as it was."
    named = [name for name in LINK.findall(line) if name in chapters]
    minutes = {name: int(chapter.minutes or 0) for name, chapter in chapters.items()}
    row = ROW.match(line)
    if row and len(named) == 1:
        return f"{row[1]} {minutes[named[0]]} |"
    if len(named) > 1:
        return HOURS.sub(in_hours(sum(minutes[name] for name in named)), line)
    if WHOLE.match(line):
        n = sum(len(chapter.exercises) for chapter in chapters.values())
        return HOURS.sub(in_hours(sum(minutes.values())), EXERCISES.sub(f"{n} exercises", line))
    return line


def page_lines(path: Path) -> list[str]:
    "The lines of a page that a reader reads: of a notebook, those of its text."
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "markdown"]
        text = "\n".join(cell_text(cell) for cell in cells)
    return text.splitlines()


def rewrite(path: Path, chapters: dict[str, Chapter]) -> bool:
    "Put the chapters' numbers into a page → whether it changed."
    old = new = path.read_text(encoding="utf-8")
    for line in page_lines(path):
        right = put_right(line, chapters)
        if path.suffix == ".ipynb":
            line, right = (json.dumps(text, ensure_ascii=False)[1:-1] for text in (line, right))
        new = new.replace(line, right)
    if new != old:
        path.write_text(new, encoding="utf-8")
    return new != old


if __name__ == "__main__":
    changed = [page.name for page in PAGES if rewrite(page, outlines())]
    sys.stdout.write(f"changed: {', '.join(changed) or 'nothing'}\n")
