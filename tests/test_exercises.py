"""The exercise engine: every verdict, every guard, the statistics, the files, the command line."""

import json
import math
import random
import sys
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from silen_lib import exercises as ex
from silen_lib.exercises import Case, ExerciseFailed, Mistake, check, diagnose, exercise, verify

DEMO = Path(__file__).parent / "exercise_fixtures" / "00_demo.ipynb"
torch.set_num_threads(1)
W = torch.tensor([[0.0, 1.0, -2.0], [1.0, 0.0, 3.0], [-2.0, 3.0, 0.0]])


def energy(state, W):
    "Energy of a state."
    return -((state @ W) * state).sum(-1) / 2


def quick(name, reference, cases, **fields):
    "Register a spec for one test."
    exercise(name, reference=reference, cases=cases, **{"timeout": 0.4, **fields})


pytestmark = pytest.mark.usefixtures("fixture_specs")


@pytest.fixture
def spec():
    "An energy function with three known mistakes."
    quick(
        "energy",
        energy,
        [
            (torch.tensor([1.0, -1.0, 1.0]), W),
            Case(torch.tensor([[1.0, 1.0, -1.0], [1.0, 1.0, 1.0]]), W).note("two"),
        ],
        oracle=lambda s, W: (
            -sum(W[i, j] * s[..., i] * s[..., j] for i in range(3) for j in range(i))
        ),
        mistakes=[
            Mistake("counted twice", lambda s, W: -((s @ W) * s).sum(-1)),
            Mistake("sign", lambda s, W: ((s @ W) * s).sum(-1) / 2),
            Mistake("no sum", lambda s, W: -((s @ W) * s) / 2),
        ],
    )


# ---- verdicts on functions -------------------------------------------------------------------------------------------


def test_right(spec):
    assert diagnose("energy", energy).kind == "right"
    assert (
        diagnose(
            "energy", lambda state, W: -torch.einsum("...i,ij,...j", state, W, state) / 2
        ).status
        == "right"
    )


def test_right_in_numpy_is_right_but_not_used_later(spec):
    def mine(state, W):
        return energy(state, W).numpy()

    v = diagnose("energy", mine)
    assert v.status == "right" and v.kind == "replaced" and "ndarray" in v.message
    assert check("energy", mine) is energy
    assert diagnose("energy", lambda s, W: energy(s, W).double()).kind == "replaced"


def test_the_parts_of_a_tuple_are_named_with_their_dtypes():
    quick("two", lambda x: (x, x.sum()), [Case(torch.ones(3))])
    v = diagnose("two", lambda x: (x.double(), x.sum()))
    assert v.kind == "replaced" and "tuple (Tensor of torch.float64, Tensor of torch" in v.message


def test_not_attempted(spec):
    def mine(state, W):
        # YOUR CODE HERE
        raise NotImplementedError

    assert diagnose("energy", mine).status == "open"
    assert diagnose("energy", lambda s, W: torch.zeros(3).not_there()).status == "wrong"


