"Specs of the exercises in 00_demo.ipynb."

import torch
from torch import nn

from silen_lib.exercises import Case, Mistake, exercise

W = torch.tensor([[0.0, 1.0, -2.0], [1.0, 0.0, 3.0], [-2.0, 3.0, 0.0]])

exercise(
    "pair_energy",
    "fixture_chapter",
    cases=[
        (torch.tensor([1.0, -1.0, 1.0]), W),
        (torch.tensor([[1.0, 1.0, -1.0], [1.0, 1.0, 1.0]]), W),
    ],
    oracle=lambda s, W: -sum(W[i, j] * s[..., i] * s[..., j] for i in range(3) for j in range(i)),
    mistakes=[
        Mistake("Each pair is counted twice: where is the ½?", lambda s, W: -((s @ W) * s).sum(-1)),
        Mistake(
            "Energy falls when units agree: look at the sign.",
            lambda s, W: ((s @ W) * s).sum(-1) / 2,
        ),
        Mistake("The sum runs over the batch too.", lambda s, W: -((s @ W) * s).sum() / 2),
    ],
)

exercise(
    "scale_",
    "fixture_chapter",
    kind="inplace",
    cases=[(torch.tensor([1.0, 2.0, 3.0]),), Case(torch.tensor([[1.0, -4.0]]), factor=0.5)],
    oracle=lambda x, factor=2.0: torch.stack([factor * i for i in x]),
    mistakes=[
        Mistake("You divide.", lambda x, factor=2.0: x.div_(factor)),
        Mistake("The factor is added.", lambda x, factor=2.0: x.add_(factor)),
        Mistake("The factor is left out: it is not always 2.", lambda x, factor=2.0: x.mul_(2)),
    ],
)


def _law(change):
    def law(p, generator=None):
        q = float(change(p[0]))
        return torch.tensor([1 - q, q])

    return law


exercise(
    "toss",
    "fixture_chapter",
    kind="sampler",
    outcome=lambda x: x.long(),
    oracle=_law(lambda p: p),
    cases=[Case(torch.full((8192,), p), generator=torch.Generator()) for p in (0.2, 0.7)],
    mistakes=[
        Mistake(
            "The coin is upside down.",
            lambda p, generator=None: (torch.rand(p.shape, generator=generator) > p) * 1.0,
            law=_law(lambda p: 1 - p),
        ),
        Mistake("A threshold is not a draw.", lambda p, generator=None: (p > 0.5) * 1.0),
        Mistake(
            "randn is normal, rand is uniform.",
            lambda p, generator=None: (torch.randn(p.shape, generator=generator) < p) * 1.0,
        ),
    ],
)


class _Wrong(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.W, self.b = nn.Parameter(torch.randn(n_in, n_out)), nn.Parameter(torch.randn(n_out))

    def forward(self, v):
        return torch.sigmoid(v @ self.W + self.b)

    def energy(self, v, h):
        return -((v @ self.W + self.b) * h).sum(-1)


class _NoBias(_Wrong):
    def forward(self, v):
        return torch.sigmoid(v @ self.W)


class _Tanh(_Wrong):
    def forward(self, v):
        return torch.tanh(v @ self.W + self.b)


class _Sign(_Wrong):
    def energy(self, v, h):
        return ((v @ self.W + self.b) * h).sum(-1)


def _unit_oracle(m, v, h):
    field = torch.stack([sum(v[:, i, None] * m.W[i] for i in range(v.shape[1]))])[0] + m.b
    return {"forward": 1 / (1 + (-field).exp()), "energy": -torch.einsum("bi,bi->b", field, h)}


exercise(
    "Unit",
    "fixture_chapter",
    kind="module",
    grads=True,
    oracle=_unit_oracle,
    cases=[
        Case(3, 2).call(
            torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
            torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]),
        )
    ],
    use=lambda m, v, h: {"forward": m(v), "energy": m.energy(v, h)},
    mistakes=[
        Mistake("The bias is missing.", _NoBias),
        Mistake("The logistic function, not tanh.", _Tanh),
        Mistake("Energy falls when a unit fires: look at the sign.", _Sign),
    ],
)
