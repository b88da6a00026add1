"""`silen-notebooks`: one notebook's fault is not the next one's, and what is committed is what JupyterLab writes."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from silen_lib import core, notebooks

GOOD = "1 + 1"
FAULTS = {
    "cell.ipynb": ("1 / 0", "ZeroDivisionError"),
    "dead.ipynb": ("import os; os._exit(1)", "DeadKernelError"),
    "interrupted.ipynb": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "json.ipynb": ("{", "NotJSONError"),
    "bytes.ipynb": (b"\xff\xfe\x00", "UnicodeDecodeError"),
    "empty.ipynb": ("", "NotJSONError"),
    "list.ipynb": ("[]", "Error"),
    "old.ipynb": ('{"nbformat": 99, "nbformat_minor": 0, "metadata": {}, "cells": []}', "Error"),
    "absent.ipynb": (None, "FileNotFoundError"),
}


def _write(path, source):
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    return path


def _faulty(folder):
    for name, (content, _) in FAULTS.items():
        if content is None:
            continue
        if name in ("cell.ipynb", "dead.ipynb", "interrupted.ipynb"):
            _write(folder / name, content)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "folder.ipynb").mkdir()
    return [*FAULTS, "folder.ipynb"]


def _command(*args, cwd, **env):
    command = [sys.executable, "-m", "silen_lib.notebooks", *map(str, args)]
    env = {**os.environ, "PYTHONUTF8": "1", **env}
    return subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=300,
        cwd=cwd,
        env=env,
    )


def test_a_notebook_that_fails_does_not_stop_the_next_one(tmp_path):
    names = _faulty(tmp_path)
    _write(tmp_path / "good.ipynb", GOOD)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    run = _command(*names, "good.ipynb", cwd=tmp_path)
    assert run.returncode == 1 and "Traceback (most recent call last)\n  File" not in run.stderr
    assert "✓ good.ipynb" in run.stdout, "the last one was still tried"
    assert f"{len(names)} of {len(names) + 1} failed: cell.ipynb, dead.ipynb" in run.stdout
    for name, (_, words) in FAULTS.items():
        report = run.stderr.split(f"✗ {name}\n")[1].split("\n✗ ")[0]
        assert words in report, report
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content or name == "good.ipynb", (
            "one that failed stays as it was"
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "folder.ipynb"]), (
        "nothing is left behind"
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_terminal(tmp_path, encoding):
    _write(tmp_path / "good.ipynb", "print('✓')")
    _write(tmp_path / "bad.ipynb", "raise ValueError('✗ ± β')")
    run = _command(
        "--check",
        "good.ipynb",
        "bad.ipynb",
        cwd=tmp_path,
        PYTHONUTF8="0",
        PYTHONIOENCODING=encoding,
    )
    assert run.returncode == 1 and "ok good.ipynb" in run.stdout and "x bad.ipynb" in run.stderr
    assert "UnicodeEncodeError" not in run.stderr and "1 of 2 failed" in run.stdout
    assert _command("--help", cwd=tmp_path, PYTHONIOENCODING=encoding).returncode == 0


def test_outside_the_course_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "course_root", lambda: None)
    monkeypatch.setattr(sys, "argv", ["silen-notebooks"])
    with pytest.raises(SystemExit) as stop:
        notebooks.main()
    assert stop.value.code == 2
    assert (
        "this is no checkout of the course: go into one, or name the notebooks"
        in capsys.readouterr().err
    )


def test_somebody_elses_notebooks_are_left_alone(tmp_path, monkeypatch, capsys):
    "An nbdev project around the virtual environment that the library is installed in."
    (tmp_path / "nbs").mkdir()
    (tmp_path / "settings.ini").write_text(
        "[DEFAULT]\nlib_name = theirs\nnbs_path = nbs\n", encoding="utf-8"
    )
    theirs = _write(tmp_path / "nbs" / "index.ipynb", "open('was_run', 'w', encoding='utf-8')")
    before = theirs.read_bytes()
    monkeypatch.setattr(core, "__file__", str(tmp_path / ".venv" / "lib" / "silen_lib" / "core.py"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["silen-notebooks"])
    with pytest.raises(SystemExit):
        notebooks.main()
    assert theirs.read_bytes() == before and not list(tmp_path.rglob("was_run"))


def test_without_nbdev_nothing_is_run_in_vain(tmp_path, monkeypatch, capsys):
    real = notebooks.importlib.util.find_spec
    monkeypatch.setattr(
        notebooks.importlib.util, "find_spec", lambda name: None if name == "nbdev" else real(name)
    )
    monkeypatch.setattr(notebooks, "run_notebook", lambda *a, **k: pytest.fail("it began"))
    monkeypatch.setattr(sys, "argv", ["silen-notebooks", "a.ipynb"])
    with pytest.raises(SystemExit):
        notebooks.main()
    assert "needs nbdev" in capsys.readouterr().err


def test_the_stop_button_stops(tmp_path, monkeypatch, capsys):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(notebooks, "run_notebook", stopped)
    monkeypatch.setattr(sys, "argv", ["silen-notebooks", "a.ipynb", "b.ipynb"])
    assert notebooks.main() == 130
    assert capsys.readouterr().err == "stopped in a.ipynb; it is as it was\n"


def test_what_is_written(tmp_path):
    path = _write(tmp_path / "a.ipynb", "print('é')")
    notebooks.run_notebook(path)
    text = path.read_bytes().decode("utf-8")
    assert "é" in text and text.endswith("}\n") and "\r" not in text
    nb = nbformat.read(path, as_version=4)
    assert nb.cells[0].execution_count is None and nb.cells[0].outputs[0].text == "é\n"
    assert nb.metadata.kernelspec.display_name == "Python 3 (ipykernel)"
    assert nb.metadata.language_info.version == ".".join(map(str, sys.version_info[:3]))


def test_what_tells_about_this_machine_is_not_committed(tmp_path):
    out = new_output("stream", text="77 GB\n")
    cells = [new_code_cell("1", outputs=[out], metadata={"tags": tags}) for tags in (["here"], [])]
    nb = new_notebook(cells=[new_markdown_cell("# a"), *cells])
    notebooks.clean_notebook(nb)
    assert [len(c.outputs) for c in nb.cells[1:]] == [0, 1]
    assert nb.cells[1].metadata == {"tags": ["here"]}


def test_nothing_about_a_machine_stands_in_the_course_map():
    nb = nbformat.read(core.course_root() / "nbs" / "index.ipynb", as_version=4)
    doctors = [c for c in nb.cells if c.cell_type == "code" and "doctor" in c.source]
    assert doctors and all("here" in c.metadata.tags and not c.outputs for c in doctors)


# --- what JupyterLab does to a file that is opened and saved

NOTEBOOKS = sorted((core.course_root() / "nbs").rglob("[!.]*.ipynb"))
NOTEBOOKS = [p for p in NOTEBOOKS if ".ipynb_checkpoints" not in p.parts]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_committed_metadata_are_what_jupyterlab_writes(path):
    "JupyterLab sets kernelspec and language_info from the running kernel as soon as a notebook is opened."
    from ipykernel.ipkernel import IPythonKernel
    from jupyter_client.kernelspec import get_kernel_spec

    spec = get_kernel_spec("python3")
    kernel = {"display_name": spec.display_name, "language": spec.language, "name": "python3"}
    language = dict(IPythonKernel.language_info)
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    version = metadata["language_info"].pop("version")
    del language["version"]
    assert metadata == {"kernelspec": kernel, "language_info": language}, (
        "run `silen-notebooks --clean` on it"
    )
    assert version.startswith("3.")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_opened_and_saved_a_notebook_is_the_same_file(path, tmp_path):
    "Through Jupyter's contents manager, and through JSON as the browser reads and writes it."
    from jupyter_server.services.contents.filemanager import FileContentsManager

    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    manager = FileContentsManager(root_dir=str(tmp_path))
    model = json.loads(json.dumps(manager.get(path.name)["content"]))
    manager.save({"type": "notebook", "format": "json", "content": model}, path.name)
    assert copy.read_bytes() == path.read_bytes()


def test_a_chapter_becomes_a_python_script(tmp_path):
    from nbconvert.exporters import get_exporter

    resources = get_exporter("script")().from_filename(str(NOTEBOOKS[0]))[1]
    assert resources["output_extension"] == ".py"
