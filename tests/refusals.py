"""What no function should accept without a word, by kind of argument."""

import math
import re

import pytest
import torch


def _with(x, value):
    "x with one entry replaced."
    x = x.clone()
    x.view(-1)[0] = value
    return x


def _tensors(x):
    "For any tensor of floating-point numbers."
    return {
        "numpy": x.numpy(), "list": x.tolist(), "None": None, "integers": x.int(), "complex": x + 0j, "half": x.half(),
        "bfloat16": x.bfloat16(), "meta": x.to("meta"), "NaN": _with(x, math.nan), "infinity": _with(x, math.inf),
    }  # fmt: skip


def _bits(x):
    others = {"bytes": x * 255, "spins": 2 * x - 1, "empty": x[:0], "narrow": x[..., :-1], "one column": x[..., :1]}
    return _tensors(x) | others


def _any_bits(x):
    "Where every dtype of bits is right."
    some = {"bytes": (x * 255).to(torch.uint8), "byte spins": (2 * x - 1).to(torch.int8)}
    return some | {name: y for name, y in _bits(x).items() if name not in ("integers", "half", "bfloat16")}


COUNTS = dict(zero=0, negative=-1, float=1.5, inf=math.inf, nan=math.nan, bool=True, text="3") | {"None": None}
KINDS = {
    "real": _tensors,
    "alone": lambda x: {name: y for name, y in _tensors(x).items() if name != "meta"},  # no other tensor beside it
    "bits": _bits,
    "alone bits": lambda x: {name: y for name, y in _bits(x).items() if name not in ("meta", "narrow", "one column")},
    "binary": lambda x: _bits(x) | {"grey": x * 0.5},
    "any bits": _any_bits,
    "distribution": lambda x: _tensors(x) | {"negative": -x, "double": 2 * x, "empty": x[:0]},
    "mask": lambda x: {"float": x.float(), "numpy": x.numpy(), "meta": x.to("meta"), "narrow": x[:-1], "None": None},
    "index": lambda x: {"float": x.float(), "bool": x.bool(), "beyond": x + 99, "negative": x - 99, "None": None},
    "count": lambda x: COUNTS,
    "least 0": lambda x: {name: y for name, y in COUNTS.items() if name != "zero"},
    "number": lambda x: dict(nan=math.nan, inf=math.inf, bool=True, text="1", tensor=torch.ones(2)),
    "not below 0": lambda x: KINDS["number"](x) | dict(negative=-0.1),
    "positive": lambda x: KINDS["not below 0"](x) | dict(zero=0.0),
    "fraction": lambda x: KINDS["not below 0"](x) | dict(above=1.1),
    "generator": lambda x: dict(number=3, text="cpu"),
    "object": lambda x: {"None": None, "number": 3, "tensor": torch.ones(2, 2)},
}


def refuses(call, legal, kinds, optional=()):
    """`call(**legal)` works; each hostile value of an argument raises a ValueError that names it. How many were tried.

    None is right for the arguments in `optional`."""
    call(**legal)
    tried, silent = 0, []
    for name, kind in kinds.items():
        for label, value in KINDS[kind](legal[name]).items():
            if label == "None" and name in optional:
                continue
            tried += 1
            try:
                call(**legal | {name: value})
                silent.append(f"{name}: {label}: taken")
            except ValueError as error:
                if not re.search(rf"\b{name}\b", str(error)):
                    silent.append(f"{name}: {label}: not named: {error}")
            except Exception as error:
                silent.append(f"{name}: {label}: {type(error).__name__}: {str(error)[:100]}")
    if silent:
        pytest.fail("\n".join(silent))
    return tried
