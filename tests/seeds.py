"""Run chapters under other seeds: `python tests/seeds.py nbs/01_hopfield.ipynb -n 20`.

Every literal seed in the chapter's code is shifted and SILEN_SEED is set, so that no draw is the committed one.
Nothing is written.
"""

import argparse
import copy
import re
import sys
import time
from pathlib import Path

import nbformat

from silen_lib.notebooks import execute

# manual_seed(3), seed(3), seed_everything(3), seed=3, seed: int = 3
LITERAL = re.compile(r"(seed\w*\(|\bseed(?:: int)? ?= ?)(\d+)\b")


def shifted(code: str, by: int) -> str:
    "The code with every literal seed moved."
    return LITERAL.sub(lambda m: f"{m[1]}{int(m[2]) + by}", code)


def run(path: Path, number: int) -> str:
    "Run a chapter under the seeds of one number → '' or the failing cell and its error."
    nb = copy.deepcopy(nbformat.read(path, as_version=4))
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source = shifted(cell.source, 1000 * number)
    try:
        execute(nb, path.resolve().parent, {"SILEN_SEED": str(42 + 1000 * number)})
    except Exception as error:  # whatever a cell raises is the finding
        return re.sub(r"\x1b\[[0-9;]*m", "", str(error))[-1500:]
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("chapters", nargs="+", type=Path)
    parser.add_argument("-n", type=int, default=20, help="how many seeds (default 20)")
    parser.add_argument("--first", type=int, default=1, help="number of the first (default 1)")
    args = parser.parse_args()
    failed = 0
    for path in args.chapters:
        for number in range(args.first, args.first + args.n):
            start = time.perf_counter()
            fault = run(path, number)
            failed += bool(fault)
            print(
                f"{'✗' if fault else '✓'} {path} seed {number}  {time.perf_counter() - start:.0f} s",
                flush=True,
            )
            if fault:
                print(fault, flush=True)
    print(f"{failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