def test_exception_names_the_readers_line(spec):
    def mine(state, W):
        field = state @ W
        return helper(field)  # a line of the reader's

    def helper(x):
        return x.reshape(7, 7)

    v = diagnose("energy", mine)
    facts = dict(v.facts)
    assert v.kind == "error" and "shapes" in v.message and "RuntimeError" in facts["Python says"]
    assert "reshape(7, 7)" in facts["your line"] and "tensor (3,)" in facts["state"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("return stat @ W", "There is no `stat`"),
        ("x = x + 1\n return x", "before the function has given it a value"),
        ("return state.summ()", "A Tensor has no `summ`"),
        ("return None.shape", "of None"),
        ("return None + 1", "None is used"),
        ("return energy()", "too few"),
        ("return energy(state, W, 1)", "too many"),
        ("return energy(state, W, foo=1)", "argument `foo`"),
        ("return state(0)", "no function is called"),
        ("return 'a' + 1", "type"),
        ("return state.sum(4)", "Dimension 4"),
        ("return W[0, 0, 0]", "More indices"),
        ("return W[7]", "Index 7"),
        ("return {}['k']", "key"),
        ("return 1 / 0", "divided by zero"),
        ("return W @ torch.ones(2, 3)", "3×3 with 2×3"),
        ("return W + torch.ones(5)", "Sizes 3 and 5"),
        ("return np.ones(3) + np.ones(4)", "do not fit"),
        ("return W @ torch.ones(3, dtype=torch.float64)", "dtypes"),
        ("if W: return 1", "one True, False or number"),
        ("if np.ones(3) > 0: return 1", "one True, False or number"),
        ("p = torch.nn.Parameter(W)\n p += 1", "no_grad"),
        ("return W.sum().backward()", "no gradient"),
        ("a, b = W", "names on the left"),
        ("assert False", "`assert`"),
        ("raise OSError('disk')", "stopped with an exception"),
        ("raise KeyboardInterrupt", "interrupted"),
        ("import sys; sys.exit()", "leaves Python"),
        ("return mine(state, W)", "calls itself"),
        ("return torch.ones(10**13)", "more memory"),
        ("return torch.empty(6 * 2**30, dtype=torch.uint8).fill_(1)", "more memory"),
        ("return np.ones(10**13)", "more memory"),
        ("import no_such_module", "imported"),
        ("return next(iter([]))", "`next`"),
    ],
)
def test_exceptions_in_plain_words(spec, code, words):
    if "6 * 2**30" in code and (not sys.platform.startswith("linux") or torch.cuda.is_available()):
        pytest.skip("the memory limit works on Linux without CUDA")
    space = {"torch": torch, "np": np, "energy": energy}
    exec("def mine(state, W):\n " + code, space)  # noqa: S102
    v = diagnose("energy", space["mine"])
    assert v.status == "wrong" and v.kind == "error" and words in v.message, str(v)


def test_none_and_ellipsis(spec):
    v = diagnose("energy", lambda s, W: None)
    assert v.kind == "type" and "did you forget `return`" in v.message
    assert "`...`" in diagnose("energy", lambda s, W: ...).message
    assert diagnose("energy", lambda s, W: "text").kind == "type"
    assert diagnose("energy", None).kind == "type"


def test_wrong_shape(spec):
    v = diagnose("energy", lambda s, W: energy(s, W)[..., None])
    assert (
        v.kind == "shape"
        and v.message == "Got shape (1,), expected a single number."
        and not v.hint
    )


def test_named_mistakes_earn_their_own_hint(spec):
    for mistake in ex.SPECS["energy"].mistakes:
        assert diagnose("energy", mistake.wrong[0]).hint == mistake.hint
    assert (
        diagnose("energy", lambda s, W: -((s @ W) * s) / 2).kind == "shape"
    )  # the hint stands beside the shape
    assert verify("energy") == []


def test_mistake_that_raises_is_named():
    quick(
        "root",
        lambda x: x.sqrt(),
        [(torch.tensor([4.0]),)],
        mistakes=[Mistake("needs item", lambda x: math.sqrt(x.tolist()))],
    )
    assert diagnose("root", lambda x: math.sqrt(x.tolist())).hint == "needs item"


def test_first_differing_case(spec):
    v = diagnose("energy", lambda s, W: energy(s, W) + (s.dim() == 2))
    facts = dict(v.facts)
    assert (
        v.kind == "value"
        and facts["case"] == "2 of 2, two"
        and facts["got"] != facts["expected"]
        and "2 of 2 entries" in v.message
    )


def test_inputs_are_copies_and_changes_are_told(spec):
    before = ex.SPECS["energy"].cases[0][0].clone()

    def mine(state, W):
        out = energy(state, W)
        state *= 0
        return out

    v = diagnose("energy", mine)
    assert (
        v.kind == "modified"
        and "`state`" in v.message
        and torch.equal(before, ex.SPECS["energy"].cases[0][0])
    )
    ex.SPECS["energy"].may_modify = True
    assert diagnose("energy", mine).status == "right"


def test_required_type_and_tolerance():
    quick("half", lambda x: x / 2, [(torch.ones(2),)], returns=torch.Tensor)
    assert diagnose("half", lambda x: x.numpy() / 2).kind == "type"
    assert diagnose("half", lambda x: x / 2 + 1e-7).status == "right"
    assert diagnose("half", lambda x: x / 2 + 1e-3).kind == "value"


