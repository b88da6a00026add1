"""Marks: the right answer in full, a mistake its own points, and nothing for what is no answer."""

import csv
import itertools
import json
import os
import sys
import textwrap
from functools import partial, update_wrapper
from pathlib import Path

import nbformat
import pytest
import torch

from silen_lib import authoring as au
from silen_lib import exercises as ex
from silen_lib import grading as gr
from silen_lib import hopfield

pytestmark = pytest.mark.slow

NBS = Path(__file__).parent.parent / "nbs"
CHAPTER = NBS / "01_hopfield.ipynb"
POINTS = {
    "build_hopfield_weights": 1,
    "hopfield_energy": 1,
    "energy_change": 1,
    "async_step": 2,
    "can_circle": 3,
    "overlaps": 1,
    "basin_radius": 3,
}

# Each text stands in the stub's place; NAME is the exercise. The function ought to compute what NAME asks for.
CHEATS = {
    "imports the library's": "from silen_lib.hopfield import NAME",
    "imports all of the library's": "from silen_lib.hopfield import *",
    "names the library's": "from silen_lib import hopfield\nNAME = hopfield.NAME",
    "wraps the library's": "def NAME(*a, **k):\n    from silen_lib.hopfield import NAME as it\n    return it(*a, **k)",
    "wraps it from all": "import silen_lib.all as lib\ndef NAME(*a, **k): return lib.NAME(*a, **k)",
    "a partial of the library's": "import functools, silen_lib.hopfield as h\nNAME = functools.partial(h.NAME)",
    "redefines check": "def check(name, fn, strict=None): return fn\n"
    "def NAME(*a, **k): return 0\nNAME = check('NAME', NAME)",
    "takes the reference": "from silen_lib.exercises import _reference, find_spec\n"
    "NAME = _reference(find_spec('NAME'))",
    "what check gives back": "def NAME(*a, **k):\n    from silen_lib.exercises import check\n"
    "    return check('NAME', lambda *a, **k: None)(*a, **k)",
    "patches diagnose": "import silen_lib.exercises as e\ne.diagnose = lambda n, f: e.Verdict(n, 'right', 'right')\n"
    "def NAME(*a, **k):\n    e.diagnose = e._difference = lambda *a, **k: None\n    return 0",
    "patches the specs": "def NAME(*a, **k):\n    from silen_lib.exercises import SPECS\n"
    "    SPECS['NAME'].cases, SPECS['NAME'].reference = [()], NAME\n    return 0",
    "through sys.modules": "import sys\ndef NAME(*a, **k): return sys.modules['silen_lib.hopfield'].NAME(*a, **k)",
    "sys found in torch": "import torch\n"
    "def NAME(*a, **k): return torch.sys.modules['silen_lib.hopfield'].NAME(*a, **k)",
    "a name made up": "import torch\ndef NAME(*a, **k):\n"
    "    return getattr(torch, 's' + 'ys').modules['silen_lib.hopfield'].NAME(*a, **k)",
    "its own globals": "def NAME(*a, **k): return NAME.__globals__['NA' 'ME'](*a, **k)",
    "a frame above": "def NAME(*a, **k):\n    try: 1 / 0\n    except ZeroDivisionError as e:\n"
    "        return e.__traceback__.tb_frame.f_back.f_back.f_locals['bench'].reference(*a, **k)",
    "patches torch": "import torch\ndef NAME(*a, **k):\n    torch.Tensor.detach = lambda s: torch.zeros(1)\n"
    "    torch.allclose = torch.equal = lambda *a, **k: True\n    return torch.zeros(1)",
    "patches torch under another name": "import torch\ndef NAME(*a, **k):\n    T = torch.Tensor\n"
    "    T.detach = T.cpu = T.resolve_conj = lambda s: s * 0\n    return 0",
    "patches numpy": "import numpy as np\ndef NAME(*a, **k):\n    n = np\n"
    "    n.isclose = n.allclose = lambda *a, **k: True\n"
    "    n.asarray = lambda *a, **k: n.zeros(1)\n    return 0",
    "patches a builtin": "import builtins\ndef NAME(*a, **k):\n    builtins.isinstance = lambda *a: True\n    return 0",
    "runs the source": "import inspect, silen_lib.hopfield as h\nexec(inspect.getsource(h.NAME))\n"
    "def NAME(*a, **k): exec(inspect.getsource(h.NAME)); return locals()['NAME'](*a, **k)",
    "reads the source": "def NAME(*a, **k): return eval(open('LIB').read())",
    "reads it with numpy": "import numpy as np\ndef NAME(*a, **k): return np.loadtxt('LIB', dtype=str)",
    "ends the process": "import os\ndef NAME(*a, **k): os._exit(0)",
    "ends it through random": "import random\ndef NAME(*a, **k): random._os._exit(0)",
    "exits": "def NAME(*a, **k): raise SystemExit(0)",
    "exits where it is defined": "def NAME(*a, x=exit(0)): return x",
    "interrupts": "def NAME(*a, **k): raise KeyboardInterrupt",
    "never ends": "def NAME(*a, **k):\n    while True:\n        try:\n"
    "            while True: pass\n        except BaseException: pass",
    "never ends where it is defined": "def NAME(*a, x=[0 for _ in iter(int, 1)]): return x",
    "asks for all memory": "import torch\ndef NAME(*a, **k): return torch.ones(10**13)",
    "asks for it bit by bit": "def NAME(*a, **k):\n    x = []\n    while True: x.append(' ' * 10**8)",
    "calls itself": "def NAME(*a, **k): return NAME(*a, **k)",
    "writes outside": "def NAME(*a, **k): open('OUT', 'w').write('x'); return 0",
    "writes with torch": "import torch\ndef NAME(*a, **k): torch.save(torch.zeros(1), 'OUT'); return 0",
    "writes with numpy": "import numpy as np\ndef NAME(*a, **k):\n    np.zeros(3).tofile('OUT'); return 0",
    "starts a process": "import subprocess\ndef NAME(*a, **k): subprocess.run(['touch', 'OUT']); return 0",
    "forges a verdict": "def NAME(*a, **k):\n"
    '    for _ in range(99): print(\'["NAME", "right", ""]\', flush=True)\n    return 0',
    "equal to everything": "class Same:\n    def __eq__(self, other): return True\n"
    "    def __array__(self, *a, **k): return self\n"
    "    def __getattr__(self, name): return self\n    def __call__(self, *a, **k): return self\n"
    "def NAME(*a, **k): return Same()",
    "a tensor that agrees": "import torch\nclass Same(torch.Tensor):\n    @classmethod\n"
    "    def __torch_function__(cls, f, t, a=(), k=None): return True\n"
    "def NAME(*a, **k): return torch.zeros(1).as_subclass(Same)",
    "from another chapter": "from silen_lib.capacity import NAME",
    "by way of another chapter": "import silen_lib.capacity as c\ndef NAME(*a, **k): return c.NAME(*a, **k)",
    "a class that forwards": "class Meta(type):\n    def __call__(cls, *a, **k):\n"
    "        from silen_lib.hopfield import NAME as it\n        return it(*a, **k)\nclass NAME(metaclass=Meta): pass",
    "kills what marks it": "import os, signal\ndef NAME(*a, **k): os.kill(os.getppid(), signal.SIGKILL)",
    "forks through torch": "import torch\ndef NAME(*a, **k): torch.multiprocessing.Process(target=print).start()",
    "raises what no terminal can show": "def NAME(*a, **k): raise ValueError('\\ud800 \\x1b[2J \\x00')",
    "nested beyond the parser": "NAME = " + "(" * 3000 + ")" * 3000,
    "nested beyond the compiler": "NAME = " + "-" * 9000 + "1",
    "no function": "NAME = 3",
    "no Python": "def NAME(*a, **k:",
}


