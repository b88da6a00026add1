"""What a function must refuse, by the role of the argument: each value with one thing wrong.

`trials(table)` walks a table {name: (function, good arguments, {argument: role})}: every good call runs, every hostile
one is to raise a ValueError that names the argument."""

import math
from collections.abc import Callable, Iterator

import torch

NAN, INF = math.nan, math.inf


def _kinds(x: torch.Tensor, half: bool = False) -> dict:
    "A tensor of another kind."
    found = {"numpy": x.detach().numpy(), "integers": x.long(), "complex": x.to(torch.complex64), "bool": x > 0,
             "a list": x.tolist(), "None": None}  # fmt: skip
    return found if half else {**found, "float16": x.half(), "bfloat16": x.bfloat16()}


def _at(x: torch.Tensor, value: float) -> torch.Tensor:
    "x with one entry replaced."
    y = x.detach().clone().flatten()
    y[-1] = value
    return y.view(x.shape)


def _numbers(*wrong: object) -> dict:
    return {repr(w): w for w in (NAN, True, "1", [1.0], *wrong)}


ROLES: dict[str, Callable[..., dict]] = {
    "real": lambda x: {**_kinds(x), "NaN": _at(x, NAN), "inf": _at(x, INF), "-inf": _at(x, -INF)},
    "coarse": lambda x: {**_kinds(x, True), "NaN": _at(x, NAN), "inf": _at(x, INF)},  # half precision is right
    "moving": lambda x: _kinds(x),  # a walker that flew off must not stop the others: NaN goes through
    "layer": lambda x: _kinds(x, True),
    "spins": lambda x: {**_kinds(x), "NaN": _at(x, NAN), "bits": (x + 1) / 2, "doubled": 2 * x, "grey": _at(x, 0.5)},
    "shares": lambda x: {**_kinds(x), "NaN": _at(x, NAN), "doubled": 2 * x, "negative": -x},
    "scores": lambda x: {**_kinds(x), "NaN": _at(x, NAN), "inf": _at(x, INF), "all forbidden": x - INF},
    "count": lambda x: _numbers(None, 1.5, float(x), INF, -1),
    "positive": lambda x: _numbers(None, 0.0, -1.0, INF),
    "at least 0": lambda x: _numbers(None, -1.0, INF),
    "number": lambda x: _numbers(None, INF),
    "widths": lambda x: _numbers(None, -1.0, INF, torch.tensor(NAN), torch.tensor(-1.0)),
    "temperature": lambda x: _numbers(None, 0.0, -1.0, INF, torch.tensor(NAN), torch.tensor(0.0)),
    "levels": lambda x: {
        repr(w): w for w in ([], [NAN], [1.0, NAN], [1.0, 1.0], [1.0, INF], [2.0, -1.0], 3.0, None, "21")},
    "ladder": lambda x: {repr(w): w for w in ([], [1.0], [1.0, NAN], [1.0, INF], [1.0, 0.0], 3.0, None, "21")},
    "generator": lambda x: {repr(w): w for w in (1, "cpu", torch.Generator)},
    "function": lambda x: {repr(w): w for w in (1, "abs", torch.ones(1))},
    "mask": lambda x: {"floats": x.float(), "a list": x.tolist(), "wide": torch.ones(99).bool(), "meta": x.to("meta")},
}  # fmt: skip


def trials(table: dict) -> Iterator[tuple[str, Callable, dict, str]]:
    "Name, function, arguments with one of them wrong, and that argument's name."
    for name, (f, good, roles) in table.items():
        for argument, role in roles.items():
            role, *more = role.split(", ")  # "alone": no tensor beside it whose device it must share
            for what, wrong in ROLES[role](good.get(argument)).items():
                if wrong is None and "optional" in more:
                    continue
                yield f"{name}({argument}: {what})", f, {**good, argument: wrong}, argument
            x = good.get(argument)
            if isinstance(x, torch.Tensor) and x.is_floating_point() and "alone" not in more:
                yield f"{name}({argument}: elsewhere)", f, {**good, argument: x.to("meta")}, argument
                if "widened" not in more:
                    yield f"{name}({argument}: float64)", f, {**good, argument: x.double()}, argument


def complaints(table: dict) -> list[str]:
    "What a table's functions let through, or refuse without naming the argument."
    found = []
    for name, (f, good, _) in table.items():
        f(**good)
    for name, f, arguments, argument in trials(table):
        try:
            f(**arguments)
        except ValueError as error:
            if argument.replace("_", "") not in str(error).replace("_", ""):
                found.append(f"{name} does not name it: {error}")
        except Exception as error:
            found.append(f"{name} raised {type(error).__name__}: {str(error)[:80]}")
        else:
            found.append(f"{name} was taken")
    return found