@pytest.mark.parametrize(
    ("want", "good", "bad", "kind"),
    [
        ((1, torch.ones(2)), [1.0, np.ones(2)], (1, torch.ones(3)), "shape"),
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}, {"a": 1}, "shape"),
        ({"a": 1}, {"a": 1}, [1], "type"),
        ([1, 2], (1, 2), [1, 2, 3], "shape"),
        ("yes", "yes", "no", "value"),
        (True, np.bool_(True), False, "value"),
        (2.5, torch.tensor(2.5), torch.tensor([2.5]), "shape"),
        (math.nan, torch.tensor(math.nan), 0.0, "value"),
        (np.array([math.inf, 1]), [math.inf, 1], [1, math.inf], "value"),
        (torch.tensor([[1, 2], [3, 4]]), [torch.tensor([1, 2]), torch.tensor([3, 4])], 3, "shape"),
        (1 + 2j, torch.tensor(1 + 2j), 1.0, "value"),
        (None, None, 1, "value"),
        (
            (torch.ones(2), torch.zeros(2)),
            torch.tensor([[1.0, 1.0], [0.0, 0.0]]),
            torch.ones(2),
            "type",
        ),
    ],
)
def test_values_of_many_types(want, good, bad, kind):
    quick("value", lambda: want, [()])
    assert diagnose("value", lambda: good).status == "right"
    v = diagnose("value", lambda: bad)
    assert v.kind == kind or kind == "type" and v.kind == "shape", str(v)


# ---- the guards ------------------------------------------------------------------------------------------------------


def forever(state, W):
    "Never ends."
    while True:
        pass


def stubborn(state, W):
    "Never ends and swallows every exception."
    while True:
        try:
            while True:
                pass
        except:  # noqa: E722
            pass


def stubborn_inside(state, W):
    "The same, with the endless loop one call deeper."
    while True:
        try:
            forever(state, W)
        except BaseException:
            pass  # noqa: BLE001


def asleep(state, W):
    "Blocks outside Python."
    time.sleep(60)


@pytest.mark.parametrize("fn", [forever, stubborn, stubborn_inside, asleep])
def test_endless_loop_in_the_main_thread(spec, fn):
    start = time.perf_counter()
    v = diagnose("energy", fn)
    assert (
        v.kind == "timeout" and time.perf_counter() - start < 8 and dict(v.facts).get("your line")
    )
    assert sys.gettrace() is None or "coverage" in str(sys.gettrace())


@pytest.mark.parametrize("fn", [forever, asleep])
def test_endless_loop_off_the_main_thread(spec, fn):
    found = []
    thread = threading.Thread(
        target=lambda: found.extend([diagnose("energy", fn), diagnose("energy", energy)])
    )
    thread.start()
    thread.join(15)
    assert found[0].kind == "timeout" and found[1].status == "right"


def test_the_world_is_put_back(spec):
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()

    def mine(state, W):
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        sys.setrecursionlimit(500)
        print("noise")
        return energy(state, W)

    limit = sys.getrecursionlimit()
    assert diagnose("energy", mine).status == "right"
    assert torch.equal(states[0], torch.get_rng_state()) and np.array_equal(
        states[1], np.random.get_state()[1]
    )
    assert states[2] == random.getstate() and torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled() and sys.getrecursionlimit() == limit


def test_printing_is_kept_short(spec, capsys):
    def mine(state, W):
        for _ in range(10_000):
            print("spam" * 100)
        return state.sum()

    v = diagnose("energy", mine)
    assert (
        "spam" in dict(v.facts)["your code printed"]
        and len(str(v)) < 1500
        and capsys.readouterr().out == ""
    )


# ---- in place, generators, modules -----------------------------------------------------------------------------------


