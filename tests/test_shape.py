"""The shape of the whole library, for whatever notebooks there are: classes, imports, names, sizes.

`python tests/shape.py` prints the counts; each reader of code in it is tried here on the nearest wrong program."""

import importlib
import re

import pytest
import shape

# "test:module" of what is not met yet; a case that is met must leave the list
OPEN: set[str] = {
    f"{what}:{chapter}"
    for chapter in ("sampling", "score")
    for what in ("cells", "lines", "boxes", "first_picture", "kinds", "sabotages")
}
MODULES = shape.modules()
CHAPTERS = [m for m in MODULES if m.is_chapter]
CHECKS = sorted((shape.LIBRARY / "checks").glob("*.py"))
CODE = {m.name: m.code for m in MODULES}
EXPORTED = {name: shape.public_names(code) for name, code in CODE.items()}
GATHERED = shape.public_names((shape.LIBRARY / "all.py").read_text(encoding="utf-8"))
by_name = pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)
by_chapter = pytest.mark.parametrize("module", CHAPTERS, ids=lambda m: m.name)


def holds(case: str, found) -> None:
    "Nothing was found; for a case in OPEN: something still was."
    if case in OPEN:
        assert found, f"{case} is met: take it out of OPEN"
        pytest.xfail(f"{case}: {found}")
    assert not found


# ---- the readers -----------------------------------------------------------------------------------------------------


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
    assert shape.added_from_outside(code) == found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from .core import _words", ["core._words"]),
        ("from silen_lib.core import say, _words as w", ["core._words"]),
        ("def f():\n    from .core import _words", ["core._words"]),
        ("from silen_lib import core\ncore._words(1)", ["core._words"]),
        ("from . import core as c\ndef f(): return c._words.x", ["core._words"]),
        ("import silen_lib.core\nsilen_lib.core._words", ["core._words"]),
        ("import silen_lib.core as c\nc._words", ["core._words"]),
        ("from .checks.energy import _spec", ["checks.energy._spec"]),
        ("from .core import say\nimport torch\ntorch._dynamo.reset()\nself._x = core.__name__", []),
    ],
)
def test_the_reader_of_private_names_finds(code, found):
    assert shape.private_uses(code) == found


@pytest.mark.parametrize(
    ("code", "at_import", "at_any_time"),
    [
        ("from .core import say", {"core"}, {"core"}),
        ("from silen_lib import args, core", {"args", "core"}, {"args", "core"}),
        ("import silen_lib.core as c", {"core"}, {"core"}),
        ("try:\n    from .plot import axes\nexcept ImportError: pass", {"plot"}, {"plot"}),
        ("class A:\n    from .plot import axes", {"plot"}, {"plot"}),
        ("def f():\n    from .plot import axes", set(), {"plot"}),
        ("class A:\n    def f(self):\n        from . import plot", set(), {"plot"}),
        ("if TYPE_CHECKING:\n    from .plot import axes", set(), set()),
        ("import torch\nfrom numpy import core", set(), set()),
    ],
)
def test_the_reader_of_imports_finds(code, at_import, at_any_time):
    assert shape.imports(code) == (at_import, at_any_time)


def test_circles_and_imports_that_point_forwards_are_found():
    assert set(shape.circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()})) == {"a", "b", "c"}
    assert shape.circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    tops = {"core": {"energy"}, "energy": {"hopfield", "core"}, "hopfield": {"energy"}}
    found = ["core imports energy", "energy imports hopfield"]
    assert shape.forward(tops, ["energy", "hopfield"]) == found


def test_doubles_lines_and_shares_are_counted():
    assert shape.doubles({"a": ["f", "g"], "b": ["g"]}) == {"g": ["a", "b"]}
    code = (
        "'A.'\n__all__ = ['f', 'g']\n\n# %% cell\n@cache\ndef _f():\n    # no\n\n    return 1\n\n"
    )
    code += "def f(): pass\nclass _C:\n    def m(self): pass\n"
    assert (shape.private_lines(code), shape.own_lines(code)) == (5, 7)
    assert shape.public_names(code) == ["f", "g"]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("_rows(x)", ["_rows"]),
        ("%time _rows(x)\nf = lambda: _tie(1)", ["_tie"]),
        ("for _ in range(3): print(_)", []),
        ("_made = 1\n_made + 1", []),
        ("self._x", []),
    ],
)
def test_the_reader_of_teaching_cells_finds(cell, found):
    assert shape.private_calls(cell) == found


def test_a_case_that_is_met_must_leave_the_list(monkeypatch):
    monkeypatch.setitem(globals(), "OPEN", {"share:energy"})
    with pytest.raises(AssertionError, match="take it out of OPEN"):
        holds("share:energy", [])
    with pytest.raises(pytest.xfail.Exception):
        holds("share:energy", ["5 %"])
    with pytest.raises(AssertionError):
        holds("share:hopfield", ["5 %"])


def test_every_module_and_no_other_is_measured():
    "A module that no notebook exports, or a notebook that is not seen, would be free of every rule."
    files = {p.stem for p in shape.LIBRARY.glob("*.py")} - {"__init__", "_modidx", "all"}
    assert files == set(CODE)
    assert len(CHAPTERS) == len(list((shape.ROOT / "nbs").glob("[0-9]*.ipynb"))) >= 11


# ---- the library -----------------------------------------------------------------------------------------------------


