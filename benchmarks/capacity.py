"""Capacity experiments: a textbook loop beside batched networks, thermal sweeps, and the wall at T = 0.1.

    python benchmarks/capacity.py [--threads 1] [--wall SEEDS]

The first table is the tutorial experiment (100 neurons, 1 … 25 patterns, 5 networks each, every pattern recalled from a
copy with 10% of its spins flipped, exact asynchronous updates) by a loop over spins and by `glauber` at T = 0 on five
networks at once; both print the share of bits recovered, which must agree. The second is heat-bath updates a second.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from timing import in_turn, ratio, speeds_in_turn

from silen_lib.capacity import critical_capacity, glauber, measure_wall
from silen_lib.hopfield import build_hopfield_weights
from silen_lib.spins import random_patterns

COUNTS = range(1, 26)


def recall_by_loop(W, state, rng, max_sweeps=50):
    "The textbook: visit the neurons in a fresh random order until a sweep changes nothing."
    for _ in range(max_sweeps):
        moved = False
        for i in rng.permutation(len(state)):
            new = 1.0 if W[i] @ state >= 0 else -1.0
            if new != state[i]:
                state[i], moved = new, True
        if not moved:
            break
    return state


def accuracy_by_loop(rng, n_neurons=100, trials=5):
    "Share of bits recovered for each number of patterns, one spin at a time (numpy)."
    out = []
    for P in COUNTS:
        hits = []
        for _ in range(trials):
            xi = rng.choice([-1.0, 1.0], size=(P, n_neurons))
            W = xi.T @ xi / n_neurons
            np.fill_diagonal(W, 0)
            for p in xi:
                cue = p.copy()
                cue[rng.choice(n_neurons, n_neurons // 10, replace=False)] *= -1
                hits.append((recall_by_loop(W, cue, rng) == p).mean())
        out.append(np.mean(hits))
    return torch.tensor(out)


def accuracy(generator, n_neurons=100, trials=5):
    "The same from `glauber` at T = 0: all networks with one number of patterns side by side."
    out = []
    for P in COUNTS:
        xi = random_patterns(trials * P, n_neurons, generator=generator).view(trials, P, n_neurons)
        flip = torch.rand(xi.shape, generator=generator).argsort(-1)[..., : n_neurons // 10]
        cues = xi.scatter(-1, flip, -xi.gather(-1, flip))
        out.append((glauber(cues, xi, 0.0, sweeps=None, ties="up") == xi).float().mean())
    return torch.stack(out)


def experiment(repeats: int = 5, seed: int = 0) -> dict:
    "Seconds of both, their ratio (medians of an interleaved run), and the largest difference of the accuracies."
    rng, g = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    accuracy(g)  # warm
    loops, fasts = [], []
    runs = {
        "loop": lambda: loops.append(accuracy_by_loop(rng)),
        "fast": lambda: fasts.append(accuracy(g)),
    }
    seconds = in_turn(runs, repeats, warm=0)
    loop, fast = torch.stack(loops).mean(0), torch.stack(fasts).mean(0)
    error = (torch.stack(loops).var(0) / repeats + torch.stack(fasts).var(0) / repeats).sqrt()
    return dict(
        loop_s=statistics.median(seconds["loop"]),
        fast_s=statistics.median(seconds["fast"]),
        ratio=ratio(seconds["loop"], seconds["fast"]),
        loop=loop,
        fast=fast,
        difference=(loop - fast).mean().item(),
        error=(error.square().sum().sqrt() / len(loop)).item(),
    )


def loop_sweep(s, W, T, generator):
    "One heat-bath sweep of one state, spin by spin, in torch."
    coins = torch.rand(len(s), generator=generator)
    for i in range(len(s)):
        s[i] = 1.0 if coins[i] < torch.sigmoid(2 * (W[i] @ s) / T) else -1.0
    return len(s)


def sweeps_a_second(
    sizes=(1000, 4000), load=0.13, T=0.1, chains=64, repeats=3, seed=0
) -> list[dict]:
    "Spin updates a second of the loop and of `glauber`, interleaved."
    g, rows = torch.Generator().manual_seed(seed), []
    for N in sizes:
        xi = random_patterns(round(load * N), N, generator=g)
        W, s = build_hopfield_weights(xi), xi[:chains]

        def batch(s=s, xi=xi):
            glauber(s, xi, T, sweeps=10, generator=g)
            return 10 * s.numel()

        runs = {"loop": lambda s=s, W=W: loop_sweep(s[0].clone(), W, T, g), "fast": batch}
        speeds = speeds_in_turn(runs, repeats, warm=0)
        loop, fast = map(statistics.median, speeds.values())
        gain = ratio(speeds["fast"], speeds["loop"])
        rows.append(dict(n_neurons=N, loop=loop, fast=fast, ratio=gain))
    return rows


def walls(seeds: int) -> list[dict]:
    "`measure_wall` at T = 0.1 with its default budget, for several seeds."
    out = []
    for seed in range(seeds):
        start = time.perf_counter()
        wall = measure_wall(generator=torch.Generator().manual_seed(seed))
        out.append(
            dict(seed=seed, value=wall.value, error=wall.error, seconds=time.perf_counter() - start)
        )
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: 1)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--wall",
        type=int,
        default=0,
        metavar="SEEDS",
        help="also measure the wall, for so many seeds",
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    e = experiment(args.repeats)
    print(
        f"100 neurons, 1 … 25 patterns, 5 networks each, exact asynchronous recall, {args.threads} thread(s)"
    )
    print(
        f"  loop over spins {e['loop_s']:.2f} s, glauber {e['fast_s']:.3f} s: {e['ratio']:.1f} times"
    )
    print("  P        " + "".join(f"{P:>7}" for P in COUNTS if P % 3 == 1))
    for name in ("loop", "fast"):
        print(f"  {name:<9}" + "".join(f"{x:7.3f}" for x in e[name][::3].tolist()))
    print(f"  mean difference {e['difference']:+.4f} ± {e['error']:.4f}")
    print("heat-bath updates a second, 64 chains at load 0.13, T = 0.1")
    for row in sweeps_a_second():
        print(
            f"  N = {row['n_neurons']}: loop {row['loop']:.1e}, glauber {row['fast']:.1e}: {row['ratio']:.0f} times"
        )
    for w in walls(args.wall):
        print(
            f"wall at T = 0.1, seed {w['seed']}: {w['value']:.5f} ± {w['error']:.5f} "
            f"(theory {critical_capacity(0.1):.5f}), {w['seconds']:.0f} s"
        )


if __name__ == "__main__":
    main()
