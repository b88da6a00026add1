"""Marks: the right answer in full, a mistake its own points, and nothing for what is no answer."""

import csv
import itertools
import json
import math
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

NBS = Path(__file__).parent.parent / "nbs"
CHAPTER = NBS / "01_hopfield.ipynb"
POINTS = {
    "build_hopfield_weights": 1,
    "hopfield_energy": 1,
    "energy_change": 1,
    "async_step": 2,
    "overlaps": 1,
    "pattern_field": 2,
}

# Each text stands in the stub's place; NAME is the exercise. The function ought to compute what NAME asks for.
CHEATS = {
    "imports the library's": "from silen_lib.hopfield import NAME",
    "imports all of the library's": "from silen_lib.hopfield import *",
    "names the library's": "from silen_lib import hopfield\nNAME = hopfield.NAME",
    "wraps the library's": "def NAME(*a, **k):\n    from silen_lib.hopfield import NAME as it\n    return it(*a, **k)",
    "wraps it from all": "import silen_lib.all as lib\ndef NAME(*a, **k): return lib.NAME(*a, **k)",
    "a partial of the library's": "import functools, silen_lib.hopfield as h\nNAME = functools.partial(h.NAME)",
    "redefines check": "def check(name, fn, strict=None): return fn\ndef NAME(*a, **k): return 0\nNAME = check('NAME', NAME)",
    "takes the reference": "from silen_lib.exercises import _reference, find_spec\nNAME = _reference(find_spec('NAME'))",
    "what check gives back": "def NAME(*a, **k):\n    from silen_lib.exercises import check\n"
    "    return check('NAME', lambda *a, **k: None)(*a, **k)",
    "patches diagnose": "import silen_lib.exercises as e\ne.diagnose = lambda n, f: e.Verdict(n, 'right', 'right')\n"
    "def NAME(*a, **k):\n    e.diagnose = e._difference = lambda *a, **k: None\n    return 0",
    "patches the specs": "def NAME(*a, **k):\n    from silen_lib.exercises import SPECS\n"
    "    SPECS['NAME'].cases, SPECS['NAME'].reference = [()], NAME\n    return 0",
    "through sys.modules": "import sys\ndef NAME(*a, **k): return sys.modules['silen_lib.hopfield'].NAME(*a, **k)",
    "sys found in torch": "import torch\ndef NAME(*a, **k): return torch.sys.modules['silen_lib.hopfield'].NAME(*a, **k)",
    "a name made up": "import torch\ndef NAME(*a, **k):\n"
    "    return getattr(torch, 's' + 'ys').modules['silen_lib.hopfield'].NAME(*a, **k)",
    "its own globals": "def NAME(*a, **k): return NAME.__globals__['NA' 'ME'](*a, **k)",
    "a frame above": "def NAME(*a, **k):\n    try: 1 / 0\n    except ZeroDivisionError as e:\n"
    "        return e.__traceback__.tb_frame.f_back.f_back.f_locals['bench'].reference(*a, **k)",
    "patches torch": "import torch\ndef NAME(*a, **k):\n    torch.Tensor.detach = lambda s: torch.zeros(1)\n"
    "    torch.allclose = torch.equal = lambda *a, **k: True\n    return torch.zeros(1)",
    "patches torch under another name": "import torch\ndef NAME(*a, **k):\n    T = torch.Tensor\n"
    "    T.detach = T.cpu = T.resolve_conj = lambda s: s * 0\n    return 0",
    "patches numpy": "import numpy as np\ndef NAME(*a, **k):\n    n = np\n    n.isclose = n.allclose = lambda *a, **k: True\n"
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
    "never ends": "def NAME(*a, **k):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
    "never ends where it is defined": "def NAME(*a, x=[0 for _ in iter(int, 1)]): return x",
    "asks for all memory": "import torch\ndef NAME(*a, **k): return torch.ones(10**13)",
    "asks for it bit by bit": "def NAME(*a, **k):\n    x = []\n    while True: x.append(' ' * 10**8)",
    "calls itself": "def NAME(*a, **k): return NAME(*a, **k)",
    "writes outside": "def NAME(*a, **k): open('OUT', 'w').write('x'); return 0",
    "writes with torch": "import torch\ndef NAME(*a, **k): torch.save(torch.zeros(1), 'OUT'); return 0",
    "writes with numpy": "import numpy as np\ndef NAME(*a, **k):\n    np.zeros(3).tofile('OUT'); return 0",
    "starts a process": "import subprocess\ndef NAME(*a, **k): subprocess.run(['touch', 'OUT']); return 0",
    "forges a verdict": "def NAME(*a, **k):\n    for _ in range(99): print('[\"NAME\", \"right\", \"\"]', flush=True)\n    return 0",
    "equal to everything": "class Same:\n    def __eq__(self, other): return True\n    def __array__(self, *a, **k): return self\n"
    "    def __getattr__(self, name): return self\n    def __call__(self, *a, **k): return self\n"
    "def NAME(*a, **k): return Same()",
    "a tensor that agrees": "import torch\nclass Same(torch.Tensor):\n    @classmethod\n"
    "    def __torch_function__(cls, f, t, a=(), k=None): return True\n"
    "def NAME(*a, **k): return torch.zeros(1).as_subclass(Same)",
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


@pytest.fixture(autouse=True)
def _specs_stay():
    "What a test does to the specs is forgotten."
    before = dict(ex.SPECS)
    yield
    ex.SPECS.clear()
    ex.SPECS.update(before)


@pytest.fixture(scope="module")
def cheated(tmp_path_factory):
    "{cheat: its grade}; each submission holds a cheat in every exercise, one after the other."
    folder = tmp_path_factory.mktemp("cheats")
    library, out, found = Path(hopfield.__file__), folder / "written", {}
    for batch in itertools.batched(CHEATS, len(POINTS)) if sys.version_info >= (3, 12) else _batched(CHEATS, len(POINTS)):
        names = dict(zip(POINTS, batch, strict=False))
        code = {n: CHEATS[c].replace("NAME", n).replace("LIB", str(library)).replace("OUT", str(out)) for n, c in names.items()}
        for grade in gr.grade_submission(submission(folder / "cheat.ipynb", code), timeout=30):
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
    assert grade.points == 0 and grade.status in ("wrong", "refused", "stopped", "missing", "open"), grade
    assert grade.mistake or grade.status in ("missing", "open")
