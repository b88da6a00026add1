"""silen-train against everything around it: folders, files, terminals, loggers, signals, and runs that blow up."""

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from wandb_run import read

from silen_lib import core, loop
from silen_lib import train as t
from silen_lib.data import Batches
from silen_lib.rbm import RBM, Trainer

QUIET = ["--temperatures", "0", "--wandb", "disabled"]
SMALL = ["--dataset", "digits", "--n-hidden", "16", *QUIET]
COMMAND = [sys.executable, "-m", "silen_lib.train"]


def run(out, *more, epochs=2):
    return t.main([*SMALL, "--epochs", str(epochs), "--out", str(out), *more])


def model(out):
    return torch.load(out / "model.pt", weights_only=True)


def checkpoints(folder):
    "Those of a run of silen-train, whose content is looked at."
    return loop.Checkpoints(folder, check=t._check_state)


def contents(folder):
    "Every file below a folder with its bytes; the lock is nobody's data."
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != t._Folder.LOCK]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


# ── decorations ──


@pytest.mark.parametrize("git", ["none", "hangs", "latin", "fails"])
def test_git_is_no_reason_to_stop(tmp_path, monkeypatch, git):
    programs = tmp_path / "bin"
    programs.mkdir()
    says = {"hangs": "exec sleep 60", "latin": r"printf '\377\376 caf\351\n'", "fails": "exit 3"}
    if git != "none":
        (programs / "git").write_text(f"#!/bin/sh\n{says[git]}\n", encoding="utf-8")
        (programs / "git").chmod(0o755)
    monkeypatch.setenv(
        "PATH", f"{programs}:/nowhere" if git != "hangs" else f"{programs}:{os.environ['PATH']}"
    )
    start = time.monotonic()
    assert run(tmp_path / "out") == 0
    assert time.monotonic() - start < 30
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["git"] is None


@pytest.mark.parametrize(
    "name",
    [
        "mnist_rbm.plot_filters",
        "plot.show_images",
        "loop.History.plot",
        "plot.use_style",
        "mnist_rbm.dream",
    ],
)
def test_what_only_decorates_may_fail(tmp_path, monkeypatch, capsys, name):
    def broken(*args, **settings):
        raise ValueError("no such font")

    monkeypatch.setattr(f"silen_lib.{name}", broken)
    assert run(tmp_path) == 0
    assert "left out (ValueError: no such font)" in capsys.readouterr().err
    assert model(tmp_path)["W"].isfinite().all()


def test_a_progress_bar_may_fail(tmp_path, monkeypatch):
    import tqdm.auto

    class Bar:
        def __init__(self, *args, **settings):
            pass

        def update(self, n):
            raise RuntimeError("no widgets here")

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    assert run(tmp_path / "update") == 0
    monkeypatch.setattr(tqdm.auto, "tqdm", None)
    assert run(tmp_path / "absent") == 0


# ── wandb ──


@pytest.mark.parametrize(
    "variables, want",
    [
        ({}, "offline"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "run", "WANDB_API_KEY": "k"}, "online"),
        ({"WANDB_MODE": "run"}, "offline"),
        ({"WANDB_MODE": "shared", "WANDB_API_KEY": "k"}, "shared"),
        ({"WANDB_MODE": "shared"}, "offline"),
        ({"WANDB_MODE": ""}, "offline"),
        ({"WANDB_DISABLED": "true"}, "disabled"),
        ({"WANDB_DISABLED": "true", "WANDB_MODE": "online", "WANDB_API_KEY": "k"}, "disabled"),
        ({"WANDB_DISABLED": "false", "WANDB_MODE": "online", "WANDB_API_KEY": "k"}, "online"),
    ],
)
def test_the_environment_speaks_wandbs_language(monkeypatch, tmp_path, variables, want):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_DISABLED", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert core.wandb_mode()[0] == want
    assert core.wandb_mode("disabled")[0] == "disabled"


KEY = "machine {} login user password " + "x" * 40 + "\n"


@pytest.mark.parametrize(
    "file, text, mode, named, want",
    [
        (".netrc", KEY.format("api.wandb.ai"), 0o600, False, True),
        (".netrc", KEY.format("api.wandb.ai"), 0o644, False, True),
        ("_netrc", KEY.format("api.wandb.ai"), 0o600, False, True),
        ("elsewhere", KEY.format("api.wandb.ai"), 0o600, True, True),
        ("elsewhere", KEY.format("api.wandb.ai"), 0o600, False, False),
        (".netrc", KEY.format("github.com"), 0o600, False, False),
        (".netrc", b"\xff\xfe\x00binary\x80", 0o600, False, False),
        (".netrc", "machine", 0o600, False, False),
        (".netrc", None, 0o700, False, False),  # a folder
    ],
)
def test_the_key_is_where_wandb_looks_for_it(monkeypatch, tmp_path, file, text, mode, named, want):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if text is None:
        (tmp_path / file).mkdir()
    else:
        (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / file).chmod(mode)
    if named:
        monkeypatch.setenv("NETRC", str(tmp_path / file))
    assert core.wandb_has_key() is want


