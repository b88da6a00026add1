"""`check` over the whole course: run again, in any order, in any world, on any answer, however hostile."""

import contextlib
import functools
import importlib
import itertools
import linecache
import os
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from silen_lib import board
from silen_lib import exercises as ex
from silen_lib.exercises import Mistake, check, diagnose, exercise

torch.set_num_threads(1)
NBS = Path(__file__).parents[1] / "nbs"
NUMBER = itertools.count()


def course():
    "{exercise: (stub, answer)}: the cells' sources."
    found = {}
    for path in sorted(NBS.glob("[0-9][0-9]_*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            role = board.ROLE.match(
                next(
                    (x for x in cell.source.splitlines() if "exercise" in x or "solution" in x), ""
                )
            )
            if cell.cell_type == "code" and role:
                found.setdefault(role[2], {})[role[1]] = cell.source
    return {name: (cells["exercise"], cells["solution"]) for name, cells in found.items()}


COURSE = course()


def run_cell(source, space):
    "Run a cell as a kernel does: its source can be looked up by its file name."
    file = f"<cell {next(NUMBER)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), space)


def notebook(name):
    "A namespace like that of the chapter's notebook, with the exercise still to be defined."
    module = importlib.import_module(ex.find_spec(name).module)
    space = {k: v for k, v in vars(module).items() if k != name and not k.startswith("__")}
    return {**space, "__name__": "__main__", "check": check}


def code(source):
    "A cell's source without its directives."
    return "\n".join(line for line in source.splitlines() if not line.startswith("# |"))


def wrong_answer(name):
    "An answer that is wrong for certain."
    return ex.find_spec(name).mistakes[0].wrong[0]


def said(capsys, sampler=False):
    "What `check` printed: all of it, or of a sampler (whose draws differ) the verdict."
    text = capsys.readouterr().out
    return "\n".join(text.splitlines()[:2]) if sampler else text


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    "Nothing was handed out yet, nothing said."
    monkeypatch.delenv("SILEN_STRICT", raising=False)
    ex._GIVEN.clear()
    monkeypatch.setattr(ex, "_SAID", set())


@pytest.fixture
def one():
    "An exercise that is quick to judge."
    exercise("one", reference=lambda x: x + 1, cases=[(torch.ones(3),)], timeout=20)
    yield
    del ex.SPECS["one"]


@pytest.fixture
def brief(one):
    "The same with a limit for what never ends."
    ex.SPECS["one"].timeout = 0.4


def test_the_course_is_found():
    "All exercises that the course map shows."
    chapters = [board.chapter_outline(path) for path in NBS.glob("[0-9][0-9]_*.ipynb")]
    assert set(COURSE) == {exercise[0] for chapter in chapters for exercise in chapter.exercises}
    assert len(COURSE) >= 66


# ---- a cell that is run again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COURSE)
def test_running_the_check_again_changes_nothing(name, capsys):
    sampler = ex.find_spec(name).kind == "sampler"
    space = notebook(name)
    cell = f'{name} = check("{name}", {name})'

    run_cell(COURSE[name][0], space)
    for _ in range(3):
        run_cell(cell, space)
        assert said(capsys).startswith(f"○ {name}: not attempted yet")
    run_cell(
        code(COURSE[name][1]).replace(f" {name}(", " other(", 1), {**space}
    )  # something else is defined: no matter
    assert board.read_progress() == {}

    space[name] = wrong_answer(name)
    run_cell(cell, space)
    first = said(capsys, sampler)
    assert first.startswith(f"✗ {name}")
    assert space[name] is ex._reference(ex.find_spec(name))
    for _ in range(2):
        run_cell(cell, space)
        assert said(capsys, sampler) == first
    run_cell(COURSE[name][1], space)  # the cell at the back, as Run All leaves it
    run_cell(cell, space)
    assert said(capsys, sampler) == first
    exec(f"from {ex.find_spec(name).module} import {name}", space)
    run_cell(cell, space)
    assert said(capsys, sampler) == first
    assert board.read_progress()[name]["status"] == "tried"

    run_cell(code(COURSE[name][1]), space)  # the reader writes it
    mine = space[name]
    for _ in range(2):
        run_cell(cell, space)
        assert said(capsys).startswith(f"✓ {name}: right") and space[name] is mine
    assert board.read_progress()[name]["status"] == "done"


def test_run_all_and_then_each_check_once_more(capsys):
    "Stubs, checks, answers at the back; then the check cells alone: nothing was attempted."
    names = ["step_is_stable", "entropy", "overlaps", "HopfieldAttention", "langevin_step"]
    for name in names:
        space = notebook(name)
        cell = f'{name} = check("{name}", {name})'
        for source in (COURSE[name][0], cell, COURSE[name][1], cell, cell, COURSE[name][1], cell):
            run_cell(source, space)
        assert said(capsys).count("○") == 4
    assert board.read_progress() == {}


def test_in_a_kernel_the_answer_at_the_back_is_told_from_the_readers(tmp_path):
    from nbclient import NotebookClient

    stub, answer = COURSE["overlaps"]
    module = ex.find_spec("overlaps").module
    again = 'overlaps = check("overlaps", overlaps)'
    names = "{k: v for k, v in vars(module).items() if not k.startswith('__')}"
    start = f"import {module} as module\nfrom silen_lib.exercises import check\nglobals().update({names})"
    sources = [start, stub, again, answer, again, again, code(answer), again]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(nb, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell.outputs[0].data["text/plain"][0] for cell in nb.cells if cell.source == again]
    assert shown == ["○", "○", "○", "✓"]


def test_the_answer_at_the_back_alone_is_right_and_not_counted(capsys):
    space = notebook("overlaps")
    run_cell(COURSE["overlaps"][1], space)
    run_cell('overlaps = check("overlaps", overlaps)', space)
    assert "✓" in (text := said(capsys)) and "not counted" in text and board.read_progress() == {}


@pytest.mark.parametrize("as_named", [True, False])
def test_an_answer_that_calls_itself_keeps_its_verdict(as_named, capsys):
    def right(n):
        return 1 if n == 0 else n * right(n - 1)

    exercise("product", reference=right, cases=[(0,), (5,)])
    name = "product" if as_named else "mine"
    space = {"check": check}
    run_cell(f"def {name}(n):\n    return 1 if n == 0 else n + {name}(n - 1)\n", space)
    for _ in range(3):
        run_cell(f'{name} = check("product", {name})', space)
    first, second, third = said(capsys).split("✗")[1:]
    assert first == second == third and "16" in first
    assert space[name] is right
    del ex.SPECS["product"]


def test_a_class_that_names_itself_keeps_its_verdict(capsys):
    class Unit(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.W = nn.Parameter(torch.ones(n))

        def forward(self, x):
            return x * self.W

    exercise("Unit", reference=Unit, kind="module", cases=[ex.Case(3).call(torch.ones(3))])
    space = {"nn": nn, "torch": torch, "check": check}
    run_cell(
        "class Unit(nn.Module):\n    def __init__(self, n):\n        super(Unit, self).__init__()\n"
        "        self.W = nn.Parameter(torch.ones(n))\n    def forward(self, x): return x + self.W",
        space,
    )
    for _ in range(3):
        run_cell('Unit = check("Unit", Unit)', space)
    first, second, third = said(capsys).split("✗")[1:]
    assert first == second == third and "another value" in first
    assert space["Unit"] is Unit and isinstance(space["Unit"](3), nn.Module)
    del ex.SPECS["Unit"]


def test_a_cell_that_the_answer_needs_and_that_is_mended_changes_the_verdict(one, capsys):
    space = {"check": check}
    run_cell("def one(x):\n    return helper(x)", space)
    run_cell('one = check("one", one)', space)
    run_cell("def helper(x):\n    return x + 1", space)
    run_cell('one = check("one", one)', space)
    assert (
        "There is no `helper`" in (text := said(capsys)) and text.splitlines()[-1] == "✓ one: right"
    )
    assert space["one"].__code__.co_name == "one" and space["one"].__globals__ is space


def test_no_function_at_all_stays_none(one, capsys):
    given = check("one", None)
    check("one", given)
    first, second = said(capsys).split("✗")[1:]
    assert first == second and "not a function" in first


# ---- the library's own answer ----------------------------------------------------------------------------------------


def borrowed(name):
    "The ways to hand in the library's own answer."
    spec = ex.find_spec(name)
    module, function = importlib.import_module(spec.module), ex._reference(spec)
    space = {"module": module, "name": name}
    exec(
        "def through_getattr(*a, **k): return getattr(module, name)(*a, **k)\n"
        f"def imported_inside(*a, **k):\n    from {spec.module} import {name} as other\n    return other(*a, **k)\n"
        f"def in_disguise(*a, **k):\n    import importlib\n"
        f"    return vars(importlib.import_module({spec.module!r}))[name](*a, **k)\n",
        space,
    )

    class Callable:
        def __call__(self, *a, **k):
            return function(*a, **k)

    yield function
    yield lambda *a, **k: function(*a, **k)
    yield functools.partial(function)
    yield functools.partial(functools.partial(function))
    yield Callable()
    yield space["through_getattr"]
    yield space["imported_inside"]
    yield space["in_disguise"]
    if isinstance(function, type):
        yield type("Mine", (function,), {})
    else:
        yield functools.wraps(function)(lambda *a, **k: function(*a, **k))
        copied = types.FunctionType(
            function.__code__,
            function.__globals__,
            "mine",
            function.__defaults__,
            function.__closure__,
        )
        copied.__kwdefaults__ = function.__kwdefaults__
        yield copied
        yield torch.no_grad()(function)
        yield (
            functools.lru_cache(function)
            if name == "circle_intersection"
            else staticmethod(function)
        )


@pytest.mark.parametrize("name", COURSE)
def test_the_librarys_own_answer_is_told_apart(name, capsys):
    reference = ex._reference(ex.find_spec(name))
    for fn in borrowed(name):
        ex._GIVEN.clear()
        if not callable(fn):
            continue
        for _ in range(2):
            assert check(name, fn) is reference
            text = said(capsys)
            # a wrapper may lose what the exercise asks for (gradients, say): then it is simply wrong
            assert text.startswith("✗") or (
                text.startswith("○") and "the library's own answer" in text
            ), (fn, text)
            if fn is reference or not hasattr(fn, "__wrapped__"):
                assert "the library's own answer" in text, (fn, text)
        with pytest.raises(ex.ExerciseFailed):
            check(name, fn, strict=True)
        said(capsys)
    assert board.read_progress().get(name, {}).get("status") != "done"


@pytest.mark.parametrize("name", COURSE)
def test_the_printed_answers_are_nobodys_but_the_writers(name):
    "Each uses what the library offers; none of that is taken for the answer itself."
    space = notebook(name)
    run_cell(code(COURSE[name][1]), space)
    assert diagnose(name, space[name]).kind == "right"
    assert (
        diagnose(name, ex._reference(ex.find_spec(name))).kind == "right"
    )  # authors prove their specs with it


# ---- one fixed world -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def switched(put, inside, outside):
    "A global switch, and back."
    put(inside)
    try:
        yield
    finally:
        put(outside)


WORLDS = {
    "float64": lambda: switched(torch.set_default_dtype, torch.float64, torch.float32),
    "float16": lambda: switched(torch.set_default_dtype, torch.float16, torch.float32),
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "deterministic": lambda: switched(torch.use_deterministic_algorithms, True, False),
    "device": lambda: switched(torch.set_default_device, "meta", None),
    "device block": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "anomaly": lambda: switched(torch.autograd.set_detect_anomaly, True, False),
    "errstate": lambda: np.errstate(all="raise"),
    "matmul": lambda: switched(torch.set_float32_matmul_precision, "medium", "highest"),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.filterwarnings("ignore:Anomaly")
def test_right_is_right_in_every_world(world):
    wrong = {}
    for name in COURSE:
        space = notebook(name)
        run_cell(code(COURSE[name][1]), space)
        with WORLDS[world]():
            verdict = diagnose(name, space[name])
        if verdict.status != "right":
            wrong[name] = str(verdict)
    assert wrong == {}


def the_world():
    "How the switches stand."
    return {
        "dtype": torch.ones(1).dtype,
        "device": torch.ones(1).device.type,
        "grad": (torch.ones(1, requires_grad=True) * 2).requires_grad,
        "inference": torch.is_inference_mode_enabled() or torch.ones(1).is_inference(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "autocast": (torch.ones(2, 2) @ torch.ones(2, 2)).dtype,
        "anomaly": torch.is_anomaly_enabled(),
        "errors": np.geterr(),
        "matmul": torch.get_float32_matmul_precision(),
    }


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.filterwarnings("ignore:Anomaly")
def test_reference_answer_comparison_and_mistakes_run_in_the_same_world(world):
    seen = {}

    class Odd:
        def __array__(self, *args, **kwargs):
            seen["comparison"] = the_world()
            return np.zeros(3)

    def look(place, value):
        seen[place] = the_world()
        return value

    exercise(
        "one",
        reference=lambda x: look("reference", x + 1),
        cases=lambda: look("cases", [(torch.ones(3),)]),
        mistakes=[Mistake("other", lambda x: look("mistake", x))],
    )
    with WORLDS[world]():
        assert (
            the_world() != {} and diagnose("one", lambda x: look("answer", Odd())).status == "wrong"
        )
    assert len(seen) == 5 and all(state == the_world() for state in seen.values()), seen
    del ex.SPECS["one"]


def test_a_check_that_is_first_asked_in_another_world(tmp_path):
    "The cases, and the chapter, are then made in that world: a fresh process each."
    script = (
        "import torch\nfrom silen_lib.exercises import check\n{}\n"
        "from silen_lib.exercises import find_spec, diagnose\nimport importlib\n"
        "for name in ('hidden_activity', 'implicit_score_matching', 'unlearn', 'HopfieldAttention'):\n"
        "    print(diagnose(name, lambda *a: 0).status)\n"
        "    print(diagnose(name, getattr(importlib.import_module(find_spec(name).module), name)))\n{}"
    )
    for before, after in (
        (
            "torch.set_default_dtype(torch.float64)",
            "assert torch.get_default_dtype() is torch.float64",
        ),
        (
            "mode = torch.inference_mode(); mode.__enter__()",
            "assert torch.is_inference_mode_enabled()",
        ),
        ("torch.set_default_device('meta')", "assert torch.ones(1).is_meta"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script.format(before, after)],
            capture_output=True,
            encoding="utf-8",
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0 and done.stdout.count(": right") == 4, done.stdout + done.stderr


STATE = {
    "directory": (os.getcwd, lambda: os.chdir("/")),
    "environment": (
        lambda: dict(os.environ),
        lambda: (os.environ.pop("HOME", 0), os.environ.update(NEW="1", PATH="x")),
    ),
    "path": (lambda: list(sys.path), lambda: sys.path.insert(0, "x")),
    "recursion": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(700)),
    "profile": (sys.getprofile, lambda: sys.setprofile(lambda *_: None)),
    "stdout": (lambda: sys.stdout, lambda: setattr(sys, "stdout", None)),
    "grad": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(False)),
    "dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "device": (torch.get_default_device, lambda: torch.set_default_device("meta")),
    "deterministic": (
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    ),
    "anomaly": (torch.is_anomaly_enabled, lambda: torch.autograd.set_detect_anomaly(True)),
    "autocast": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda: torch.set_autocast_enabled("cpu", True),
    ),
    "matmul": (
        torch.get_float32_matmul_precision,
        lambda: torch.set_float32_matmul_precision("medium"),
    ),
    "threads": (torch.get_num_threads, lambda: torch.set_num_threads(torch.get_num_threads() + 1)),
    "errors": (np.geterr, lambda: np.seterr(all="raise")),
    "print": (np.get_printoptions, lambda: np.set_printoptions(precision=1)),
    "numpy": (lambda: np.random.get_state()[2], lambda: np.random.rand(7)),
    "torch": (lambda: torch.get_rng_state().sum().item(), lambda: torch.manual_seed(0)),
    "figures": (plt.get_fignums, plt.figure),
    "warnings": (
        lambda: len(__import__("warnings").filters),
        lambda: __import__("warnings").simplefilter("error"),
    ),
    "signals": (
        lambda: signal.getsignal(signal.SIGINT),
        lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ),
    "collector": (__import__("gc").isenabled, __import__("gc").disable),
}


@pytest.mark.parametrize("what", STATE)
@pytest.mark.parametrize("where", ["answer", "comparison", "thread"])
@pytest.mark.filterwarnings("ignore:Anomaly")
def test_whatever_an_answer_switches_is_switched_back(one, what, where):
    read, put = STATE[what]
    if where == "thread" and what == "signals":
        pytest.skip("Python itself refuses")
    before = read()

    class Odd:
        def __array__(self, *args, **kwargs):
            put()
            return np.zeros(3)

    def mine(x):
        if where != "comparison":
            put()
            return x + 1
        return Odd()

    verdicts = []
    if where == "thread":
        thread = threading.Thread(target=lambda: verdicts.append(diagnose("one", mine)))
        thread.start()
        thread.join()
    else:
        verdicts.append(diagnose("one", mine))
    after = read()
    assert after == before and verdicts[0].status == (
        "wrong" if where == "comparison" else "right"
    ), str(verdicts[0])


def test_figures_that_were_open_stay_open(one):
    figure = plt.figure()
    diagnose("one", lambda x: plt.figure() and x + 1)
    assert plt.get_fignums() == [figure.number]


# ---- what an answer makes is hostile too -----------------------------------------------------------------------------


def loop():
    while True:
        pass


DEEDS = {
    "loops": loop,
    "exits": sys.exit,
    "prints": lambda: (
        print("from inside", file=sys.stdout) or print("from inside", file=sys.stderr)
    ),
    "seeds": lambda: torch.manual_seed(0) and None,
    "interrupts": lambda: exec("raise KeyboardInterrupt"),
    "recurses": lambda: exec("def f(): f()\nf()"),
    "checks": lambda: check("one", lambda x: x),
}
HOOKS = [
    "__eq__",
    "__repr__",
    "__str__",
    "__array__",
    "__bool__",
    "__iter__",
    "__len__",
    "__float__",
    "__getattr__",
    "__hash__",
]
WANTED = {
    "tensor": torch.ones(2),
    "number": 1.5,
    "text": "yes",
    "dict": {"a": 1},
    "tuple": (1, torch.ones(2)),
}


def odd(deed, base=object):
    "An object that does a deed whenever it is looked at."
    hooks = {hook: lambda self, *args, **kwargs: deed() for hook in HOOKS}
    if base is not object:
        del hooks["__getattr__"]
    kind = type(
        "Odd",
        (base,),
        {**hooks, "dtype": property(lambda self: deed()), "shape": property(lambda self: deed())},
    )
    return kind()


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("want", WANTED)
def test_looking_at_what_an_answer_returns_is_guarded(deed, want, capsys):
    exercise(
        "one",
        reference=lambda: WANTED[want],
        cases=[()],
        timeout=0.3,
        mistakes=[Mistake("none", lambda: object())],
    )
    torch.manual_seed(5)
    state, start = torch.get_rng_state(), time.perf_counter()
    for made in (odd(DEEDS[deed]), [odd(DEEDS[deed])], {"a": odd(DEEDS[deed])}):
        verdict = diagnose("one", lambda made=made: made)
        assert (
            verdict.status == "wrong"
            and isinstance(str(verdict), str)
            and isinstance(verdict._repr_html_(), str)
        )
    assert time.perf_counter() - start < 60
    assert capsys.readouterr() == ("", "") and torch.equal(state, torch.get_rng_state())
    del ex.SPECS["one"]


@pytest.mark.parametrize("deed", DEEDS)
def test_looking_at_what_an_answer_raises_is_guarded(brief, deed, capsys):
    def mine(x):
        raise odd(DEEDS[deed], Exception)

    torch.manual_seed(5)
    state = torch.get_rng_state()
    verdict = diagnose("one", mine)
    assert verdict.status == "wrong" and isinstance(str(verdict), str)
    assert capsys.readouterr() == ("", "") and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("deed", DEEDS)
def test_an_answer_that_is_a_hostile_object_itself(brief, deed, capsys):
    for fn in (
        odd(DEEDS[deed]),
        odd(DEEDS[deed], type("Callable", (), {"__call__": lambda self, x: x})),
    ):
        assert check("one", fn) is ex.SPECS["one"].reference
        assert check("one", check("one", fn)) is ex.SPECS["one"].reference
    text, errors = capsys.readouterr()
    assert "from inside" not in text and errors == "" and text.count("✗") == 6


# ---- check inside an answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [False, True])
def test_check_inside_an_answer_is_told_in_words(one, elsewhere, capsys):
    def mine(x):
        check("one", mine)
        return x + 1

    def careless(x):
        with contextlib.suppress(Exception):
            check("one", careless)
        return x + 1

    found = []

    def go():
        found.extend([diagnose("one", mine), diagnose("one", careless)])

    if elsewhere:
        thread = threading.Thread(target=go)
        thread.start()
        thread.join()
    else:
        go()
    assert "calls `check` itself" in found[0].message and found[0].status == "wrong"
    assert (
        found[1].status == "right" and board.read_progress() == {} and capsys.readouterr().out == ""
    )


# ---- time and the stop button ----------------------------------------------------------------------------------------


def waiting_in_a_lock(x):
    condition = threading.Condition()
    with condition:
        condition.wait(60)
    return x


def with_a_clean_up_that_fails(x):
    try:
        loop()
    finally:
        raise RuntimeError("cannot release un-acquired lock")


def that_hides_it(x):
    try:
        loop()
    except BaseException:
        return x + 1


def that_renames_it(x):
    try:
        loop()
    except BaseException as error:
        raise ValueError("something else") from error


def stubborn(x):
    while True:
        try:
            loop()
        except BaseException:
            time.sleep(0)


LATE = [waiting_in_a_lock, with_a_clean_up_that_fails, that_hides_it, that_renames_it, stubborn]


@pytest.mark.parametrize("fn", LATE)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_too_late_is_too_late_whatever_the_answer_makes_of_it(brief, fn, elsewhere):
    found = []
    thread = threading.Thread(target=lambda: found.append(diagnose("one", fn)))
    thread.run() if not elsewhere else (thread.start(), thread.join())
    assert found[0].kind == "timeout" and "0.4 s" in found[0].message, str(found[0])
    assert sys.gettrace() is None or "coverage" in str(sys.gettrace())


@pytest.mark.parametrize("alarm", [True, False])
@pytest.mark.parametrize(
    "fn", [lambda x: loop(), stubborn, waiting_in_a_lock, that_hides_it, lambda x: time.sleep(60)]
)
def test_the_stop_button_decides_nothing(fn, alarm, capsys, monkeypatch):
    if not alarm:
        monkeypatch.delattr(signal, "setitimer")
    exercise("one", reference=lambda x: x + 1, cases=[(torch.ones(3),)], timeout=60)
    press = threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT))
    start, handler = time.perf_counter(), signal.getsignal(signal.SIGINT)
    press.start()
    assert check("one", fn) is ex.SPECS["one"].reference
    assert time.perf_counter() - start < 30 and "– one: stopped by you" in said(capsys)
    assert board.read_progress() == {} and signal.getsignal(signal.SIGINT) is handler
    press.join()
    del ex.SPECS["one"]