def submission(path, answers, chapter=CHAPTER):
    "A classroom copy with some exercises answered: {exercise: code}."
    nb = au.classroom_copy(nbformat.read(chapter, 4))
    for cell in nb.cells:
        for tag in cell.metadata.get("tags", []):
            cell.source = answers.get(tag.removeprefix(gr.EXERCISE_TAG), cell.source)
    nbformat.write(nb, path)
    return path


def solutions(chapter=CHAPTER):
    "{exercise: the answer at the back of the chapter}."
    cells = nbformat.read(chapter, 4).cells
    return {au._cell_role(c)[1]: au._code(c) for c in cells if au._cell_role(c)[0] == "solution"}


@pytest.fixture(scope="module")
def cheated(tmp_path_factory):
    "{cheat: its grade}; each submission holds a cheat in every exercise, one after the other."
    folder = tmp_path_factory.mktemp("cheats")
    library, out, found = Path(hopfield.__file__), folder / "written", {}
    for batch in (
        itertools.batched(CHEATS, len(POINTS))
        if sys.version_info >= (3, 12)
        else _batched(CHEATS, len(POINTS))
    ):
        names = dict(zip(POINTS, batch, strict=False))
        code = {
            n: CHEATS[c].replace("NAME", n).replace("LIB", str(library)).replace("OUT", str(out))
            for n, c in names.items()
        }
        for grade in gr.grade_submission(submission(folder / "cheat.ipynb", code), timeout=10):
            if grade.exercise in names:
                found[names[grade.exercise]] = grade
    assert not out.exists()
    return found