@by_name
def test_methods_stand_in_their_class(module):
    assert shape.added_from_outside(module.code) == []


@pytest.mark.parametrize("path", [*(m.notebook for m in MODULES), *CHECKS], ids=lambda p: p.stem)
def test_no_private_name_crosses_a_border(path):
    code = path.read_text(encoding="utf-8") if path.suffix == ".py" else ""
    found = shape.private_uses(code)
    for cell in shape.cells(path) if path.suffix == ".ipynb" else []:
        found += shape.private_uses("\n".join(x for x in cell.splitlines() if x[:1] not in "%!"))
    holds(f"border:{path.stem}", found)


@by_chapter
def test_a_chapter_shows_no_private_name(module):
    "What a reader runs in a chapter has a name that the library gives away."
    shown = [c for c in shape.cells(module.notebook) if not shape.is_exported(c)]
    holds(f"shows:{module.name}", sorted({n for c in shown for n in shape.private_calls(c)}))


def test_there_is_no_circle():
    holds("circle", shape.circle({n: shape.imports(c)[1] & set(CODE) for n, c in CODE.items()}))


def test_imports_point_backwards():
    "So there is an order of all modules: rooms, each after those that it needs, then chapters by their numbers."
    tops = {name: shape.imports(code)[0] for name, code in CODE.items()}
    holds("forward", shape.forward(tops, [m.name for m in CHAPTERS]))


def test_no_name_is_exported_twice():
    holds("doubles", shape.doubles(EXPORTED))


EXERCISES = {
    name
    for m in CHAPTERS
    for cell in shape.cells(m.notebook)
    for name in re.findall(r"^# \| exercise (\w+)", cell, re.MULTILINE)
}


def test_about_a_hundred_names():
    "Besides the exercises, whose answers are the library's functions."
    names = [name for m in CHAPTERS for name in EXPORTED[m.name] if name not in EXERCISES]
    holds(
        "names", f"{len(names)} names in the chapters, want at most 85" if len(names) > 85 else ""
    )


def test_what_one_import_brings():
    "Every name of every chapter, and something of the rooms."
    everything = importlib.import_module("silen_lib.all")
    assert sorted(vars(everything)["__all__"]) == sorted(GATHERED)
    assert all(hasattr(everything, name) for name in GATHERED)
    assert {name for m in CHAPTERS for name in EXPORTED[m.name]} <= set(GATHERED)
    assert {"check", "load_mnist", "set_seed"} <= set(GATHERED)
    rooms = {name for m in MODULES if not m.is_chapter for name in EXPORTED[m.name]}
    assert set(GATHERED) <= rooms | {name for m in CHAPTERS for name in EXPORTED[m.name]}


def test_one_import_brings_no_rules_for_arguments_and_nothing_for_graders():
    judges = {name for room in ("args", "authoring", "grading") for name in EXPORTED[room]}
    holds("judges", sorted(judges & set(GATHERED)))


def test_one_import_brings_no_word_that_means_too_many_things():
    vague = {"load", "train", "show", "sample", "grid", "main", "run", "export", "clean"}
    holds("vague", sorted(vague & set(GATHERED)))


def test_one_import_brings_no_crowd():
    names = set(GATHERED) - EXERCISES
    holds("all", f"{len(names)} names, want at most 95" if len(names) > 95 else "")


@by_chapter
def test_the_readme_lists(module):
    readme = (shape.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"(nbs/{module.notebook.name})" in readme and f"`silen_lib.{module.name}`" in readme


@by_chapter
def test_a_chapter_teaches_and_the_rooms_carry(module):
    share = 100 * shape.private_share(module.code)
    holds(f"share:{module.name}", f"{share:.1f} % private, want at most 3 %" if share > 3 else "")


@by_chapter
@pytest.mark.parametrize(
    ("what", "most"), [("cells", 100), ("lines", 550), ("boxes", 4), ("first_picture", 25)]
)
def test_a_chapter_can_be_read(module, what, most):
    n = getattr(shape.reading(module.notebook), what)
    holds(f"{what}:{module.name}", f"{n} {what}, want at most {most}" if n > most else "")


@by_chapter
def test_a_chapter_has_every_kind_of_exercise(module):
    kinds = shape.reading(module.notebook).kinds
    holds(f"kinds:{module.name}", [kind for kind in shape.KINDS if not kinds[kind]])


@by_chapter
def test_a_chapter_lists_what_its_checks_must_refuse(module):
    checks = importlib.import_module(f"silen_lib.checks.{module.name}")
    n = len(getattr(checks, "SABOTAGES", []))
    holds(f"sabotages:{module.name}", f"{n} sabotages, want at least 5" if n < 5 else "")


def test_the_readers_of_cells():
    cell = 'def f():\n    """Text.\n\n    More.\n    """\n    # a comment\n\n    return 1\n\n\n%timeit f()\n'
    assert shape.taught_lines(cell) == 3


def made_guesses(code: str) -> list[str]:
    "Guesses that a cell makes for the reader."
    return [g for g in re.findall(r"^guess = ([^\n#]*)", code, re.MULTILINE) if g.strip() != "None"]


@by_chapter
def test_a_guess_is_the_readers(module):
    assert [g for code in shape.cells(module.notebook) for g in made_guesses(code)] == []


def test_a_guess_made_for_the_reader_is_seen():
    assert made_guesses("guess = 0.3  # yours") == ["0.3  "] and not made_guesses(
        "guess = None  # yours"
    )