@pytest.mark.parametrize("where", ["reference", "comparison", "mistake"])
def test_the_stop_button_is_heard_all_through_a_check(where, capsys):
    def slow(*args, **kwargs):
        time.sleep(60)

    calls = {
        place: (slow if place == where else lambda *args: None)
        for place in ("reference", "comparison", "mistake")
    }

    class Odd:
        def __array__(self, *args, **kwargs):
            calls["comparison"]()
            return np.zeros(3)

    def reference(x):
        calls["reference"]()
        return x + 1

    exercise(
        "one",
        reference=reference,
        cases=[(torch.ones(3),)],
        timeout=60,
        mistakes=[Mistake("slow", lambda x: calls["mistake"]())],
    )
    press = threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    press.start()
    check("one", lambda x: Odd())
    assert time.perf_counter() - start < 30 and "stopped by you" in said(capsys)
    press.join()
    del ex.SPECS["one"]


def test_an_answer_that_interrupts_itself_is_wrong(one):
    def mine(x):
        raise KeyboardInterrupt

    assert diagnose("one", mine).kind == "error"


def test_code_left_behind_is_told_and_neither_prints_nor_seeds(brief, capsys):
    "Without an alarm (threads; Windows): code that sleeps is left behind, and ends when it wakes."

    def asleep(x):
        while True:
            try:
                time.sleep(2)
            except:  # noqa: E722
                pass
            print("still here")
            torch.manual_seed(0)

    before, found = set(threading.enumerate()), []
    thread = threading.Thread(target=lambda: found.append(diagnose("one", asleep)))
    thread.start()
    thread.join()
    assert found[0].kind == "timeout" and "may still be running" in found[0].message
    state = torch.get_rng_state()
    limit = time.monotonic() + 20
    while set(threading.enumerate()) - before - {thread} and time.monotonic() < limit:
        time.sleep(0.1)
    assert set(threading.enumerate()) <= before
    assert capsys.readouterr().out == "" and torch.equal(state, torch.get_rng_state())


