"""Runs that are interrupted, killed, resumed, handed broken checkpoints, or shared among workers."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from silen_lib import loop
from silen_lib import train as m

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SMALL = ["--dataset", "digits", "--n-hidden", "16", "--temperatures", "0", "--wandb", "disabled"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def checkpoint(path):
    "What a checkpoint of silen-train holds, or a CheckpointError."
    return m.Checkpoints(path.parent, check=m._check_state).read(path)


def model(folder):
    return torch.load(folder / "model.pt", weights_only=True)


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in ("W", "a", "b"))


class Stop(Exception):
    pass


def stop_after(monkeypatch, epochs):
    "Make the run die right after the checkpoint of an epoch."
    save = m.Checkpoints.save

    def save_and_stop(self, state):
        save(self, state)
        if state["row"]["epoch"] == epochs:
            raise Stop

    monkeypatch.setattr(m.Checkpoints, "save", save_and_stop)


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["--momentum", "0.5"],
        ["--binarisation", "stochastic", "--k", "2"],
        ["--batch-size", "100"],
        ["--precision", "bfloat16"],
    ],
)
def test_resume_is_bit_for_bit(tmp_path, monkeypatch, settings):
    args = [*SMALL, "--epochs", "6", *settings]
    assert m.main([*args, "--out", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop_after(patch, 3)
        m.main([*args, "--out", str(tmp_path / "cut")])
    assert (
        m.main(
            [
                "--resume",
                "--wandb",
                "disabled",
                "--temperatures",
                "0",
                "--out",
                str(tmp_path / "cut"),
            ]
        )
        == 0
    )
    assert same(model(tmp_path / "whole"), model(tmp_path / "cut"))
    drop = lambda folder: [  # noqa: E731  (times differ, everything else may not)
        {
            k: v
            for k, v in zip(head.split(","), line.split(","))
            if k not in ("seconds", "examples_per_second")
        }
        for head, *lines in [(folder / "history.csv").read_text(encoding="utf-8").splitlines()]
        for line in lines
    ]
    assert drop(tmp_path / "whole") == drop(tmp_path / "cut")


def test_a_finished_run_resumes_to_itself(tmp_path):
    args = [*SMALL, "--epochs", "2", "--out", str(tmp_path)]
    assert m.main(args) == 0
    before = model(tmp_path)
    assert m.main([*args, "--resume"]) == 0
    assert same(before, model(tmp_path))


def test_nothing_to_resume_is_an_error(tmp_path, capsys):
    "A mistyped --out must not begin a training of its own."
    assert m.main([*SMALL, "--epochs", "1", "--resume", "--out", str(tmp_path / "typo")]) == 2
    assert "there is nothing to resume in" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "typo").iterdir() if path.name != "silen-train.lock"]


def test_another_setting_is_refused_by_name(tmp_path, capsys):
    args = [*SMALL, "--epochs", "2", "--out", str(tmp_path)]
    assert m.main(args) == 0
    assert m.main([*args, "--lr", "0.5", "--resume"]) == 2
    assert "--lr is 0.5, but the run to resume has 0.3" in capsys.readouterr().err


def test_the_last_few_and_the_best_are_kept(tmp_path):
    assert m.main([*SMALL, "--epochs", "7", "--out", str(tmp_path)]) == 0
    folder = tmp_path / "checkpoints"
    steps = [checkpoint(p)["row"]["epoch"] for p in sorted(folder.glob("step-*.pt"))]
    assert steps == [5, 6, 7]
    best = checkpoint(folder / "best.pt")
    with open(tmp_path / "history.csv", encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    assert best["row"]["pseudo_likelihood"] == max(
        float(row["pseudo_likelihood"]) for row in history
    )


HARM = {
    "truncated": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("hello", encoding="utf-8"),
    "foreign": lambda p: torch.save({"state_dict": {"W": torch.zeros(3)}}, p),
    "code": lambda p: torch.save(
        {"kind": "silen-rbm", "format": loop._KIND["format"], "f": Path("/")}, p
    ),
    "newer": lambda p: torch.save({"kind": "silen-rbm", "format": 99}, p),
    "incomplete": lambda p: torch.save({"kind": "silen-rbm", "format": loop._KIND["format"]}, p),
}
WORDS = {
    "foreign": "is not a checkpoint of silen-train",
    "newer": "has format 99; this version reads",
    "incomplete": "lacks",
}


@pytest.mark.parametrize("harm", list(HARM))
def test_a_bad_checkpoint_is_refused_with_a_reason_and_the_one_before_is_used(
    tmp_path, capsys, harm
):
    args = [*SMALL, "--epochs", "4", "--out", str(tmp_path)]
    assert m.main(args) == 0
    before = model(tmp_path)
    newest = sorted((tmp_path / "checkpoints").glob("step-*.pt"))[-1]
    HARM[harm](newest)
    with pytest.raises(loop.CheckpointError, match=newest.name):
        checkpoint(newest)
    capsys.readouterr()
    assert m.main([*args, "--resume"]) == 0
    out = capsys.readouterr().out
    assert (
        newest.name in out
        and WORDS.get(harm, "cannot be read") in out
        and "resuming after epoch 3" in out
    )
    assert same(before, model(tmp_path)), "the last epoch was repeated exactly"


@pytest.mark.parametrize("harm", ["truncated", "older"])
def test_a_folder_of_useless_checkpoints_is_neither_resumed_nor_emptied(tmp_path, capsys, harm):
    args = [*SMALL, "--epochs", "2", "--out", str(tmp_path)]
    assert m.main(args) == 0
    files = sorted((tmp_path / "checkpoints").glob("*.pt"))
    for path in files:
        if harm == "truncated":
            HARM["truncated"](path)
        else:
            torch.save(torch.load(path, weights_only=True) | {"format": 2}, path)
    before = [path.read_bytes() for path in files]
    capsys.readouterr()
    assert m.main([*args, "--resume"]) == 2
    assert (
        "holds checkpoints and none can be resumed; choose another folder"
        in capsys.readouterr().err
    )
    assert [path.read_bytes() for path in files] == before


def test_resuming_with_automatic_precision_keeps_the_one_that_was_used(monkeypatch, tmp_path):
    args = [*SMALL, "--precision", "auto", "--out", str(tmp_path)]
    monkeypatch.setattr(m, "_fast_bfloat16", lambda device: True)
    assert m.main([*args, "--epochs", "2"]) == 0
    monkeypatch.setattr(m, "_fast_bfloat16", lambda device: False)
    assert m.main([*args, "--epochs", "2", "--resume"]) == 0
    assert (
        json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["precision"]
        == "bfloat16"
    )


def test_a_checkpoint_from_a_gpu_can_be_resumed_on_a_cpu(tmp_path, capsys):
    "Such a checkpoint has a short generator state of another kind and no coins; both begin anew."
    args = [*SMALL, "--epochs", "3", "--out", str(tmp_path)]
    assert m.main(args) == 0
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        rank = state["ranks"][0]
        rank |= dict(device="cuda", coins=torch.zeros(16, dtype=torch.uint8))
        rank["trainer"]["coins"] = torch.empty(0, dtype=torch.int64)
        if state["row"]["epoch"] == 3:
            path.unlink()
        else:
            torch.save(state, path)
    capsys.readouterr()
    assert m.main([*args, "--resume"]) == 0
    assert "resuming after epoch 2" in capsys.readouterr().out


def test_killed_again_and_again_it_gets_through(tmp_path):
    "SIGKILL at random moments: all is there up to the last checkpoint; the weights end as in an untouched run."
    kills = int(os.environ.get("SILEN_KILLS", 8))
    args = [*SMALL, "--epochs", "60"]
    done = subprocess.run(
        [sys.executable, HERE / "kill_loop.py", str(kills), tmp_path / "killed", *args],
        capture_output=True, encoding="utf-8", timeout=600, env=ENV,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    print(report)
    assert report["status"] == 0 and report["went_back"] == 0 and report["kills"] >= 1
    whole = subprocess.run(
        [sys.executable, "-m", "silen_lib.train", *args, "--out", tmp_path / "whole"],
        capture_output=True,
        env=ENV,
    )
    assert whole.returncode == 0
    assert same(model(tmp_path / "killed"), model(tmp_path / "whole"))


def test_the_gap_can_stop_a_run(tmp_path, capsys):
    args = [
        *SMALL,
        "--n-hidden",
        "200",
        "--epochs",
        "400",
        "--held-out",
        "1200",
        "--lr",
        "0.2",
        "--max-gap",
        "2",
    ]
    assert m.main([*args, "--batch-size", "50", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "the free-energy gap has grown by" in out
    assert len((tmp_path / "history.csv").read_text(encoding="utf-8").splitlines()) < 400


def test_memory_is_flat_over_epochs(tmp_path):
    code = """
