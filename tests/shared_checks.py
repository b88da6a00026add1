"""What several tests of functions ask: the price of a look at numbers, and what torch.func and torch.compile give."""

import time

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
        torch.testing.assert_close(
            torch.func.grad(lambda x: f(x).sum())(batch[0]), x.grad, atol=1e-5, rtol=1e-5
        )
