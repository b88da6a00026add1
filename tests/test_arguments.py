"""No public function does its best with what it cannot do right: it says which argument, what it got and what it
wants.

The walk over `catalogue.ENTRIES` hands every argument of every call what its kind must refuse. A new public name is
found by `test_every_public_name_is_walked`.
"""

import contextlib
import importlib
import inspect
import re
import signal

import catalogue
import pytest
import shape
import torch
from catalogue import ENTRIES, EXEMPT
from torch import nn

MODULES = [m.name for m in shape.modules() if m.is_chapter] + ["chains", "coins", "places", "spins"]


def _weights(arguments: dict) -> dict:
    "Parameters of every machine among the arguments: a refused call must not have touched them."
    owners = {name: a for name, a in arguments.items() if isinstance(a, nn.Module)}
    return {
        (n, k): v.clone() for n, module in owners.items() for k, v in module.state_dict().items()
    }


@contextlib.contextmanager
def _patience(seconds: int = 10):
    "A call that is still at it after so long raises TimeoutError (where the system has alarms)."

    def ring(*_):
        raise TimeoutError(f"still at it after {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _refusal(entry, argument: str, value, case: str = "") -> str:
    "'' when the value is refused by name, else what happened. Of two widths that do not fit either may be named."
    arguments = entry.legal() | {argument: value}
    function, before = entry.function(), _weights(arguments)
    try:
        with _patience():
            made = function(**arguments)
    except ValueError as error:
        names = [n for n, kind in entry.arguments.items() if isinstance(kind, catalogue.Array)]
        fits = case not in ("one wider", "one narrower")
        named = argument if fits else "|".join(map(re.escape, names))
        if not re.search(rf"(?<![\w])({named})(?![\w])", str(error)):
            return f"does not name {argument}: {str(error)[:120]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:120]}"
    else:
        return f"took it, gave {str(made)[:60]!r}"
    after = _weights(arguments)
    return (
        ""
        if all(torch.equal(after[k], v) for k, v in before.items())
        else "refused, but the machine was changed"
    )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_refuses(entry):
    entry.function()(**entry.legal())  # the legal call works
    cases = list(entry.wrong())
    wrong = [
        f"{a} = {case}: {what}" for a, case, v in cases if (what := _refusal(entry, a, v, case))
    ]
    assert not wrong, f"{entry.name}: {len(wrong)} of {len(cases)}\n" + "\n".join(wrong)


def _public(module: str) -> set[str]:
    "Functions, classes and the public methods that a class defines itself."
    found = importlib.import_module(f"silen_lib.{module}")
    names = set()
    for name in found.__all__:
        names.add(name)
        made = getattr(found, name)
        if inspect.isclass(made) and not issubclass(made, (tuple, dict, Exception)):
            names |= {
                f"{name}.{k}"
                for k, v in vars(made).items()
                if inspect.isfunction(v) and not k.startswith("_")
            }
    return names


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_walked(module):
    walked = {e.name.partition(".")[2] for e in ENTRIES if e.name.startswith(f"{module}.")}
    exempt = set(EXEMPT.get(module, "").split())
    classes = {w.partition(".")[0] for w in walked if "." in w} | exempt
    forgotten = {
        n
        for n in _public(module) - walked - exempt
        if n not in classes and n.partition(".")[0] not in exempt
    }
    assert not forgotten, f"add to tests/catalogue.py: {sorted(forgotten)}"
    assert not exempt & walked


def test_the_walk_finds_a_function_that_does_not_look():
    careless = catalogue.Entry(
        "careless",
        lambda state, T: state / T,
        {"state": catalogue.Spins(4, 8), "T": catalogue.Temperature()},
    )
    found = [
        c
        for c, v in careless.arguments["state"].hostile().items()
        if _refusal(careless, "state", v)
    ]
    assert {"bits", "doubled", "nan", "empty", "float16", "elsewhere"} <= set(found)
    found = [c for c, v in careless.arguments["T"].hostile().items() if _refusal(careless, "T", v)]
    assert {"nan", "inf", "too low", "negative"} <= set(found)
