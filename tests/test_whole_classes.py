"""Methods stand in their class: editors, `help()` and type checkers do not see one that is attached later."""

import ast
import importlib
import inspect

import pytest

WHOLE = "modern_hopfield score free_energy".split()


def _attached(module) -> list[str]:
    "Methods of the module's classes that its source does not hold inside the class."
    tree = ast.parse(inspect.getsource(module))
    spans = {node.name: (node.lineno, node.end_lineno) for node in tree.body if isinstance(node, ast.ClassDef)}
    found = []
    for name, (first, last) in spans.items():
        for method, made in vars(getattr(module, name)).items():
            function = inspect.unwrap(getattr(made, "__func__", getattr(made, "fget", made)))
            if not inspect.isfunction(function) or function.__code__.co_filename != module.__file__:
                continue
            if not first <= function.__code__.co_firstlineno <= last:
                found.append(f"{name}.{method}")
    return found


@pytest.mark.parametrize("name", WHOLE)
def test_methods_stand_in_their_class(name):
    assert _attached(importlib.import_module(f"silen_lib.{name}")) == []


def test_a_method_attached_later_is_found(tmp_path, monkeypatch):
    source = """
from fastcore.basics import patch
class Box:
    def whole(self): return 1
@patch
def patched(self: Box): return 2
def _forward(self): return 3
Box.forward = _forward
"""
    (tmp_path / "attaching.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert _attached(importlib.import_module("attaching")) == ["Box.patched", "Box.forward"]
