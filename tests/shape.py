"""The shape of the library, counted: `python tests/shape.py` prints the rooms and chapters with their counts.

Rooms are the notebooks of `nbs/lib`, chapters those of `nbs`; both are found, none is listed here.
"""

import ast
import json
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "silen_lib"
EXERCISE = re.compile(r"^#\s*\|\s*exercise\s", re.MULTILINE)


class Module(NamedTuple):
    "A notebook and what it exports."

    name: str
    notebook: Path
    is_chapter: bool

    @property
    def code(self) -> str:
        return (LIBRARY / f"{self.name}.py").read_text(encoding="utf-8")


def modules() -> list[Module]:
    "Rooms, then chapters by their numbers; `all`, which only gathers, is neither."
    found = []
    for path in (*sorted(ROOT.glob("nbs/lib/*.ipynb")), *sorted(ROOT.glob("nbs/[0-9]*.ipynb"))):
        exported = re.search(r"# \| default_exp (\w+)", path.read_text(encoding="utf-8"))
        if exported and exported[1] != "all":
            found.append(Module(exported[1], path, path.parent.name == "nbs"))
    return found


def cells(notebook: Path) -> list[str]:
    "The code cells of a notebook."
    nb = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in nb["cells"] if c["cell_type"] == "code"]


def is_exported(cell: str) -> bool:
    return re.search(r"^#\s*\|\s*exporti?\s*$", cell, re.MULTILINE) is not None


# ---- counts ----------------------------------------------------------------------------------------------------------


def code_lines(code: str) -> list[int]:
    "The numbers of the lines that are neither empty nor a comment."
    lines = enumerate(code.splitlines(), 1)
    return [n for n, line in lines if line.strip() and not line.lstrip().startswith("#")]


def private_lines(code: str) -> int:
    "How many of the lines are in functions and classes whose names say that they are nobody else's."
    private = set()
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.startswith("_"):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            private.update(range(first, (node.end_lineno or first) + 1))
    return len(private & set(code_lines(code)))


def own_lines(code: str) -> int:
    "The lines that a notebook exports: those of the module without the header that nbdev writes."
    header = re.search(r"^__all__ = \[[^\]]*\]\n", code, re.MULTILINE)
    return len(code_lines(code)) - (len(code_lines(header[0])) if header else 0)


def private_share(code: str) -> float:
    return private_lines(code) / max(1, own_lines(code))


def public_names(code: str) -> list[str]:
    "What a module's `__all__` lists."
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def doubles(exported: dict[str, list[str]]) -> dict[str, list[str]]:
    "{name: modules} of the names that several modules export."
    homes: dict[str, list[str]] = {}
    for module, names in exported.items():
        for name in names:
            homes.setdefault(name, []).append(module)
    return {name: where for name, where in homes.items() if len(where) > 1}


# ---- imports ---------------------------------------------------------------------------------------------------------


def _imported(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    "(module of the library, name or '', what it is called here) of an import statement; names of modules have no name."
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.startswith("silen_lib."):
                yield alias.name.split(".", 1)[1], "", alias.asname or alias.name
    elif isinstance(node, ast.ImportFrom):
        full = "silen_lib" * bool(node.level) + ("." * bool(node.module) if node.level else "")
        full += node.module or ""
        for alias in node.names:
            if full == "silen_lib":
                yield alias.name, "", alias.asname or alias.name
            elif full.startswith("silen_lib."):
                yield full.split(".", 1)[1], alias.name, alias.asname or alias.name


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(code: str) -> tuple[set[str], set[str]]:
    "The modules of the library that a module imports when it is imported, and those that it imports at any time."

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if _for_types_only(child):
                continue
            yield from ((module, inside) for module, _, _ in _imported(child))
            later = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, later)

    found = list(walk(ast.parse(code), False))
    return {m for m, inside in found if not inside}, {m for m, _ in found}


def private_uses(code: str) -> list[str]:
    "The private names of other modules that a piece of code imports, or reaches through a module: `core._x`."
    tree, modules_here, found = ast.parse(code), {}, []
    for node in ast.walk(tree):
        for module, name, here in _imported(node):
            if name.startswith("_") or (module.startswith("_") and not name):
                found.append(f"{module}.{name}".strip("."))
            if not name:
                modules_here[here] = module
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr):
            owner = ast.unparse(node.value)
            if owner in modules_here:
                found.append(f"{modules_here[owner]}.{node.attr}")
    return sorted(set(found))


def order(graph: dict[str, set[str]]) -> list[str]:
    "An order in which each module needs only those before it. Raises CycleError when there is none."
    return list(
        TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)}).static_order()
    )


def circle(graph: dict[str, set[str]]) -> list[str]:
    "Modules that need each other in a circle, or nothing."
    try:
        order(graph)
    except CycleError as error:
        return error.args[1]
    return []


def forward(tops: dict[str, set[str]], chapters: list[str]) -> list[str]:
    "What a module needs, when it is imported, that comes after it: of a room every chapter, of a chapter later ones."
    found = []
    for module, needed in tops.items():
        after = chapters[chapters.index(module) + 1 :] if module in chapters else chapters
        found += [f"{module} imports {other}" for other in sorted(needed) if other in after]
    return found


# ---- classes and cells -----------------------------------------------------------------------------------------------


