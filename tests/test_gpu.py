"""On a real accelerator, where there is one: every function of the catalogue agrees with the processor."""

import pytest
import torch
from catalogue import ENTRIES, Gen
from torch import Tensor
from torch.utils._pytree import tree_leaves

DEVICE = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else ""
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not DEVICE, reason="no accelerator")]
RUNS = [e for e in ENTRIES if e.fake == "run"]


def _tensors(made) -> list[Tensor]:
    return [x for x in tree_leaves(made) if isinstance(x, Tensor)]


@pytest.mark.parametrize("entry", RUNS, ids=lambda e: e.name)
def test_agrees_with_the_processor(entry):
    here = _tensors(entry.function()(**entry.legal()))
    there = _tensors(entry.function(DEVICE)(**entry.legal(DEVICE)))
    assert [x.shape for x in here] == [x.shape for x in there]
    assert all(x.device.type == DEVICE for x in there)
    if not any(
        isinstance(kind, Gen) for kind in entry.arguments.values()
    ):  # a coin near its edge may fall otherwise
        for a, b in zip(here, there, strict=True):
            torch.testing.assert_close(
                a.double(), b.cpu().double(), rtol=1e-3, atol=1e-4, equal_nan=True
            )


def test_training_learns_there():
    from silen_lib.data import bars_and_stripes
    from silen_lib.rbm import RBM, Trainer, log_likelihood

    v = bars_and_stripes(3).to(DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(0)
    rbm = RBM(9, 12, device=DEVICE, generator=torch.Generator().manual_seed(0))
    trainer = Trainer(rbm, len(v), k=5, data_mean=v.mean(0), generator=generator)
    before = log_likelihood(rbm, v)
    for step in range(2000):
        trainer.step(v, 0.1)
    assert (
        log_likelihood(rbm, v) > before + 1.5
    )  # the best is −log 14 = −2.64, an untrained machine −6.2
