"Classes are whole: editors, `help()` and type checkers do not see a method that is added from outside."

import ast
from pathlib import Path

import pytest

import silen_lib

LIBRARY = Path(silen_lib.__file__).parent
MODULES = sorted(path.stem for path in LIBRARY.glob("*.py"))


def _added_from_outside(code: str) -> list[str]:
    "What a module adds to a class after its end: by `@patch`, by `Class.name = …` or by `setattr`."
    tree = ast.parse(code)
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = {
                n.id for d in node.decorator_list for n in ast.walk(d) if isinstance(n, ast.Name)
            }
            names |= {
                n.attr
                for d in node.decorator_list
                for n in ast.walk(d)
                if isinstance(n, ast.Attribute)
            }
            found += [node.name] if names & {"patch", "patch_to", "patch_property"} else []
        elif isinstance(node, ast.Assign):
            outside = [
                t
                for t in node.targets
                if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name)
            ]
            found += [f"{t.value.id}.{t.attr}" for t in outside if t.value.id in classes]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "setattr"
        ):
            owner = node.args[0] if node.args else None
            found += (
                [f"setattr({owner.id}, …)"]
                if isinstance(owner, ast.Name) and owner.id in classes
                else []
            )
    return found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("@patch\ndef f(self: A): pass", ["f"]),
        ("@patch\n@torch.no_grad()\ndef f(self: A): pass", ["f"]),
        ("@patch(as_prop=True)\ndef f(self: A): pass", ["f"]),
        ("@basics.patch\ndef f(self: A): pass", ["f"]),
        ("@patch_to(A)\ndef f(self): pass", ["f"]),
        ("class A: pass\ndef f(self): pass\nA.f = f", ["A.f"]),
        ("class A: pass\nsetattr(A, 'f', len)", ["setattr(A, …)"]),
        (
            "class A:\n    @property\n    def f(self): return 'patch'\n    def g(self): self.x = 1",
            [],
        ),
    ],
)
def test_the_reader_of_classes_finds(code, found):
    assert _added_from_outside(code) == found


@pytest.mark.parametrize("module", MODULES)
def test_methods_stand_in_their_class(module):
    assert _added_from_outside((LIBRARY / f"{module}.py").read_text(encoding="utf-8")) == []
