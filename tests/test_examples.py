"""Every public name has an example in its docstring, and every example runs."""

import doctest
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest
from tqdm import tqdm

import silen_lib

LIBRARY = Path(silen_lib.__file__).parent
MODULES = sorted(
    p.stem for p in LIBRARY.glob("*.py") if p.stem not in ("__init__", "_modidx", "all")
)
# modules whose examples are still to be written
OPEN: set[str] = set()


def _public(module: ModuleType) -> dict[str, object]:
    "The functions and classes that a module exports."
    named = {name: getattr(module, name) for name in module.__all__}
    return {k: v for k, v in named.items() if inspect.isclass(v) or inspect.isroutine(v)}


def without_example(module: ModuleType) -> list[str]:
    "Public names whose docstring, or that of a method, shows no example."
    found = []
    for name, value in _public(module).items():
        texts = [inspect.getdoc(value) or ""]
        if inspect.isclass(value):
            members = [
                m for k, m in vars(value).items() if k == "__init__" or not k.startswith("_")
            ]
            texts += [inspect.getdoc(m) or "" for m in members if callable(m)]
        if not any(">>> " in text for text in texts):
            found.append(name)
    return found


@pytest.mark.parametrize("name", [m for m in MODULES if m not in OPEN])
def test_every_public_name_has_an_example(name):
    assert without_example(importlib.import_module(f"silen_lib.{name}")) == []


@pytest.mark.parametrize("name", MODULES)
def test_every_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "tqdm.auto.tqdm", tqdm
    )  # not the widget, once a test has made a notebook's shell
    module = importlib.import_module(f"silen_lib.{name}")
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


def test_a_missing_example_is_seen():
    module = ModuleType("made")
    exec("def told():\n    '>>> 1 + 1\\n2'\ndef silent():\n    'Nothing.'\n", vars(module))
    module.__all__ = ["told", "silent"]
    assert without_example(module) == ["silent"]