def added_from_outside(code: str) -> list[str]:
    "What a module adds to a class after its end: by `@patch`, by `Class.name = …` or by `setattr`."
    tree = ast.parse(code)
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts = [n for d in node.decorator_list for n in ast.walk(d)]
            names = {n.id for n in parts if isinstance(n, ast.Name)}
            names |= {n.attr for n in parts if isinstance(n, ast.Attribute)}
            if names & {"patch", "patch_to", "patch_property"}:
                found.append(node.name)
        elif isinstance(node, ast.Assign):
            for t in node.targets:
                if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name):
                    found += [f"{t.value.id}.{t.attr}"] if t.value.id in classes else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr" and node.args:
            owner = ast.unparse(node.args[0])
            found += [f"setattr({owner}, …)"] if owner in classes else []
    return found


def private_calls(cell: str) -> list[str]:
    "The underscored names that a teaching cell reads and does not make."
    lines = [line if not re.match(r"\s*[%!]", line) else "" for line in cell.splitlines()]
    names = [n for n in ast.walk(ast.parse("\n".join(lines))) if isinstance(n, ast.Name)]
    made = {n.id for n in names if not isinstance(n.ctx, ast.Load)}
    return sorted({n.id for n in names if re.match("_[a-zA-Z]", n.id)} - made)


# ---- what a chapter asks of its reader -------------------------------------------------------------------------------


class Reading(NamedTuple):
    "The size of a chapter as a reader meets it."

    cells: int  # code cells
    lines: int  # code lines; docstrings are text
    words: int
    boxes: int  # "Often misstated" and its like
    first_picture: int  # code lines up to and with the cell that shows it
    kinds: dict[str, int]  # exercises of each kind


KINDS = ("write it", "mend it", "design it", "decide it")
_MAGIC = re.compile(r"^\s*[%!].*$", re.MULTILINE)
_BOX = re.compile(r"^> ?\*\*", re.MULTILINE)
_KIND = re.compile(r"^### Exercise \d+\.\d+ · (\w+ it)\b", re.MULTILINE)


def taught_lines(cell: str) -> int:
    "Lines of code in a cell: no blank line, no comment, no docstring."
    tree = ast.parse(_MAGIC.sub("pass", cell))
    lines = set(code_lines(cell))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def reading(notebook: Path) -> Reading:
    "Count a chapter."
    nb = json.loads(notebook.read_text(encoding="utf-8"))
    code = [c for c in nb["cells"] if c["cell_type"] == "code"]
    text = "\n\n".join("".join(c["source"]) for c in nb["cells"] if c["cell_type"] == "markdown")
    counts = [taught_lines("".join(c["source"])) for c in code]
    pictures = [
        i
        for i, c in enumerate(code)
        if any(k.startswith("image/") for o in c["outputs"] for k in o.get("data", {}))
    ]
    kinds = _KIND.findall(text)
    return Reading(
        cells=len(code),
        lines=sum(counts),
        words=len(text.split()),
        boxes=len(_BOX.findall(text)),
        first_picture=sum(counts[: pictures[0] + 1]) if pictures else sum(counts),
        kinds={kind: kinds.count(kind) for kind in KINDS},
    )


# ---- the table -------------------------------------------------------------------------------------------------------


def main() -> None:
    found = modules()
    codes = {m.name: m.code for m in found}
    graph = {name: imports(code)[1] & set(codes) for name, code in codes.items()}
    ordered = sorted(
        found, key=lambda m: (m.is_chapter, 0 if m.is_chapter else order(graph).index(m.name))
    )
    print(f"{'':16} {'lines':>6} {'public':>6} {'private':>8}")
    for module in ordered:
        code = codes[module.name]
        sentence = (ast.get_docstring(ast.parse(code)) or "").splitlines()[:1]
        share = f"{100 * private_share(code):.1f} %"
        names = len(public_names(code))
        print(f"{module.name:16} {own_lines(code):6} {names:6} {share:>8}  {''.join(sentence)}")
    for kind, chapters in (("rooms", False), ("chapters", True)):
        some = [codes[m.name] for m in found if m.is_chapter == chapters]
        lines, names = sum(map(own_lines, some)), sum(len(public_names(c)) for c in some)
        share = sum(map(private_lines, some)) / lines
        print(f"{f'{len(some)} {kind}':16} {lines:6} {names:6} {f'{100 * share:.1f} %':>8}")
    gathered = public_names((LIBRARY / "all.py").read_text(encoding="utf-8"))
    chapters = [m.name for m in found if m.is_chapter]
    tops = {name: imports(code)[0] for name, code in codes.items()}
    exported = {name: public_names(code) for name, code in codes.items()}
    print(f"\nnames in silen_lib.all: {len(gathered)}")
    print(f"names that two modules export: {', '.join(doubles(exported)) or 0}")
    print(f"private names that cross a border: {sum(len(private_uses(c)) for c in codes.values())}")
    print(f"circles: {' → '.join(circle(graph)) or 0}")
    print(f"imports that point forwards: {', '.join(forward(tops, chapters)) or 0}")
    print(f"methods added from outside: {sum(len(added_from_outside(c)) for c in codes.values())}")
    print(
        f"\n{'':16} {'cells':>6} {'lines':>6} {'words':>6} {'boxes':>6} {'picture after':>14}  write mend design decide"
    )
    for module in found:
        if module.is_chapter:
            r = reading(module.notebook)
            kinds = "  ".join(f"{r.kinds[kind]:5}" for kind in KINDS)
            print(
                f"{module.name:16} {r.cells:6} {r.lines:6} {r.words:6} {r.boxes:6} {r.first_picture:14} {kinds}"
            )


if __name__ == "__main__":
    main()
