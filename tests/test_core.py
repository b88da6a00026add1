"""Seeds, devices, atomic writes, wandb's mode and the doctor."""

import os
import subprocess
import sys

import pytest
import torch

from silen_lib import core


def test_seed_from_the_environment(monkeypatch):
    monkeypatch.setenv("SILEN_SEED", "7")
    assert core.set_seed() == 7
    a = torch.rand(2)
    assert core.set_seed(7) == 7 and torch.equal(a, torch.rand(2))
    monkeypatch.setenv("SILEN_SEED", "lucky")
    with pytest.raises(ValueError, match="SILEN_SEED is 'lucky'"):
        core.set_seed()


@pytest.mark.parametrize("there,want", [((True, True), "cuda"), ((False, True), "mps"), ((False, False), "cpu")])
def test_device_order(monkeypatch, there, want):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there[0])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there[1])
    assert core.get_device().type == want
    assert core.get_device("cpu").type == "cpu"  # an explicit wish wins


def test_a_wish_that_cannot_be_met_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="not there; this machine has: "):
        core.get_device("cuda")
    with pytest.raises(ValueError, match="must be auto, cuda, cuda:N, mps or cpu"):
        core.get_device("xpu")


def test_atomic_write_keeps_the_old_file_and_leaves_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), core.atomic_write(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    with core.atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o666 & ~core._umask()


def test_wandb_mode(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert core.wandb_mode() == ("offline", "")
    assert core.wandb_mode("online")[0] == "offline" and "no key" in core.wandb_mode("online")[1]
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert core.wandb_mode() == ("disabled", "")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert core.wandb_mode("online") == ("online", "")


def test_key_in_netrc(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert not core.wandb_has_key()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password " + "x" * 40 + "\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert core.wandb_has_key()


def test_doctor_command():
    run = subprocess.run(
        [sys.executable, "-c", "from silen_lib.core import doctor_main; raise SystemExit(doctor_main())"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for what in ("Python", "torch", "torch and torchvision match", "device", "widgets", "MNIST", "wandb", "free disk"):
        assert f"{what}: " in run.stdout
    assert all(line.startswith(("✓ ", "✗ ", "    → ")) for line in run.stdout.splitlines())


def test_doctor_names_each_fault_and_its_fix(monkeypatch, tmp_path, capsys):
    from collections import namedtuple

    from silen_lib import data

    def broken():
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(data, "import_torchvision", broken)
    monkeypatch.setattr(core.metadata, "requires", lambda name: ["numpy>=99", "no-such-package>=1"])
    monkeypatch.setenv("SILEN_DATA", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "sideways")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(core.shutil, "disk_usage", lambda p: usage(1, 1, 10_000_000))
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *a: [])
    bad = {f.what: f for f in core.doctor() if not f.ok}
    assert set(bad) == {
        "numpy",
        "no-such-package",
        "torch and torchvision match",
        "widgets",
        "MNIST",
        "wandb",
        "free disk",
    }
    assert all(f.fix for f in bad.values())
    assert {f.what for f in bad.values() if not f.needed} == {"MNIST", "wandb"}
    assert "not installed" in capsys.readouterr().out


def test_data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("SILEN_DATA", str(tmp_path))
    assert core.data_dir() == tmp_path
    monkeypatch.delenv("SILEN_DATA")
    assert core.data_dir() == core.course_root() / "data"
    assert os.path.exists(core.course_root() / "settings.ini")


def test_the_widest_numbers_of_a_device():
    assert core.wide_dtype("mps") == torch.float32 and core.wide_dtype(torch.device("cpu")) == torch.float64


@pytest.mark.parametrize("draw", [
    lambda g: core.uniform((2,), torch.ones(1), g),
    lambda g: core.normal((2,), torch.ones(1), g),
    lambda g: core.permutation(3, torch.device("cpu"), g),
    lambda g: core.categorical(torch.ones(3) / 3, 2, g),
])  # fmt: skip
@pytest.mark.parametrize("bad", [0, "cpu", torch.ones(1), lambda: 0.5])
def test_a_generator_that_is_none_is_refused_by_name(draw, bad):
    with pytest.raises(ValueError, match="generator is a .*; it must be a torch.Generator or None"):
        draw(bad)
