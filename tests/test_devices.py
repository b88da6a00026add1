"""Every public function that takes tensors, "on" CUDA and MPS: no mixed devices, nothing MPS lacks, no reads in loops.

`python tests/test_devices.py` prints the table. tests/fake_device.py says what such a run can and cannot show.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import torch
from catalogue import ENTRIES, Count, Entry, Kind
from fake_device import install_guards, pretending

RUNS = [e for e in ENTRIES if e.fake == "run"]
LONGER = (
    "sweeps",
    "max_sweeps",
    "n_steps",
    "k",
    "max_steps",
    "n_temperatures",
    "steps",
    "n",
    "burn_in",
)  # more work, same shapes


@pytest.fixture(autouse=True, scope="module")
def _guards():
    if reason := install_guards():
        pytest.skip(reason)


def attempt(entry: Entry, device: str, more: int = 0):
    "(error or '', what was seen) of one call; `more` is added to the counts that only make it longer."
    with pretending() as seen:
        try:
            arguments = entry.legal(device)
            for name in LONGER:
                if more and isinstance(entry.arguments.get(name), Count):
                    arguments[name] += more
            function = entry.function(device)
            before = sum(seen.reads.values())
            function(**arguments)
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}", seen, 0
    return "", seen, sum(seen.reads.values()) - before


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("entry", RUNS, ids=lambda e: e.name)
def test_runs_there(entry, device):
    error, seen, reads = attempt(entry, device)
    assert not error
    assert not seen.objections()
    assert reads <= entry.reads, f"{reads} host reads, {entry.reads} allowed: {dict(seen.reads)}"


@pytest.mark.parametrize("entry", RUNS, ids=lambda e: e.name)
def test_host_reads_do_not_grow_with_the_work(entry):
    "Where convergence is the point (a descent that stops by itself) one read a sweep is the price, and is said so."
    if not any(isinstance(entry.arguments.get(n), Count) for n in LONGER):
        pytest.skip("nothing makes it longer")
    short, long = (attempt(entry, "cuda", more)[2] for more in (0, 10))
    a_sweep = (
        1 if "looked at once a s" in " ".join((entry.call.__doc__ or "").split()) else 0
    )  # a sweep, or a step
    assert long - short <= 10 * a_sweep


def test_the_bench_sees_what_it_should():
    def careless(x):
        bool((x > 2).any())
        return (x.double() + torch.zeros(3)).sum().item()

    entry = Entry("careless", careless, {"x": Kind(make=lambda d: torch.ones(3, device=d))})
    error, seen, _ = attempt(entry, "mps")
    assert sum(seen.reads.values()) >= 1
    assert any("float64" in o for o in seen.objections()) or "float64" in error
    assert any("mixes" in o for o in seen.objections()) or "device" in error


def table() -> None:
    "One line a function and device."
    for entry in ENTRIES:
        if entry.fake != "run":
            print(f"{entry.name:55} not run: {entry.fake}")
            continue
        said = []
        for device in ("cuda", "mps"):
            error, seen, reads = attempt(entry, device)
            said.append(
                f"{device} {error or '; '.join(seen.objections()) or 'ok'}, {reads} reads, {seen.kernels} kernels"
            )
        print(f"{entry.name:55} {' | '.join(said)}")


if __name__ == "__main__":
    sys.exit(install_guards() or table())