def test_without_an_alarm_all_is_the_same(one, monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    ex.SPECS["one"].timeout = 0.4
    assert diagnose("one", lambda x: loop()).kind == "timeout"
    ex.SPECS["one"].timeout = 20
    assert diagnose("one", lambda x: x + 1).status == "right"
    assert diagnose("one", lambda x: x).kind == "value"


# ---- several at once -------------------------------------------------------------------------------------------------


def test_four_threads_check_at_once(one, capsys):
    out, states = sys.stdout, []

    def go():
        for _ in range(25):
            check("one", lambda x: print("noise") or x + 1)
            states.append(torch.get_default_dtype())

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is out and set(states) == {torch.float32}
    text = capsys.readouterr().out
    assert text.count("✓ one: right") == 100 and "noise" not in text


def test_what_other_threads_print_is_not_swallowed(one, capsys):
    over = threading.Event()

    def bar():
        while not over.wait(0.02):
            print("progress bar")

    thread = threading.Thread(target=bar)
    thread.start()
    time.sleep(0.1)
    capsys.readouterr()
    verdict = diagnose("one", lambda x: print("mine") or time.sleep(0.3))
    during = capsys.readouterr().out
    over.set()
    thread.join()
    assert during.count("progress bar") > 3 and dict(verdict.facts)["your code printed"] == "mine"


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_any_terminal_will_do(encoding, tmp_path):
    script = (
        "from silen_lib.exercises import check\nimport silen_lib.hopfield as h\n"
        "def stub(X, s): raise NotImplementedError\n"
        "def wrong(*a): return '→ Ξ ✓'\n"
        "for fn in (stub, wrong, h.overlaps): check('overlaps', fn)\n"
        "check('no such name', wrong)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            "PYTHONIOENCODING": encoding,
            "PYTHONUTF8": "0",
            "SILEN_PROGRESS": str(tmp_path),
        },
        capture_output=True,
        check=False,
    )
    text = done.stdout.decode(encoding)
    assert done.returncode == 0 and done.stderr == b"", done.stderr.decode(errors="replace")
    assert (
        text.count("overlaps: ") == 3
        and "o check called" in text
        and text.count("progress not saved") == 1
    )


def test_progress_that_cannot_be_saved_is_told_once(one, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SILEN_PROGRESS", str(tmp_path))
    for answer in (lambda x: x, lambda x: x + 1, lambda x: x + 1):
        check("one", answer)
    text = said(capsys)
    assert text.count("progress not saved (") == 1 and "✓ one" in text


def test_the_name_comes_first(one, capsys):
    def mine(x):
        return x

    for swapped in (
        lambda: check(mine, "one"),
        lambda: check(None, mine),
        lambda: check(mine, mine),
    ):
        swapped()
        assert "in quotes" in said(capsys)
