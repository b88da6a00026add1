"""Other terminals, other systems, no checkout: what must work away from the machine the course was made on."""

import ast
import io
import json
import os
import re
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


@pytest.mark.parametrize(
    "encoding", ["ascii", "cp1252", "latin-1", "cp437", "shift_jis", "utf-8", "utf-16"]
)
def test_say_on_every_encoding(encoding):
    page = _page(encoding)
    say(MARKS, 3, file=page)
    text = page.buffer.getvalue().decode(encoding)
    assert text.endswith(" 3\n")
    assert text.count(" ") == MARKS.count(" ") + 1, (
        "each character has one stand-in, without a space"
    )
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


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(28, "No space left"), OSError(5, "Input/output error")]
)
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
    return subprocess.run(
        [sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, timeout=120, **kwargs
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_costs_nothing():
    with open("/dev/full", "w", encoding="utf-8") as full:
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


# --- other systems, by reading the code

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("silen_lib", "tests", "benchmarks")
PYTHON = [
    ROOT / "setup.py",
    *(p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))),
]
NOTEBOOKS = [
    p for p in sorted((ROOT / "nbs").rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts
]
SOURCES = [p for p in (*PYTHON, *NOTEBOOKS) if "artefacts" not in p.parts]
NOT_TEXT = ("os", "gzip", "Image", "PIL", "tarfile", "zipfile", "webbrowser")


def _trees(path):
    "The syntax trees of a file: one, or one a code cell."
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return [ast.parse(text)]
    cells = ["".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    return [ast.parse(c) for c in cells if not c.lstrip().startswith(("%", "!"))]


def _mode(call, at):
    "The mode that a file is opened with, where it can be read off."
    given = [k.value for k in call.keywords if k.arg == "mode"] or call.args[at : at + 1]
    return getattr(given[0], "value", "?") if given else None


def _opens_text_without_encoding(call):
    function = call.func
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    name = function.attr if owner else getattr(function, "id", "")
    keywords = {k.arg: getattr(k.value, "value", None) for k in call.keywords}
    if "encoding" in keywords:
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) < (2 if name == "write_text" else 1)
    if keywords.get("text") is True or keywords.get("universal_newlines") is True:
        return True
    if name in ("NamedTemporaryFile", "TemporaryFile"):
        return "b" not in (_mode(call, 0) or "w+b")
    if name not in ("open", "fdopen") or owner.split(".")[0] in NOT_TEXT:
        return False
    return "b" not in (_mode(call, 0 if owner and name == "open" else 1) or "r")


def _calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize(
    "code, fault",
    [
        ("open('a')", True),
        ("open('a', 'w', newline='')", True),
        ("open('a', mode='a')", True),
        ("path.open('w')", True),
        ("path.read_text()", True),
        ("path.write_text('a')", True),
        ("subprocess.run(x, text=True)", True),
        ("Popen(x, universal_newlines=True)", True),
        ("os.fdopen(3, 'w')", False),
        ("tempfile.NamedTemporaryFile('w')", True),
        ("tempfile.NamedTemporaryFile()", False),
        ("open('a', 'rb')", False),
        ("path.open('wb')", False),
        ("open('a', encoding='utf-8')", False),
        ("path.read_text('utf-8')", False),
        ("path.write_text('a', 'utf-8')", False),
        ("os.open('a', 0)", False),
        ("gzip.open('a')", False),
        ("subprocess.run(x)", False),
    ],
)
def test_the_finder_of_unnamed_encodings_finds(code, fault):
    assert any(map(_opens_text_without_encoding, _calls(ast.parse(code)))) == fault


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_text_file_is_opened_as_utf8(path):
    faults = [
        ast.unparse(c)
        for tree in _trees(path)
        for c in _calls(tree)
        if _opens_text_without_encoding(c)
    ]
    assert faults == [], "Windows would read and write them in its own code page"


# what Windows lacks; os.sched_* and epoll are missing on macOS too
POSIX_ONLY = {
    "os": """fork forkpty register_at_fork getuid geteuid getgid getegid getgroups getpgid getpgrp getsid setsid setuid
        setgid killpg uname sched_getaffinity sched_setaffinity nice getloadavg statvfs fstatvfs mkfifo mknod chown
        fchown lchown chroot pipe2 openpty ttyname wait3 wait4 WNOHANG WIFEXITED WIFSIGNALED WEXITSTATUS WTERMSIG
        O_DIRECTORY O_NOFOLLOW O_CLOEXEC O_NONBLOCK O_SYNC O_DSYNC O_PATH getxattr setxattr sendfile lockf sysconf
        confstr posix_spawn""",
    "signal": """SIGALRM SIGHUP SIGKILL SIGUSR1 SIGUSR2 SIGCHLD SIGPIPE SIGQUIT SIGSTOP SIGCONT SIGTSTP SIGTTIN alarm
        pause setitimer getitimer ITIMER_REAL pthread_kill pthread_sigmask sigwait siginterrupt""",
    "time": "tzset clock_gettime CLOCK_MONOTONIC CLOCK_THREAD_CPUTIME_ID",
    "socket": "AF_UNIX SO_REUSEPORT",
    "select": "poll epoll kqueue",
}
POSIX_ONLY = {module: set(names.split()) for module, names in POSIX_ONLY.items()}
POSIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix"}


def _unguarded(tree):
    "Uses of what only POSIX has, outside a `try` and in a file that never asks whether it is there."
    tried = [t for t in ast.walk(tree) if isinstance(t, ast.Try) and t.handlers]
    tried += [
        w
        for w in ast.walk(tree)
        if isinstance(w, ast.With) and "suppress(" in ast.unparse(w.items[0])
    ]
    for body in (getattr(n, "body", []) for n in ast.walk(tree)):
        for k, first in enumerate(body if isinstance(body, list) else []):
            if isinstance(first, ast.If) and isinstance(first.body[-1], ast.Return):
                if ast.unparse(first.test) == "sys.platform == 'win32'":  # Windows has left
                    tried += body[k + 1 :]
    guarded = {id(n) for t in tried for n in ast.walk(t)}
    asked = {
        ast.unparse(c.args[0])
        for c in _calls(tree)
        if getattr(c.func, "id", "") == "hasattr" and c.args
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if node.attr in POSIX_ONLY.get(owner, ()) and owner not in asked:
                yield f"{owner}.{node.attr}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in POSIX_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in POSIX_MODULES:
            yield node.module


@pytest.mark.parametrize(
    "code, fault",
    [
        ("os.fork()", True),
        ("import fcntl", True),
        ("from resource import getrlimit", True),
        ("signal.signal(signal.SIGHUP, f)", True),
        ("if hasattr(signal, 'SIGHUP'): signal.signal(signal.SIGHUP, f)", False),
        ("try:\n    import fcntl\nexcept ImportError:\n    fcntl = None", False),
        ("def f():\n    if sys.platform == 'win32':\n        return\n    import resource", False),
        ("def f():\n    import resource\n    if sys.platform == 'win32':\n        return", True),
        ("def f():\n    if sys.platform == 'linux':\n        return\n    import resource", True),
        ("getattr(os, 'O_DIRECTORY', 0)", False),
        ("os.kill(1, signal.SIGTERM)", False),
    ],
)
def test_the_finder_of_what_only_posix_has_finds(code, fault):
    assert bool(list(_unguarded(ast.parse(code)))) == fault


LIBRARY = sorted((ROOT / "silen_lib").rglob("*.py"))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_only_posix_has_is_asked_for_first(path):
    assert list(_unguarded(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_posix_path_is_written_into_the_library(path):
    "/proc is looked for before it is read, or read within a `try`."
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }
    assert not [
        t
        for t in texts
        if t.startswith(("/tmp", "/dev/", "/usr/", "/bin/", "/etc/", "/home/", "/root"))
    ]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_an_object_is_printed_as_is_ascii(path):
    "A reader's own `print(result)` knows nothing of `say`."
    wrong = []
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if getattr(function, "name", "") not in ("__str__", "__repr__"):
            continue
        body = function.body[1:] if ast.get_docstring(function) else function.body
        texts = [n.value for part in body for n in ast.walk(part) if isinstance(n, ast.Constant)]
        wrong += [text for text in texts if isinstance(text, str) and not text.isascii()]
    assert wrong == []


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_library_writes_through_say(path):
    calls = _calls(ast.parse(path.read_text(encoding="utf-8")))
    assert [ast.unparse(c)[:80] for c in calls if getattr(c.func, "id", "") == "print"] == []


def test_the_library_without_what_windows_lacks(tmp_path):
    "Third parties are imported as they are; then POSIX goes, and the library is imported and used."
    code = f"""
import os, select, signal, socket, sys, time
import anywidget, fastcore.all, IPython, ipywidgets, jupyter_client.manager, matplotlib.pyplot, nbclient
import sklearn.datasets, torch, torch.distributed, tqdm.auto
from pathlib import Path
for name in {sorted(POSIX_MODULES)}: sys.modules[name] = None
for module, names in {POSIX_ONLY}.items():
    for name in names:
        needed = name in ("WNOHANG", "SIGKILL", "statvfs")  # by the standard library of this system
        if hasattr(sys.modules[module], name) and not needed: delattr(sys.modules[module], name)
import silen_lib.all, silen_lib.doctor, silen_lib.notebooks
from silen_lib.core import any_terminal, atomic_write, course_root, data_dir, say, set_seed
any_terminal()
set_seed(1)
for _ in range(2):
    with atomic_write(Path("a.txt")) as temporary: temporary.write_text("é", encoding="utf-8")
assert [p.name for p in Path(".").iterdir()] == ["a.txt"]
silen_lib.data.mnist_state()
silen_lib.data.load_dataset("mnist", "nowhere", download=False)
assert len(silen_lib.doctor.doctor()) > 10
say("done")
"""
    env = {**os.environ, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert run.returncode == 0 and run.stdout.endswith("done\n"), run.stderr[-3000:]
    assert "could not be looked at" not in run.stdout


# --- with torch and numpy alone

ALONE = """
import importlib, json, sys
import numpy, torch

known = {name.partition(".")[0] for name in sys.modules} | {"silen_lib"}


class Nothing:
    "A finder before all others: what torch and numpy do not need is not installed."

    def find_spec(self, name, path=None, target=None):
        root, frame = name.partition(".")[0], sys._getframe(1)
        while frame.f_globals["__name__"].startswith("importlib"):
            frame = frame.f_back
        asker = frame.f_globals["__name__"].partition(".")[0]
        if root not in known | sys.stdlib_module_names and asker not in ("torch", "numpy"):
            raise ModuleNotFoundError(f"No module named {root!r}", name=name)


sys.meta_path.insert(0, Nothing())


def fault(work):
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""
CHAPTERS = [re.sub(r"\d+_", "", p.stem) for p in sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))]
CHAPTERS = [{"score_matching": "score"}.get(name, name) for name in CHAPTERS]
ROOMS = "all args beliefs board chains coins core data exercises layers loop places plot spins train widgets".split()


def _alone(code):
    run = _python(f"{ALONE}\nprint(json.dumps({code}))", "utf-8", stdout=subprocess.PIPE)
    assert run.returncode == 0, run.stderr.decode()
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def imported_alone():
    "What goes wrong with each import where only torch and numpy are installed."
    assert len(CHAPTERS) == 11
    names = [*CHAPTERS, *ROOMS, "controls"]
    return _alone(
        f"{{n: fault(lambda: importlib.import_module('silen_lib.' + n)) for n in {names}}}"
    )


@pytest.mark.parametrize("name", [*CHAPTERS, *ROOMS])
def test_a_module_needs_torch_and_numpy_only(imported_alone, name):
    assert imported_alone[name] is None, imported_alone[name]


def test_what_is_missing_is_named_with_its_remedy(imported_alone):
    remedy = "pip install 'silen_lib[course]'"
    assert imported_alone["controls"] == f"ModuleNotFoundError: this needs anywidget: {remedy}"
    calls = {
        "silen_lib.plot.subplots()": ("matplotlib", "train"),
        "silen_lib.plot.axes()": ("matplotlib", "train"),
        "silen_lib.plot.use_style()": ("matplotlib", "train"),
        "silen_lib.plot.plot_theory([1], [1])": ("matplotlib", "train"),
        "silen_lib.plot.show_images(torch.ones(2, 2))": ("matplotlib", "train"),
        "silen_lib.data.load_digits()": ("sklearn", "train"),
        "silen_lib.data.import_torchvision()": ("torchvision", "train"),
        "silen_lib.widgets.live": ("anywidget", "course"),
        "silen_lib.widgets.PixelGrid": ("anywidget", "course"),
    }
    load = "[importlib.import_module(f'silen_lib.{n}') for n in ('plot', 'data', 'widgets')]"
    told = _alone(
        f"[{load} and 0] + [fault(lambda: eval(c)) for c in {list(calls)}]".replace(
            "eval(c)", "eval(c, {'silen_lib': sys.modules['silen_lib'], 'torch': torch})"
        )
    )
    want = [
        f"ModuleNotFoundError: this needs {package}: pip install 'silen_lib[{extra}]'"
        for package, extra in calls.values()
    ]
    assert told[1:] == want


# --- without a checkout

UNPACKED = (
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    "data",
    "runs",
    "wandb",
    ".git",
    ".venv",
    "tests",
    "nbs",
)


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    "An sdist made of the tree, and the wheel made of that sdist alone."
    folder = tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*UNPACKED))
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        folder,
        folder / "source",
    ]
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", timeout=300
    )
    assert run.returncode == 0, run.stdout[-3000:]
    return folder


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    "The wheel in a folder of its own: an environment in which Python finds it before any checkout."
    site = tmp_path_factory.mktemp("site")
    wheel = next(dist.glob("*.whl"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        site,
        wheel,
    ]
    subprocess.run(command, check=True, timeout=300)
    home = tmp_path_factory.mktemp("home")
    env = {k: v for k, v in os.environ.items() if not k.startswith("SILEN_")}
    return {
        **env,
        "PYTHONPATH": str(site),
        "PYTHONUTF8": "1",
        "XDG_CACHE_HOME": str(home),
        "SITE": str(site),
    }


def _outside(env, folder, *command):
    return subprocess.run(
        [sys.executable, *command],
        env=env,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


def test_the_sdist_holds_what_a_build_reads(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {
        "settings.ini",
        "setup.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "silen_lib/py.typed",
    } <= names


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


def test_the_library_alone_is_in_order_for_the_doctor(installed, tmp_path):
    "Who wants torch and numpy only lacks nothing; what more there is, and how to get it, is told."
    code = f"{ALONE}\nfrom silen_lib.doctor import main\nraise SystemExit(main())"
    run = _outside(installed, tmp_path, "-c", code)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "✗ torch and torchvision match: " in run.stdout and "✗ widgets: " in run.stdout
    assert "pip install --upgrade --force-reinstall 'silen_lib[train,course]'" in run.stdout


def test_silen_notebooks_outside_the_course(installed, tmp_path):
    run = _outside(installed, tmp_path, "-m", "silen_lib.notebooks")
    assert (
        run.returncode == 2
        and "no checkout of the course" in run.stderr
        and "Traceback" not in run.stderr
    )


def test_data_go_to_the_users_cache_outside_the_course(installed, tmp_path):
    code = "from silen_lib.core import course_root, data_dir; print(course_root(), data_dir())"
    run = _outside(installed, tmp_path, "-c", code)
    where = (
        Path(installed["XDG_CACHE_HOME"], "silen_lib") if sys.platform == "linux" else "silen_lib"
    )
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
