"""The authoring room: lint, prove, classroom and nbgrader copies, the command line."""

import copy
import os
import subprocess
from pathlib import Path

import nbformat
import pytest
import torch

from silen_lib import authoring as au
from silen_lib import exercises as ex

FIXTURES = Path(__file__).parent / "exercise_fixtures"
DEMO = FIXTURES / "00_demo.ipynb"
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_world(tmp_path, monkeypatch):
    "Progress goes to a temporary file, fixture specs are found, registered specs are forgotten."
    monkeypatch.setenv("SILEN_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setenv("SILEN_CHECKS", "fixture_checks")
    monkeypatch.setenv("PYTHONPATH", str(FIXTURES), prepend=os.pathsep)
    monkeypatch.delenv("SILEN_STRICT", raising=False)
    monkeypatch.syspath_prepend(str(FIXTURES))
    ex.find_spec("toss")
    before = dict(ex.SPECS)
    yield
    # a module of real checks that a test imported registers only once: keep what it brought
    kept = {name: spec for name, spec in ex.SPECS.items() if str(spec.module).startswith("silen_lib.")}
    ex.SPECS.clear()
    ex.SPECS.update({**kept, **before})


# ---- notebooks -------------------------------------------------------------------------------------------------------


def edited(tmp_path, change):
    "A copy of the demo chapter after `change(nb)`."
    nb = nbformat.read(DEMO, 4)
    change(nb)
    path = tmp_path / DEMO.name
    nbformat.write(nb, path)
    return path


def cell(nb, text):
    "The last cell that holds a text."
    return [c for c in nb.cells if text in c.source][-1]


def replace(text, new, where=None):
    "A change that replaces a text in the last cell that holds it."

    def change(nb):
        c = cell(nb, where or text)
        c.source = c.source.replace(text, new)

    return change


def test_lint_accepts_the_demo():
    assert au.lint_chapter(DEMO) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda nb: nb.cells.remove(cell(nb, "# | solution toss")), "toss: no solution"),
        (lambda nb: nb.cells.remove(cell(nb, "# | exercise toss")), "toss: no exercise"),
        (
            lambda nb: nb.cells.append(nbformat.v4.new_code_cell(cell(nb, "# | solution toss").source)),
            "toss: 2 solution cells",
        ),
        (replace("## Answers", "## Appendix"), "not under `## Answers`"),
        (lambda nb: nb.cells.append(nbformat.v4.new_markdown_cell("## More")), "not the last section"),
        (lambda nb: cell(nb, "# | solution toss").metadata.pop("jupyter"), "not collapsed"),
        (replace("# | export\n", "", "# | solution toss"), "not exported"),
        (replace("# | exercise toss", "# | export\n# | exercise toss"), "the stub is exported"),
        (replace("toss = check", "other = check"), "no cell `toss = check"),
        (replace("factor=2.0", "factor=3.0", "# | solution scale_"), "signature or docstring of `scale_` differs"),
        (replace("Probability", "Chance", "# | solution Unit"), "signature or docstring of `Unit.forward` differs"),
        (replace("def energy", "def other", "# | solution Unit"), "define different things"),
        (replace("# | solution toss", "# | solution toss\nx = 1"), "more than one definition"),
        (replace("raise NotImplementedError", "pass", "# | exercise toss"), "no `raise NotImplementedError`"),
        (replace("# YOUR CODE HERE", "# here", "# | exercise toss"), "no `# YOUR CODE HERE`"),
        (replace("●●○", "**", "### Exercise 0.2"), "scale_: no heading"),
        (replace("0.3 ·", "0.7 ·"), "want 0.1, 0.2"),
        (replace("<details>", "<p>", "Start from"), "Unit: no hint"),
        (replace("fixture_chapter", "elsewhere"), "the chapter exports to elsewhere"),
        (replace("def toss", "def tosses", "# | exercise toss"), "the stub does not define `toss`"),
    ],
)
def test_lint_finds(tmp_path, change, words):
    assert words in "\n".join(au.lint_chapter(edited(tmp_path, change)))


def test_lint_wants_enough_exercises_mistakes_and_an_oracle():
    assert "4 exercises, want at least 5" in au.lint_chapter(DEMO, 5)
    ex.find_spec("toss")
    old = ex.SPECS["toss"]
    ex.SPECS["toss"] = copy.copy(old)
    ex.SPECS["toss"].mistakes, ex.SPECS["toss"].oracle = old.mistakes[:2], None
    assert "toss: the spec knows 2 mistakes, want at least 3" in au.lint_chapter(
        DEMO
    ) and "toss: the spec has no oracle" in au.lint_chapter(DEMO)


