"""What the accelerator makes of the library: the tests marked `gpu`, a step beside its floor, a short training.

    python benchmarks/gpu.py [--seconds 30]

The floor is the matrix products that one contrastive step cannot avoid, on the same card, in the same run. Times are
medians over rounds that alternate step and floor. On a machine without an accelerator it says so and does nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from timing import beside, contrastive_floor

from silen_lib.rbm import RBM, Trainer

N_VISIBLE, TESTS = 784, Path(__file__).resolve().parents[1] / "tests"


def beside_the_floor(device, B, H, k, rounds=15):
    "Median time of a centred PCD step, as a row of the table."
    v = (torch.rand(B, N_VISIBLE, device=device) < 0.13).float()
    trainer = Trainer(RBM(N_VISIBLE, H, device=device), B, k, data_mean=v.mean(0).clamp(0.01, 0.99))
    base = contrastive_floor([v], H, k)
    runs = {"step": lambda: trainer.step(v, 0.01)}
    pairs = beside(base, runs, rounds, warm=2, device=device, repeat=50)["step"]
    mine, best = map(statistics.median, zip(*pairs, strict=True))
    return (
        f"PCD-{k}, batch {B}, {H} hidden",
        f"{mine * 1e6:,.0f} µs, {B / mine:,.0f} examples/s",
        f"{mine / best:.2f}",
    )


def short_training(device, limit):
    "silen-train on the device for a while, and the likelihood it reports."
    with tempfile.TemporaryDirectory() as folder:
        options = dict(
            device=device, seconds=limit, temperatures=5000, wandb="disabled", out=folder
        )
        command = [
            sys.executable,
            "-m",
            "silen_lib.train",
            *(f"--{k}={v}" for k, v in options.items()),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", check=False
        )
        if done.returncode:
            return "silen-train", f"failed ({done.returncode}): {done.stderr.strip()[-200:]}", ""
        result = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
        epochs = len((Path(folder) / "history.csv").read_text(encoding="utf-8").splitlines()) - 1
    likelihood = f"{result['test_forward']:.2f} forward, {result['test_reverse']:.2f} reverse"
    return (
        f"silen-train, {limit:g} s",
        f"{epochs} epochs, test log-likelihood {likelihood} nats",
        "",
    )


def tests():
    "The tests marked gpu, in a process of their own."
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gpu",
        str(TESTS),
        "--ignore",
        str(TESTS / "browser"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    lines = done.stdout.strip().splitlines() or ["nothing said"]
    print("\n".join(line for line in lines if line.startswith(("FAILED", "ERROR"))))
    return "tests marked gpu", lines[-1].strip("= "), ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=30, help="of the short training (default: 30)"
    )
    args = parser.parse_args()
    if not torch.accelerator.is_available():
        print(
            "no accelerator on this machine: nothing was run (the fake-device tests are part of `make test`)"
        )
        return
    device = torch.accelerator.current_accelerator().type
    name = torch.cuda.get_device_name() if device == "cuda" else device
    print(f"{name}, torch {torch.__version__}")
    rows = [tests()]
    sizes = ((128, 500, 1), (512, 500, 1), (512, 2048, 5), (4096, 2048, 1))
    rows += [beside_the_floor(device, *size) for size in sizes]
    rows.append(short_training(device, args.seconds))
    print(f"{'':34} {'':62} {'× floor':>8}")
    for what, measured, ratio in rows:
        print(f"{what:34} {measured:62} {ratio:>8}")


if __name__ == "__main__":
    main()