def _batched(things, n):
    things = list(things)
    return [things[i : i + n] for i in range(0, len(things), n)]


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_earns_nothing(cheated, cheat):
    grade = cheated[cheat]
    assert grade.points == 0 and grade.status in (
        "wrong",
        "refused",
        "stopped",
        "missing",
        "open",
    ), grade
    assert grade.mistake or grade.status in ("missing", "open")


# ---- what is right ---------------------------------------------------------------------------------------------------

OWN = {  # a reader's answers: other code than the library's, with helpers and constants of their own
    "build_hopfield_weights": """
        def off_diagonal(W): return W - torch.diag(torch.diagonal(W))
        def build_hopfield_weights(patterns):
            xi = torch.stack([p.flatten() for p in patterns])
            return off_diagonal(torch.einsum("mi,mj->ij", xi, xi) / SIZE(xi))
        SIZE = lambda xi: xi.shape[1]
    """,
    "hopfield_energy": """
        %%time
        HALF = 0.5
        def hopfield_energy(state, W):
            s = state.reshape(*state.shape[:state.ndim - 1 if state.shape[-1] == len(W) else -2], len(W))
            return -HALF * torch.einsum("...i,ij,...j", s.to(W.dtype), W, s.to(W.dtype))
        hopfield_energy = check("hopfield_energy", hopfield_energy)
    """,
}


def test_right_answers_earn_all_points_a_mistake_only_its_own_and_a_blank_none(tmp_path):
    right = solutions()
    rows = {g.exercise: g for g in gr.grade_submission(submission(tmp_path / "right.ipynb", right))}
    assert {n: (g.points, g.max, g.status) for n, g in rows.items()} == {
        n: (p, p, "right") for n, p in POINTS.items()
    }
    wrong = {**right, "overlaps": right["overlaps"].replace("/ xi.shape[1]", "/ len(xi)")}
    rows = {g.exercise: g for g in gr.grade_submission(submission(tmp_path / "wrong.ipynb", wrong))}
    assert [n for n, g in rows.items() if g.points != g.max] == ["overlaps"]
    assert (
        rows["overlaps"].status == "wrong"
        and rows["overlaps"].points == 0
        and rows["overlaps"].mistake
    )
    rows = gr.grade_submission(submission(tmp_path / "blank.ipynb", {}))
    assert {(g.points, g.status) for g in rows} == {(0, "open")} and sum(
        g.max for g in rows
    ) == sum(POINTS.values())


def test_answers_with_helpers_magics_and_cells_of_their_own(tmp_path):
    path = submission(
        tmp_path / "own.ipynb", {n: textwrap.dedent(c).strip() for n, c in OWN.items()}
    )
    nb = nbformat.read(path, 4)
    for c in nb.cells:
        c.metadata.pop("tags", None)  # as a tool may do
    at = next(i for i, c in enumerate(nb.cells) if "def async_step" in c.source)
    nb.cells.insert(
        at + 3, nbformat.v4.new_code_cell(solutions()["async_step"])
    )  # the stub is left as it was
    nb.cells.insert(0, nbformat.v4.new_code_cell("this is no Python"))
    nb.cells.insert(1, nbformat.v4.new_code_cell("1 / 0\nimport no_such_module\nwhile True: pass"))
    nb.cells += nb.cells  # every cell twice
    path.write_text(json.dumps(nb), encoding="utf-8")
    rows = {g.exercise: g for g in gr.grade_submission(path)}
    got = {n: g.status for n, g in rows.items()}
    want = {
        n: "right" if n in ("build_hopfield_weights", "hopfield_energy", "async_step") else "open"
        for n in POINTS
    }
    assert got == want, rows


