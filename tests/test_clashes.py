"""Shapes that do not go together are refused in the library's words, not in torch's.

The walk bends the shape of one tensor, and of every two, of each legal call of `catalogue.ENTRIES`. A call may take the
result, or refuse it with a ValueError."""

from itertools import chain, combinations

import pytest
import torch
from catalogue import ENTRIES, N
from torch import Tensor

MODULES = ("spins", "hopfield", "chains", "boltzmann", "attention")

ones, hold = torch.ones, lambda *shape: torch.zeros(shape, dtype=torch.bool)
MORE = {  # optional tensors beside those of the catalogue's call
    "hopfield.hopfield_update": dict(fixed=hold(N)),
    "hopfield.recall": dict(order=torch.arange(N), fixed=hold(N)),
    "hopfield.recall_patterns": dict(order=torch.arange(N), fixed=hold(N)),
    "spins.ising_energy": dict(bias=ones(N)),
    "spins.ising_field": dict(bias=ones(N)),
    "spins.tie_width": dict(bias=ones(N)),
    "spins.Couplings": dict(bias=ones(N)),
    "spins.sweep_spins": dict(fixed=hold(N)),
    "chains.heat_bath": dict(bias=ones(N), T=ones(4), fixed=hold(4, N)),
    "chains.metropolis": dict(bias=ones(N), T=ones(4), fixed=hold(4, N)),
    "chains.boltzmann_update": dict(fixed=hold(N)),
    "chains.simulated_annealing": dict(fixed=hold(N)),
    "chains.anneal": dict(bias=ones(N), T=ones(2), state=ones(3, N), fixed=hold(3, N)),
    "chains.parallel_tempering": dict(
        bias=ones(N), T=ones(2), state=ones(2, 2, N), fixed=hold(2, N)
    ),
    "boltzmann.spin_up_probability": dict(T=ones(4)),
    "chains.metropolis_probability": dict(T=ones(4)),
    "boltzmann.swap_probability": dict(T1=ones(4), T2=ones(4)),
    "chains.BoltzmannMachine.exact_gradient": dict(p=ones(4) / 4),
    "chains.BoltzmannMachine.relative_entropy": dict(p=ones(4) / 4),
    "chains.BoltzmannMachine.fit": dict(p=ones(4) / 4, exact=False, n_chains=3),
    "chains.BoltzmannMachine.sample": dict(clamp=ones(2, 5), state=ones(2, 5)),
}


def _bent(x: Tensor):
    "The same numbers in other shapes."
    yield from (torch.stack([x] * k) for k in (1, 2, 3, 5))  # a batch too many
    yield x.reshape(-1)[0]
    for axis in range(x.ndim):
        first = x.narrow(axis, 0, 1)
        yield from (
            first,
            torch.cat([x, first], axis),
            x.narrow(axis, 0, max(1, x.shape[axis] - 1)),
        )
    if x.ndim > 1:
        yield from (x[0], x.reshape(-1), x.mT.contiguous())
    width = x.shape[-1] if x.ndim else 1
    folds = [
        (a, width // a) for a in (1, 2, 4, 8) if width % a == 0
    ]  # one state, laid out as a picture
    row = x.reshape(-1)[:width]
    yield from (row.reshape(f) for f in folds)
    yield from (
        row.reshape(2, *f)
        for f in [(a, width // 2 // a) for a in (1, 2, 4)]
        if 2 * f[0] * f[1] == width
    )


def _calls(entry):
    "Legal arguments with one tensor bent, or two."
    more = MORE.get(entry.name, {})
    legal = entry.legal() | more
    bent = {name: list(_bent(x)) for name, x in legal.items() if isinstance(x, Tensor)}
    bent |= {name: [*bent[name], None] for name in bent if name in more}  # or left out
    single = ({name: x} for name in bent for x in bent[name])
    double = ({a: x, b: y} for a, b in combinations(bent, 2) for x in bent[a] for y in bent[b])
    for change in chain(single, double):
        arguments = legal | change
        yield {name: x.clone() if isinstance(x, Tensor) else x for name, x in arguments.items()}


def _shapes(arguments: dict) -> dict:
    return {name: tuple(x.shape) for name, x in arguments.items() if isinstance(x, Tensor)}


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if e.name.startswith(MODULES)], ids=lambda e: e.name
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_clash_of_shapes_is_left_to_torch(entry):
    raw = {}
    for arguments in _calls(entry):
        try:
            entry.function()(**arguments)
        except ValueError:
            pass
        except Exception as error:
            raw.setdefault(f"{type(error).__name__}: {str(error)[:60]}", _shapes(arguments))
    assert not raw


def test_the_names_of_more_tensors_are_in_the_catalogue():
    assert set(MORE) <= {e.name for e in ENTRIES}
