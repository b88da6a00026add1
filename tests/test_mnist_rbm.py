"""silen-train: what it writes, what it refuses, and how it behaves when the machine does not."""

import csv
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
import torch
import yaml
from wandb_run import read

from silen_lib import loop
from silen_lib import mnist_rbm as m
from silen_lib import train as t
from silen_lib.data import Batches

SMALL = ["--dataset", "digits", "--n-hidden", "16", "--temperatures", "0", "--wandb", "disabled"]


def run(*args, env=None, timeout=120):
    "silen-train in a process of its own, without a terminal."
    return subprocess.run(
        [sys.executable, "-m", "silen_lib.train", *map(str, args)],
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )


def rows(folder):
    with open(folder / "history.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_a_run_leaves_behind(tmp_path):
    done = run(
        "--dataset",
        "digits",
        "--epochs",
        3,
        "--temperatures",
        200,
        "--wandb",
        "disabled",
        "--out",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "test log-likelihood" in done.stdout and "ex/s" in done.stderr
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert (
        state["W"].shape == (64, 100) and state["a"].shape == (64,) and state["b"].shape == (100,)
    )
    assert [int(r["epoch"]) for r in rows(tmp_path)] == [1, 2, 3]
    assert (
        json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["dataset_used"]
        == "digits"
    )
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (
        result["n_temperatures"] == 200 and result["test_forward"] != result["held_out_forward"] < 0
    )
    for name in ("filters", "samples", "curves"):
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(tmp_path.glob(".*")), "no temporary files stay"


def test_the_sweep_file_names_options_and_a_result_that_exist(tmp_path):
    """Its command line runs as wandb's agent would run it; an option given again, after it, wins."""
    sweep = yaml.safe_load(
        (Path(__file__).parent.parent / "nbs" / "sweep.yaml").read_text(encoding="utf-8")
    )
    first = {
        k: v.get("value", v.get("min", v.get("values", [None])[0]))
        for k, v in sweep["parameters"].items()
    }
    args = [f"--{name}={value}" for name, value in first.items()]
    t.Config(**{k.replace("-", "_"): v for k, v in first.items()}).check()
    command = [args if word == "${args}" else [word] for word in sweep["command"]]
    small = ["--seconds=1", "--dataset=digits", "--temperatures=50", "--wandb=disabled"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*sum(command, []), *small], cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120,
        env={**os.environ, "WANDB_RUN_ID": "abc", "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sweep["metric"]["name"] in json.loads(
        (tmp_path / "runs/sweep/abc/result.json").read_text(encoding="utf-8")
    )


def test_the_same_seed_gives_the_same_model(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert (
            t.main([*SMALL, "--epochs", "2", "--seed", str(seed), "--out", str(tmp_path / name)])
            == 0
        )
    W = {name: torch.load(tmp_path / name / "model.pt", weights_only=True)["W"] for name in "abc"}
    assert torch.equal(W["a"], W["b"]) and not torch.equal(W["a"], W["c"])


def test_seconds_is_training_wall_time(tmp_path):
    assert t.main([*SMALL, "--seconds", "2", "--out", str(tmp_path)]) == 0
    assert 2 <= float(rows(tmp_path)[-1]["seconds"]) < 4  # the last epoch is cut short
    assert float(rows(tmp_path)[-1]["lr"]) == 0


def test_stochastic_binarisation(tmp_path):
    assert (
        t.main([*SMALL, "--epochs", "2", "--binarisation", "stochastic", "--out", str(tmp_path)])
        == 0
    )


# ── wandb ──


def test_offline_run_holds_what_the_history_holds(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    done = run(
        "--dataset",
        "digits",
        "--n-hidden",
        16,
        "--epochs",
        4,
        "--temperatures",
        100,
        "--out",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    logged, kept = read(tmp_path), rows(tmp_path)
    scalars = [row for row in logged["history"] if "recon_error" in row]
    assert len(scalars) == len(kept) == 4
    for row, want in zip(scalars, kept):
        assert {k: pytest.approx(float(v)) for k, v in want.items()} == {k: row[k] for k in want}
        assert row["histogram/W._type"] == "histogram" or row["histogram/W"]["_type"] == "histogram"
        assert any(k.startswith("histogram/hidden_activity") for k in row)
    assert logged["config"]["n_hidden"] == 16 and logged["config"]["seed"] == 42
    assert {name.split("_")[0] for name in logged["media"]} == {"filters", "samples", "curves"}
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert logged["summary"]["test_forward"] == pytest.approx(result["test_forward"])


def test_online_without_a_key_goes_offline(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run(*SMALL[:-2], "--wandb", "online", "--epochs", 1, "--out", tmp_path / "out")
    assert done.returncode == 0 and "no key" in done.stdout, done.stderr
    assert len(read(tmp_path / "out")["history"]) >= 1


@pytest.mark.parametrize("network", ["refused", "silent"])
def test_a_key_and_no_network_returns_within_thirty_seconds(tmp_path, network):
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    if network == "refused":
        server.close()
    else:  # takes connections and never answers
        threading.Thread(target=lambda: [server.accept() for _ in range(50)], daemon=True).start()
    env = dict(
        WANDB_API_KEY="0123456789" * 4,
        WANDB_BASE_URL=f"http://127.0.0.1:{port}",
        WANDB_MODE="online",
        HOME=str(tmp_path),
    )
    start = time.perf_counter()
    done = run(*SMALL[:-2], "--epochs", 1, "--out", tmp_path / "out", env=env)
    took = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    assert "online failed" in done.stdout and "wandb offline" in done.stdout
    assert took < 30 + 10, (
        f"{took:.0f} s"
    )  # 10 s for Python, torch and the training itself on a busy machine
    assert len(read(tmp_path / "out")["history"]) >= 1


def test_wandb_not_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert t.main([*SMALL[:-2], "--wandb", "offline", "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert "wandb is not installed" in capsys.readouterr().out


def test_disabled_never_imports_wandb(tmp_path):
    code = "import sys; from silen_lib.train import main; code = main(sys.argv[1:]); "
    code += "assert 'wandb' not in sys.modules; sys.exit(code)"
    args = [*SMALL, "--epochs", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr


# ── faults ──


def test_no_network_and_no_mnist(tmp_path, tiny_mnist, no_network, capsys):
    args = ["--epochs", "1", "--n-hidden", "8", "--temperatures", "0", "--wandb", "disabled"]
    assert t.main([*args, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 0
    assert "Using scikit-learn's 8×8 digits instead" in capsys.readouterr().out
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["dataset_used"] == "digits" and config["shape"] == [8, 8]


def test_damaged_mnist_stops_with_its_name(tmp_path, tiny_mnist, no_network, capsys):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in tiny_mnist.items():
        (raw / name).write_bytes(content[:50])
    assert (
        t.main(["--data", str(tmp_path), "--wandb", "disabled", "--out", str(tmp_path / "out")])
        == 2
    )
    assert "train-images-idx3-ubyte.gz is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["below a file", "read-only"])
def test_unwritable_out_is_said_before_training(tmp_path, where, monkeypatch, capsys):
    if where == "below a file":
        (tmp_path / "file").write_text("", encoding="utf-8")
        out = tmp_path / "file" / "out"
    else:
        out = "/proc/silen"
    monkeypatch.setattr(t, "load_dataset", lambda *a: pytest.fail("data were loaded first"))
    assert t.main([*SMALL, "--epochs", "1", "--out", str(out)]) == 2
    assert "cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args,words",
    [
        (["--dataset", "cifar"], "--dataset is 'cifar'; it must be mnist, digits or a .npy"),
        (["--n-hidden", "-5"], "--n-hidden is -5; it must be positive"),
        (["--epochs", "0"], "--epochs is 0; it must be positive"),
        (["--k", "0"], "--k is 0"),
        (["--lr", "nan"], "--lr is nan"),
        (["--momentum", "1"], "--momentum is 1.0; it must lie in [0, 1)"),
        (
            ["--batch-size", "5000"],
            "--batch-size is 5000 and --held-out 200; digits has 1400 to train on",
        ),
        (["--device", "abacus"], "device is 'abacus'"),
        (["--wandb", "sideways"], "wandb mode is 'sideways'"),
        (["--epochs", "1", "--seconds", "1"], "exclude each other"),
    ],
)
def test_bad_settings(tmp_path, capsys, args, words):
    assert t.main(["--dataset", "digits", "--out", str(tmp_path), *args]) == 2
    assert words in capsys.readouterr().err


def test_bad_input_to_the_trainer():
    rbm = m.ProductionRBM(4, 3)
    with pytest.raises(ValueError, match="train_loader spans nan|without NaN"):
        m.train_rbm_production(rbm, torch.full((8, 4), float("nan")), 1, progress=False)
    with pytest.raises(ValueError, match="must hold 0 and 1"):
        m.train_rbm_production(rbm, torch.tensor([[1.0, -1, 1, -1]] * 8), 1, progress=False)
    with pytest.raises(ValueError, match="the model has 4 visible units"):
        m.train_rbm_production(rbm, torch.zeros(8, 5), 1, progress=False)
    with pytest.raises(ValueError, match="train_loader is empty"):
        m.train_rbm_production(rbm, [], 1, progress=False)
    with pytest.raises(ValueError, match="n_visible is 0"):
        m.ProductionRBM(0, 3)
    wrong = [
        dict(lr=-1),
        dict(lr=float("inf")),
        dict(lr=float("nan")),
        dict(seconds=0),
        dict(seconds=float("inf")),
    ]
    for settings in [*wrong, dict(n_epochs=0), dict(n_epochs=1.5), dict(n_epochs=float("inf"))]:
        ((name, value),) = settings.items()
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            m.train_rbm_production(
                rbm, torch.zeros(8, 4), **{"n_epochs": 1, "progress": False, **settings}
            )
    with pytest.raises(FloatingPointError, match="smaller lr"):  # the trainer's own
        m.train_rbm_production(
            m.ProductionRBM(4, 3), (torch.rand(64, 4) > 0.5).float(), 3, lr=1e38, progress=False
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_monitor_that_is_not_finite_stops_the_run(monkeypatch, value):
    row = dict(recon_error=0.1, pseudo_likelihood=value)
    monkeypatch.setattr(m.ProductionRBM, "monitor", lambda *_, **__: dict(row))
    with pytest.raises(
        FloatingPointError, match=f"epoch 1: pseudo_likelihood is {value}.*diverged"
    ):
        m.train_rbm_production(
            m.ProductionRBM(4, 3), (torch.rand(64, 4) > 0.5).float(), 3, progress=False
        )


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
from silen_lib.train import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_file_that_cannot_grow_leaves_the_previous_one_whole(tmp_path):
    "RLIMIT_FSIZE stops every write at 3 kB, wherever one may not mount a small disk."
    assert t.main([*SMALL, "--epochs", "1", "--out", str(tmp_path)]) == 0
    before = (tmp_path / "model.pt").read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, "--resume", "--epochs", "2", "--out", str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert (
        "could not save" in done.stderr and "model.pt" in done.stderr and "untouched" in done.stderr
    )
    assert (tmp_path / "model.pt").read_bytes() == before
    assert not [p for p in tmp_path.glob(".*")], "no half-written file stays"


def test_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip(
            "mounting a small disk needs privileges; the RLIMIT_FSIZE test covers the same code"
        )
    try:
        assert t.main([*SMALL, "--epochs", "1", "--out", str(disk / "out")]) == 0
        before = (disk / "out" / "model.pt").read_bytes()
        filler = (disk / "filler").open("wb")
        try:
            while True:
                filler.write(b"0" * 1024)
                filler.flush()
        except OSError:
            pass
        assert t.main(["--resume", "--epochs", "2", "--out", str(disk / "out")]) in (1, 2)
        assert (disk / "out" / "model.pt").read_bytes() == before
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupt_saves_and_says_where(tmp_path, name):
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "silen_lib.train",
            *SMALL,
            "--epochs",
            "100000",
            "--out",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    deadline = time.time() + 60
    while not (tmp_path / "history.csv").exists() and time.time() < deadline:
        time.sleep(0.1)
    time.sleep(0.3)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"saving to {tmp_path}" in out and "saved model.pt" in out
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert state["W"].shape == (64, 16) and len(rows(tmp_path)) >= 1
    assert f"interrupted after {len(rows(tmp_path))} epochs" in out
    assert "Traceback" not in err


# ── the library's call forms ──


def test_call_forms_of_the_source_notebook():
    "The names, argument order and return values that the notebook this course grew from uses."
    from torch.utils.data import DataLoader, TensorDataset

    from silen_lib.rbm import RBM, contrastive_divergence

    v = (torch.rand(96, 64) < 0.3).float()
    rbm = RBM(64, 32)
    h, p = rbm.sample_hidden(v)
    assert h.shape == p.shape == (96, 32) and set(h.unique().tolist()) <= {0.0, 1.0}
    v1, _ = rbm.sample_visible(h)
    assert rbm.energy(v1, h).shape == rbm.free_energy(v).shape == (96,)
    assert isinstance(contrastive_divergence(rbm, v, k=1, lr=0.1), float)

    loader = DataLoader(
        TensorDataset(v.view(-1, 1, 8, 8), torch.zeros(96)), batch_size=40, shuffle=True
    )
    model = m.ProductionRBM(n_visible=64, n_hidden=16, device=torch.device("cpu"))
    history = m.train_rbm_production(
        model, loader, n_epochs=2, lr=0.01, momentum=0.9, weight_decay=0.0001, k=1, use_wandb=False
    )
    assert len(history["recon_error"]) == len(history["free_energy"]) == 2
    assert {"weight_mean", "weight_std", "weight_max", "weight_norm"} <= set(
        model.get_weight_stats()
    )
    assert {"dead_units", "saturated_units", "fraction_active"} <= set(
        model.get_hidden_activation_stats(v)
    )
    assert model.device.type == "cpu"


def test_sampling_keeps_no_graph():
    rbm = m.ProductionRBM(8, 4)
    v, p = rbm.sample_visible(rbm.sample_hidden(torch.zeros(3, 8))[0])
    assert not v.requires_grad and not p.requires_grad


def test_the_default_settings_reach_a_likelihood_the_old_ones_do_not():
    """Three epochs of MNIST: the defaults against CD-1 with momentum 0.9 and initial weights of std 4√(6/(n+m)).

    Measured −97 and −117 nats; AIS with 1,500 temperatures is good to about a nat at this stage."""
    from silen_lib.data import binarise, load_mnist, mnist_state
    from silen_lib.rbm import ais, log_likelihood

    if mnist_state()[0] == "missing":
        pytest.skip("no MNIST in the data folder: `make train` fetches it")
    digits = load_mnist(download=False)
    train, test = binarise(digits.train), binarise(digits.test)

    def score(rbm, **settings):
        m.train_rbm_production(
            rbm,
            Batches(train, 128, torch.Generator().manual_seed(0)),
            3,
            progress=False,
            **settings,
        )
        return log_likelihood(rbm, test, ais(rbm, 1500, 100, m.log_odds(train)).log_Z)

    ours = m.ProductionRBM(784, 500)
    ours.a.data = m.log_odds(train)
    old = m.ProductionRBM(784, 500, weight_std=4 * (6 / 1284) ** 0.5)
    assert (
        score(ours)
        > score(old, lr=0.01, momentum=0.9, weight_decay=0.0001, persistent=False, centred=False)
        + 8
    )


def test_full_pseudo_likelihood_is_the_sum_of_the_exact_conditionals():
    rbm = m.ProductionRBM(6, 4, weight_std=1.5, generator=torch.Generator().manual_seed(3)).double()
    rbm.a.data = torch.linspace(-1, 1, 6, dtype=torch.float64)
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 6)
    p = torch.softmax(-rbm.free_energy(states), 0).detach().reshape([2] * 6)
    want = sum((p / p.sum(i, keepdim=True)).log() for i in range(6)).flatten()
    torch.testing.assert_close(rbm.full_pseudo_likelihood(states), want, atol=1e-12, rtol=0)
    one = torch.stack(
        [m.pseudo_log_likelihood(rbm, states, torch.full((64,), i)) for i in range(6)]
    ).mean(0)
    torch.testing.assert_close(one.detach(), want, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["tensor", "batches", "loader"])
def test_whatever_comes_in_is_kept_as_bytes_and_trains(kind):
    grey = torch.rand(64, 9, generator=torch.Generator().manual_seed(0))
    order = torch.Generator().manual_seed(5)
    loader = {
        "tensor": grey,
        "batches": Batches(grey, 16, order),
        "loader": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(grey), 16),
    }[kind]
    made = loop.bit_batches(loader, 9, torch.device("cpu"))
    assert made.x.dtype == torch.uint8 and torch.equal(made.x.bool(), grey > 0.5)
    assert made.batch_size == (64 if kind == "tensor" else 16)
    assert kind != "batches" or made.generator is order
    rbm = m.ProductionRBM(9, 4)
    history = m.train_rbm_production(rbm, loader, 2, held_out=made.x[:20], progress=False)
    assert len(history["pseudo_likelihood"]) == 2 and bool(rbm.W.isfinite().all())


def test_the_notebooks_recipe_is_the_commands():
    defaults = inspect.signature(m.train_rbm_production).parameters
    settings = {f.name: f.metadata["data"] for f in t.fields(t.Config)}
    for name in ("lr", "weight_decay"):
        assert defaults[name].default == settings[name]["mnist"]


@pytest.mark.parametrize("lr", [1e30, 1e38])
def test_a_run_that_blows_up_says_so(lr):
    v = (torch.rand(50, 9, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    with pytest.raises(FloatingPointError, match="smaller lr"):
        m.train_rbm_production(m.ProductionRBM(9, 4), v, 3, lr=lr, progress=False)
    sick = m.ProductionRBM(9, 4)
    sick.b.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="smaller lr"):
        sick.monitor(v)


@pytest.mark.parametrize("lr", [float("inf"), float("nan"), 0.0])
def test_an_impossible_learning_rate_is_refused_before_any_work(lr):
    with pytest.raises(ValueError, match="lr is"):
        m.train_rbm_production(m.ProductionRBM(9, 4), torch.zeros(8, 9), 1, lr=lr, progress=False)


def test_a_plain_machine_and_foreign_loaders_are_refused_by_name():
    from silen_lib.rbm import RBM

    v = torch.zeros(8, 9)
    for loader in (v.numpy(), [v.numpy()], None, 3, [v + 255], v[:0], [v[:, :0]]):
        with pytest.raises(ValueError, match="train_loader"):
            m.train_rbm_production(m.ProductionRBM(9, 4), loader, 1, progress=False)
    with pytest.raises(ValueError, match="rbm is a RBM; it must be of class ProductionRBM"):
        m.train_rbm_production(RBM(9, 4), v, 1, progress=False)


def test_what_an_evaluation_prints_is_ascii():
    t._RESULT.encode("ascii")


@pytest.mark.parametrize("state", ["open", "none", "dies"])
def test_rows_go_to_the_wandb_run_that_is_open(monkeypatch, capsys, state):
    "At wandb's own steps, which others may have used; without a run, or when it dies, one line."
    rows = []

    class Open:
        id = "abc"

        def log(self, row, step=None):
            if state == "dies":
                raise ConnectionResetError("the service has died")
            rows.append((row["epoch"], step))

    fake = types.ModuleType("wandb")
    fake.run = None if state == "none" else Open()
    fake.teardown = lambda: None
    monkeypatch.setitem(sys.modules, "wandb", fake)
    v = (torch.rand(20, 9, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    history = m.train_rbm_production(m.ProductionRBM(9, 4), v, 2, use_wandb=True, progress=False)
    assert history["epoch"] == [1, 2]
    assert rows == ([(1, None), (2, None)] if state == "open" else [])
    assert capsys.readouterr().out.count("the run goes on without it") == (state != "open")


def test_the_loop_goes_on_after_a_row_as_if_it_had_not_stopped():
    "Any trainer: the rates of two parts are those of the whole; every watcher is closed, whatever ends the training."

    class Rates(loop.Watcher):
        def __init__(self):
            self.rates, self.steps, self.closed = [], [], 0

        def step(self, v, lr):
            self.rates.append(lr)

        def after_step(self, step, remaining):
            self.steps.append((step, remaining))

        def close(self):
            self.closed += 1

    batches = Batches(torch.zeros(12, 2), 4)
    whole, parts = Rates(), Rates()
    loop.fit(whole, batches, 4, [whole], lr=0.5)
    first = loop.fit(parts, batches, 4, [parts, lambda row: row["epoch"] == 2], lr=0.5)
    last = loop.fit(parts, batches, 4, [parts], lr=0.5, after=first)
    assert (parts.rates, parts.steps) == (whole.rates, whole.steps)
    assert (whole.closed, parts.closed) == (1, 2) and (last["epoch"], last["step"]) == (4, 12)
    assert whole.rates == pytest.approx([0.5 * (1 - n / 12) for n in range(12)])
    with pytest.raises(ZeroDivisionError):
        loop.fit(whole, batches, 1, [whole, lambda row: 1 / 0])
    assert whole.closed == 2
