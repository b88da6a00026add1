"""Spin updates a second: textbook loops beside `heat_bath`, and `anneal` beside dwave-samplers, each in one run.

    python benchmarks/boltzmann.py [--threads 1]

An *update* is one spin that is offered one toss. The annealers make equal sweeps over equal couplings with equal
schedules of temperature, and their energies are compared as well as their speed.
"""

import argparse
import math
import statistics

import torch
from timing import ratio, speeds_in_turn

from silen_lib.boltzmann import anneal, cooling_schedule, heat_bath, metropolis
from silen_lib.spins import random_patterns

try:
    import dimod
    from dwave.samplers import SimulatedAnnealingSampler
except ImportError:  # the peer is optional
    dimod = None


def dense_glass(n: int, seed: int = 0) -> torch.Tensor:
    "Couplings of the Sherrington–Kirkpatrick model: every pair, Gaussian, variance 1/n."
    J = torch.randn(n, n, generator=torch.Generator().manual_seed(seed)).triu(1) / n**0.5
    return J + J.T


def textbook_loop(s: torch.Tensor, W: torch.Tensor, T: float, n_steps: int) -> int:
    "The textbook: a random spin, its field, the sigmoid, a coin."
    for _ in range(n_steps):
        i = torch.randint(len(s), (1,)).item()
        s[i] = 1.0 if torch.rand(1) < torch.sigmoid(2 * (W[i] @ s) / T) else -1.0
    return n_steps


def tutorial_loop(s: torch.Tensor, W: torch.Tensor, T: float, n_steps: int) -> int:
    "The tutorial: the same, with the whole energy computed anew at every step."
    energies = []
    for _ in range(n_steps):
        textbook_loop(s, W, T, 1)
        energies.append((-0.5 * s @ W @ s).item())
    return n_steps


def heat_bath_rows(
    n_spins: int = 1000, n_chains: int = 256, repeats: int = 7, T: float = 1.0
) -> list[dict]:
    "Interleaved: what, updates_per_s (median), ratios to both loops (medians of ratios within a round)."
    W, state = dense_glass(n_spins), random_patterns(n_chains, n_spins)

    def batch(rule):
        rule(state, W, T, sweeps=10)
        return 10 * state.numel()

    methods = {
        "random spin + energy each step, torch": lambda: tutorial_loop(
            state[0].clone(), W, T, n_spins // 2
        ),
        "random spin, torch": lambda: textbook_loop(state[0].clone(), W, T, n_spins),
        "metropolis": lambda: batch(metropolis),
        "heat_bath": lambda: batch(heat_bath),
    }
    speeds = speeds_in_turn(methods, repeats)
    tutorial, lean = (speeds[name] for name in list(methods)[:2])
    return [
        dict(
            what=name,
            updates_per_s=statistics.median(v),
            ratio=ratio(v, lean),
            ratio_tutorial=ratio(v, tutorial),
        )
        for name, v in speeds.items()
    ]


def annealing_rows(
    n_spins: int, n_sweeps: int = 100, n_reads: int = 256, repeats: int = 5
) -> list[dict]:
    "dwave-samplers and `anneal` on one dense glass: updates a second and energies per spin, mean and best read."
    W, T = dense_glass(n_spins), cooling_schedule(2.0, 0.1, n_sweeps)
    energies: dict[str, list] = {}

    def ours(rule):
        energies.setdefault(f"anneal, {rule}", []).append(
            anneal(W, T, n_reads=n_reads, rule=rule).energy
        )
        return n_spins * n_sweeps * n_reads

    methods = {
        f"anneal, {rule}": lambda rule=rule: ours(rule) for rule in ("heat bath", "metropolis")
    }
    if dimod is not None:
        i, j = torch.triu_indices(n_spins, n_spins, 1)
        model = dimod.BinaryQuadraticModel.from_ising(
            {}, dict(zip(zip(i.tolist(), j.tolist()), (-W[i, j]).tolist()))
        )
        reads = max(
            64, min(n_reads, 64_000 // n_spins)
        )  # one after the other: its speed does not depend on how many

        def theirs():
            out = SimulatedAnnealingSampler().sample(
                model, num_reads=reads, beta_schedule_type="custom", beta_schedule=(1 / T).tolist(),
                num_sweeps_per_beta=1, seed=len(energies.get("dwave-samplers", ())))  # fmt: skip
            energies.setdefault("dwave-samplers", []).append(
                torch.tensor(out.record.energy.tolist())
            )
            return n_spins * n_sweeps * reads

        methods = {"dwave-samplers": theirs} | methods
    speeds = speeds_in_turn(methods, repeats, warm=0)
    peer = speeds.get("dwave-samplers")
    rows = []
    for name in methods:
        E = torch.cat([e.double() for e in energies[name]]) / n_spins
        rows.append(dict(
            what=name,
            updates_per_s=statistics.median(speeds[name]),
            ratio=ratio(speeds[name], peer) if peer else math.nan,
            mean=E.mean().item(), error=E.std().item() / len(E) ** 0.5, best=E.min().item(), reads=len(E),
        ))  # fmt: skip
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--threads", type=int, default=1, help="torch threads (default: 1, as the peer uses one)"
    )
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"1,000 spins, dense; 256 chains in the batch; T = 1, float32, {args.threads} thread(s)")
    print(f"{'':<40}{'updates/s':>12}{'× torch loop':>14}{'× tutorial':>12}")
    for row in heat_bath_rows(repeats=args.repeats):
        print(
            f"{row['what']:<40}{row['updates_per_s']:>12.2e}{row['ratio']:>14.1f}{row['ratio_tutorial']:>12.1f}"
        )
    if dimod is None:
        print(
            "dwave-samplers is not installed (pip install dwave-samplers): `anneal` is shown alone"
        )
    for n in (100, 1000):
        print(
            f"annealing, {n} spins, dense; 100 sweeps from T = 2 to 0.1, geometric; energies per spin"
        )
        print(f"{'':<40}{'updates/s':>12}{'× dwave':>14}{'mean':>18}{'best':>10}")
        for row in annealing_rows(n, n_reads=1024 if n == 100 else 256, repeats=args.repeats):
            print(
                f"{row['what']:<40}{row['updates_per_s']:>12.2e}{row['ratio']:>14.1f}"
                f"{row['mean']:>11.4f} ±{row['error']:.4f}{row['best']:>10.4f}  ({row['reads']} reads)"
            )


if __name__ == "__main__":
    main()
