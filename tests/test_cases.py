"""What a chapter does with an exercise's function, its check tries: calls, answers, hints."""

import ast
import copy
import importlib
import inspect
import itertools
import os
import re
import sys
import textwrap

import pytest
import torch
from chapter_functions import defined_in
from exercise_calls import (
    CHAPTERS,
    call_form,
    case_calls,
    cells_of,
    chapter_calls,
    code_of,
    read,
    recorded,
    spied,
)
from plain_answers import PLAIN
from torch import Tensor

from silen_lib import exercises as ex
from silen_lib.exercises import Case, diagnose, find_spec

CHECKS = CHAPTERS[0].parent / "checks"
RECORD = recorded()
NOTEBOOKS = {path.stem: read(path) for path in CHAPTERS}
WHERE = {name: chapter for chapter, nb in NOTEBOOKS.items() for name in cells_of(nb, "exercise")}
QUICK = {("00_energy", "the book's answers"), ("08_sampling", "plain answers")}
torch.set_num_threads(1)


def answer(name):
    "The library's own function."
    spec = find_spec(name)
    return spec.reference or getattr(importlib.import_module(spec.module), name)


def cases(name):
    "The check's cases as `Case` objects."
    spec = find_spec(name)
    made = spec.cases() if callable(spec.cases) else spec.cases
    return [
        c if isinstance(c, Case) else Case(*c) if isinstance(c, tuple) else Case(c) for c in made
    ]


# ---- the calls of a chapter ------------------------------------------------------------------------------------------


def test_every_exercise_has_its_record():
    assert {c: set(e) for c, e in RECORD.items()} == {
        c: set(cells_of(nb, "exercise")) for c, nb in NOTEBOOKS.items()
    }, "python tests/exercise_calls.py writes the record again"