def test_command_line_lints_and_converts(tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        au.main(["lint", str(DEMO)])
    assert done.value.code == 0
    with pytest.raises(SystemExit) as done:
        au.main(["lint", "--min", "9", str(DEMO)])
    assert done.value.code == 1 and "FAIL" in capsys.readouterr().out
    for wrong in (["classroom", str(DEMO)], ["lint", "no.ipynb"]):
        with pytest.raises(SystemExit):
            au.main(wrong)
    with pytest.raises(ValueError, match="another folder"):
        au.main(["classroom", str(DEMO), "-o", str(FIXTURES)])


def test_a_chapter_passes_as_shipped_and_solved():
    assert au.prove_chapter(DEMO) == []


def test_a_bad_chapter_is_found(tmp_path, monkeypatch):
    def change(nb):
        replace("raise NotImplementedError", "return -((state @ W) * state).sum(-1) / 2", "# | exercise pair_energy")(
            nb
        )
        replace("/ 2", "/ 3", "# | solution pair_energy")(nb)

    found = "\n".join(au.prove_chapter(edited(tmp_path, change)))
    assert (
        "pair_energy: as shipped, the check says ✓, want ○" in found
        and "solved: ExerciseFailed: ✗ pair_energy" in found
    )


def test_a_classroom_copy_has_no_answers_and_runs(tmp_path):
    au.main(["classroom", str(DEMO), "-o", str(tmp_path)])
    nb = nbformat.read(tmp_path / DEMO.name, 4)
    text = "\n".join(c.source for c in nb.cells)
    assert "solution" not in text and "Answers" not in text and "torch.rand(p.shape" not in text
    error, seen = au._execute(nb, tmp_path)
    assert error is None and set(seen.values()) == {"○"} and not Path(os.environ["SILEN_PROGRESS"]).exists()


# ---- nbgrader --------------------------------------------------------------------------------------------------------


def converted(tmp_path):
    "The demo chapter in nbgrader's source format."
    au.main(["nbgrader", str(DEMO), "-o", str(tmp_path / "source" / "demo")])
    return tmp_path / "source" / "demo" / DEMO.name


def test_nbgrader_cells(tmp_path):
    nb = nbformat.read(converted(tmp_path), 4)
    nbformat.validate(nb)
    cells = [c for c in nb.cells if "nbgrader" in c.metadata]
    graded = {c.metadata.nbgrader.grade_id: c.metadata.nbgrader.points for c in cells if c.metadata.nbgrader.grade}
    assert graded == {"pair_energy_check": 1, "scale__check": 2, "toss_check": 1, "Unit_check": 3}
    answers = [c for c in cells if c.metadata.nbgrader.solution]
    assert [c.source.count("### BEGIN SOLUTION") for c in answers] == [1, 1, 1, 2]
    assert all(c.metadata.nbgrader.schema_version == 3 and not c.metadata.nbgrader.task for c in cells)
    assert "    # rand is uniform on [0, 1)" in cell(nb, "# | exercise toss").source
    for c in answers:
        compile(c.source, c.metadata.nbgrader.grade_id, "exec")


def test_nbgrader_bodies_in_every_layout():
    stub = 'def f(x):\n    "Doc."\n    # YOUR CODE HERE\n    raise NotImplementedError'
    for answer in (
        'def f(x):\n    "Doc."\n    return x',
        'def f(x):\n    "Doc."\n    # why\n\n    y = x\n    return y',
        'def f(x):\n    "Doc."\n    return (\n        x)',
    ):
        made = au._marked(stub, answer)
        space = {}
        exec(made, space)  # noqa: S102
        assert space["f"](3) == 3 and made.count("### ") == 2 and '"Doc."' in made and "YOUR CODE" not in made
    space = {}
    exec(au._marked("def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError", "def f(x): return x"), space)  # noqa: S102
    assert space["f"](3) == 3


def nbgrader_python():
    "The python of an environment that has nbgrader: SILEN_NBGRADER, else .nbgrader-venv beside the project; or None."
    named = os.environ.get("SILEN_NBGRADER") or str(Path(__file__).parent.parent / ".nbgrader-venv" / "bin" / "python")
    return named if Path(named).exists() else None


@pytest.mark.skipif(nbgrader_python() is None, reason="no nbgrader: name a python that has it in SILEN_NBGRADER")
def test_nbgrader_itself_accepts_and_clears_the_assignment(tmp_path):
    converted(tmp_path)
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'demo'\n")
    env = {**os.environ, "PATH": str(Path(nbgrader_python()).parent) + os.pathsep + os.environ["PATH"]}
    done = subprocess.run(
        [nbgrader_python(), "-m", "nbgrader", "generate_assignment", "demo", "--create"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    nb = nbformat.read(tmp_path / "release" / "demo" / DEMO.name, 4)
    text = "\n".join(c.source for c in nb.cells)
    assert "SOLUTION" not in text and "torch.rand(p.shape" not in text and text.count("raise NotImplementedError") == 5
    assert all("checksum" in c.metadata.nbgrader for c in nb.cells if "nbgrader" in c.metadata)