def test_in_place():
    exercise(
        "scale",
        reference=lambda x: x.mul_(2),
        kind="inplace",
        cases=[(torch.tensor([1.0, 2.0]),)],
        oracle=lambda x: x * 2,
        mistakes=[Mistake("adds", lambda x: x.add_(2))],
    )
    assert diagnose("scale", lambda x: x.mul_(2)).status == "right"
    assert diagnose("scale", lambda x: x.add_(x)).status == "right"
    v = diagnose("scale", lambda x: x * 2)
    assert v.kind == "returned" and "with the right numbers" in v.message and not v.hint
    assert diagnose("scale", lambda x: x.add_(2)).hint == "adds"
    assert verify("scale") == []


def test_in_place_of_two_arguments_by_name():
    def swap(a, b, scale):
        a[...], b[...] = b.clone() * scale, a.clone() * scale

    exercise(
        "swap",
        reference=swap,
        kind="inplace",
        modifies=("a", "b"),
        cases=[(torch.ones(2), torch.zeros(2), torch.tensor(3.0))],
        oracle=lambda a, b, scale: (b * scale, a * scale),
    )

    def mine(a, b, scale):
        swap(a, b, scale)
        scale += 1

    assert verify("swap") == [] and diagnose("swap", mine).kind == "modified"
    assert diagnose("swap", lambda a, b, scale: a.zero_()).kind == "value"


def test_generators():
    def steps(x, rate):
        while True:
            yield x.clone()
            x = x * rate

    def aliased(x, rate):
        while True:
            yield x
            x *= rate

    quick(
        "steps",
        steps,
        [(torch.tensor([1.0, 2.0]), 0.5)],
        kind="generator",
        take=4,
        may_modify=True,
        oracle=lambda x, rate: [x * rate**k for k in range(4)],
        mistakes=[Mistake("late", lambda x, rate: (x * rate**k for k in range(1, 9)))],
    )
    assert diagnose("steps", lambda x, rate: [x * rate**k for k in range(4)]).status == "right"
    assert diagnose("steps", aliased).kind == "one object"
    assert diagnose("steps", lambda x, rate: (x * rate**k for k in range(3))).kind == "shape"
    assert diagnose("steps", lambda x, rate: None).kind == "type"
    assert verify("steps") == []


class Unit(nn.Module):
    "The right module."

    def __init__(self, n, m):
        super().__init__()
        self.W = nn.Parameter(torch.randn(n, m))

    def forward(self, v):
        return torch.sigmoid(v @ self.W)


def variant(forward=None, init=None):
    "A Unit with another forward or constructor."
    return type(
        "Mine", (nn.Module,), {"__init__": init or _init, "forward": forward or Unit.forward}
    )


def _init(self, n, m):
    nn.Module.__init__(self)
    self.W = nn.Parameter(torch.randn(n, m))


def _init_transposed(self, n, m):
    nn.Module.__init__(self)
    self.W = nn.Parameter(torch.randn(m, n))


def _init_renamed(self, n, m):
    nn.Module.__init__(self)
    self.weight = nn.Parameter(torch.randn(n, m))


def _init_more(self, n, m):
    _init(self, n, m)
    self.b = nn.Parameter(torch.zeros(m))


@pytest.fixture
def unit():
    "A module exercise with gradients."
    exercise(
        "Unit",
        reference=Unit,
        kind="module",
        grads=True,
        cases=[Case(3, 2).call(torch.rand(4, 3))],
        use=lambda m, v: {"forward": m(v)},
        oracle=lambda m, v: {"forward": 1 / (1 + (-(v @ m.W)).exp())},
        mistakes=[Mistake("tanh", variant(lambda self, v: torch.tanh(v @ self.W)))],
    )


def test_modules(unit):
    assert verify("Unit") == [] and diagnose("Unit", variant()).status == "right"
    assert diagnose("Unit", variant(lambda self, v: torch.tanh(v @ self.W))).hint == "tanh"
    assert (
        "no parameter or buffer `W`; it has weight"
        in diagnose("Unit", variant(init=_init_renamed)).message
    )
    assert (
        "shape (2, 3), expected (3, 2)" in diagnose("Unit", variant(init=_init_transposed)).message
    )
    assert "`b` among its parameters" in diagnose("Unit", variant(init=_init_more)).message
    assert (
        "nn.Module"
        in diagnose("Unit", type("Plain", (), {"__init__": lambda self, n, m: None})).message
    )
    cut = diagnose("Unit", variant(lambda self, v: torch.sigmoid(v @ self.W).detach()))
    assert cut.kind == "value" and "gradient of W" in cut.message

    def open_forward(self, v):
        raise NotImplementedError

    v = diagnose("Unit", variant(open_forward))
    assert v.status == "open" and "`open_forward` is still open" in v.message

    def changes(self, v):
        out = Unit.forward(self, v)
        with torch.no_grad():
            v.zero_()
        return out

    assert (
        diagnose("Unit", variant(lambda self, v: Unit.forward(self, v.clone()))).status == "right"
    )
    ex.SPECS["Unit"].grads = False
    assert diagnose("Unit", variant(changes)).kind == "modified"


