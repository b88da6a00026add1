"""Spin updates a second: textbook loops beside `recall` and `recall_patterns`, all in one interleaved run.

    python benchmarks/hopfield.py [--threads 1]

A *visit* is one neuron asked for its vote. The fast functions are credited with the visits the loop would need for
the same result (sweeps × N, the quiet last sweep included): a ratio of speeds is a ratio of times for equal work.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from timing import ratio, speeds_in_turn

from silen_lib.data import wave_pictures
from silen_lib.hopfield import (
    build_hopfield_weights,
    corrupt_pattern,
    identify,
    recall,
    recall_patterns,
)
from silen_lib.spins import random_patterns


def textbook_loop(s, W, order):
    "The textbook: sweeps over single spins until none moves; s (torch or numpy) is changed in place."
    visits, moved = 0, True
    while moved:
        moved = False
        for i in order:
            new = 1.0 if W[i] @ s >= 0 else -1.0
            if new != s[i]:
                s[i] = new
                moved = True
        visits += len(s)
    return s, visits


def random_visits_loop(state, W, n_visits):
    "The tutorial: a random neuron each step, the energy computed anew after each flip, torch."
    s, energies = state.clone(), [(-0.5 * state @ W @ state).item()]
    for _ in range(n_visits):
        i = torch.randint(len(s), (1,)).item()
        new = 1.0 if W[i] @ s >= 0 else -1.0
        if new != s[i]:
            s[i] = new
            energies.append((-0.5 * s @ W @ s).item())
    return s, n_visits


def rows(threads: int = 1, repeats: int = 7) -> list[dict]:
    "`measure` with so many torch threads: one by default, since the loops have no use for more."
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return measure(repeats=repeats)
    finally:
        torch.set_num_threads(before)


def measure(
    n_neurons: int = 1000, n_patterns: int = 10, n_cues: int = 256, repeats: int = 7, seed: int = 0
) -> list[dict]:
    "One dict a method: what, visits_per_s (median), ratios to the lean torch loop and to the tutorial's (medians)."
    g = torch.Generator().manual_seed(seed)
    xi = random_patterns(n_patterns, n_neurons, generator=g)
    W = build_hopfield_weights(xi)
    cues = torch.cat(
        [corrupt_pattern(p, 0.2, n=-(-n_cues // n_patterns), generator=g) for p in xi]
    )[:n_cues]
    order = torch.randperm(n_neurons, generator=g)
    W_np, cues_np, order_np = W.double().numpy(), cues.double().numpy(), order.numpy()

    def fast(f, store):
        _, sweeps = f(cues, store, order, return_sweeps=True)
        return int(sweeps.sum()) * n_neurons

    floor_visits = fast(recall, W)

    def floor():
        for _ in range(
            2
        ):  # fields of all cues, and the changes of all fields: the products one pass cannot avoid
            W @ cues.T
        return floor_visits

    methods = {
        "random visits + energy, torch": lambda: random_visits_loop(cues[0], W, 2 * n_neurons)[1],
        "one spin at a time, torch": lambda: textbook_loop(cues[0].clone(), W, order.tolist())[1],
        "one spin at a time, numpy": lambda: sum(
            textbook_loop(c.copy(), W_np, order_np)[1] for c in cues_np[:4]
        ),
        "recall": lambda: sum(fast(recall, W) for _ in range(3)),
        "recall_patterns": lambda: sum(
            fast(recall_patterns, xi) for _ in range(20)
        ),  # each method runs for tens of ms
        "two matrix products (floor of recall)": floor,
    }
    speeds = speeds_in_turn(methods, repeats)
    lean, tutorial = speeds["one spin at a time, torch"], speeds["random visits + energy, torch"]
    return [
        dict(
            what=name,
            visits_per_s=statistics.median(v),
            ratio=ratio(v, lean),
            ratio_tutorial=ratio(v, tutorial),
        )
        for name, v in speeds.items()
    ]


def _peak_mb() -> float:
    "The largest resident memory so far (Linux: of this program; ru_maxrss there begins with the parent's)."
    status = Path("/proc/self/status")
    if status.exists():
        return float(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss: bytes there, kilobytes here
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _resident_mb() -> float:
    "Resident memory now, where the system tells (Linux); elsewhere the peak so far."
    status = Path("/proc/self/status")
    if not status.exists():
        return _peak_mb()
    return float(status.read_text(encoding="utf-8").split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def pictures(n_pictures: int = 20, n_cues: int = 16, size: int = 100) -> dict:
    "Recall with size² neurons: seconds, share recalled, and the growth of this process's peak memory in MB."
    g = torch.Generator().manual_seed(0)
    recall_patterns(
        random_patterns(2, 50, generator=g), random_patterns(2, 50, generator=g)
    )  # warm
    before = _resident_mb()
    start = time.perf_counter()
    gallery = wave_pictures(n_pictures, size, generator=g)
    cues = corrupt_pattern(gallery[0], 0.3, n=n_cues, generator=g)
    ends = recall_patterns(cues.flatten(1), gallery, generator=g)
    seconds = time.perf_counter() - start
    grown = max(0.0, _peak_mb() - before)
    share = (identify(ends, gallery) == 1).float().mean().item()
    return dict(
        what=f"{size * size:,} neurons, {n_pictures} pictures, {n_cues} cues",
        seconds=seconds,
        recalled=share,
        peak_mb=grown,
    )


def pictures_apart() -> dict:
    "`pictures` in a process of its own, so that its peak memory is its own."
    code = "import json, sys; sys.path.insert(0, sys.argv[1]); import hopfield; print(json.dumps(hopfield.pictures()))"
    folder = str(Path(__file__).resolve().parent)
    return json.loads(
        subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, encoding="utf-8", check=True
        ).stdout
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: 1)")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    print(f"1,000 neurons, 10 patterns, 256 cues with 20% noise, float32, {args.threads} thread(s)")
    print(f"{'':<40}{'visits/s':>12}{'× torch loop':>14}{'× tutorial':>12}")
    for row in rows(args.threads, args.repeats):
        print(
            f"{row['what']:<40}{row['visits_per_s']:>12.2e}{row['ratio']:>14.1f}{row['ratio_tutorial']:>12.1f}"
        )
    p = pictures_apart()
    print(
        f"{p['what']}: {p['seconds']:.2f} s, {p['recalled']:.0%} recalled, "
        f"peak memory +{p['peak_mb']:.0f} MB (W alone: 400 MB)"
    )


if __name__ == "__main__":
    main()