@pytest.mark.parametrize("name", WHERE)
def test_the_cases_hold_every_call_of_the_chapter(name):
    missing = set(RECORD[WHERE[name]][name]) - set(case_calls(name))
    assert not missing, (
        f"{WHERE[name]} calls {name} in ways that its check does not try: {sorted(missing)}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["the book's answers", "plain answers"])
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_to_its_end_with_answers_and_calls_as_recorded(path, whose):
    "The answers stand in the stubs; every check says right; no call is of a form that the record lacks."
    if (path.stem, whose) not in QUICK and not os.environ.get("SILEN_ALL"):
        pytest.skip("all chapters run with SILEN_ALL=1")
    names = RECORD[path.stem] if whose == "plain answers" else ()
    calls = chapter_calls(path, {name: written(name, PLAIN[name]) for name in names})
    new = {name: sorted(set(forms) - set(RECORD[path.stem][name])) for name, forms in calls.items()}
    assert not any(new.values()), (
        f"new calls; run `python tests/exercise_calls.py {path.stem}`: {new}"
    )


def test_the_recorder_tells_forms_apart():
    x = torch.zeros(3, 2)
    forms = [call_form((v,), {}) for v in (
        x, x.double(), x[:1], x[0], x[0, 0], 0.0, 0, True, None, "exp", [x], (x,), x.T, x.numpy(), torch.Generator(),
        x.clone().requires_grad_(), x.long(), max, x[:0])]  # fmt: skip
    assert len(set(forms)) == len(forms)
    assert (
        call_form((x,), {"b": 1, "a": 2.0})
        == call_form((x,), {"a": 2.0, "b": 1})
        == "(float32[n,n], a=float, b=int)"
    )


def test_the_recorder_leaves_a_function_and_a_class_what_they_are():
    seen = set()
    assert spied(torch.add, seen)(torch.ones(2), 1).tolist() == [2, 2] and seen == {
        "(float32[n], int)"
    }
    layer = spied(torch.nn.Linear, seen)(3, 2, bias=False)
    assert isinstance(layer, torch.nn.Linear) and layer(torch.ones(1, 3)).shape == (1, 2)
    assert {
        "made with int",
        "made with bias=False",
        "called with float32[1,n]",
        "called in training",
    } <= seen


# ---- what users do ---------------------------------------------------------------------------------------------------


def bound(name):
    "Arguments of every case by name."
    signature = inspect.signature(answer(name))
    try:
        made = [signature.bind(*c.args, **c.kwargs).arguments for c in cases(name)]
    except TypeError:
        if find_spec(name).use is None:
            raise
        pytest.skip("judged in an experiment, whose arguments the cases hold")
    return signature.parameters, made


FUNCTIONS = [name for name in WHERE if not inspect.isclass(answer(name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_number_or_a_tensor_is_tried_as_both(name):
    parameters, made = bound(name)
    for p in parameters.values():
        if "float" in str(p.annotation) and "Tensor" in str(p.annotation):
            kinds = {
                "tensor" if isinstance(b[p.name], Tensor) else "number" for b in made if p.name in b
            }
            kinds |= {
                "0-d"
                for b in made
                if p.name in b and isinstance(b[p.name], Tensor) and b[p.name].ndim == 0
            }
            assert kinds == {"tensor", "number", "0-d"}, (
                f"{p.name} promises {p.annotation}; the cases have {kinds}"
            )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_precisions_and_transposed_views_are_tried(name):
    parameters, made = bound(name)
    if any("RBM" in str(p.annotation) for p in parameters.values()):
        pytest.skip("its images have the dtype of the machine")
    tensors = [
        [b[p] for b in made if isinstance(b.get(p), Tensor) and b[p].is_floating_point()]
        for p in parameters
    ]
    for found in filter(None, tensors):
        if any(
            "float" in str(parameters[p].annotation)
            for p in parameters
            if any(b.get(p) is found[0] for b in made)
        ):
            continue  # a number or a tensor: the test above
        assert {t.dtype for t in found} >= {torch.float32, torch.float64}
        if any(t.ndim > 1 for t in found):
            assert any(not t.clone().is_contiguous() for t in found), (
                "no transposed view among the cases"
            )


@pytest.mark.parametrize(
    "name", [n for n in FUNCTIONS if any(" grad" in f for f in RECORD[WHERE[n]][n])]
)
def test_an_answer_that_cuts_the_gradient_off_is_refused(name):
    def cut(*args, **kwargs):
        with torch.no_grad():
            return answer(name)(*args, **kwargs)

    verdict = diagnose(name, cut)
    assert verdict.status == "wrong" and "cut off from its parameters" in verdict.message, str(
        verdict
    )


def written(name, code):
    "The stub with a body in place of `raise NotImplementedError`."
    nb = NOTEBOOKS[WHERE[name]]
    stub = code_of(nb.cells[cells_of(nb, "exercise")[name]])
    line = next(x for x in stub.splitlines() if x.strip() == "raise NotImplementedError")
    body = textwrap.indent(
        textwrap.dedent(code).strip("\n"), line[: len(line) - len(line.lstrip())]
    )
    return stub.replace(line, body)


def reader(name, code):
    "What a reader's stub with this body defines, in the chapter's own namespace."
    module = vars(importlib.import_module(find_spec(name).module))
    space = defined_in(WHERE[name], module) | {"__name__": "__main__"}
    exec(compile(written(name, code), f"<{name}>", "exec"), space)  # noqa: S102
    return space[name]


def test_every_exercise_has_a_plain_answer():
    assert set(PLAIN) == set(WHERE)


@pytest.mark.parametrize("name", WHERE)
def test_every_spec_is_proved_by_its_own_notebook(name):
    "Which CI runs, so that no other test need prove it again."
    cells = read(CHECKS / f"{WHERE[name]}.ipynb").cells
    assert any(re.search(rf'\(verify\("{name}"\), \[\]\)', c.source) for c in cells)


@pytest.mark.parametrize("name", WHERE)
def test_a_plain_right_answer_is_right_and_kept(name):
    "The cases ask for what the chapter does, not for the library's checks and fast paths."
    verdict = diagnose(name, reader(name, PLAIN[name]))
    assert verdict.kind == "right", f"{verdict} {verdict.message}"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("boltzmann", "return torch.softmax((E.amin(-1, keepdim=True) - E).float() @ torch.eye(E.shape[-1]) / "
         "math.exp(math.log(T)), -1).view(-1)", "shape"),
        ("entropy", "return torch.tensor((-torch.xlogy(p, p).sum(-1)).tolist())", "cut off"),
        ("async_step", "new = state.clone()\nnew[..., i] = torch.where(state @ W[i] >= 0, 1.0, -1.0)\nreturn new",
         "tie_width"),
        ("rbm_log_partition", "if len(b) < len(a): W, a, b = W.T, b, a\n"
         "return torch.logsumexp(-rbm_free_energy(all_states(len(a)), W, a, b), 0)", "convert one of them"),
        ("spin_up_probability", "return torch.stack([1/(1 + (-2*x/T).exp()) for x in h])", "0-d"),
        ("swap_probability", "return torch.tensor([min(1., math.exp(min(0., (1/T1 - 1/T2)*(x - y)))) "
         "for x, y in zip(E1.tolist(), E2.tolist())])", "type"),
        ("langevin_step", "noise = torch.randn(x.shape, generator=generator)\n"
         "return x - step_size*slope + math.sqrt(2*step_size*T)*noise", "math.sqrt takes one number"),
        ("mala_log_ratio", "forth = (y - x + step_size*slope).square().sum(-1)\n"
         "back = (x - y + step_size*slope_y).square().sum(-1)\nreturn (forth - back)/(4*step_size*T)",
         "one number for each"),
        ("acceptance_probability", "return torch.exp(torch.clamp((E - E_new)/float(T) + log_ratio, max=0))", "number"),
        ("mixture_score", "log_f, variance = components(x, weights, means, stds, sigma)\n"
         "a = log_f.softmax(-1) / variance\nreturn a @ means - x * a.sum(-1, keepdim=True)", "one dtype"),
        ("denoising_score_matching", "s = sigma[:, None]\n"
         "return (s*score(x + s*noise, sigma) + noise).square().sum(-1).mean()", "plain number"),
        ("variational_free_energy",
         "return torch.tensor([sum(a*(math.log(a) - b) for a, b in zip(r, s) if a > 0) for r, s in zip("
         "q.reshape(-1, q.shape[-1]).tolist(), log_joint.expand(q.shape).reshape(-1, q.shape[-1]).tolist())])"
         ".reshape(q.shape[:-1])", "cut off"),
        ("training_flops", None, "batch_size"),
    ],
)  # fmt: skip
def test_an_answer_that_is_right_for_some_calls_only_is_refused_in_plain_words(name, code, words):
    if code is None:  # right, but its arguments have other names
        fn = lambda a, b, c=128, d=1: answer(name)(a, b, c, d)  # noqa: E731
    else:
        fn = reader(name, code)
    verdict = diagnose(name, fn)
    assert verdict.status == "wrong" and words in str(verdict), str(verdict)


# ---- hints -----------------------------------------------------------------------------------------------------------


def hints_in(nb):
    "{exercise: its hints, first to last}: the <details> between its stub and the next section."
    stubs, found = cells_of(nb, "exercise"), {}
    ends = sorted([*stubs.values(), *cells_of(nb, "solution").values()])
    for name, i in stubs.items():
        cells = nb.cells[i + 1 : next(j for j in ends if j > i)]
        text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
        text = re.split(r"^(?:## |### Exercise)", text, maxsplit=1, flags=re.MULTILINE)[0]
        found[name] = re.findall(
            r"<details><summary>Hint \d+</summary>(.*?)</details>", text, re.DOTALL
        )
    return found


HINTS = {name: hints for nb in NOTEBOOKS.values() for name, hints in hints_in(nb).items()}


def fragments(hint):
    "Code in a hint: what stands in fences and in backticks."
    fenced = re.findall(r"```(?:python)?\n(.*?)```", hint, re.DOTALL)
    rest = re.sub(r"```.*?```", "", hint, flags=re.DOTALL)
    return [textwrap.dedent(f).strip() for f in fenced] + [
        " ".join(f.split()) for f in re.findall(r"`([^`]+)`", rest)
    ]


def parsed(fragment):
    "The syntax tree of a fragment: keywords of a call, statements, a statement's head, or a method; else None."
    text = fragment.replace("…", "...")
    forms = ("dict({})",) if re.match(r"\w+=[^=]", text) else ("{}", "{}: pass", "_it{}")
    for form in forms:
        try:
            return ast.parse(form.format(text))
        except SyntaxError:
            continue
    return None


@pytest.mark.parametrize("name", WHERE)
def test_hints_lead_up_and_their_code_parses(name):
    assert 2 <= len(HINTS[name]) <= 3
    for hint in HINTS[name]:
        for fragment in fragments(hint):
            assert re.fullmatch(r"[^\w\s]+", fragment) or parsed(fragment), (
                f"`{fragment}` is no Python"
            )
            assert "```" not in hint, "a fenced block is an answer: say the idea in words"


_WORK = ast.BinOp | ast.UnaryOp | ast.Call | ast.Tuple | ast.IfExp


def bodies(name):
    "Bodies that a machine can make of a hint: each expression returned, after all that the hints before have assigned."
    assigned = []
    for hint in HINTS[name]:
        lines = []
        for fragment in fragments(hint):
            tree = parsed(fragment)
            if tree is None or "..." in ast.unparse(tree):
                continue
            lines += [
                s for s in tree.body if not isinstance(s, ast.Expr) or isinstance(s.value, _WORK)
            ]
        for k, s in enumerate(lines):
            if isinstance(s, ast.Expr):
                before = [x for x in lines[:k] if not isinstance(x, ast.Expr)]
                yield [*assigned, *before, ast.Return(s.value)]
            elif isinstance(s, ast.Return):
                yield [*assigned, *[x for x in lines[:k] if not isinstance(x, ast.Expr)], s]
            elif isinstance(s, ast.Assign) and k == len(lines) - 1:
                yield [
                    *assigned,
                    *lines[:k],
                    s,
                    ast.Return(ast.Name(getattr(s.targets[0], "id", "None"))),
                ]
        assigned += [s for s in lines if isinstance(s, ast.Assign)]


@pytest.mark.parametrize("name", WHERE)
def test_no_hint_is_the_answer(name):
    "A machine puts what code the hints hold into the stub: it never becomes right."
    for body in bodies(name):
        code = "\n".join(ast.unparse(ast.fix_missing_locations(s)) for s in body)
        assert diagnose(name, reader(name, code)).status == "wrong", (
            f"the hints hold the answer:\n{code}"
        )


def normal(node):
    "A piece of code without the names of its variables, in one spelling."
    names = itertools.count()
    known = {}
    node = copy.deepcopy(node)
    for n in ast.walk(node):
        if isinstance(n, ast.Name):
            n.id = known.setdefault(n.id, f"v{next(names)}")
    return ast.dump(node)


@pytest.mark.parametrize("name", WHERE)
def test_no_hint_holds_what_the_answer_returns(name):
    nb = NOTEBOOKS[WHERE[name]]
    tree = ast.parse(code_of(nb.cells[cells_of(nb, "solution")[name]]))
    returned = {
        normal(n.value)
        for n in ast.walk(tree)
        if isinstance(n, ast.Return) and not isinstance(n.value, ast.Name)
    }
    said = [
        n for hint in HINTS[name] for f in fragments(hint) if (t := parsed(f)) for n in ast.walk(t)
    ]
    assert not [ast.unparse(n) for n in said if isinstance(n, ast.expr) and normal(n) in returned]


def inside(name):
    "For each case: the arguments, and the variables of the answer when it returns."
    fn, found = answer(name), []
    code = inspect.unwrap(fn).__code__

    def watch(frame, event, _):
        if event == "return" and frame.f_code is code:
            found.append(dict(frame.f_locals))

    for c in cases(name):
        args, kwargs = copy.deepcopy(c.args), copy.deepcopy(c.kwargs)
        arguments = dict(inspect.signature(fn).bind(*args, **kwargs).arguments)
        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            fn(*args, **kwargs)
        finally:
            sys.setprofile(before)
        if found:
            yield {**arguments, **{k: v for k, v in found.pop().items() if k not in arguments}}
            found.clear()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_code_in_a_hint_runs_on_every_case(name):
    "Whatever dtype, shape or kind a call has: `a @ means` where the two dtypes differ is no hint."
    bound(name)  # skips what is judged in an experiment
    space = dict(vars(importlib.import_module(find_spec(name).module)))
    trees = [
        t
        for hint in HINTS[name]
        for f in fragments(hint)
        if (t := parsed(f)) and "..." not in ast.unparse(t)
    ]
    for variables in inside(name):
        for tree in trees:
            loaded = {
                n.id
                for n in ast.walk(tree)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
            }
            optional = any(variables.get(n, 0) is None for n in loaded)
            if optional or not loaded <= {*variables, *space, *dir(__builtins__)}:
                continue  # it speaks of a variable that the answer at the back calls by another name
            local = {k: v.clone() if isinstance(v, Tensor) else v for k, v in variables.items()}
            exec(compile(tree, f"<hint of {name}>", "exec"), {**space, **local}, local)  # noqa: S102
            variables.update({k: v for k, v in local.items() if k not in variables})


# ---- known mistakes --------------------------------------------------------------------------------------------------

# a complaint about how a program is written, not about what it computes
FORMAL = re.compile(
    r"same dtype|scalar type|infer output dtype|out of range integral|integer types"
    r"|unexpected keyword|positional argument|is not defined|not associated with a value|same device"
)


def stumbles(name):
    "(hint, exception) of the wrong programs that stop at a formality, of which their hint says nothing."
    bench = ex._bench(name)
    for mistake in bench.spec.mistakes:
        for wrong in mistake.wrong:
            outcomes = ex._rival(bench, wrong)
            error = outcomes[-1].error if outcomes else None
            if error and FORMAL.search(str(error)) and "dtype" not in mistake.hint:
                yield mistake.hint, f"case {len(outcomes)}: {type(error).__name__}: {error}"


@pytest.mark.parametrize("name", WHERE)
def test_a_known_mistake_does_not_stumble_over_its_own_program(name):
    "A reader who makes it and minds the formality computes something wrong, and would get no hint."
    assert not list(stumbles(name))


def test_a_mistake_that_stumbles_is_found(monkeypatch):
    monkeypatch.setattr(ex, "SPECS", dict(ex.SPECS))
    cases = [(torch.ones(2),), (torch.ones(2).double(),)]
    mistakes = [
        ex.Mistake("Twice too much.", lambda x: 2 * x.dot(torch.ones(2))),
        ex.Mistake("A scalar has the dtype of x.", lambda x: x.dot(torch.ones(2))),
        ex.Mistake("One too much.", lambda x, more: x.sum() + more),
        ex.Mistake("The axis is the wrong one.", lambda x: x.sum(1)),
        ex.Mistake("Half of it.", lambda x: x.sum() / 2),
    ]
    ex.exercise("total", reference=torch.sum, cases=cases, mistakes=mistakes)
    found = dict(stumbles("total"))
    assert list(found) == ["Twice too much.", "One too much."]
    assert found["Twice too much."].startswith("case 2: RuntimeError")