def test_a_plain_chapter_and_nbgraders_copy_are_marked(tmp_path):
    nb = nbformat.read(CHAPTER, 4)
    nbformat.write(au._solved(nb), tmp_path / "plain.ipynb")
    nbformat.write(au.nbgrader_copy(nb), tmp_path / "nbgrader.ipynb")
    nbformat.write(au._released(au.nbgrader_copy(nb)), tmp_path / "released.ipynb")
    scores = {
        f: [g.points for g in gr.grade_submission(tmp_path / f"{f}.ipynb")]
        for f in ("plain", "nbgrader", "released")
    }
    assert scores == {
        "plain": list(POINTS.values()),
        "nbgrader": list(POINTS.values()),
        "released": [0] * len(POINTS),
    }


def test_a_deleted_stub_and_forged_points_change_nothing(tmp_path):
    path = submission(tmp_path / "s.ipynb", {})
    text = path.read_text(encoding="utf-8").replace("●○○", "●●●")
    nb = nbformat.reads(text, 4)
    nb.cells = [c for c in nb.cells if "overlaps" not in c.source]
    nbformat.write(nb, path)
    rows = {g.exercise: g for g in gr.grade_submission(path)}
    assert {n: g.max for n, g in rows.items()} == POINTS and rows["overlaps"].status == "missing"


# ---- handing the work on ---------------------------------------------------------------------------------------------

library = hopfield.hopfield_energy


def _disguised():
    "The library's function behind a decorator that claims to wrap another."
    hidden = torch.no_grad()(library)
    return update_wrapper(hidden, lambda state, W: 0)


class _Delegate:
    "Calls the library's function."

    def __call__(self, state, W):
        return library(state, W)


@pytest.mark.parametrize(
    "fn",
    [
        library,
        lambda state, W: library(state, W),
        lambda state, W: (lambda: library(state, W))(),
        partial(library),
        torch.no_grad()(library),
        _disguised(),
        _Delegate(),
        _Delegate().__call__,
        lambda state, W: list(map(library, [state], [W]))[0],
        lambda state, W: library(state, W) * 1.0 + 0.0,
    ],
)
def test_the_librarys_own_function_is_known_in_any_wrapping(fn):
    assert gr.judge("hopfield_energy", fn).kind == "library"
    with pytest.raises(ex.ExerciseFailed, match="library's own"):
        gr.assert_right("hopfield_energy", fn)


def test_a_class_made_of_the_librarys_is_known():
    from silen_lib.modern_hopfield import HopfieldAttention

    class Child(HopfieldAttention):
        "Adds nothing."

    class Borrows(torch.nn.Module):
        "Takes the method only."

        forward = HopfieldAttention.forward

    for cls in (HopfieldAttention, Child, Borrows):
        assert gr.judge("HopfieldAttention", cls).kind == "library"


def test_other_exercises_functions_may_be_called():
    def energy_change(state, W, i):
        flipped = state.clone()
        flipped[..., i] *= -1
        return hopfield.hopfield_energy(flipped, W) - hopfield.hopfield_energy(state, W)

    assert gr.judge("energy_change", energy_change).kind != "library"


# ---- files and the command -------------------------------------------------------------------------------------------


def run(*argv):
    "The exit code of `silen-exercises …`."
    try:
        return au.main([str(a) for a in argv])
    except SystemExit as done:
        return done.code


BAD = {
    "no_json": b"{",
    "nested": b"[" * 10**6,
    "list": b"[]",
    "other": b'{"cells": [{"cell_type": "code"}]}',
    "metadata": b'{"cells": [{"cell_type": "code", "metadata": [], "source": 3}]}',
    "bytes": bytes(range(256)),
    "empty": b"",
    "foreign": b'{"cells": [{"cell_type": "code", "metadata": {}, "source": "x = 1"}]}',
}


