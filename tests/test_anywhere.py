"""Other terminals, other systems, no checkout: what must work away from the machine the course was made on."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from silen_lib.core import say

MARKS = "✓ ✗ × ± … → ≥ − ½ β é 日本 𝄞"


def _page(encoding, errors="strict"):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, newline="\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "shift_jis", "utf-8", "utf-16"])
def test_say_on_every_encoding(encoding):
    page = _page(encoding)
    say(MARKS, 3, file=page)
    text = page.buffer.getvalue().decode(encoding)
    assert text.endswith(" 3\n")
    assert text.count(" ") == MARKS.count(" ") + 1, "each character has one stand-in, without a space"
    for mark in MARKS.split():
        if mark.encode(encoding, "ignore").decode(encoding) == mark:
            assert mark in text, "what the terminal can show stays as it is"


def test_stand_ins_read_well():
    page = _page("ascii")
    say("✓ ✗ 28×28 3 ± 1 … a → b, T ≥ ½, β, ξᵀ, é, −1", file=page)
    assert page.buffer.getvalue() == b"ok x 28x28 3 +- 1 ... a -> b, T >= 1/2, beta, xiT, e, -1\n"


class _Broken(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left"), OSError(5, "Input/output error")])
def test_say_survives_a_stream_that_fails(error):
    say("lost", file=_Broken(error))


def test_say_survives_a_closed_and_an_absent_stream(monkeypatch):
    page = _page("utf-8")
    page.close()
    say("lost", file=page)
    monkeypatch.setattr(sys, "stdout", None)
    say("lost")


def test_say_does_not_swallow_the_stop_button():
    with pytest.raises(KeyboardInterrupt):
        say("stop", file=_Broken(KeyboardInterrupt()))


def _python(code, encoding="ascii", **kwargs):
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, timeout=120, **kwargs)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_costs_nothing():
    with open("/dev/full", "w") as full:
        run = _python("from silen_lib.core import say\nfor i in range(3): say(i)", stdout=full)
    assert (run.returncode, run.stderr) == (0, b"")


def test_a_reader_that_went_away_costs_nothing():
    read, write = os.pipe()
    os.close(read)
    run = _python("from silen_lib.core import say\nfor i in range(3): say(i)", stdout=write)
    os.close(write)
    assert (run.returncode, run.stderr) == (0, b"")


def test_any_terminal_covers_print_argparse_and_tracebacks():
    code = (
        "import argparse\nfrom silen_lib.core import any_terminal\nany_terminal()\nprint('✓ 28×28 ± β')\n"
        "argparse.ArgumentParser(prog='p', description='β × ✓').print_help()\nraise ValueError('✗ ±')"
    )
    run = _python(code, stdout=subprocess.PIPE)
    assert run.stdout.startswith(b"ok 28x28 +- beta") and b"beta x ok" in run.stdout
    assert b"ValueError: x +-" in run.stderr


# --- without a checkout

ROOT = Path(__file__).resolve().parents[1]
UNPACKED = ("build", "dist", "*.egg-info", "__pycache__", "data", "runs", "wandb", ".git", ".venv", "tests", "nbs")


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    "An sdist made of the tree, and the wheel made of that sdist alone."
    folder = tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*UNPACKED))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "source"]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=300)
    assert run.returncode == 0, run.stdout[-3000:]
    return folder


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    "The wheel in a folder of its own: an environment in which Python finds it before any checkout."
    site = tmp_path_factory.mktemp("site")
    wheel = next(dist.glob("*.whl"))
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(command, check=True, timeout=300)
    home = tmp_path_factory.mktemp("home")
    env = {k: v for k, v in os.environ.items() if not k.startswith("SILEN_")}
    return {**env, "PYTHONPATH": str(site), "PYTHONUTF8": "1", "XDG_CACHE_HOME": str(home), "SITE": str(site)}


def _outside(env, folder, *command):
    return subprocess.run(
        [sys.executable, *command], env=env, cwd=folder, capture_output=True, encoding="utf-8", timeout=300
    )


def test_the_sdist_holds_what_a_build_reads(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"settings.ini", "setup.py", "pyproject.toml", "README.md", "LICENSE", "silen_lib/py.typed"} <= names


def test_the_wheel_holds_every_module_and_its_types(dist):
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        names = set(archive.namelist())
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "silen_lib").rglob("*.py")}
    assert modules | {"silen_lib/py.typed"} <= names
    assert not any(name.startswith(("tests/", "nbs/")) for name in names)


def test_each_command_of_the_wheel_can_be_called_and_explains_itself(installed, tmp_path):
    code = (
        "import importlib.metadata as m, os, pathlib, sys\n"
        "dist = next(d for d in m.distributions(path=[os.environ['SITE']]) if d.name == 'silen_lib')\n"
        "scripts = [e for e in dist.entry_points if e.group == 'console_scripts']\n"
        "assert len(scripts) >= 4, scripts\n"
        "for e in scripts:\n"
        "    main = e.load()\n"
        "    assert os.environ['SITE'] in sys.modules[e.module].__file__\n"
        "    if e.name == 'silen-doctor': continue\n"
        "    sys.argv = [e.name, '--help']\n"
        "    try: main()\n"
        "    except SystemExit as stop: assert not stop.code, e.name\n"
    )
    run = _outside(installed, tmp_path, "-c", code)
    assert run.returncode == 0, run.stderr
    assert not list(tmp_path.iterdir())


def test_the_doctor_outside_the_course(installed, tmp_path):
    run = _outside(installed, tmp_path, "-m", "silen_lib.doctor")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "make " not in run.stdout and "kernel python3" in run.stdout


def test_silen_notebooks_outside_the_course(installed, tmp_path):
    run = _outside(installed, tmp_path, "-m", "silen_lib.notebooks")
    assert run.returncode == 2 and "no checkout of the course" in run.stderr and "Traceback" not in run.stderr


def test_data_go_to_the_users_cache_outside_the_course(installed, tmp_path):
    code = "from silen_lib.core import course_root, data_dir; print(course_root(), data_dir())"
    run = _outside(installed, tmp_path, "-c", code)
    where = Path(installed["XDG_CACHE_HOME"], "silen_lib") if sys.platform == "linux" else "silen_lib"
    assert run.stdout.startswith("None ") and str(where) in run.stdout, run.stdout + run.stderr


def test_every_module_is_imported_from_the_wheel(installed, tmp_path):
    code = (
        "import os, pkgutil, sys, importlib, silen_lib, silen_lib.all\n"
        "for m in pkgutil.walk_packages(silen_lib.__path__, 'silen_lib.'): importlib.import_module(m.name)\n"
        "ours = [m for n, m in sys.modules.items() if n.startswith('silen_lib')]\n"
        "assert len(ours) > 25 and all(os.environ['SITE'] in m.__file__ for m in ours)\n"
    )
    run = _outside(installed, tmp_path, "-c", code)
    assert run.returncode == 0, run.stderr


def test_a_chapter_runs_from_the_wheel_in_an_empty_folder(installed, tmp_path):
    shutil.copy(ROOT / "nbs" / "00_energy.ipynb", tmp_path)
    run = _outside(installed, tmp_path, "-m", "silen_lib.notebooks", "--check", "00_energy.ipynb")
    assert run.returncode == 0 and "✓ 00_energy.ipynb" in run.stdout, run.stdout + run.stderr