import resource, sys
from silen_lib.train import History, main
peaks, append = [], History.append
def watch(self, row):
    append(self, row)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
History.append = watch
assert main(sys.argv[1:]) == 0
print("grown", peaks[-1] - peaks[20], "kB over", len(peaks) - 21, "epochs")
"""
    args = [*SMALL, "--epochs", "150", "--out", str(tmp_path)]
    command = [sys.executable, "-c", code, *args]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=ENV, timeout=300)
    assert done.returncode == 0, done.stderr
    grown = int(done.stdout.split("grown ")[1].split()[0])
    assert grown < 8000, done.stdout


# ── several workers ──


def torchrun(*args, timeout=240, env=ENV, processes=2):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(processes),
    ]
    return subprocess.run(
        [*command, *map(str, args)], capture_output=True, encoding="utf-8", timeout=timeout, env=env
    )


GRADIENT = """
import pathlib, sys, torch
from silen_lib.train import Ranks
from silen_lib.rbm import RBM, Trainer

def make(rank, reduce=None):
    "The trainer of one worker, with chains and data of its own."
    g = torch.Generator().manual_seed(100 + rank)
    rbm = RBM(20, 8, generator=torch.Generator().manual_seed(0))
    trainer = Trainer(rbm, 16, data_mean=torch.full((20,), 0.3), generator=g, reduce=reduce)
    return trainer, (torch.rand(16, 20, generator=g) < 0.3).float()