def test_no_file_stops_the_next_and_the_table_says_all(tmp_path, capsys):
    folder = tmp_path / "handed in"
    (folder / "zoe").mkdir(parents=True)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "old.ipynb").write_bytes(b"{")
    for name, content in BAD.items():
        (folder / f"{name}.ipynb").write_bytes(content)
    submission(
        folder / "crash.ipynb",
        {n: "import os\nos._exit(0)\ndef NAME(*a): os.abort()".replace("NAME", n) for n in POINTS},
    )
    submission(folder / "zoe" / "=cmd.ipynb", solutions())
    submission(
        folder / "odd\udcff.ipynb",
        {"overlaps": CHEATS["raises what no terminal can show"].replace("NAME", "overlaps")},
    )
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.ipynb")
    out = tmp_path / "marks.csv"
    assert run("grade", folder, "--csv", out) == 1
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert list(rows[0]) == ["file", "exercise", "points", "max", "status", "mistake"]
    unreadable = [Path(r["file"]).stem for r in rows if r["status"] == "unreadable"]
    assert sorted(unreadable) == sorted([*BAD, "pipe"] if hasattr(os, "mkfifo") else BAD) and all(
        r["mistake"] for r in rows if r["status"] == "unreadable"
    )
    crash = [r for r in rows if r["file"].endswith("crash.ipynb")]
    assert len(crash) == len(POINTS) and {r["points"] for r in crash} == {"0"}
    assert sum(int(r["points"]) for r in rows) == sum(POINTS.values())
    said = capsys.readouterr()
    total = sum(POINTS.values())
    assert f"{total} of {total} points" in said.out and "Traceback" not in said.out + said.err
    before = out.read_text(encoding="utf-8")
    assert (
        run("grade", folder / "crash.ipynb", "--csv", out) == 2
        and out.read_text(encoding="utf-8") == before
    )


def test_the_table_holds_no_formula(tmp_path):
    au._write_csv([("=1+1", "@x", "-2", "+3", "\tok\n=2", 5)], tmp_path / "t.csv")
    assert next(csv.reader((tmp_path / "t.csv").open(encoding="utf-8"))) == [
        "'=1+1",
        "'@x",
        "'-2",
        "'+3",
        "ok =2",
        "5",
    ]


def test_points_come_from_the_chapter_or_count_one(tmp_path, monkeypatch):
    path = submission(tmp_path / "s.ipynb", {})
    monkeypatch.setattr(gr, "course_root", lambda: None)  # as installed, without a checkout
    assert [g.max for g in gr.grade_submission(path)] == [1] * len(POINTS)
    assert [g.max for g in gr.grade_submission(path, CHAPTER)] == list(POINTS.values())
    with pytest.raises(ValueError, match="--chapter"):
        gr.grade_submission(path, tmp_path / "none.ipynb")
    with pytest.raises(ValueError, match="timeout: got 0"):
        gr.grade_submission(path, timeout=0)


def test_where_nothing_can_fork_each_answer_has_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "fork", raising=False)
    path = submission(
        tmp_path / "s.ipynb",
        {"overlaps": solutions()["overlaps"], "hopfield_energy": "import os\nos._exit(0)"},
    )
    cells = gr._read_cells(path)
    found = gr._run(["overlaps", "hopfield_energy", "energy_change"], cells, 60)
    assert [found[n][0] for n in ("overlaps", "hopfield_energy", "energy_change")] == [
        "right",
        "missing",
        "open",
    ]


def test_progress_is_collected(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    ada = {
        "overlaps": {"status": "done", "when": "2026-01-01T10:00:00"},
        "x": {"status": "tried", "when": ""},
    }
    (tmp_path / "a" / "progress.json").write_text(json.dumps(ada), encoding="utf-8")
    (tmp_path / "bad.json").write_bytes(b"\xff\x00nonsense")
    out = tmp_path / "t.csv"
    assert run("collect", tmp_path / "a", "--csv", out) == 0
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert [(r["exercise"], r["status"]) for r in rows] == [("overlaps", "done"), ("x", "tried")]
    assert run("collect", tmp_path) == 1 and "nothing readable" in capsys.readouterr().out
    assert (
        run("collect", tmp_path / "none") == 2 and run("collect", tmp_path / "a", "--csv", out) == 2
    )
    assert run("collect", tmp_path / "a", "--csv", out, "--overwrite") == 0
