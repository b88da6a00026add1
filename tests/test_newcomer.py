"""What a newcomer edits by hand: three files for an exercise, four for a chapter. All else is found or generated.

A chapter is added to a copy of the course, then an exercise to it, and the suite's own tests are asked about both."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
GENERATED = (
    "silen_lib/",
    "tests/exercise_calls.json",
)  # by `silen-notebooks --export` and `tests/exercise_calls.py`
pytestmark = pytest.mark.slow


def stub(name: str, body: str = "# YOUR CODE HERE\n    raise NotImplementedError") -> str:
    example = f">>> {name}(torch.tensor([1.5]))\n    tensor([3.])"
    head = f"def {name}(x: Tensor) -> Tensor:"
    return f'{head}\n    """A number and itself again: (...) → (...).\n\n    {example}\n    """\n    {body}'


def exercise_cells(number: int, name: str) -> list:
    "What stands in the chapter's text."
    hints = "Think of two of them.", "What has twice the length?"
    return [
        new_markdown_cell(f"### Exercise 11.{number} · twice   ●○○ · 5 min · 1 line"),
        new_code_cell(f"# | exercise {name}\n{stub(name)}"),
        new_code_cell(f'{name} = check("{name}", {name})'),
        *(
            new_markdown_cell(f"<details><summary>Hint {i}</summary>{hint}</details>")
            for i, hint in enumerate(hints, 1)
        ),
        new_code_cell(f"{name}(torch.ones(3))"),
    ]


def answer_cell(name: str):
    answer = stub(name, 'return 2 * args.floats("x", x)')
    cell = new_code_cell(f"# | export\n# | solution {name}\n{answer}")
    cell.metadata["jupyter"] = {"source_hidden": True}
    return cell


def chapter(names: list[str]):
    opening = "# 11 · A toy\n\n> Twice is enough.\n\n**Time** 5 minutes."
    libraries = "# | export\nimport torch\nfrom torch import Tensor\n\nfrom silen_lib import args"
    return new_notebook(
        cells=[
            new_markdown_cell(opening),
            new_code_cell("# | default_exp toy"),
            new_code_cell(libraries),
            new_code_cell("from silen_lib.exercises import check"),
            *(cell for i, name in enumerate(names, 1) for cell in exercise_cells(i, name)),
            new_markdown_cell("## Answers"),
            *map(answer_cell, names),
        ]
    )


SPEC = """# | export
exercise(
    "NAME", "silen_lib.toy", oracle=lambda x: x + x,
    cases=[
        (torch.ones(3),), (torch.tensor([0.5, -2.0]),), (torch.tensor(0.3),),
        (torch.tensor([[0.1, 3.0]]).double(),), (torch.arange(6.0).reshape(2, 3).T,),
        (torch.tensor([0.3], requires_grad=True),),
    ],
    mistakes=[
        Mistake("That is the square.", lambda x: x**2),
        Mistake("That is a half.", lambda x: x / 2),
        Mistake("The sign is wrong.", lambda x: -2 * x),
    ],
)"""


def checks(names: list[str]):
    plain = "".join(f'    "{name}": """\n        return x + x\n    """,\n' for name in names)
    libraries = "# | export\nimport torch\n\nfrom silen_lib.exercises import Mistake, exercise"
    proof = "test_eq(verify('NAME'), [])".replace("'", '"')
    return new_notebook(
        cells=[
            new_markdown_cell("# Checks · 11 · A toy"),
            new_code_cell("# | default_exp checks.toy"),
            new_code_cell(libraries),
            new_code_cell(
                "from fastcore.test import test_eq\n\nfrom silen_lib.exercises import verify"
            ),
            *(new_code_cell(code.replace("NAME", n)) for n in names for code in (SPEC, proof)),
            new_code_cell(f"PLAIN = {{\n{plain}}}"),
        ]
    )


class Course:
    "A copy of the course, and what was edited in it by hand."

    def __init__(self, folder: Path):
        self.folder, self.edited = folder, set()
        leave = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "artefacts")
        for name in ("nbs", "silen_lib", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=leave)
        for path in ROOT.glob("*.*"):
            if path.is_file():
                shutil.copy(path, folder)
        self.before = self.texts()

    def texts(self) -> dict[str, bytes]:
        parts = {p: p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*")}
        skipped = "__pycache__", ".pytest_cache", ".ruff_cache"
        return {
            name: p.read_bytes()
            for p, name in parts.items()
            if p.is_file() and not any(s in name for s in skipped)
        }

    def changed(self) -> list[str]:
        "Files that differ from the last time, but for the generated ones."
        before, self.before = self.before, self.texts()
        found = [name for name in self.before if self.before[name] != before.get(name)]
        return sorted(name for name in found if not name.startswith(GENERATED))

    def notebook(self, name: str, nb) -> None:
        nbformat.write(nb, self.folder / "nbs" / name)

    def append(self, name: str, line: str) -> None:
        with open(self.folder / name, "a", encoding="utf-8") as file:
            file.write(line)

    def run(self, *command: str) -> subprocess.CompletedProcess:
        env = {**os.environ, "PYTHONPATH": str(self.folder), "SILEN_PROGRESS": "off"}
        return subprocess.run(
            [sys.executable, *command], cwd=self.folder, env=env, capture_output=True,
            encoding="utf-8", timeout=600,
        )  # fmt: skip

    def generate(self) -> None:
        "The two commands that CONTRIBUTING tells."
        for command in (
            ["-m", "silen_lib.notebooks", "--export"],
            ["tests/exercise_calls.py", "11_toy"],
        ):
            done = self.run(*command)
            assert done.returncode == 0, done.stdout + done.stderr

    def suite(self) -> subprocess.CompletedProcess:
        "The tests that speak of the toy, and of the course as a whole."
        files = "shape examples arguments cases check".split()
        whole = "toy or no_name_is_exported_twice or what_one_import or circle or found or readme or has_its or has_a"
        tests = [f"tests/test_{name}.py" for name in files]
        wanted = (
            f"({whole}) and not every_kind and not must_refuse"  # a toy has one kind and no claims
        )
        return self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", wanted)


def test_a_chapter_is_four_files_and_an_exercise_three(tmp_path):
    course = Course(tmp_path)
    course.notebook("11_toy.ipynb", chapter(["toy_twice"]))
    course.notebook("checks/11_toy.ipynb", checks(["toy_twice"]))
    course.generate()
    done = course.suite()  # says what is forgotten, and nothing else
    forgotten = re.findall("^FAILED tests/(.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    assert sorted(forgotten) == [
        "test_arguments.py::test_every_public_name_is_walked[toy]",
        "test_shape.py::test_the_readme_lists[toy]",
    ], done.stdout
    course.append("README.md", "\n[11](nbs/11_toy.ipynb) `silen_lib.toy`\n")
    entry = '\nentry("toy.NAME", x=Array(5, wide=False, lone=True))\n'
    course.append("tests/catalogue.py", entry.replace("NAME", "toy_twice"))
    notebooks = ["nbs/11_toy.ipynb", "nbs/checks/11_toy.ipynb"]
    assert course.changed() == ["README.md", *notebooks, "tests/catalogue.py"]

    names = ["toy_twice", "toy_double"]
    course.notebook("11_toy.ipynb", chapter(names))
    course.notebook("checks/11_toy.ipynb", checks(names))
    course.append("tests/catalogue.py", entry.replace("NAME", "toy_double"))
    course.generate()
    done = course.suite()
    assert done.returncode == 0, done.stdout + done.stderr
    assert course.changed() == [*notebooks, "tests/catalogue.py"]

    look = (
        "from silen_lib.all import *; from silen_lib.board import progress_board; "
        "toy_double, toy_twice; print(progress_board('nbs'))"
    )
    assert "11 · A toy: 0 of 2 done" in course.run("-c", look).stdout
    done = course.run("-m", "silen_lib.authoring", "lint", "--min", "2", "nbs/11_toy.ipynb")
    assert done.stdout == "ok   nbs/11_toy.ipynb\n"