# ---- samplers --------------------------------------------------------------------------------------------------------


def fire(h, generator=None):
    "0 or 1 with probability σ(h)."
    return (torch.rand(h.shape, generator=generator) < torch.sigmoid(h)).float()


def fire_law(factor):
    "The law of a unit at σ(factor·h)."

    def law(h, generator=None):
        p = torch.sigmoid(factor * h[0])
        return torch.stack([1 - p, p])

    return law


@pytest.fixture
def sampler():
    "A firing unit with mistakes told apart by law."
    exercise(
        "fire",
        reference=fire,
        kind="sampler",
        outcome=lambda s: s.long(),
        oracle=fire_law(1),
        cases=[Case(torch.full((4000,), h), generator=torch.Generator()) for h in (1.5, -0.7)],
        mistakes=[
            Mistake("twice", lambda h, generator=None: fire(2 * h, generator), law=fire_law(2)),
            Mistake("flipped", lambda h, generator=None: fire(-h, generator)),
            Mistake("threshold", lambda h, generator=None: (h > 0).float()),
            Mistake("half", lambda h, generator=None: fire(h / 2, generator), law=fire_law(0.5)),
        ],
    )


def test_sampler_verdicts(sampler):
    assert verify("fire") == []
    assert (
        diagnose(
            "fire", lambda h, generator=None: torch.bernoulli(torch.sigmoid(h), generator=generator)
        ).kind
        == "right"
    )
    v = diagnose("fire", lambda h, generator=None: fire(h + 0.3, generator))
    assert (
        v.kind == "law"
        and v.title == ex._TITLES["law"]
        and not v.hint
        and "4000 draws" in dict(v.facts)["got"]
    )
    assert diagnose("fire", lambda h, generator=None: fire(h)).kind == "ignores"
    assert diagnose("fire", lambda h, generator=None: fire(h, generator)[:, None]).kind == "shape"
    assert diagnose("fire", lambda h, generator=None: None).kind == "type"
    assert diagnose("fire", lambda h, generator=None: fire(h, generator) * 3).kind == "law"
    assert diagnose("fire", lambda h: fire(h)).kind == "error"

    def eats(h, generator=None):
        out = fire(h, generator)
        h.zero_()
        return out

    assert diagnose("fire", eats).kind == "modified"
    assert (
        diagnose("fire", lambda h, generator=None: fire(h, generator).double()).kind == "replaced"
    )


def test_samplers_give_no_false_alarm_and_no_wrong_hint_over_many_seeds(sampler):
    # 300 right answers: a false alarm has probability below 300·1e-7; each wrong one is at total variation > .1
    assert all(diagnose("fire", fire).status == "right" for _ in range(300))
    wrong = {m.hint: m.wrong[0] for m in ex.SPECS["fire"].mistakes}
    assert all(diagnose("fire", fn).hint == hint for _ in range(10) for hint, fn in wrong.items())


def test_the_bound_holds_exactly_for_three_outcomes():
    n, p = 25, np.array([0.6, 0.3, 0.1])
    counts = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
    logp = np.array(
        [
            math.lgamma(n + 1) - sum(math.lgamma(c + 1) for c in row) + (row * np.log(p)).sum()
            for row in counts
        ]
    )
    evidence = ex._evidence(counts, p)
    for alpha in (0.3, 0.05, 1e-3, 1e-6):
        assert np.exp(logp[evidence > ex._evidence_limit(3, alpha)]).sum() <= alpha


