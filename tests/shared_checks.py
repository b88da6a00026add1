"""What several tests of functions ask: the price of a look at numbers, and what torch.func and torch.compile give."""

import time
from functools import partial

import torch


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


def generator(seed: int, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def transforms(f, batch, slope: bool = True, tolerance: float | None = 1e-5):
    """Under torch.func.vmap, torch.compile and, where it has a slope, torch.func.grad f gives what it gives alone.

    `batch` holds examples along the first axis; a tuple of such tensors holds several arguments. `tolerance`
    is absolute and relative; None takes that of the dtype."""
    close = partial(torch.testing.assert_close, atol=tolerance, rtol=tolerance)
    batch = batch if isinstance(batch, tuple) else (batch,)
    one = [x[0] for x in batch]
    want = torch.stack([f(*row) for row in zip(*batch)])
    close(torch.func.vmap(f)(*batch), want)
    torch._dynamo.reset()
    compiled = torch.compile(f, backend="eager", fullgraph=True)
    close(compiled(*one), want[0])
    if slope:
        x = one[0].clone().requires_grad_()
        f(x, *one[1:]).sum().backward()
        slope_of = torch.func.grad(lambda x: f(x, *one[1:]).sum())
        close(slope_of(one[0]), x.grad)
