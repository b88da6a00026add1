"What a chapter's own cells define, for tests of what is taught and not exported."

import ast
from pathlib import Path

import nbformat

CHAPTERS = Path(__file__).resolve().parent.parent / "nbs"


def defined_in(chapter: str, known: dict | None = None) -> dict:
    """The functions of the plain cells of a chapter, by name; nothing else of these cells runs.

    `known` is what they find beside each other: the names of the chapter's module. Its own names win."""
    space = {"__name__": chapter}
    nb = nbformat.read(CHAPTERS / f"{chapter}.ipynb", as_version=4)
    for cell in nb.cells:
        code = cell.source if cell.cell_type == "code" else ""
        if code.lstrip().startswith(("# |", "%", "!")):  # exported, an exercise, no Python
            continue
        kept = [
            node
            for node in ast.parse(code).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.FunctionDef) and not node.decorator_list)
        ]
        exec(compile(ast.Module(kept, []), f"<{chapter}>", "exec"), space)  # noqa: S102
    space.update(known or {})
    return space
