"""RBM training, examples a second: silen_lib beside a textbook loop, three packages and the machine's matrix products.

    python benchmarks/rbm.py [--rounds 15] [--large]

All contestants take turns in one process, round after round, each right after a pass of the *floor*. Figures are
medians of ratios to that neighbour: a machine that slows down for seconds harms them little.
The floor is the matrix products that one contrastive step cannot avoid: v→h, k times (h→v, v→h) and two for the
gradient. silen-train is timed over whole epochs of MNIST with its monitors, history, checkpoints and wandb log.
`--large` adds B=512, H=2048, k=5. Packages that are not installed are named and left out: `make bench` installs them.
"""

import argparse
import contextlib
import csv
import io
import statistics
import tempfile
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import beside, contrastive_floor, ratio

from silen_lib.data import Batches, binarise, load_mnist, mnist_state
from silen_lib.rbm import RBM, Trainer
from silen_lib.train import Config

warnings.filterwarnings("ignore")
N_VISIBLE = 784


def data(n):
    "n bits images: MNIST where it is on disk, else noise of the same density."
    if mnist_state()[0] == "ready":
        return binarise(load_mnist(download=False).train[:n])
    return (torch.rand(n, N_VISIBLE) < 0.13).float()


def ours(x, B, H, k, **settings):
    trainer = Trainer(RBM(N_VISIBLE, H), B, k, data_mean=x.mean(0), **settings)
    batches = Batches(x.to(torch.uint8), B, torch.Generator().manual_seed(0))

    def run():
        for v in batches:
            trainer.step(v, 0.01)

    return run


def end_to_end(x, B, H, k, precision="auto"):
    "All of silen-train but loading and the final likelihood: one epoch of its training set a pass."
    if mnist_state()[0] != "ready":
        raise ImportError("needs MNIST in the data folder")
    scratch = tempfile.TemporaryDirectory()
    settings = dict(n_hidden=H, batch_size=B, k=k, lr=0.01, precision=precision)
    config = Config(**settings, epochs=2, temperatures=0, out=scratch.name)

    def epoch():
        quiet = io.StringIO()  # for its words and its progress bar
        with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
            config.run(overwrite=True)
        with open(Path(scratch.name) / "history.csv", encoding="utf-8") as file:
            first, second = (float(row["seconds"]) for row in csv.DictReader(file))
        return second - first  # the steps of an epoch, and what is done between two of them

    epoch.n = 55_000 // B * B
    epoch.scratch = scratch  # the folder lives as long as the contestant
    return epoch


def textbook(x, B, H, k):
    "What most tutorials print: a DataLoader, torch.bernoulli, new tensors each time, a metric for every batch."
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, torch.zeros(len(x))), B, shuffle=True
    )
    W, a, b, errors = torch.randn(N_VISIBLE, H) * 0.01, torch.zeros(N_VISIBLE), torch.zeros(H), []

    def run():
        nonlocal W, a, b
        for v0, _ in loader:
            p0 = torch.sigmoid(v0 @ W + b)
            h = torch.bernoulli(p0)
            for _ in range(k):
                p = torch.sigmoid(h @ W.T + a)
                v = torch.bernoulli(p)
                q = torch.sigmoid(v @ W + b)
                h = torch.bernoulli(q)
            W = W + 0.01 * (v0.T @ p0 - v.T @ q) / len(v0)
            a, b = a + 0.01 * (v0 - v).mean(0), b + 0.01 * (p0 - q).mean(0)
            errors.append(F.mse_loss(p, v0).item())

    return run


def scikit_learn(x, B, H, k):
    from sklearn.neural_network import BernoulliRBM

    if k != 1:
        raise ImportError("its k is always 1")
    model, batches = (
        BernoulliRBM(H, learning_rate=0.01, batch_size=B),
        [v.numpy() for v in x.split(B)],
    )
    return lambda: [model.partial_fit(v) for v in batches]


def learnergy(x, B, H, k):
    import logging

    logging.disable(logging.INFO)
    from learnergy.models.bernoulli import RBM as Peer

    model = Peer(N_VISIBLE, H, steps=k, learning_rate=0.01)
    dataset = torch.utils.data.TensorDataset(x, torch.zeros(len(x)))
    return lambda: model.fit(dataset, batch_size=B, epochs=1)


def rbms(x, B, H, k):
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.training.pcd import fit_batch_pcd

    model = BBRBM(torch.randn(N_VISIBLE, H) * 0.01, torch.zeros(N_VISIBLE), torch.zeros(H))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimiser, weights = torch.optim.SGD(model.parameters(), lr=0.01), torch.ones(B)
    chains = model.init_chains(num_samples=B)

    def run():
        nonlocal chains
        for v in x.split(B):
            chains, _ = fit_batch_pcd((v, weights), chains, model, k, 1.0)
            optimiser.step()

    return run


def measure(B, H, k, n, rounds):
    "Each contestant's examples a second and its time as a ratio to the floor's; medians over the rounds."
    x = data(n)
    base = contrastive_floor(x.split(B), H, k)
    makers = {
        "silen_lib Trainer, centred PCD": ours,
        "silen_lib Trainer, PCD": lambda *a: ours(*a, centred=False),
        "silen_lib Trainer, bfloat16 products": lambda *a: ours(*a, product_dtype=torch.bfloat16),
        "silen_lib Trainer, CD": lambda *a: ours(*a, centred=False, persistent=False),
        "silen-train": end_to_end,
        "silen-train, float32 products": lambda *a: end_to_end(*a, precision="float32"),
        "textbook loop": textbook,
        "scikit-learn BernoulliRBM": scikit_learn,
        "learnergy": learnergy,
        "rbms, centred PCD": rbms,
    }
    runs = {}
    for name, make in makers.items():
        try:
            runs[name] = make(x, B, H, k)
            runs[name]()
        except ImportError as error:
            print(f"  ({name}: {error})")
            runs.pop(name, None)
    pairs = beside(base, runs, rounds, pause=0.2)
    floors = [before for p in pairs.values() for _, before in p]
    table = {
        "matrix products (floor)": dict(
            examples_per_second=n / statistics.median(floors), floor=1.0
        )
    }
    for name, p in pairs.items():
        share = n / getattr(runs[name], "n", n)  # as if over n examples
        mine, before = zip(*p, strict=True)
        seconds = share * statistics.median(mine)
        table[name] = dict(examples_per_second=n / seconds, floor=share * ratio(mine, before))
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--large", action="store_true", help="also B=512, H=2048, k=5")
    args = parser.parse_args()
    sizes = [(128, 500, 1, 128 * 30, args.rounds)]
    if args.large:
        sizes.append((512, 2048, 5, 512 * 4, max(3, args.rounds // 4)))
    for B, H, k, n, rounds in sizes:
        print(
            f"RBM {N_VISIBLE}×{H}, batches of {B}, k={k}, {torch.get_num_threads()} threads, {rounds} rounds"
        )
        table = measure(B, H, k, n, rounds)
        mine = [
            table[name]["floor"]
            for name in ("silen_lib Trainer, centred PCD", "silen_lib Trainer, bfloat16 products")
        ]
        print(
            f"  {'':37} {'examples/s':>11} {'× floor time':>13} {'Trainer is faster by':>21} {'bfloat16 by':>12}"
        )
        for name, row in table.items():
            exact, narrow = (row["floor"] / ratio for ratio in mine)
            print(
                f"  {name:37} {row['examples_per_second']:11,.0f} {row['floor']:13.2f} {exact:20.2f}× {narrow:11.2f}×"
            )


if __name__ == "__main__":
    main()
