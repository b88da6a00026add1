"""What nobody should pass: wrong versions of a legal argument, by what the argument is."""

import math
import re
import time

import numpy as np
import torch


def _tensors(x: torch.Tensor):
    "Wrong versions of any floating-point tensor."
    yield "numpy", x.detach().numpy()
    yield "list", x.detach().flatten().tolist()
    yield "None", None
    yield "text", "ones"
    yield "integers", x.detach().round().to(torch.int64)
    yield "complex", x.to(torch.complex64 if x.dtype == torch.float32 else torch.complex128)
    yield "bool", x > 0
    yield "half", x.half()
    yield "bfloat16", x.bfloat16()
    yield "empty", x[:0] if x.ndim else x.new_empty(0)


def _spoilt(x: torch.Tensor, value: float):
    y = x.detach().clone()
    y.view(-1)[-1] = value
    return y


def tensor(x, n_axes=False):
    "Floating-point numbers that must be finite."
    yield from _tensors(x)
    yield "NaN", _spoilt(x, math.nan)
    yield "infinity", _spoilt(x, math.inf)
    yield "another device", x.detach().to("meta")
    yield "another dtype", x.detach().to(torch.float32 if x.dtype == torch.float64 else torch.float64)
    if x.ndim:
        yield "one too wide", torch.cat([x, x[..., :1]], -1).detach()


def spins(x):
    "±1."
    yield from tensor(x)
    yield "bits", (x + 1) / 2
    yield "grey", x * 0.5
    yield "0…255", (x + 1) * 127.5
    yield "zeros", x * 0


def count(least=1):
    "A whole number from `least` on."
    for wrong in (least - 1, 1.5, 2.0, math.inf, math.nan, True, None, "3", torch.ones(2), torch.tensor(2.0), [3], 1j):
        yield repr(wrong), wrong


def positive():
    "A finite number above 0."
    for wrong in (0, -1.0, math.nan, math.inf, None, "1", True, 1j, torch.ones(2), [1.0], np.ones(2)):
        yield repr(wrong), wrong


def temperature(zero=False):
    "A finite temperature."
    for wrong in (-1.0, math.nan, math.inf, None, "hot", True, 1j, torch.tensor([-1.0]), torch.tensor([math.nan])):
        yield repr(wrong), wrong
    yield "numpy", np.array([1.0])
    yield "too many", torch.ones(2, 3, 5, 7, 11)
    if not zero:
        yield "0", 0.0


def share():
    "A number from 0 to 1."
    for wrong in (-0.1, 1.1, math.nan, math.inf, None, "1", True, 1j, torch.ones(2)):
        yield repr(wrong), wrong


def option():
    "One of a few words."
    for wrong in ("down", 3, None, torch.ones(1), np.ones(2), ["up"]):
        yield repr(wrong), wrong


def generator():
    "A torch.Generator or None."
    for wrong in (0, "cpu", torch.ones(1), np.random.default_rng(0), torch.rand):
        yield type(wrong).__name__, wrong


def function():
    "A function of positions."
    for wrong in (None, 3, "x**2", torch.ones(1)):
        yield repr(wrong), wrong


def mask(x):
    "A bool tensor, True for a unit that is held; None is legal."
    yield "numbers", x.float()
    yield "numpy", x.numpy()
    yield "list", x.tolist()
    yield "text", "all"
    yield "True", True
    yield "another device", x.to("meta")
    yield "one too wide", torch.cat([x, x[..., :1]], -1)


def less(versions, *names):
    "Wrong versions without some that are legal here."
    return [(name, value) for name, value in versions if name not in names]


def price(call, monkeypatch, repeats=30):
    "Processor seconds of a call with and without looks at numbers: the least of several tries, taken in turn."
    from silen_lib import args

    def once():
        start = time.process_time()
        call()
        return time.process_time() - start

    seen = args.readable
    looking, blind = [], []
    for _ in range(repeats):
        monkeypatch.setattr(args, "readable", seen)
        looking.append(once())
        monkeypatch.setattr(args, "readable", lambda *x: False)
        blind.append(once())
    monkeypatch.setattr(args, "readable", seen)
    return min(looking), min(blind)

def refusals(call, good: dict, wrong: dict):
    "Call with every wrong version of every argument; what was not refused by name, with what happened."
    faults = []
    for name, versions in wrong.items():
        for what, value in versions:
            try:
                result = call(**{**good, name: value})
            except ValueError as error:
                if not re.search(rf"\b{name}\b", str(error)):
                    faults.append(f"{name} = {what}: {error}")
            except Exception as error:
                faults.append(f"{name} = {what}: {type(error).__name__}: {str(error)[:100]}")
            else:
                faults.append(f"{name} = {what}: took it, gave {str(result)[:60]!r}")
    return faults


def transforms(f, batch, slope: bool):
    "Under torch.func.vmap, torch.compile and, where it has a slope, torch.func.grad f gives what it gives alone."
    want = torch.stack([f(x) for x in batch])
    torch.testing.assert_close(torch.func.vmap(f)(batch), want, atol=1e-5, rtol=1e-5)
    torch._dynamo.reset()
    compiled = torch.compile(f, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch[0]), want[0], atol=1e-5, rtol=1e-5)
    if slope:
        x = batch[0].clone().requires_grad_()
        f(x).sum().backward()
        torch.testing.assert_close(torch.func.grad(lambda x: f(x).sum())(batch[0]), x.grad, atol=1e-5, rtol=1e-5)
