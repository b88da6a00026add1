"""Which forms the calls of an exercise's function take: in a chapter, and in the check's cases.

`python tests/exercise_calls.py` runs every chapter with its answers and writes exercise_calls.json again;
`python tests/exercise_calls.py 00_energy` runs only the chapters that are named.
"""

import copy
import functools
import importlib
import inspect
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import torch
from torch import Tensor, nn

TESTS = Path(__file__).resolve().parent
CHAPTERS = sorted((TESTS.parent / "nbs").glob("[0-9][0-9]_*.ipynb"))
RECORD = TESTS / "exercise_calls.json"
_ROLE = re.compile(r"^\s*#\s*\|\s*(exercise|solution)\s+(\w+)\s*$", re.MULTILINE)
_CHECK = re.compile(r"^(\w+)\s*=\s*(check\(\s*[\"'](\w+)[\"']\s*,\s*\w+\s*\))\s*$", re.MULTILINE)


# ---- the form of a call ----------------------------------------------------------------------------------------------


def form(x) -> str:
    "What kind of thing an argument is: type, dtype, sizes (0, 1 or n), gradient, layout, device."
    if isinstance(x, Tensor):
        return _tensor_form(x)
    if isinstance(x, np.ndarray):
        return f"ndarray {x.dtype}[{_sizes(x.shape)}]"
    if x is None or isinstance(x, bool | str):
        return repr(x)
    if isinstance(x, int | float) and type(x) in (int, float):
        return type(x).__name__
    if isinstance(x, torch.Generator):
        return "Generator"
    if isinstance(x, list | tuple):
        return f"{type(x).__name__} of {' or '.join(sorted({form(i) for i in x})) or 'nothing'}"
    if callable(x):
        return "callable"
    return type(x).__name__


def _sizes(shape):
    "One letter a dimension."
    return ",".join(str(n) if n < 2 else "n" for n in shape)


def _tensor_form(x):
    "dtype[sizes], then what is special about it. Strided: axes are exchanged, which `view` refuses; a copy keeps that."
    batched = torch._C._functorch.is_batchedtensor(x)
    marks = [f"{str(x.dtype).removeprefix('torch.')}[{_sizes(x.shape)}]"]
    if batched:
        marks.append("vmap")
    if x.requires_grad and torch.is_grad_enabled():
        marks.append("grad")
    if not batched and not x.is_contiguous() and not x.detach().clone().is_contiguous():
        marks.append("strided")
    if x.device.type != "cpu":
        marks.append(x.device.type)
    return " ".join(marks)


def call_form(args: tuple, kwargs: dict) -> str:
    "A whole call: positions and keywords; a default left out does not appear."
    return f"({', '.join(_arguments(args, kwargs))})"


def _arguments(args, kwargs):
    "Form of each argument, keywords in alphabetical order."
    return [*map(form, args), *(f"{k}={form(kwargs[k])}" for k in sorted(kwargs))]


def spied(fn, seen: set):
    """The same function or class, with the form of each call going into `seen`.

    A layer is made and called in many combinations of masks, widths and layouts: each argument of a class counts alone.
    """
    if not inspect.isclass(fn):

        @functools.wraps(fn)
        def call(*args, **kwargs):
            seen.add(call_form(args, kwargs))
            return fn(*args, **kwargs)

        return call

    def __init__(self, *args, **kwargs):
        seen.update(f"made with {a}" for a in _arguments(args, kwargs))
        super(spy, self).__init__(*args, **kwargs)

    def forward(self, *args, **kwargs):
        seen.update(f"called with {a}" for a in _arguments(args, kwargs))
        seen.add(f"called in {'training' if self.training else 'evaluation'}")
        return super(spy, self).forward(*args, **kwargs)

    members = {"__init__": __init__, "__doc__": fn.__doc__, "__module__": fn.__module__}
    if issubclass(fn, nn.Module):
        members["forward"] = forward
    spy = type(fn.__name__, (fn,), members)
    return spy


# ---- a chapter -------------------------------------------------------------------------------------------------------


def read(path):
    "A notebook as nbformat 4."
    return nbformat.read(path, 4)


def cells_of(nb, role):
    "{exercise: index} of the cells that open with `# | role name`."
    found = {}
    for i, cell in enumerate(nb.cells):
        m = _ROLE.search(cell.source) if cell.cell_type == "code" else None
        if m and m[1] == role:
            found[m[2]] = i
    return found


def code_of(cell):
    "A cell's source without its directives."
    return "\n".join(
        line for line in cell.source.splitlines() if not re.match(r"\s*#\s*\|", line)
    ).strip("\n")


def solved(nb, answers=None):
    "A copy with each answer (the book's, or one of `answers`) in its stub's place, and the answers at the back empty."
    nb, at_the_back = copy.deepcopy(nb), cells_of(nb, "solution")
    for name, i in cells_of(nb, "exercise").items():
        nb.cells[i].source = (answers or {}).get(name) or code_of(nb.cells[at_the_back[name]])
    for i in at_the_back.values():
        nb.cells[i].source = ""
    return nb


def run(nb, folder, timeout=600):
    "Run a notebook in a fresh kernel, where every check must say right; raises what a cell raises."
    from nbclient import NotebookClient

    env = {**os.environ, "SILEN_PROGRESS": "off", "SILEN_STRICT": "1"}
    NotebookClient(nb, timeout=timeout, resources={"metadata": {"path": str(folder)}}).execute(
        env=env
    )
    return nb


def chapter_calls(path, answers=None) -> dict[str, list[str]]:
    "{exercise: forms of the calls that a chapter makes of it}, by running the chapter with its answers."
    nb = solved(read(path), answers)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source = _CHECK.sub(
                r'\1 = _spied(\2, _calls.setdefault("\1", set()))', cell.source
            )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "calls.json"
        first = (
            f"import sys\nsys.path.insert(0, {str(TESTS)!r})\n"
            "from exercise_calls import spied as _spied\n_calls = {}"
        )
        last = (
            f"import json\nfrom pathlib import Path\n"
            f"Path({str(out)!r}).write_text(json.dumps({{k: sorted(v) for k, v in _calls.items()}}), encoding='utf-8')"
        )
        nb.cells.insert(0, nbformat.v4.new_code_cell(first))
        nb.cells.append(nbformat.v4.new_code_cell(last))
        run(nb, path.parent)
        return json.loads(out.read_text(encoding="utf-8"))


def recorded() -> dict[str, dict[str, list[str]]]:
    "{chapter: {exercise: forms}} as committed."
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


# ---- the check's cases -----------------------------------------------------------------------------------------------


def case_calls(name) -> list[str]:
    "Forms of the calls that a check makes of the answer."
    from silen_lib.exercises import diagnose, find_spec

    spec = find_spec(name)
    reference = spec.reference or getattr(importlib.import_module(spec.module), name)
    seen = set()
    verdict = diagnose(name, spied(reference, seen))
    if verdict.status in (
        "wrong",
        "unchecked",
    ):  # else it is right, or known for the library's own, which works too
        raise AssertionError(f"the reference is not right: {verdict}")
    return sorted(seen)


def main():
    "Record, one chapter after the other."
    wanted = sys.argv[1:]
    for path in CHAPTERS:
        if wanted and path.stem not in wanted:
            continue
        record = recorded() | {path.stem: chapter_calls(path)}
        text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False)
        RECORD.write_text(text + "\n", encoding="utf-8")
        print(
            path.stem, {name: len(calls) for name, calls in record[path.stem].items()}, flush=True
        )


if __name__ == "__main__":
    main()
