"""The doctor: each fault is one line with its remedy, on every terminal, and never a traceback."""

import json
import os
import re
import subprocess
import sys
from collections import namedtuple

import jupyter_client.kernelspec  # noqa: F401  (it keeps the jupyter_path that it finds when first imported)
import pytest

from silen_lib import core, data, doctor

RUN = "from silen_lib.doctor import main; raise SystemExit(main())"
MATCH = "torch and torchvision match"
EVERY = (
    "Python",
    "torch",
    MATCH,
    "device",
    "widgets",
    "kernel python3",
    "MNIST",
    "wandb",
    "free disk",
)
LOOKS = (
    "python",
    "packages",
    "torch_pair",
    "device",
    "widgets",
    "kernel",
    "mnist",
    "wandb",
    "disk",
)
LC_ALL_C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def _run(code=RUN, **env):
    env = {**os.environ, **env}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=180, env=env
    )


def test_the_command():
    run = _run(PYTHONUTF8="1")
    assert run.returncode == 0, run.stdout + run.stderr
    assert all(f"{what}: " in run.stdout for what in EVERY)
    assert all(line.startswith(("✓ ", "✗ ", "    → ")) for line in run.stdout.splitlines())


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"}, LC_ALL_C]
)
def test_a_terminal_without_the_marks(env):
    run = _run(**env)
    assert run.returncode == 0 and run.stderr == "", run.stderr
    assert run.stdout.isascii() and run.stdout.startswith("ok Python: 3.")


@pytest.mark.parametrize(
    "name", ["torch", "numpy", "torchvision", "packaging", "jupyter_client", "jupyter_core"]
)
def test_a_package_that_cannot_be_imported_is_a_finding(name):
    code = f"import sys\nsys.modules[{name!r}] = None\n{RUN}"
    run = _run(code, PYTHONUTF8="1")
    assert run.returncode == 1 and "Traceback" not in run.stderr + run.stdout, run.stderr
    assert "✗ " in run.stdout and re.search(f"ModuleNotFoundError: .*{name}", run.stdout), (
        run.stdout
    )
    assert "✓ Python: " in run.stdout and "disk: " in run.stdout, "the other looks go on"


def test_each_fault_is_named_with_its_fix(monkeypatch, tmp_path, capsys):
    def broken():
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(data, "import_torchvision", broken)
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["numpy>=99", "no-such-package>=1"]
    )
    monkeypatch.setenv("SILEN_DATA", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "sideways")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda p: usage(1, 1, 10_000_000))
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *a: [])
    bad = {f.what: f for f in doctor.doctor() if not f.ok}
    faults = {
        "numpy",
        "no-such-package",
        "torch and torchvision match",
        "widgets",
        "MNIST",
        "wandb",
        "free disk",
    }
    assert faults == set(bad)
    assert all(f.fix for f in bad.values())
    assert {f.what for f in bad.values() if not f.needed} == {"MNIST", "wandb"}
    assert "not installed" in capsys.readouterr().out


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_that_fails_is_a_finding(monkeypatch, look):
    def fails():
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr(doctor, f"_{look}", fails)
    found = doctor.doctor()
    assert [f.ok for f in found].count(False) == 1
    assert "could not be looked at (UnicodeDecodeError" in next(f.detail for f in found if not f.ok)


def test_a_brief_doctor_prints_what_is_wrong_and_counts_the_rest(monkeypatch, capsys):
    "The same findings; a line for each that is not right, with its remedy, and one line for all others."
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["numpy>=99", "no-such-package>=1"]
    )
    in_full = doctor.doctor()
    whole = capsys.readouterr().out
    in_brief = doctor.doctor(brief=True)
    told = capsys.readouterr().out.splitlines()
    assert [(f.what, f.ok) for f in in_brief] == [(f.what, f.ok) for f in in_full]
    wrong = [f for f in in_brief if not f.ok]
    assert {"numpy", "no-such-package"} <= {f.what for f in wrong}
    assert "\n".join(f.line for f in wrong).splitlines() == told[:-1]
    assert told[-1] == f"✓ {len(in_brief) - len(wrong)} of {len(in_brief)} things are in order"
    assert all(f.line in whole for f in in_full)


def _kernel_spec(monkeypatch, root, argv, **more):
    folder = root / "kernels" / "python3"
    folder.mkdir(parents=True)
    spec = json.dumps({"argv": argv, "display_name": "x", "language": "python", **more})
    (folder / "kernel.json").write_text(argv if isinstance(argv, str) else spec, encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(root))


LAUNCH = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
STRANGERS = {
    "a Python without the course": ([sys.executable, "-I", "-S", *LAUNCH], "has no silen_lib"),
    "a Python that is gone": (["/nowhere/bin/python", *LAUNCH], "does not start"),
    "a program that is no Python": ([sys.executable, "-c", "print(3)", *LAUNCH], "does not start"),
    "a file that is not JSON": ("{", "cannot be read"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_the_notebooks_kernel_is_another_python(monkeypatch, tmp_path, case):
    argv, words = STRANGERS[case]
    _kernel_spec(monkeypatch, tmp_path, argv)
    found = doctor._kernel()
    assert not found.ok and found.needed and words in found.detail, found
    if "read" not in words:
        assert f"take {tmp_path} out of JUPYTER_PATH" in found.fix
    assert found.fix


def test_a_kernel_with_another_copy_of_the_library(monkeypatch, tmp_path):
    other = tmp_path / "other" / "silen_lib"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    _kernel_spec(
        monkeypatch, tmp_path, [sys.executable, *LAUNCH], env={"PYTHONPATH": str(other.parent)}
    )
    found = doctor._kernel()
    assert (
        not found.ok and not found.needed and f"imports another silen_lib, {other}" in found.detail
    )


def test_the_plain_kernel_is_this_python(monkeypatch, tmp_path):
    _kernel_spec(monkeypatch, tmp_path, ["python", *LAUNCH])
    assert doctor._kernel().ok
    assert not doctor._kernel("no-such-kernel").ok


def test_outside_the_course_no_makefile_is_named(monkeypatch):
    monkeypatch.setattr(core, "course_root", lambda: None)
    assert "make" not in doctor._install() and "pip install" in doctor._install()
