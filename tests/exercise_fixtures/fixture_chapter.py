"The library side of the fixture notebook 00_demo.ipynb."

import torch
from torch import nn


def pair_energy(state, W):
    "Energy of a state, each pair once: (..., N), (N, N) → (...)."
    return -((state @ W) * state).sum(-1) / 2


def scale_(x, factor=2.0):
    "Multiply a tensor by a factor, in place: (...) → same tensor."
    x *= factor
    return x


def toss(p, generator=None):
    "Independent coins that show 1 with probability p: (B,) → (B,)."
    # rand is uniform on [0, 1)
    return (torch.rand(p.shape, generator=generator) < p).float()


class Unit(nn.Module):
    "A layer of logistic units."

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.W = nn.Parameter(torch.randn(n_in, n_out))
        self.b = nn.Parameter(torch.randn(n_out))

    def forward(self, v):
        "Probability to fire: (B, n_in) → (B, n_out)."
        return torch.sigmoid(v @ self.W + self.b)

    def energy(self, v, h):
        "Minus the total input of the units that fire: (B, n_in), (B, n_out) → (B,)."
        field = v @ self.W + self.b
        return -(field * h).sum(-1)