def test_sampler_with_many_questions_single_draws_and_a_distribution_function():
    p = torch.tensor([0.2, 0.5, 0.9])
    exercise(
        "units",
        reference=lambda p, n: (torch.rand(n, 3) < p).float(),
        kind="sampler",
        cases=[(p, 4000)],
        outcome=lambda s: s.long(),
        oracle=lambda p, n: torch.stack([1 - p, p], -1),
        mistakes=[Mistake("flip", lambda p, n: (torch.rand(n, 3) > p).float())],
    )
    assert verify("units") == []
    exercise(
        "one",
        reference=lambda: random.choice([0, 1, 2]),
        kind="sampler",
        cases=[()],
        repeat=300,
        outcome=lambda s: s,
        oracle=lambda: np.ones(3) / 3,
        mistakes=[Mistake("two", lambda: random.choice([0, 1]))],
    )
    assert verify("one") == []
    assert diagnose("one", lambda: 7).kind == "law"

    def normal(x):
        return 0.5 * (1 + torch.erf(torch.as_tensor(x) / math.sqrt(2)))

    exercise(
        "normal",
        reference=lambda n: torch.randn(n),
        kind="sampler",
        cases=[(8000,)],
        outcome=lambda x: x,
        oracle=lambda n: normal,
        mistakes=[
            Mistake("wide", lambda n: 1.3 * torch.randn(n)),
            Mistake("uniform", lambda n: torch.rand(n), law=lambda n: lambda x: np.clip(x, 0, 1)),
        ],
    )
    assert verify("normal") == []
    assert all(diagnose("normal", torch.randn).status == "right" for _ in range(50))


# ---- check, strict, display, progress --------------------------------------------------------------------------------


def test_check_returns_a_function_that_works(spec, capsys):
    def mine(state, W):
        return energy(state, W)

    assert check("energy", mine) is mine and "✓ energy: right" in capsys.readouterr().out
    assert check("energy", lambda s, W: 0) is energy and "✗ energy" in capsys.readouterr().out


def test_strict(spec, monkeypatch):
    with pytest.raises(ExerciseFailed, match="counted twice"):
        check("energy", lambda s, W: 2 * energy(s, W), strict=True)
    monkeypatch.setenv("SILEN_STRICT", "1")
    with pytest.raises(ExerciseFailed):
        check("energy", lambda s, W: None)
    assert check("energy", lambda s, W: None, strict=False) is energy
    monkeypatch.setenv("SILEN_STRICT", "0")
    assert check("energy", lambda s, W: None) is energy


def test_check_never_raises(spec, capsys, monkeypatch):
    assert (
        check("no_such_exercise", energy) is energy and "o check called" in capsys.readouterr().out
    )
    exercise("lost", "no_such_module_here", cases=[(1,)])
    assert check("lost", energy) is energy and "could not be loaded" in capsys.readouterr().out
    monkeypatch.setattr(ex, "diagnose", lambda *a: 1 / 0)
    assert check("energy", energy) is energy and "check itself failed" in capsys.readouterr().out


def test_html_is_escaped(spec):
    def mine(state, W):
        raise OSError("<script>alert(1)</script>")

    box = diagnose("energy", mine)._repr_html_()
    assert (
        "<script>" not in box
        and "&lt;script&gt;" in box
        and "✗" in box
        and "stops with an exception" in box
    )


def test_progress(spec, tmp_path, monkeypatch):
    path = tmp_path / "progress.json"

    def right(state, W):
        return -torch.einsum("...i,ij,...j", state, W, state) / 2

    def status():
        return json.loads(path.read_text(encoding="utf-8"))["energy"]["status"]

    def stub(state, W):
        raise NotImplementedError

    check("energy", stub)
    assert not path.exists()
    check("energy", lambda s, W: 0)
    assert status() == "tried"
    # after a wrong answer the reference stands for that answer, so the right one is a function of its own
    check("energy", right)
    check("energy", lambda s, W: 0)
    assert status() == "done"
    for junk in (b"{", b"[1, 2]", b"\xff\xfe", b'{"energy": 3}'):
        path.write_bytes(junk)
        check("energy", right)
        assert status() == "done"
    monkeypatch.setenv("SILEN_PROGRESS", str(tmp_path / "no" / "such" / "folder" / "p.json"))
    assert check("energy", right) is right
    monkeypatch.setenv("SILEN_PROGRESS", str(tmp_path))
    assert check("energy", right) is right
    path.unlink()
    monkeypatch.setenv("SILEN_PROGRESS", "off")
    check("energy", right)
    assert not path.exists() and not list(tmp_path.glob("*.tmp"))


