"""How all benchmarks measure: contestants take turns in one process, and what counts is a ratio to a neighbour in time.

A machine that slows down for seconds slows neighbours alike, so medians of ratios stay; of seconds they would not.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

Run = Callable[[], object]


def clock(run: Run, device: str = "cpu", repeat: int = 1) -> float:
    "Seconds of one pass: those that it tells as a float, or those it took; an accelerator is waited for."
    wait = device != "cpu"
    if wait:
        torch.accelerator.synchronize(device)
    start, told = time.perf_counter(), None
    for _ in range(repeat):
        told = run()
    if wait:
        torch.accelerator.synchronize(device)
    return told if isinstance(told, float) else (time.perf_counter() - start) / repeat


def in_turn(runs: Mapping[str, Run], rounds: int, warm: int = 1) -> dict[str, list[float]]:
    "Seconds of each run in each round; the first `warm` rounds are left out."
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(warm + rounds):
        for name, run in runs.items():
            seconds[name].append(clock(run))
    return {name: s[warm:] for name, s in seconds.items()}


def speeds_in_turn(
    runs: Mapping[str, Callable[[], int]], rounds: int, warm: int = 1
) -> dict[str, list[float]]:
    "Units of work a second of each run in each round; a run tells how many it did."
    done: dict[str, list[int]] = {name: [] for name in runs}

    def counted(name: str) -> Run:
        return lambda: done[name].append(runs[name]())

    seconds = in_turn({name: counted(name) for name in runs}, rounds, warm)
    return {
        name: [n / t for n, t in zip(done[name][warm:], seconds[name], strict=True)]
        for name in runs
    }


def beside(
    base: Run,
    runs: Mapping[str, Run],
    rounds: int,
    warm: int = 0,
    pause: float = 0.0,
    device: str = "cpu",
    repeat: int = 1,
) -> dict[str, list[tuple[float, float]]]:
    "(seconds, seconds of `base` right before) of each run in each round; `pause` lets another's idle threads stop."
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(warm + rounds):
        for name, run in runs.items():
            time.sleep(pause)
            before = clock(base, device, repeat)
            pairs[name].append((clock(run, device, repeat), before))
    return {name: p[warm:] for name, p in pairs.items()}


def ratio(mine: Iterable[float], theirs: Iterable[float]) -> float:
    "Median of the ratios round by round."
    return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


def contrastive_floor(batches: Iterable[Tensor], H: int, k: int) -> Run:
    "The matrix products that CD-k cannot avoid, on buffers made beforehand: v→h, k × (h→v, v→h), the gradient's two."
    batches = list(batches)
    first = batches[0]
    W = torch.randn(first.shape[1], H, device=first.device) * 0.01
    h, back, G = first.new_empty(len(first), H), torch.empty_like(first), torch.empty_like(W)

    def run() -> None:
        for v in batches:
            torch.mm(v, W, out=h)
            for _ in range(k):
                torch.mm(h, W.T, out=back)
                torch.mm(back, W, out=h)
            torch.mm(v.T, h, out=G)
            torch.addmm(G, back.T, h, out=G)

    return run