ranks = Ranks("cpu")
trainer, v = make(ranks.rank, ranks.average_)
trainer.step(v, 0.1)
if ranks.rank == 0:  # the same by hand: both workers' gradients in one process, then their mean
    shares = []
    hand = [make(rank, shares.append) for rank in range(2)]
    for t, v in hand:
        t.step(v, 0.1)
    for mine, name in zip(zip(*shares), "W a b activity".split()):
        mean = torch.stack([g for g in mine]).sum(0) / 2
        velocity = dict(zip("W a b".split(), trainer.velocity)).get(name)
        if velocity is not None:
            assert torch.equal(velocity, 0.1 * mean), name
models = ranks.gather(trainer.rbm.W.detach())
assert torch.equal(models[0], models[1])
(pathlib.Path(sys.argv[1]) / f"agree-{ranks.rank}").touch()
ranks.close()
"""


def test_two_workers_share_one_gradient_bit_for_bit(tmp_path):
    (tmp_path / "gradient.py").write_text(GRADIENT, encoding="utf-8")
    done = torchrun(tmp_path / "gradient.py", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "agree-0").exists() and (tmp_path / "agree-1").exists()


def test_two_workers_train_and_agree_with_one(tmp_path):
    args = [
        "--dataset",
        "digits",
        "--n-hidden",
        32,
        "--wandb",
        "disabled",
        "--epochs",
        100,
        "--temperatures",
        1000,
    ]
    done = torchrun("-m", "silen_lib.train", *args, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "on 2 workers" in done.stdout and done.stdout.count("saved model.pt") == 1
    assert m.main([*map(str, args), "--out", str(tmp_path / "one")]) == 0
    results = {
        n: (tmp_path / n / "result.json").read_text(encoding="utf-8") for n in ("one", "two")
    }
    score = {n: json.loads(text)["test_forward"] for n, text in results.items()}
    assert score["one"] > -20, score  # learned: a model without weights has −24.25
    assert abs(score["one"] - score["two"]) < 0.5, (
        score
    )  # nats; seeds of one worker differ by a few hundredths


def test_a_dead_worker_is_replaced_and_the_run_goes_on(tmp_path):
    "Worker 1 kills itself after epoch 3; torchrun restarts the job, which resumes from its checkpoint."
    code = """
import os, signal, sys
from silen_lib import train as m
take_part = m.Checkpoints.after_epoch
def dying(self, row):
    take_part(self, row)
    if row["epoch"] == 4 and not self.writes and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
m.Checkpoints.after_epoch = dying
sys.exit(m.main(sys.argv[1:]))
"""
    (tmp_path / "dying.py").write_text(code, encoding="utf-8")
    args = [*SMALL, "--epochs", "8", "--out", tmp_path / "out"]
    done = torchrun("--max-restarts", 1, tmp_path / "dying.py", *args)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "resuming after epoch" in done.stdout
    assert (
        checkpoint(sorted((tmp_path / "out" / "checkpoints").glob("step-*.pt"))[-1])["row"]["epoch"]
        == 8
    )


def test_a_dead_worker_without_restarts_ends_the_job(tmp_path):
    code = "import os, signal, sys; from silen_lib import train as m\n"
    code += "if os.environ['RANK'] == '1': m._Run.fit = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
    code += "sys.exit(m.main(sys.argv[1:]))"
    (tmp_path / "dying.py").write_text(code, encoding="utf-8")
    start = time.perf_counter()
    done = torchrun(
        "--max-restarts",
        0,
        tmp_path / "dying.py",
        *SMALL,
        "--epochs",
        1000,
        "--out",
        tmp_path / "out",
    )
    assert done.returncode != 0 and time.perf_counter() - start < 150


# ── the precision of products ──


@pytest.mark.parametrize(
    "found, device, want",
    [({"avx512_bf16": True}, "cpu", True), ({"amx_bf16": True}, "cpu", True), ({"avx2": True}, "cpu", False),
     ({"avx512_bf16": True}, "cuda", False)],
)  # fmt: skip
def test_bfloat16_is_chosen_where_the_processor_is_made_for_it(monkeypatch, found, device, want):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert m._fast_bfloat16(torch.device(device)) is want
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert m._fast_bfloat16(torch.device("cpu")) is False


@pytest.mark.parametrize(
    "wish, fast, got",
    [
        ("auto", 1, "bfloat16"),
        ("auto", 0, "float32"),
        ("float32", 1, "float32"),
        ("bfloat16", 0, "bfloat16"),
    ],
)
def test_the_precision_that_was_used_is_written_down(
    monkeypatch, tmp_path, capsys, wish, fast, got
):
    monkeypatch.setattr(m, "_fast_bfloat16", lambda device: fast)
    assert m.main([*SMALL, "--precision", wish, "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["precision"] == got
    assert f"{got} products" in capsys.readouterr().out