def test_small_products_take_one_thread_and_give_it_back(monkeypatch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        with core.threads_for(128 * 64 * 100):
            assert torch.get_num_threads() == 1
        with pytest.raises(KeyError), core.threads_for(10):
            raise KeyError
        assert torch.get_num_threads() == 2
        with core.threads_for(128 * 784 * 500):
            assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        with core.threads_for(10):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class FakeRun:
    id = "abc"

    def __init__(self, fault):
        self.fault, self.rows = fault, []
        self.summary = self

    def update(self, values):
        self.rows.append(values)

    def log(self, row, step=None):
        if self.fault in ("log", "hangs at log"):
            time.sleep(3) if "hangs" in self.fault else None
            raise ConnectionResetError("the service has died")
        if self.fault == "exits at log":
            raise SystemExit(7)
        self.rows.append(row)

    def finish(self, exit_code=0):
        if self.fault in ("finish", "hangs at finish"):
            time.sleep(3) if "hangs" in self.fault else None
            raise TypeError("'NoneType' object is not subscriptable")


@pytest.mark.parametrize(
    "fault",
    [
        "init",
        "log",
        "exits at log",
        "hangs at log",
        "finish",
        "hangs at finish",
        "image",
        "histogram",
        "import",
    ],
)
def test_wandb_may_fail_at_any_moment(tmp_path, monkeypatch, capsys, fault):
    "One line, and the same weights as without it."
    told = []

    def start(**settings):
        told.append(settings)
        if fault == "init":
            raise AttributeError("'NoneType' object has no attribute 'get'")
        return FakeRun(fault)

    def part(name):
        def make(*args):
            if fault == name:
                raise ValueError(f"no {name}")
            return name

        return make

    class Module(types.ModuleType):
        def __getattr__(self, name):
            raise ImportError("half installed") if fault == "import" else AttributeError(name)

    fake = Module("wandb")
    vars(fake).update(
        init=start,
        Settings=lambda **s: s,
        Image=part("image"),
        Histogram=part("histogram"),
        teardown=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "wandb", None if fault == "import" else fake)
    bounded = loop._bounded
    monkeypatch.setattr(loop, "_bounded", lambda work, seconds: bounded(work, 1))
    assert run(tmp_path / "out", "--wandb", "offline") == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^wandb[: ]", out, re.M)) == 1, out
    assert run(tmp_path / "plain") == 0
    assert torch.equal(model(tmp_path / "out")["W"], model(tmp_path / "plain")["W"])


def test_the_helper_process_of_wandb_is_killed(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from silen_lib import core, loop
from silen_lib import train as t
append = t.History.append
def watch(self, row):
    if row["epoch"] == 2:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                mine = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == os.getpid()
                if mine and b"wandb-core" in (folder / "cmdline").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
                    print("killed wandb-core")
            except OSError:
                pass
    return append(self, row)
t.History.append = watch
sys.exit(t.main(sys.argv[1:]))
"""
    args = [*SMALL[:-1], "offline", "--epochs", "40", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, encoding="utf-8", timeout=200
    )
    assert done.returncode == 0, done.stderr
    if "killed wandb-core" not in done.stdout:
        pytest.skip("wandb has no helper process here")
    assert "the run goes on without it" in done.stdout and "saved model.pt" in done.stdout
    assert "Traceback" not in done.stderr, done.stderr


class Server:
    "A web server on loopback that answers each request with `answer(path, body)` and remembers it."

    def __init__(self, answer):
        self.asked = asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked.append((self.path, body))
                reply = answer(self.path, body)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_PUT = do_POST

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


INFO = b'{"data": {"serverInfo": {"cliVersionInfo": {}}}}'


@pytest.mark.parametrize("kind", ["null from the start", "null later", "slow later", "trickle"])
def test_an_odd_or_slow_server(tmp_path, kind):
    def answer(path, body):
        if kind == "trickle":
            time.sleep(60)
        if b"serverInfo {" in body and kind.endswith("later"):
            return INFO
        time.sleep(60 if kind == "slow later" else 0)
        return b'{"data": null}'

    server = Server(answer)
    env = {
        **os.environ,
        "WANDB_API_KEY": "0123456789" * 4,
        "WANDB_BASE_URL": server.url,
        "HOME": str(tmp_path),
    }
    command = [*COMMAND, *SMALL[:-1], "online", "--epochs", "2", "--out", str(tmp_path / "out")]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=200, env=env)
    assert done.returncode == 0, done.stderr
    assert "saved model.pt" in done.stdout and "Traceback" not in done.stderr, (
        done.stdout + done.stderr
    )
    print(f"{kind}: {time.monotonic() - start:.0f} s\n{done.stdout}")


def test_an_offline_run_asks_the_network_nothing(tmp_path):
    server = Server(lambda path, body: b"{}")
    env = {k: v for k, v in os.environ.items() if k not in ("WANDB_MODE", "WANDB_ERROR_REPORTING")}
    env |= {
        "WANDB_BASE_URL": server.url,
        "HOME": str(tmp_path),
        "WANDB_PROJECT": "mine",
        "WANDB_DIR": str(tmp_path / "w"),
    }
    command = [*COMMAND, *SMALL[:-2], "--epochs", "2", "--out", str(tmp_path / "out")]
    (tmp_path / "w").mkdir()
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=200, env=env)
    assert done.returncode == 0, done.stderr
    assert server.asked == []
    (file,) = (tmp_path / "w").glob(
        "wandb/offline-run-*/*.wandb"
    )  # WANDB_DIR and WANDB_PROJECT as wandb reads them
    assert b"mine" in file.read_bytes() and not (tmp_path / "out" / "wandb").exists()


def test_after_a_kill_the_offline_file_is_whole(tmp_path):
    "Each file begins at epoch 1, an epoch at its own step, under the same run id."
    code = """
import os, signal, sys
from silen_lib import core, loop
from silen_lib import train as t
save = t.Checkpoints.save
def die(self, state):
    save(self, state)
    if state["row"]["epoch"] == 3 and "--resume" not in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
t.Checkpoints.save = die
sys.exit(t.main(sys.argv[1:]))
"""
    env = {k: v for k, v in os.environ.items() if k != "WANDB_MODE"}
    args = [sys.executable, "-c", code, "--out", str(tmp_path)]
    first = subprocess.run(
        [*args, *SMALL[:-2], "--epochs", "6"], capture_output=True, timeout=200, env=env
    )
    assert first.returncode == -signal.SIGKILL
    (killed,) = tmp_path.glob("wandb/offline-run-*")
    killed.rename(tmp_path / killed.name)  # the reader wants one run below the folder
    second = subprocess.run(
        [*args, "--resume"], capture_output=True, encoding="utf-8", timeout=200, env=env
    )
    assert second.returncode == 0, second.stderr
    (went_on,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert (
        went_on.name.split("-")[-1]
        == next(iter((tmp_path / killed.name).glob("*.wandb"))).name.split("-")[-1]
    )
    history = [row for row in read(tmp_path)["history"] if "recon_error" in row]
    assert [(row["_step"], row["epoch"]) for row in history] == [(n, n) for n in range(1, 7)]
    with open(tmp_path / "history.csv", encoding="utf-8") as file:
        kept = [float(row["recon_error"]) for row in csv.DictReader(file)]
    assert [row["recon_error"] for row in history] == pytest.approx(kept)


# ── the folder ──


IMPOSSIBLE = {
    "a seed too large": ["--seed", str(2**64)],
    "a model too large": ["--n-hidden", str(10**9)],
    "a number too large": ["--n-hidden", str(10**20)],
    "no such device": ["--device", "cuda:77"],
    "data in a file": ["--dataset", "mnist", "--data", "/etc/passwd"],
    "a table that is not there": ["--dataset", "nowhere/spins.npy"],
    "a table that is none": ["--dataset", f"{__file__}.csv"],
    "a kind of file that is not read": ["--dataset", __file__],
    "batches too large": ["--batch-size", "5000"],
    "too many temperatures": ["--temperatures", str(10**12)],
    "rate": ["--lr", "inf"],
    "decay": ["--weight-decay", "inf"],
    "wandb": ["--wandb", "sideways"],
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_run_that_cannot_start_touches_nothing(tmp_path, capsys, name):
    assert run(tmp_path) == 0
    (tmp_path / "checkpoints" / "mine.pt").write_text("mine", encoding="utf-8")
    (tmp_path / "writable").write_text("mine", encoding="utf-8")
    before = contents(tmp_path)
    capsys.readouterr()
    assert (
        t.main([*SMALL, "--epochs", "1", "--out", str(tmp_path), "--overwrite", *IMPOSSIBLE[name]])
        == 2
    )
    assert capsys.readouterr().err.startswith("silen-train: ")
    assert contents(tmp_path) == before


def test_a_used_folder_is_refused_and_then_set_aside_whole(tmp_path, capsys):
    assert t.main([*SMALL, "--temperatures", "20", "--epochs", "3", "--out", str(tmp_path)]) == 0
    (tmp_path / "checkpoints" / "mine.pt").write_text("mine", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    before = contents(tmp_path)
    assert run(tmp_path) == 2
    assert (
        "holds a run already; --resume goes on with it, --overwrite sets it aside"
        in capsys.readouterr().err
    )
    assert contents(tmp_path) == before
    assert run(tmp_path, "--n-hidden", "8", "--overwrite", epochs=1) == 0
    mine = {"checkpoints/mine.pt", "notes.txt"}
    after = contents(tmp_path)
    assert {
        n.removeprefix("previous-1/"): b for n, b in after.items() if n.startswith("previous-1")
    } == {n: b for n, b in before.items() if n not in mine}
    assert all(after[name] == b"mine" for name in mine)
    assert not (tmp_path / "result.json").exists(), (
        "the old model's likelihood beside the new model"
    )
    assert (
        run(tmp_path, "--overwrite", epochs=1) == 0
        and (tmp_path / "previous-2" / "model.pt").exists()
    )


@pytest.mark.parametrize("foreign", ["checkpoints", "step-00000001.pt", "model.pt"])
def test_links_are_not_followed(tmp_path, foreign):
    "What a link points to keeps its bytes, with --overwrite too."
    out, away = tmp_path / "out", tmp_path / "away"
    (out / "checkpoints").mkdir(parents=True)
    away.mkdir()
    (away / "best.pt").write_text("another project's", encoding="utf-8")
    if foreign == "checkpoints":
        (out / "checkpoints").rmdir()
        (out / "checkpoints").symlink_to(away)
    elif foreign == "model.pt":
        (out / foreign).symlink_to(away / "best.pt")
    else:
        (out / "checkpoints" / foreign).symlink_to(away / "best.pt")
    assert run(out, "--overwrite") == (2 if foreign == "checkpoints" else 0)
    assert contents(away) == {"best.pt": b"another project's"}


@pytest.mark.parametrize("out", ["", " "])
def test_an_empty_out_is_refused(tmp_path, monkeypatch, capsys, out):
    monkeypatch.chdir(tmp_path)
    assert run(out) == 2 and "--out is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_two_runs_in_one_folder(tmp_path):
    "The second is refused and told by whom; a killed run leaves no lock."
    command = [*COMMAND, *SMALL, "--epochs", "100000", "--out", str(tmp_path)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: (tmp_path / "history.csv").exists())
        for how in ("--overwrite", "--resume"):
            second = subprocess.run(
                [*command, how], capture_output=True, encoding="utf-8", timeout=120
            )
            assert second.returncode == 2 and f"is in use by process {first.pid}" in second.stderr
    finally:
        first.kill()
        first.wait()
    assert run(tmp_path, "--overwrite") == 0


# ── a run that blows up ──


@pytest.mark.parametrize("settings", [["--lr", "1e38"], ["--weight-decay", "1e9"]])
def test_divergence_stops_the_run(tmp_path, capsys, settings):
    assert run(tmp_path, *settings, "--max-gap", "5", epochs=50) == 3
    err = capsys.readouterr().err
    assert (
        re.search(r"epoch \d+: the run has diverged \(.*(nan|inf)", err)
        and "Try a --lr below" in err
    )
    assert not (tmp_path / "model.pt").exists()
    history = tmp_path / "history.csv"  # there is none when the first epoch did not come to its end
    assert not history.exists() or len(history.read_text(encoding="utf-8").splitlines()) < 50
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        assert checkpoints(path.parent).read(path)["model"]["W"].isfinite().all()


def test_the_last_good_state_survives_a_divergence(tmp_path, monkeypatch, capsys):
    step = Trainer.step

    def poisoned(self, v, lr):
        step(self, v, lr)
        if lr < 0.15:
            self.rbm.W.data[0, 0] = math.nan

    monkeypatch.setattr(Trainer, "step", poisoned)
    assert run(tmp_path, epochs=8) == 3
    assert "the last good state is" in capsys.readouterr().err
    state = checkpoints(tmp_path / "checkpoints").newest()
    assert (
        state["row"]["epoch"] >= 3
        and state["model"]["W"].isfinite().all()
        and math.isfinite(state["best"])
    )
    assert t.load_model(tmp_path / "checkpoints" / "best.pt").W.isfinite().all()


def test_a_model_that_is_not_finite_is_never_saved(tmp_path, monkeypatch):
    "Also when the run is interrupted before a row could tell."

    def fit(self, row=None):
        self.rbm.W.data[0, 0] = math.nan
        raise KeyboardInterrupt

    monkeypatch.setattr(t._Run, "fit", fit)
    assert run(tmp_path) == 3 and not (tmp_path / "model.pt").exists()


# ── terminals and signals ──


@pytest.mark.parametrize(
    "how",
    [
        "| head -n 1",
        "> /dev/full",
        "2> /dev/full",
        ">&-",
        "2>&-",
        ">&- 2>&-",
        "2>&1 | true",
        "<&- >&- 2>&-",
    ],
)
def test_a_lost_terminal_costs_nothing(tmp_path, how):
    command = (
        f"{sys.executable} -m silen_lib.train {' '.join(SMALL)} --epochs 5 --out {tmp_path}/out"
    )
    script = f"set -o pipefail; ( {command}; echo $? > {tmp_path}/status ) {how}"
    subprocess.run(["bash", "-c", script], timeout=120, capture_output=True)
    assert (tmp_path / "status").read_text(encoding="utf-8") == "0\n"
    assert model(tmp_path / "out")["W"].isfinite().all()
    assert len((tmp_path / "out" / "history.csv").read_text(encoding="utf-8").splitlines()) == 6


def test_a_terminal_without_accents(tmp_path):
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*COMMAND, *SMALL, "--epochs", "1", "--out", tmp_path],
        capture_output=True,
        env=env,
        timeout=120,
    )
    assert done.returncode == 0 and b"8x8 pixels" in done.stdout, done.stderr


STARTED = []


@pytest.fixture(autouse=True)
def _no_run_is_left_behind():
    "A run that a failed test did not end would keep a processor for itself."
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()


def start_and_wait(out, *more):
    command = [*COMMAND, *SMALL, "--epochs", "100000", "--out", str(out), *more]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    STARTED.append(process)
    until(lambda: (out / "history.csv").exists())
    time.sleep(0.3)
    return process


def test_a_closed_terminal_saves(tmp_path):
    "The suite itself may run under nohup, where a child inherits that the signal is ignored."
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        process = start_and_wait(tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and model(tmp_path)["W"].isfinite().all(), err


def test_nohup_is_respected(tmp_path):
    command = [*COMMAND, *SMALL, "--seconds", "2", "--out", str(tmp_path)]
    process = subprocess.Popen(
        ["nohup", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    STARTED.append(process)
    until(lambda: (tmp_path / "history.csv").exists())
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0


def test_who_asks_twice_does_not_lose_the_save(tmp_path):
    process = start_and_wait(tmp_path)
    for pause in (0, 0.02, 0.1, 0.5, 0.7, 0.3):
        time.sleep(pause)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT) and "saved model.pt" in out, out + err
    assert model(tmp_path)["W"].isfinite().all() and "KeyboardInterrupt" not in err


def test_held_signals_count_afterwards():
    before = signal.getsignal(signal.SIGINT)
    done = []
    with pytest.raises(KeyboardInterrupt):
        with t._hold_signals():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append("saved")
    assert done == ["saved"] and signal.getsignal(signal.SIGINT) is before


# ── checkpoints ──


def _put(*path, value):
    "Change one entry of a checkpoint; value may be a function of the old one."

    def change(state):
        place = state
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value(place[path[-1]]) if callable(value) else value

    return change


def _drop(*path):
    def change(state):
        place = state
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def _nan(x):
    x = x.clone()
    x.view(-1)[0] = math.nan
    return x


RANK = ("ranks", 0)
TRAINER = (*RANK, "trainer")
DOCTORED = {
    "negative lr": _put("config", "lr", value=-1.0),
    "lr a text": _put("config", "lr", value="0.3"),
    "lr NaN": _put("config", "lr", value=math.nan),
    "no lr": _put("config", "lr", value=None),
    "a setting too many": _put("config", "colour", value="red"),
    "a setting missing": _drop("config", "k"),
    "settings a list": _put("config", value=[1, 2]),
    "n_hidden another": _put("config", "n_hidden", value=17),
    "n_hidden a float": _put("config", "n_hidden", value=16.0),
    "batch size huge": _put("config", "batch_size", value=10**9),
    "no length": _put("config", "epochs", value=None),
    "unknown data set": _put("config", "dataset", value="cifar"),
    "precision auto": _put("config", "precision", value="auto"),
    "W NaN": _put("model", "W", value=_nan),
    "W another shape": _put("model", "W", value=lambda x: x[:, :3]),
    "W double": _put("model", "W", value=lambda x: x.double()),
    "W a list": _put("model", "W", value=[1.0]),
    "a missing": _drop("model", "a"),
    "a parameter too many": _put("model", "c", value=torch.zeros(2)),
    "step 1e9": _put("row", "step", value=10**9),
    "step zero": _put("row", "step", value=0),
    "step a float": _put("row", "step", value=20.0),
    "epoch 1e9": _put("row", "epoch", value=10**9),
    "row without step": _drop("row", "step"),
    "row a tensor": _put("row", value=torch.zeros(3)),
    "row NaN": _put("row", "recon_error", value=math.nan),
    "seconds negative": _put("row", "seconds", value=-5.0),
    "best NaN": _put("best", value=math.nan),
    "best a text": _put("best", value="-20"),
    "gap NaN": _put("gap_at_start", value=math.nan),
    "wandb id a number": _put("wandb_id", value=3),
    "no workers": _put("ranks", value=[]),
    "workers a dict": _put("ranks", value={}),
    "a worker None": _put(*RANK, value=None),
    "no trainer": _drop(*TRAINER),
    "chains NaN": _put(*TRAINER, "h", value=_nan),
    "chains twos": _put(*TRAINER, "h", value=lambda x: x + 1),
    "chains another shape": _put(*TRAINER, "h", value=lambda x: x[:5]),
    "chains missing": _drop(*TRAINER, "h"),
    "mean NaN": _put(*TRAINER, "mu", value=_nan),
    "mean another shape": _put(*TRAINER, "lam", value=lambda x: x[:5]),
    "coins short": _put(*TRAINER, "coins", value=torch.zeros(3, dtype=torch.int64)),
    "coins floats": _put(*TRAINER, "coins", value=torch.zeros(4)),
    "order short": _put(*RANK, "order", value=lambda x: x[:100]),
    "order floats": _put(*RANK, "order", value=lambda x: x.float()),
    "generator short": _put(*RANK, "coins", value=lambda x: x[:16]),
    "device unknown": _put(*RANK, "device", value="abacus"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    "A run of four epochs, and the checkpoints it left."
    out = tmp_path_factory.mktemp("trained")
    assert run(out, epochs=4) == 0
    return out


@pytest.mark.parametrize("name", DOCTORED)
def test_a_doctored_checkpoint_is_refused_and_the_one_before_is_taken(
    trained, tmp_path, capsys, name
):
    import shutil

    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    newest = sorted((tmp_path / "checkpoints").glob("step-*.pt"))[-1]
    state = torch.load(newest, weights_only=True)
    DOCTORED[name](state)
    torch.save(state, newest)
    with pytest.raises(loop.CheckpointError, match=newest.name):
        checkpoints(newest.parent).read(newest)
    assert checkpoints(tmp_path / "checkpoints").newest()["row"]["epoch"] == 3
    assert newest.name in capsys.readouterr().out


def test_a_pipe_is_no_checkpoint_and_the_best_one_is_the_last_resort(trained, tmp_path):
    import shutil

    shutil.copytree(trained / "checkpoints", tmp_path / "checkpoints")
    for path in (tmp_path / "checkpoints").glob("step-*.pt"):
        path.unlink()
        os.mkfifo(path)
    assert checkpoints(tmp_path / "checkpoints").newest()["row"]["epoch"] >= 1


def test_a_failed_best_does_not_raise_best(tmp_path, monkeypatch):
    write = loop.Checkpoints._write
    full = [True]

    def refuses(self, path, state):
        return False if path.name == "best.pt" and full[0] else write(self, path, state)

    monkeypatch.setattr(loop.Checkpoints, "_write", refuses)
    assert run(tmp_path, epochs=2) == 0
    assert checkpoints(tmp_path / "checkpoints").newest()["best"] == -math.inf
    full[0] = False
    assert run(tmp_path, "--resume", "--epochs", "3") == 0
    assert (
        checkpoints(tmp_path / "checkpoints").newest()["best"]
        == checkpoints(tmp_path / "checkpoints").read(tmp_path / "checkpoints" / "best.pt")["row"][
            "pseudo_likelihood"
        ]
    )


def test_an_epoch_costs_the_same_however_many_went_before(tmp_path, monkeypatch):
    saves, save = [], loop.History.save
    monkeypatch.setattr(
        loop.History, "save", lambda self: saves.append(len(self.rows)) or save(self)
    )
    assert run(tmp_path, epochs=60) == 0
    assert saves == [1, 60], "the whole history is written at the beginning and at the end"
    sizes = [path.stat().st_size for path in (tmp_path / "checkpoints").glob("step-*.pt")]
    monkeypatch.undo()
    assert run(tmp_path / "short", epochs=3) == 0
    assert max(sizes) < 1.02 * max(
        path.stat().st_size for path in (tmp_path / "short/checkpoints").glob("step-*.pt")
    )


def test_a_history_that_was_refused_is_made_whole(tmp_path, monkeypatch, capsys):
    history = loop.History(tmp_path / "history.csv")
    history.append(dict(epoch=1, x=0.1))
    history.path.unlink()
    history.path.mkdir()  # nothing can be appended to a folder
    assert not history.append(dict(epoch=2, x=0.2))
    assert not history.append(dict(epoch=3, x=0.3))
    history.path.rmdir()
    assert history.append(dict(epoch=4, x=0.4))
    again = loop.History(history.path)
    again.restore(3)
    assert again.rows == history.rows[:3]


# ── what was asked ──


def config(out):
    return json.loads((out / "config.json").read_text(encoding="utf-8"))


def test_a_resumed_run_keeps_what_was_asked(tmp_path):
    asked = [
        "--checkpoint-every",
        "2",
        "--max-gap",
        "77",
        "--data",
        str(tmp_path / "d"),
        "--k",
        "2",
    ]
    assert run(tmp_path / "out", *asked, "--temperatures", "30", epochs=2) == 0
    before = config(tmp_path / "out")
    assert t.main(["--resume", "--out", str(tmp_path / "out")]) == 0
    assert config(tmp_path / "out") == before
    assert t.main(["--resume", "--out", str(tmp_path / "out"), "--temperatures", "40"]) == 0
    assert config(tmp_path / "out") == before | dict(temperatures=40)
    assert (
        json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["n_temperatures"]
        == 40
    )


def test_a_finished_run_can_be_extended(tmp_path, capsys):
    assert run(tmp_path, epochs=4) == 0
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")  # of the model after 4 epochs
    assert t.main(["--resume", "--epochs", "8", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "history.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(r["epoch"]) for r in rows] == list(range(1, 9))
    assert [float(r["lr"]) for r in rows[4:]] == pytest.approx(
        [0.3 * (1 - n / 8) for n in range(5, 9)]
    )
    assert not (tmp_path / "result.json").exists()
    assert t.main(["--resume", "--epochs", "3", "--out", str(tmp_path)]) == 2
    assert "--epochs is 3, but the run to resume has done 8" in capsys.readouterr().err


def test_resuming_without_the_data_changes_nothing(tmp_path, tiny_mnist, no_network, capsys):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in tiny_mnist.items():
        (raw / name).write_bytes(content)
    args = ["--n-hidden", "8", "--batch-size", "10", "--held-out", "10", "--epochs", "2", *QUIET]
    assert t.main([*args, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 0
    before = contents(tmp_path / "out")
    assert (
        t.main(["--resume", "--data", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 2
    )
    assert "the run to resume has learned mnist, which is not here" in capsys.readouterr().err
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    "name", ["config.json", "result.json", "history.csv", "model.pt", "filters.png"]
)
def test_what_is_not_written_is_told_by_the_status(tmp_path, monkeypatch, name):
    write = loop.atomic_write

    def full(path):
        if Path(path).name == name:
            raise OSError(28, "No space left on device")
        return write(path)

    monkeypatch.setattr(loop, "atomic_write", full)
    assert run(tmp_path, "--temperatures", "10") == 1


def test_a_likelihood_that_fails_costs_only_itself(tmp_path, monkeypatch, capsys):
    def ais(*args, **settings):
        raise ValueError("no luck")

    monkeypatch.setattr("silen_lib.rbm.ais", ais)
    assert run(tmp_path, "--temperatures", "10") == 1
    assert (
        "the likelihood could not be estimated" in capsys.readouterr().err
        and (tmp_path / "model.pt").exists()
    )


def test_options_of_the_command_are_the_settings(capsys):
    with pytest.raises(SystemExit):
        t.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for f in t.fields(t.Config):
        assert f"--{f.name.replace('_', '-')} " in text and f.metadata["help"][:20] in text
    for code in (
        "0 done",
        "1 something",
        "2 bad settings",
        "3 the run diverged",
        "130 interrupted",
    ):
        assert code in text


def test_underscores_as_sweeps_write_them(tmp_path):
    args = [
        "--dataset=digits",
        "--n_hidden=8",
        "--batch_size=64",
        "--weight_decay",
        "0.01",
        "--epochs=1",
        "--held_out=100",
    ]
    assert t.main([*args, "--checkpoint_every=0", *QUIET, f"--out={tmp_path}/a_b"]) == 0
    assert (config(tmp_path / "a_b")["batch_size"], config(tmp_path / "a_b")["weight_decay"]) == (
        64,
        0.01,
    )


# ── the way back ──


def test_the_model_can_be_loaded(trained, tmp_path):
    plain = RBM(64, 16)
    plain.load_state_dict(torch.load(trained / "model.pt"))
    newest = sorted((trained / "checkpoints").glob("step-*.pt"))[-1]
    before = torch.get_rng_state()
    for path in (trained, str(trained / "model.pt"), newest):
        rbm = t.load_model(path)
        assert all(torch.equal(p, q) for p, q in zip(rbm.parameters(), plain.parameters()))
    assert torch.equal(torch.get_rng_state(), before)
    old = {**model(trained), "shape": (8, 8), "epochs": 4}
    torch.save(old, tmp_path / "old.pt")
    assert torch.equal(t.load_model(tmp_path / "old.pt").W, plain.W)
    for bad in (
        {"W": torch.zeros(3)},
        [1, 2],
        {"W": torch.zeros(2, 3), "a": torch.zeros(3), "b": torch.zeros(3)},
    ):
        torch.save(bad, tmp_path / "bad.pt")
        with pytest.raises(ValueError, match="bad.pt"):
            t.load_model(tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="cannot be read as a model"):
        t.load_model(tmp_path / "absent.pt")


# ── workers ──


ODD = {
    "rank beyond the world": dict(WORLD_SIZE="1", RANK="3"),
    "a rank alone": dict(RANK="1"),
    "no number": dict(WORLD_SIZE="two"),
    "negative": dict(WORLD_SIZE="2", RANK="-1"),
    "nobody": dict(WORLD_SIZE="0"),
    "a world without a place": dict(WORLD_SIZE="2", RANK="0"),
    "a world without ranks": dict(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT="1"),
    "local beyond": dict(
        WORLD_SIZE="2",
        RANK="0",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT="1",
        LOCAL_RANK="2",
        LOCAL_WORLD_SIZE="2",
    ),
}
NAMES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.mark.parametrize("name", ODD)
def test_an_inconsistent_environment_is_refused_in_words(tmp_path, monkeypatch, capsys, name):
    for variable in NAMES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in ODD[name].items():
        monkeypatch.setenv(variable, value)
    assert run(tmp_path / "out") == 2
    assert re.search("WORLD_SIZE|RANK", capsys.readouterr().err) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_two_workers_do_not_share_a_gpu(monkeypatch, device):
    world = dict(
        WORLD_SIZE="2",
        RANK="1",
        LOCAL_RANK="1",
        LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="x",
        MASTER_PORT="1",
    )
    for variable, value in world.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 workers"):
        t.Ranks(device)


def test_workers_ask_for_the_time_only_now_and_then(monkeypatch):
    "A clock that all workers share: few questions, the same rate everywhere, and an end close to the time asked for."
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    batches, answers = Batches(torch.zeros(40, 2), 4), []
    ten = timedelta(seconds=10)
    first = loop._Clock(ten, batches, agree=lambda value: answers.append(value) or value)
    other = loop._Clock(ten, batches, agree=lambda value: answers[-1])
    steps = 0
    while True:
        now[0] += 0.01
        steps += 1
        first.tick()
        other.tick()
        assert first.remaining == other.remaining
        if first.remaining <= 0:
            break
    assert abs(now[0] - 10) < 0.1 and len(answers) < steps / 20, (now, len(answers), steps)


# ── a table of one's own ──


def _table(path, *shape):
    "Rows in two groups, one of them all but empty: something to learn."
    p = torch.tensor([0.1, 0.7]).repeat(100)[:, None]
    rows = (
        torch.rand(200, math.prod(shape), generator=torch.Generator().manual_seed(0)) < p
    ).float()
    torch.save(rows.view(200, *shape), path)
    return str(path)


@pytest.mark.parametrize("shape", [(12,), (3, 4)])
def test_a_table_is_trained_on_saved_and_resumed(tmp_path, capsys, shape):
    out = tmp_path / "out"
    settings = [
        "--wandb",
        "disabled",
        "--temperatures",
        "50",
        "--batch-size",
        "32",
        "--checkpoint-every",
        "100",
        "--out",
        str(out),
    ]
    table = _table(tmp_path / "rows.pt", *shape)
    assert t.main(["--dataset", table, "--epochs", "300", *settings]) == 0
    pictures = {"filters.png", "samples.png"}
    assert {path.name for path in out.iterdir()} & pictures == (
        pictures if len(shape) == 2 else set()
    )
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["dataset"] == table and config["n_hidden"] == 12 and config["held_out"] == 17
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    rows = torch.load(table).flatten(1)
    p = rows.mean(0)
    independent = (rows @ p.log() + (1 - rows) @ (1 - p).log()).mean().item()
    assert result["train_forward"] > independent + 0.5, "no better than independent columns"
    assert t.load_model(out).W.shape == (12, 12)
    capsys.readouterr()
    assert t.main(["--epochs", "302", "--resume", *settings[:-2], "--out", str(out)]) == 0
    assert "resuming after epoch 300" in capsys.readouterr().out
    _table(tmp_path / "rows.pt", 11)
    assert t.main(["--epochs", "304", "--resume", "--out", str(out)]) == 2
    assert "11 columns; the run to resume has 12" in capsys.readouterr().err