# ---- specs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cases": [], "reference": energy}, "cases"),
        ({"cases": [(1,)]}, "module"),
        ({"cases": [(1,)], "reference": energy, "kind": "odd"}, "kind"),
        ({"cases": [(1,)], "reference": energy, "colour": 1}, "colour"),
        ({"cases": [(1,)], "reference": energy, "kind": "sampler"}, "outcome"),
        ({"cases": [(1,)], "reference": energy, "mistakes": ["hint"]}, "Mistake"),
    ],
)
def test_bad_specs_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        exercise("bad", **fields)


def test_bad_mistakes_are_refused():
    with pytest.raises(ValueError, match="hint"):
        Mistake("", energy)
    with pytest.raises(ValueError, match="wrong"):
        Mistake("a hint")


def test_verify_finds_unsound_specs():
    fields = {"reference": lambda x: x * 2, "cases": [(torch.tensor([2.0]),)]}

    def problems(**more):
        exercise("unsound", **fields, **more)
        return " ".join(verify("unsound"))

    assert "no oracle" in problems()
    assert "oracle disagrees" in problems(oracle=lambda x: x * 3)
    assert "passes" in problems(
        oracle=lambda x: x + x, mistakes=[Mistake("square", lambda x: x**2)]
    )
    assert "earns" in problems(
        oracle=lambda x: x + x,
        mistakes=[Mistake("a", lambda x: x * 3), Mistake("b", lambda x: x + 4)],
    )
    assert "share the hint" in problems(
        oracle=lambda x: x + x, mistakes=[Mistake("a", lambda x: x), Mistake("a", lambda x: x + 9)]
    )
    assert "itself fails" in problems(oracle=lambda x: x + x, returns=np.ndarray)
    bad_law = {
        "kind": "sampler",
        "outcome": lambda x: x.long(),
        "oracle": lambda x: torch.tensor([0.5, 0.4]),
    }
    assert "sum to 1" in problems(**bad_law)
    assert "no check called" in verify("never_heard_of")[0]


def test_lazy_search_finds_specs_and_survives_a_broken_module(tmp_path, monkeypatch, capsys):
    package = tmp_path / "more_checks"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "broken.py").write_text("import no_such_module", encoding="utf-8")
    (package / "fine.py").write_text(
        "from silen_lib.exercises import exercise\nexercise('late', 'math', cases=[(4,)])\nlate = 'late'",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SILEN_CHECKS", "more_checks, missing_package")
    assert ex.find_spec("late").module == "math"
    with pytest.raises(LookupError, match="more_checks.broken could not be imported"):
        ex.find_spec("absent")


def test_show_mistakes(spec):
    shown = ex.show_mistakes("energy")
    assert "counted twice" in repr(shown) and shown._repr_html_().count("role='status'") == 3


# ---- in a kernel ----------------------------------------------------------------------------------------------------


def test_in_a_kernel_loops_are_stopped_and_exit_does_not_kill(tmp_path):
    code = [
        "from silen_lib.exercises import check, exercise\nexercise('one', reference=lambda: 1, cases=[()], timeout=.5)",
        "def one():\n    while True: pass\none = check('one', one)",
        "def one(): exit()\none = check('one', one)",
        "assert one() == 1",
        "from silen_lib.board import progress_board; progress_board()",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in code])
    from nbclient import NotebookClient

    NotebookClient(nb, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    data = [c.outputs[0].data for c in (nb.cells[1], nb.cells[2], nb.cells[4])]
    assert (
        "it ran too long" in data[0]["text/plain"]
        and "your line: 2: while True: pass" in data[0]["text/plain"]
    )
    assert "leaves Python" in data[1]["text/plain"] and "role='status'" in data[1]["text/html"]
