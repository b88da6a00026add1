"""What an editor, `help()` and a type checker see of the classes: whole classes, no type error in the README.

A method that is added to a class afterwards works and is seen by none of the three."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = ["coins", "rbm", "mnist_rbm"]

# Programs with one fault in each line marked `# wrong`: a checker that does not know the methods lets them pass.
WRONG = """
import torch
from silen_lib.coins import Coins
from silen_lib.mnist_rbm import ProductionRBM
from silen_lib.rbm import RBM, Trainer

v = torch.zeros(4, 6)
rbm = RBM(6, 3)
trainer = Trainer(rbm, 4, data_mean=v[0])
trainer.step(v)  # wrong
trainer.step(v, lr="fast")  # wrong
trainer.stop(v, lr=0.1)  # wrong
rbm.gibbs(v, rounds=3)  # wrong
rbm.free_energy()  # wrong
rbm.log_partition(rbm)  # wrong
rbm.sample_hidden(v).mean()  # wrong
rbm.at_temperature("cold")  # wrong
Coins().toss_()  # wrong
ProductionRBM(6, 3).get_weight_stats().mean()  # wrong
ProductionRBM(6, 3).at_temperature(2.0).get_hidden_activation_stats(v, 3)  # wrong
ProductionRBM(6, 3).at_temperature(2.0).get_hidden_activation_stats(v)
"""


def classes(module: str) -> list[ast.ClassDef]:
    tree = ast.parse((ROOT / "silen_lib" / f"{module}.py").read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def stored(statement: ast.AST) -> list[tuple[str, bool]]:
    "(name, whether it is the only target) of each `self.name = …` at or under a statement."
    found = []
    for node in ast.walk(statement):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        flat = [t for target in targets if target for t in getattr(target, "elts", [target])]
        for t in flat:
            if (
                isinstance(t, ast.Attribute)
                and isinstance(t.value, ast.Name)
                and t.value.id == "self"
            ):
                found.append((t.attr, len(flat) == 1))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_init_says_what_an_object_stores(module):
    for node in classes(module):
        methods = [child for child in node.body if isinstance(child, ast.FunctionDef)]
        init = [pair for method in methods if method.name == "__init__" for pair in stored(method)]
        assert all(alone for _, alone in init), (
            f"{node.name}.__init__ stores several things in one statement"
        )
        later = {name for method in methods for name, _ in stored(method)} - {
            name for name, _ in init
        }
        assert not later, f"{node.name} stores {sorted(later)} outside __init__"
        assert not re.search(r"\b(setattr|locals)\(|__dict__", ast.unparse(node)), node.name


@pytest.fixture(scope="module")
def errors(tmp_path_factory) -> dict[str, set[int]]:
    "{file: lines with an error}, by pyright: each Python program of the README, and the wrong ones."
    beside = Path(sys.executable).parent.parent / "types" / "bin"
    pyright = shutil.which("basedpyright", path=str(beside)) or shutil.which("basedpyright")
    if pyright is None:
        pytest.skip("the type checker is not here: `make test` installs it")
    folder = tmp_path_factory.mktemp("programs")
    programs = re.findall(
        r"(?ms)^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8")
    )
    assert programs
    files = {f"readme_{i}.py": text for i, text in enumerate(programs)} | {"wrong.py": WRONG}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = [
        pyright,
        "--outputjson",
        "--pythonpath",
        sys.executable,
        *(str(folder / name) for name in files),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300)
    if done.returncode not in (0, 1):
        pytest.skip(f"pyright does not run here: {(done.stderr or done.stdout)[-200:]}")
    found = {name: set() for name in files}
    for entry in json.loads(done.stdout)["generalDiagnostics"]:
        if entry["severity"] == "error":
            found[Path(entry["file"]).name].add(entry["range"]["start"]["line"] + 1)
    return found


def test_the_programs_of_the_readme_have_no_type_error(errors):
    assert not {name: lines for name, lines in errors.items() if lines and name != "wrong.py"}


def test_a_wrong_call_of_a_method_is_a_type_error(errors):
    wrong = {i for i, line in enumerate(WRONG.splitlines(), 1) if "# wrong" in line}
    assert errors["wrong.py"] == wrong
