"""Retrieval beside `F.scaled_dot_product_attention`, all in one interleaved run; accuracy, speed, and peak memory.

    python benchmarks/modern_hopfield.py [--threads 1]

A memory of patterns is asked with a batch of queries, float32, β = 1/√d. Ratios are medians over rounds in which every
method runs once, so that a busy machine slows all of them alike.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import in_turn, ratio

from silen_lib.modern_hopfield import (
    HopfieldAttention,
    modern_hopfield_retrieve,
    modern_hopfield_update,
)

SDPA = "F.scaled_dot_product_attention"
MHA = "nn.MultiheadAttention"


def _peer(x, xi):
    "One retrieval by hflayers' association core, with no projections; None where the package is not installed."
    if importlib.util.find_spec("hflayers") is None:
        return None
    from hflayers import Hopfield

    d = x.shape[1]
    layer = Hopfield(
        input_size=d, scaling=d**-0.5, normalize_stored_pattern=False, normalize_state_pattern=False,
        normalize_pattern_projection=False, stored_pattern_as_static=True, state_pattern_as_static=True,
        pattern_projection_as_static=True, disable_out_projection=True, batch_first=True,
    ).eval()  # fmt: skip
    return lambda: layer((xi[None], x[None], xi[None]))


def _compare(methods: dict, base: str, repeats: int) -> dict:
    "Median milliseconds, and the median ratio to `base`, of functions run in turn."
    seconds = in_turn(methods, repeats)
    return {
        name: (1e3 * statistics.median(s), ratio(s, seconds[base])) for name, s in seconds.items()
    }


def measure(
    n_queries: int = 1024,
    n_patterns: int = 4096,
    dims: tuple[int, ...] = (64, 512),
    repeats: int = 15,
    seed: int = 0,
) -> list[dict]:
    "One dict a method and d, causal or not: d, what, ms, ratio to the kernel, largest error against float64."
    found, g = [], torch.Generator().manual_seed(seed)
    for d, causal in ((d, causal) for d in dims for causal in (False, True)):
        x, xi = torch.randn(n_queries, d, generator=g), torch.randn(n_patterns, d, generator=g)
        beta, q, k = d**-0.5, x[None, None], xi[None, None]
        methods = {
            SDPA: lambda: F.scaled_dot_product_attention(q, k, k, is_causal=causal)[0, 0],
            "modern_hopfield_retrieve": lambda: modern_hopfield_retrieve(
                x, xi, beta, causal=causal
            ),
        }
        if not causal:  # these know no causal memory
            methods["modern_hopfield_update (with weights)"] = lambda: modern_hopfield_update(
                x, xi, beta
            )[0]
            methods["hflayers"] = _peer(x, xi)
        later = torch.ones(n_queries, n_patterns, dtype=torch.bool).triu(1) & causal
        scores = (beta * x.double() @ xi.double().T).masked_fill(later, -torch.inf)
        truth = torch.softmax(scores, -1) @ xi.double()
        present = {name: run for name, run in methods.items() if run}
        with torch.no_grad():
            timed = _compare(present, SDPA, repeats)
            error = {
                name: (run().reshape(n_queries, d) - truth).abs().max().item()
                for name, run in present.items()
            }
        for name in methods:
            ms, ratio = timed.get(name, (None, None))
            what = f"{name}, causal" if causal else name
            found.append(dict(d=d, what=what, ms=ms, ratio=ratio, error=error.get(name)))
    return found


def layers(
    batch: int = 16, length: int = 128, embed_dim: int = 256, heads: int = 8, repeats: int = 9
) -> list[dict]:
    "A forward and backward pass of self-attention without weights, beside torch's layer with the same parameters."
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(embed_dim, heads, batch_first=True)
    found = {MHA: theirs}
    for steps in (1, 3):
        ours = found[f"HopfieldAttention, n_steps={steps}"] = HopfieldAttention(
            embed_dim, heads, batch_first=True, n_steps=steps
        )
        ours.load_state_dict(theirs.state_dict())
    x = torch.randn(batch, length, embed_dim)
    run = lambda layer: layer(x, x, x, need_weights=False)[0].sum().backward()
    timed = _compare(
        {name: (lambda layer=layer: run(layer)) for name, layer in found.items()}, MHA, repeats
    )
    return [dict(what=name, ms=ms, ratio=ratio) for name, (ms, ratio) in timed.items()]


def _peak_mb() -> float:
    return (
        float(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0])
        / 1e3
    )


def growth(name: str, n_queries: int, n_patterns: int, d: int = 64) -> float:
    "Growth of this process's peak memory during one retrieval, MB (Linux)."
    x, xi = torch.randn(n_queries, d), torch.randn(n_patterns, d)
    run = dict(retrieve=modern_hopfield_retrieve, update=modern_hopfield_update)[name]
    with torch.no_grad():
        run(x[:64], xi[:64], 0.1)
        before = _peak_mb()
        run(x, xi, 0.1)
    return _peak_mb() - before


def growth_apart(name: str, n_queries: int, n_patterns: int, threads: int = 1) -> float:
    "`growth` in a process of its own."
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import torch; torch.set_num_threads(int(sys.argv[5]));"
        "import modern_hopfield as m; print(json.dumps(m.growth(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))"
    )
    words = [
        str(Path(__file__).resolve().parent),
        name,
        *map(str, (n_queries, n_patterns, threads)),
    ]
    run = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, encoding="utf-8", check=True
    )
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: 1)")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"1,024 queries, 4,096 patterns, float32, {args.threads} thread(s)")
    print(f"{'':<42}{'d':>5}{'ms':>9}{'× kernel':>10}{'error':>10}")
    for row in measure(repeats=args.repeats):
        if row["ms"] is None:
            print(f"{row['what']:<42}{row['d']:>5}   not installed here")
        else:
            print(
                f"{row['what']:<42}{row['d']:>5}{row['ms']:>9.2f}{row['ratio']:>10.2f}{row['error']:>10.1e}"
            )
    print(
        f"\nSelf-attention, 16 × 128 tokens of 256, 8 heads, forward and backward\n{'':<42}{'ms':>14}{'× torch':>10}"
    )
    for row in layers():
        print(f"{row['what']:<42}{row['ms']:>14.2f}{row['ratio']:>10.2f}")
    if Path("/proc/self/status").exists():
        print(
            f"\nPeak memory of one retrieval, d = 64, MB\n{'queries × patterns':<42}{'retrieve':>14}{'update':>10}"
        )
        for queries, patterns in ((1024, 4096), (4096, 16384), (8192, 32768)):
            grown = [
                growth_apart(name, queries, patterns, args.threads)
                for name in ("retrieve", "update")
            ]
            print(f"{f'{queries:,} × {patterns:,}':<42}{grown[0]:>14.1f}{grown[1]:>10.1f}")


if __name__ == "__main__":
    main()
