"""An answer to each exercise as a reader would write it: the bodies of stubs, from the last cells of `nbs/checks`."""

import ast
import json
from pathlib import Path

CHECKS = sorted((Path(__file__).resolve().parent.parent / "nbs" / "checks").glob("*.ipynb"))


def plain_answers(notebook: Path) -> dict[str, str]:
    "What the cell `PLAIN = {name: body}` of a notebook holds."
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and source.startswith("PLAIN = {"):
            return ast.literal_eval(source.removeprefix("PLAIN = "))
    return {}


PLAIN = {name: body for path in CHECKS for name, body in plain_answers(path).items()}
