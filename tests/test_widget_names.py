"""A slider draws long after its cell ran: what it reads must not be given another meaning by a later cell."""

import ast
import json
from pathlib import Path

import pytest

CHAPTERS = sorted((Path(__file__).resolve().parents[1] / "nbs").glob("[0-9][0-9]_*.ipynb"))


def code_cells(path: Path) -> list[str]:
    "The code of a chapter without its magics."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    return ["\n".join("" if x.startswith("%") else x for x in s.split("\n")) for s in code]


def names(tree: ast.AST, context: type) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def assigned(tree: ast.Module) -> set[str]:
    "Names that a cell binds by statements of its own, not inside functions, classes or comprehensions."
    plain = [s for s in tree.body if not isinstance(s, ast.FunctionDef | ast.ClassDef)]
    inner = [n.target for s in plain for n in ast.walk(s) if isinstance(n, ast.comprehension)]
    return {x for s in plain for x in names(s, ast.Store)} - {
        x for t in inner for x in names(t, ast.Store)
    }


def functions(tree: ast.Module) -> dict[str, ast.AST]:
    "Functions that a cell defines, by name."
    found: dict[str, ast.AST] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Lambda):
            found |= {x: statement.value for x in names(statement, ast.Store)}
    return found


def reads(name: str, known: dict[str, ast.AST]) -> set[str]:
    "Global names that a function reads, itself or through functions that it calls."
    seen, todo, found = set(), [name], set()
    while todo:
        body = known[todo.pop()]
        local = {a.arg for a in ast.walk(body) if isinstance(a, ast.arg)} | names(body, ast.Store)
        new = names(body, ast.Load) - local - found
        found |= new
        todo += [x for x in new if x in known and x not in seen]
        seen |= new
    return found


def rebound(cells: list[str]) -> list[str]:
    "Names that a widget's function reads and a later cell binds anew."
    trees = [ast.parse(cell) for cell in cells]
    known = {name: body for tree in trees for name, body in functions(tree).items()}
    faults = []
    for at, tree in enumerate(trees):
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            first = call.args[0] if call.args else None
            if call.func.id in ("live", "live_map") and isinstance(first, ast.Name):
                wanted = reads(first.id, known) if first.id in known else set()
                later = {x for t in trees[at + 1 :] for x in assigned(t)}
                faults += [f"{first.id}: {x}" for x in sorted(wanted & later)]
    return faults


@pytest.mark.parametrize(
    ("later", "found"),
    [("films = [3]", ["draw: films"]), ("other = [films for films in (1, 2)]", [])],
)
def test_the_reader_of_names_finds(later, found):
    cells = ["films = {}", "def draw(t):\n    return show(t)", "show = lambda t: films[t]"]
    assert rebound([*cells, "live(draw, t=3)", later]) == found


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_what_a_slider_draws_keeps_its_meaning(path):
    assert rebound(code_cells(path)) == []
