"""The field guide: every entry says what is said, what is so, where it stands, and computes it."""

import json
import re
from pathlib import Path

import pytest
import shape

from silen_lib import board

NBS = Path(__file__).resolve().parents[1] / "nbs"
CHAPTERS = sorted(p.name for p in NBS.glob("[0-9][0-9]_*.ipynb"))
TOPICS = (
    "Energy and free energy",
    "Hopfield networks",
    "Capacity",
    "Sampling and annealing",
    "Restricted Boltzmann machines and their training",
    "Modern Hopfield networks and attention",
    "Score matching and diffusion",
    "Variational inference, memory and mind",
    "Matters of fact",
)
HEADING = re.compile(r"### ([GF])(\d+) · (\S.*)")


def _cells():
    nb = json.loads((NBS / "field_guide.ipynb").read_text(encoding="utf-8"))
    return [(c["cell_type"], "".join(c["source"])) for c in nb["cells"]]


CELLS = _cells()
STARTS = [i for i, (kind, text) in enumerate(CELLS) if text.startswith("### ")]
ENTRIES = [(CELLS[i][1], CELLS[i + 1 : i + 2]) for i in STARTS]
COMPUTED = [(text, after) for text, after in ENTRIES if text.startswith("### G")]
FACTS = [(text, after) for text, after in ENTRIES if text.startswith("### F")]


def faults(text: str, after: list[tuple[str, str]]) -> list[str]:
    "What an entry lacks; `after` is the cell behind it."
    found, parts = [], text.split("\n\n")
    heading = HEADING.fullmatch(parts[0])
    if not heading:
        return ["no heading of the form ### G17 · name"]
    if len(parts) != 3 or not parts[1].startswith("*Said:* ") or not parts[2].startswith("*So:* "):
        found.append("not two paragraphs, Said and So")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    if not linked:
        found.append("no chapter linked")
    found += [f"no such chapter: {name}" for name in linked if name not in CHAPTERS]
    if heading[1] == "F":
        if not re.search(r"\b(1[89]|20)\d\d\b", text):
            found.append("no year of a source")
        return found
    if not after or after[0][0] != "code":
        return [*found, "no code behind it"]
    code = [s for s in after[0][1].splitlines() if s.strip() and not s.lstrip().startswith("#")]
    if len(code) > 4:
        found.append(f"{len(code)} lines of code")
    if not re.search(r"^\s*(assert\b|test_\w+\()", after[0][1], re.MULTILINE):
        found.append("asserts nothing")
    if re.search(r"^\s*(import|from) ", after[0][1], re.MULTILINE):
        found.append("imports; that is done once at the top")
    return found


@pytest.mark.parametrize("text, after", ENTRIES, ids=[t.split(" ·")[0][4:] for t, _ in ENTRIES])
def test_an_entry_is_whole(text, after):
    assert faults(text, after) == []


GOOD = "### G1 · a name\n\n*Said:* this.\n\n*So:* that (@)."
LINKED = GOOD.replace("@", "[chapter 0](00_energy.ipynb)")


@pytest.mark.parametrize(
    "text, after, fault",
    [
        (LINKED, [("code", "assert 1")], ""),
        (GOOD, [("code", "assert 1")], "no chapter linked"),
        (LINKED.replace("00_", "17_"), [("code", "assert 1")], "no such chapter: 17_energy.ipynb"),
        (LINKED.replace("Said", "Say"), [("code", "assert 1")], "not two paragraphs, Said and So"),
        (LINKED + "\n\nMore.", [("code", "assert 1")], "not two paragraphs, Said and So"),
        (LINKED, [("markdown", "## Next")], "no code behind it"),
        (LINKED, [("code", "1 + 1")], "asserts nothing"),
        (LINKED, [("code", "asserted = 1  # test_eq")], "asserts nothing"),
        (LINKED, [("code", "a = 1\n" * 4 + "assert a")], "5 lines of code"),
        (LINKED, [("code", "import math\nassert 1")], "imports; that is done once at the top"),
        (LINKED.replace("### G1 ·", "### G1:"), [], "no heading of the form ### G17 · name"),
        (LINKED.replace("### G", "### F"), [], "no year of a source"),
    ],
)
def test_a_fault_is_found(text, after, fault):
    assert faults(text, after) == ([fault] if fault else [])


@pytest.mark.parametrize("entries", [COMPUTED, FACTS], ids=["G", "F"])
def test_entries_are_numbered_in_order(entries):
    numbers = [int(HEADING.match(text)[2]) for text, _ in entries]
    assert numbers == list(range(1, len(entries) + 1))


def test_there_are_enough_entries_and_no_two_of_one_name():
    assert len(COMPUTED) >= 80 and len(FACTS) < len(COMPUTED) / 10
    names = [HEADING.match(text)[3] for text, _ in ENTRIES]
    assert len(set(names)) == len(names)


def test_the_topics_follow_the_course():
    headings = [text for kind, text in CELLS if kind == "markdown" and text.startswith("## ")]
    assert [h.splitlines()[0][3:] for h in headings] == list(TOPICS)


def test_facts_come_last_and_have_no_code():
    first = CELLS.index(("markdown", FACTS[0][0]))
    assert all(kind == "markdown" for kind, _ in CELLS[first:])


def test_every_chapter_is_linked_by_an_entry():
    assert [name for name in CHAPTERS if not any(f"({name})" in text for text, _ in COMPUTED)] == []


def test_the_guide_is_no_chapter_and_exports_nothing():
    assert "field_guide" not in [m.notebook.stem for m in shape.modules()]
    assert "field_guide" not in board.progress_board(NBS)._repr_html_()
    directive = re.compile(r"^\s*#\s*\|\s*(default_exp|exporti?|exercise|solution)\b", re.MULTILINE)
    assert [text for kind, text in CELLS if kind == "code" and directive.search(text)] == []


@pytest.mark.parametrize("page", ["nbs/index.ipynb", "README.md"])
def test_it_is_found_from_the_map(page):
    text = (NBS.parent / page).read_text(encoding="utf-8")
    assert "field_guide.ipynb" in text
