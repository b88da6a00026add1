"""The authoring room: lint, prove, classroom and nbgrader copies, the command line."""

import base64
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch

from silen_lib import authoring as au
from silen_lib import exercises as ex

DEMO = Path(__file__).parent / "exercise_fixtures" / "00_demo.ipynb"
CHAPTERS = sorted((Path(__file__).parent.parent / "nbs").glob("[0-9][0-9]_*.ipynb"))
torch.set_num_threads(1)


pytestmark = pytest.mark.usefixtures("fixture_specs")


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


def helped(nb):
    "The answer to an exercise leans on a function that its chapter has only below the check."
    replace("(torch.rand(p.shape", "coin(torch.rand(p.shape", "# | solution toss")(nb)
    index = next(i for i, c in enumerate(nb.cells) if c.source.startswith("toss = check"))
    nb.cells.insert(index + 1, nbformat.v4.new_code_cell("# | export\ndef coin(x):\n    return x"))


def test_lint_accepts_a_helper_above_the_check(tmp_path):
    def change(nb):
        helped(nb)
        nb.cells.insert(0, nbformat.v4.new_code_cell("# | export\ndef coin(x):\n    return x"))

    assert au.lint_chapter(edited(tmp_path, change)) == []


def test_lint_accepts_the_demo():
    assert au.lint_chapter(DEMO) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda nb: nb.cells.remove(cell(nb, "# | solution toss")), "toss: no solution"),
        (lambda nb: nb.cells.remove(cell(nb, "# | exercise toss")), "toss: no exercise"),
        (
            lambda nb: nb.cells.append(
                nbformat.v4.new_code_cell(cell(nb, "# | solution toss").source)
            ),
            "toss: 2 solution cells",
        ),
        (replace("## Answers", "## Appendix"), "not under `## Answers`"),
        (
            lambda nb: nb.cells.append(nbformat.v4.new_markdown_cell("## More")),
            "not the last section",
        ),
        (lambda nb: cell(nb, "# | solution toss").metadata.pop("jupyter"), "not collapsed"),
        (replace("# | export\n", "", "# | solution toss"), "not exported"),
        (replace("# | exercise toss", "# | export\n# | exercise toss"), "the stub is exported"),
        (replace("toss = check", "other = check"), "no cell `toss = check"),
        (
            replace("factor=2.0", "factor=3.0", "# | solution scale_"),
            "signature or docstring of `scale_` differs",
        ),
        (
            replace("Probability", "Chance", "# | solution Unit"),
            "signature or docstring of `Unit.forward` differs",
        ),
        (replace("def energy", "def other", "# | solution Unit"), "define different things"),
        (replace("# | solution toss", "# | solution toss\nx = 1"), "more than one definition"),
        (
            replace("raise NotImplementedError", "pass", "# | exercise toss"),
            "no `raise NotImplementedError`",
        ),
        (replace("# YOUR CODE HERE", "# here", "# | exercise toss"), "no `# YOUR CODE HERE`"),
        (replace("●●○", "**", "### Exercise 0.2"), "scale_: no heading"),
        (replace("0.3 ·", "0.7 ·"), "want 0.1, 0.2"),
        (replace("<details>", "<p>", "Start from"), "Unit: no hint"),
        (replace("fixture_chapter", "elsewhere"), "the chapter exports to elsewhere"),
        (replace("def toss", "def tosses", "# | exercise toss"), "the stub does not define `toss`"),
        (helped, "toss: the answer uses `coin`, which is made below the check"),
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


def run(*argv):
    "The exit code of `silen-exercises …`; None when it ends without one."
    try:
        return au.main([str(a) for a in argv])
    except SystemExit as done:
        return done.code


def test_command_line_lints(capsys):
    assert run("lint", DEMO) == 0
    assert run("lint", "--min", 9, DEMO) == 1 and "FAIL" in capsys.readouterr().out


def not_json(path):
    path.write_text('{"cells": [', encoding="utf-8")


def no_notebook(path):
    path.write_text('{"a": [1, 2]}', encoding="utf-8")


def deeply_nested(path):
    path.write_text("[" * 10**6, encoding="utf-8")


def binary(path):
    path.write_bytes(bytes(range(256)))


@pytest.mark.parametrize("what", ["lint", "test", "classroom", "nbgrader"])
@pytest.mark.parametrize("make", [not_json, no_notebook, deeply_nested, binary])
def test_what_is_no_notebook_is_told_in_one_sentence(tmp_path, capsys, what, make):
    make(tmp_path / "bad.ipynb")
    assert run(what, tmp_path / "bad.ipynb", "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert (
        "bad.ipynb is no notebook" in said
        and "Traceback" not in said
        and not (tmp_path / "out").exists()
    )


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["classroom", DEMO], "needs -o FOLDER"),
        (["lint", "no.ipynb"], "no such notebook: no.ipynb"),
        (["lint", DEMO.parent], "no such notebook"),
        (["lint", __file__], "does not end in .ipynb"),
        (["grade", "no.ipynb"], "no such file or folder"),
        (["classroom", DEMO, "-o", DEMO.parent], "want another folder"),
        (["classroom", DEMO, "-o", DEMO], "is a file, want a folder"),
        (["classroom", DEMO, DEMO, "-o", "never_made"], "would be one file"),
        (["test", DEMO, "--timeout", "0"], "--timeout: got 0"),
        (["grade", DEMO, "--csv", "no/folder.csv"], "there is no folder"),
        (["grade", DEMO, "--chapter", __file__], "--chapter"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(capsys, argv, words):
    assert run(*argv) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said and not Path("never_made").exists()


def test_a_foreign_kernel_name_does_not_matter(tmp_path):
    def change(nb):
        nb.metadata.kernelspec = {
            "name": "conda-env-silen-py",
            "display_name": "conda",
            "language": "python",
        }

    assert au.prove_chapter(edited(tmp_path, change)) == []


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_any_terminal_will_do(tmp_path, encoding):
    path = edited(tmp_path, replace("●●○", "**", "### Exercise 0.2"))
    (tmp_path / "progress.json").write_text(
        '{"é√": {"status": "done", "when": "✓"}}', encoding="utf-8"
    )
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for argv in (
        ["lint", path],
        ["grade", path],
        ["collect", tmp_path / "progress.json"],
        ["classroom", path, "-o", tmp_path],
    ):
        command = [
            sys.executable,
            "-c",
            "from silen_lib.authoring import main; main()",
            *map(str, argv),
        ]
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        assert b"Traceback" not in done.stderr and done.returncode in (0, 1, 2), done.stderr


@pytest.mark.parametrize("once", [False, True])
def test_a_chapter_passes_as_shipped_and_solved(once):
    assert au.prove_chapter(DEMO, once=once) == []


@pytest.mark.parametrize("once", [False, True])
def test_a_bad_chapter_is_found(tmp_path, once):
    def change(nb):
        replace(
            "raise NotImplementedError",
            "return -((state @ W) * state).sum(-1) / 2",
            "# | exercise pair_energy",
        )(nb)
        replace("/ 2", "/ 3", "# | solution pair_energy")(nb)

    found = "\n".join(au.prove_chapter(edited(tmp_path, change), once=once))
    assert "pair_energy: as shipped, the check says ✓, want ○" in found
    wrong = (
        "pair_energy: solved, the check says ✗, want ✓"
        if once
        else "solved: ExerciseFailed: ✗ pair_energy"
    )
    assert wrong in found


@pytest.mark.parametrize("once", [False, True])
def test_a_cell_that_fails_is_found(tmp_path, once):
    "Also the last one, behind all checks."
    path = edited(tmp_path, lambda nb: nb.cells.append(nbformat.v4.new_code_cell("1 / 0")))
    found = au.prove_chapter(path, once=once)
    assert found[0] == "as shipped: ZeroDivisionError: division by zero"


def test_in_one_run_the_chapter_goes_on_as_it_was_shipped(tmp_path):
    "What a check gave to the chapter is there again when the answer has been tried."
    look = "import fixture_chapter\nassert pair_energy is fixture_chapter.pair_energy"

    def change(nb):
        index = next(
            i for i, c in enumerate(nb.cells) if c.source.startswith("pair_energy = check")
        )
        nb.cells.insert(index + 1, nbformat.v4.new_code_cell(look))

    assert au.prove_chapter(edited(tmp_path, change), once=True) == []


# ---- classroom copies ------------------------------------------------------------------------------------------------


def test_a_classroom_copy_has_no_answers_and_runs(tmp_path):
    run("classroom", DEMO, "-o", tmp_path)
    nb = nbformat.read(tmp_path / DEMO.name, 4)
    text = "\n".join(c.source for c in nb.cells)
    assert "solution" not in text and "Answers" not in text and "torch.rand(p.shape" not in text
    error, cells = au._execute(nb, tmp_path)
    seen = {name: symbol for name, (symbol, _) in au._verdicts(cells).items()}
    assert (
        error is None
        and set(seen.values()) == {"○"}
        and not Path(os.environ["SILEN_PROGRESS"]).exists()
    )


def paragraphs(nb, answers):
    "The paragraphs of a notebook's texts and the code of its cells, without directives, answers and telling hints."
    for c in nb.cells:
        text = c.source
        if c.cell_type == "code" and "# | solution" not in text:
            text = re.sub(r"^# \| .*\n?", "", text, flags=re.MULTILINE).strip()
            yield from [text] if text else []
        elif c.cell_type == "markdown":
            for hint in re.findall(r"<details>.*?</details>", text, re.DOTALL):
                text = text.replace(hint, "" if au._gives_away(hint, answers) else hint)
            yield from (p.strip() for p in text.split("\n\n") if p.strip())


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_classroom_copy_of_a_chapter_loses_the_answers_and_nothing_else(path):
    nb = nbformat.read(path, 4)
    answers = au._answers(nb)
    made = au.classroom_copy(nb)
    before, after = list(paragraphs(nb, answers)), list(paragraphs(made, {}))
    lost = [p for p in before if p not in after]
    assert [p for p in lost if not p.startswith("## Answers")] == [
        p for p in lost if re.search("cells?", p)
    ][:1]
    assert [p for p in after if p not in before] == []
    assert before.count("## Answers") + sum(p.startswith("## Answers") for p in before) > 0
    # answers, directives, outputs
    stubs = [c for c in made.cells if au._tagged(c)]
    assert len(stubs) == len(au._find_cells(nb, "exercise")) >= 4
    bodies = [body for found in answers.values() for body in found]
    assert len(bodies) >= len(stubs)
    for c in made.cells:
        tree = au._parse(c.source) if c.cell_type == "code" else None
        for block in au._blocks(tree) if tree else []:
            assert not any(au._holds(block, body) for body in bodies), c.source
        assert c.cell_type != "code" or not re.search(r"^\s*#\s*\|", c.source, re.MULTILINE)
        if c.cell_type == "code" and (au._tagged(c) or re.search(r"\bcheck\(", c.source)):
            assert not c.outputs and c.execution_count is None
    # the pictures stay
    pictures = [c for c in nb.cells if c.cell_type == "code" and "image/png" in str(c.outputs)]
    assert sum("image/png" in str(c.get("outputs")) for c in made.cells) == len(pictures)


@pytest.mark.parametrize("path", CHAPTERS[::5], ids=lambda p: p.stem)
def test_without_the_last_hints_no_hint_is_an_answer(path):
    nb = nbformat.read(path, 4)
    count = [len(list(au._hints(made.cells))) for made in (nb, nb_copy(nb, True))]
    assert count[1] <= count[0] - len(au._find_cells(nb, "exercise"))
    made = nb_copy(nb, True)
    for c in made.cells:
        c.source = (
            re.sub(r"\A", "# | exercise " + au._tagged(c) + "\n", c.source)
            if au._tagged(c)
            else c.source
        )
    assert list(au._telling_hints(made.cells, au._answers(nb))) == []


def nb_copy(nb, drop):
    "A classroom copy."
    return au.classroom_copy(nb, drop_last_hint=drop)


ANSWER = "return (torch.rand(p.shape, generator=generator) < p).float()"
WAYS = {
    "another case": replace("# | solution toss", "# | Solution toss"),
    "a colon": replace("# | solution toss", "# | solution: toss"),
    "no space": replace("# | solution toss", "#|solution toss"),
    "in the plural": replace("# | solution toss", "# | solutions toss"),
    "below a magic": replace(
        "# | export\n# | solution toss", "%%time\n# | export\n# | solution toss"
    ),
    "below code": replace("# | export\n# | solution toss", "x = 1\n# | solution toss"),
    "a byte order mark": replace("# | export\n# | solution toss", "\ufeff# | solution toss"),
    "another heading": replace("## Answers", "## answers"),
    "an output": lambda nb: output(nb, "# | exercise toss", ANSWER),
    "an output of the check": lambda nb: output(nb, "toss = check", ANSWER),
    "metadata of the stub": lambda nb: cell(nb, "# | exercise toss").metadata.update(note=ANSWER),
}
CLOSED = {
    "another word": replace("# | solution toss", "# | answer toss"),
    "no directive": replace("# | export\n# | solution toss\n", ""),
    "another name": replace("# | solution toss\ndef toss(", "# | key\ndef coin("),
    "a lambda": lambda nb: nb.cells.append(code("f = lambda p, generator=None: " + ANSWER[7:])),
    "in other spelling": lambda nb: nb.cells.append(code(OTHER)),
    "in the prose": lambda nb: nb.cells.append(markdown(f"So:\n\n```python\n{ANSWER}\n```")),
    "in the prose, indented": lambda nb: nb.cells.append(markdown(f"~~~\n    {ANSWER}\n~~~")),
    "in a span": lambda nb: nb.cells.append(markdown(f"It is `{ANSWER}`.")),
    "in HTML": lambda nb: nb.cells.append(
        markdown(f"<pre><b>{ANSWER.replace('<', '&lt;')}</b></pre>")
    ),
    "another cell's output": lambda nb: output(nb, "import torch", ANSWER),
    "another cell's metadata": lambda nb: cell(nb, "import torch").metadata.update(
        note={"deep": [ANSWER]}
    ),
    "the notebook's metadata": lambda nb: nb.metadata.update(note=ANSWER),
    "an attachment": lambda nb: nb.cells.append(
        markdown("![a](attachment:a.txt)", attachments=ATTACHED)
    ),
    "a raw cell": lambda nb: nb.cells.append(nbformat.v4.new_raw_cell(ANSWER)),
}
OTHER = "def g(p, generator=None):\n    # mine\n    return ( torch.rand( p.shape ,generator = generator )<p ).float( )"
ATTACHED = {"a.txt": {"text/plain": base64.b64encode(ANSWER.encode()).decode()}}


def code(source):
    return nbformat.v4.new_code_cell(source)


def markdown(source, **more):
    return nbformat.v4.new_markdown_cell(source, **more)


def output(nb, text, said):
    "Put a saved output into the last code cell that holds a text."
    found = [c for c in nb.cells if c.cell_type == "code" and text in c.source][-1]
    found.outputs = [nbformat.v4.new_output("stream", text=said)]


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_marked_in_another_way_is_still_taken_out(way):
    nb = nbformat.read(DEMO, 4)
    WAYS[way](nb)
    made = au.classroom_copy(nb)
    assert "torch.rand(p.shape" not in nbformat.writes(made) and "Answers" not in nbformat.writes(
        made
    ).title().split("#")


@pytest.mark.parametrize("make", [au.classroom_copy, au.nbgrader_copy])
@pytest.mark.parametrize("way", CLOSED)
def test_a_copy_that_still_holds_an_answer_is_refused(way, make):
    nb = nbformat.read(DEMO, 4)
    CLOSED[way](nb)
    with pytest.raises(ValueError, match="cannot be|still holds|still hold|defines"):
        make(nb)


def test_a_refused_copy_leaves_no_file(tmp_path, capsys):
    good = tmp_path / "01_good.ipynb"
    shutil.copy(DEMO, good)
    bad = edited(tmp_path, CLOSED["no directive"])
    assert run("classroom", good, bad, "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "00_demo.ipynb" in said and "toss" in said and not (tmp_path / "out").exists()


def test_text_beside_the_answers_stays():
    nb = nbformat.read(DEMO, 4)
    text = [
        "## What you take along",
        "- Much.",
        "## Answers",
        "Open a cell.",
        "**Sources.** A. Cell (1900).",
        "### More",
    ]
    cell(nb, "## Answers").source = "\n\n".join([*text, "End."])
    made = "\n".join(c.source for c in au.classroom_copy(nb).cells)
    for kept in (
        "## What you take along",
        "- Much.",
        "**Sources.** A. Cell (1900).",
        "### More",
        "End.",
    ):
        assert kept in made
    assert "## Answers" not in made and "Open a cell" not in made


def test_files_are_not_replaced_unasked_and_links_never(tmp_path, capsys):
    target = tmp_path / DEMO.name
    target.write_text("mine", encoding="utf-8")
    assert (
        run("classroom", DEMO, "-o", tmp_path) == 2 and target.read_text(encoding="utf-8") == "mine"
    )
    assert "--overwrite" in capsys.readouterr().err
    assert run("classroom", DEMO, "-o", tmp_path, "--overwrite") is None
    assert "nbformat" in target.read_text(encoding="utf-8")
    target.unlink()
    (tmp_path / "precious").write_text("mine", encoding="utf-8")
    target.symlink_to(tmp_path / "precious")
    for more in ([], ["--overwrite"]):
        assert (
            run("classroom", DEMO, "-o", tmp_path, *more) == 2
            and "is a link" in capsys.readouterr().err
        )
    assert target.is_symlink() and (tmp_path / "precious").read_text(encoding="utf-8") == "mine"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


# ---- nbgrader --------------------------------------------------------------------------------------------------------


def converted(tmp_path):
    "The demo chapter in nbgrader's source format."
    run("nbgrader", DEMO, "-o", tmp_path / "source" / "demo")
    return tmp_path / "source" / "demo" / DEMO.name


def test_nbgrader_cells(tmp_path):
    nb = nbformat.read(converted(tmp_path), 4)
    nbformat.validate(nb)
    cells = [c for c in nb.cells if "nbgrader" in c.metadata]
    graded = {
        c.metadata.nbgrader.grade_id: c.metadata.nbgrader.points
        for c in cells
        if c.metadata.nbgrader.grade
    }
    assert graded == {"pair_energy_check": 1, "scale__check": 2, "toss_check": 1, "Unit_check": 3}
    answers = [c for c in cells if c.metadata.nbgrader.solution]
    assert [c.source.count("### BEGIN SOLUTION") for c in answers] == [1, 1, 1, 2]
    assert all(
        c.metadata.nbgrader.schema_version == 3 and not c.metadata.nbgrader.task for c in cells
    )
    assert "    # rand is uniform on [0, 1)" in cell(nb, "def toss").source
    for c in answers:
        compile(c.source, c.metadata.nbgrader.grade_id, "exec")


def test_a_release_runs_and_its_hidden_tests_mark(tmp_path):
    made = nbformat.read(converted(tmp_path), 4)
    released = au._released(made)
    text = "\n".join(c.source for c in released.cells)
    assert "HIDDEN" not in text and "SOLUTION" not in text and "assert_right" not in text
    error, cells = au._execute(released, tmp_path)
    seen = {name: symbol for name, (symbol, _) in au._verdicts(cells).items()}
    assert error is None and set(seen.values()) == {"○"}
    assert au._execute(made, tmp_path)[0] is None  # with the answers and the hidden tests in place
    cell(made, "def toss").source = cell(released, "def toss").source
    error, _ = au._execute(made, tmp_path)
    assert "ExerciseFailed" in error and "toss" in error


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
        assert (
            space["f"](3) == 3
            and made.count("### ") == 2
            and '"Doc."' in made
            and "YOUR CODE" not in made
        )
    space = {}
    exec(
        au._marked(
            "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError", "def f(x): return x"
        ),
        space,
    )  # noqa: S102
    assert space["f"](3) == 3


def nbgrader_python():
    "The python of an environment that has nbgrader: SILEN_NBGRADER, else .nbgrader-venv beside the project; or None."
    named = os.environ.get("SILEN_NBGRADER") or str(
        Path(__file__).parent.parent / ".nbgrader-venv" / "bin" / "python"
    )
    return named if Path(named).exists() else None


@pytest.mark.skipif(
    nbgrader_python() is None, reason="no nbgrader: name a python that has it in SILEN_NBGRADER"
)
def test_nbgrader_itself_accepts_and_clears_the_assignment(tmp_path):
    converted(tmp_path)
    config = "c = get_config()\nc.CourseDirectory.course_id = 'demo'\n"
    (tmp_path / "nbgrader_config.py").write_text(config, encoding="utf-8")
    env = {
        **os.environ,
        "PATH": str(Path(nbgrader_python()).parent) + os.pathsep + os.environ["PATH"],
    }
    done = subprocess.run(
        [nbgrader_python(), "-m", "nbgrader", "generate_assignment", "demo", "--create"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    nb = nbformat.read(tmp_path / "release" / "demo" / DEMO.name, 4)
    text = "\n".join(c.source for c in nb.cells)
    assert (
        "SOLUTION" not in text
        and "torch.rand(p.shape" not in text
        and text.count("raise NotImplementedError") == 5
    )
    error, cells = au._execute(nb, tmp_path)
    seen = {name: symbol for name, (symbol, _) in au._verdicts(cells).items()}
    assert error is None and set(seen.values()) == {"○"}  # a student's Run All passes
    assert all("checksum" in c.metadata.nbgrader for c in nb.cells if "nbgrader" in c.metadata)


# ---- sabotage --------------------------------------------------------------------------------------------------------

TOY_SABOTAGES = """
import json, sys, types
from silen_lib.exercises import Sabotage
from silen_lib import authoring
toy = types.ModuleType("silen_lib.checks.toy")
toy.SABOTAGES = [Sabotage(*fields) for fields in json.loads(sys.argv[2])]
sys.modules["silen_lib.checks.toy"] = toy
try:
    print(json.dumps(authoring.try_sabotages(sys.argv[1], timeout=20)))
except ValueError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.parametrize(
    ("old", "new", "check", "words"),
    [
        ("2 * x", "3 * x", "assert doubled", ""),
        ("2 * x", "x + x", "assert doubled", "is not refused"),
        ("2 * x", "1 / 0", "assert doubled", "before the check"),
        ("2 * x", "None", "assert doubled", "fails in the check with TypeError"),
        ("2 * x", "__import__('os')._exit(3)", "assert doubled", "ends the process"),
        ("x = 4", "x = 5", "assert doubled", ""),
        ("4 * x", "x", "assert doubled", "stands 0 times"),
        ("x", "y", "assert doubled", "times in the chapter's code, want once"),
        ("later", "late", "assert doubled", "the check stands before"),
    ],
)
def test_a_sabotage_must_be_refused_by_its_check(tmp_path, old, new, check, words):
    cells = [
        "# | default_exp toy",
        "x = 4",
        "doubled = 2 * x",
        "assert doubled + 0 == 8",
        "later = 1",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(nb, tmp_path / "01_toy.ipynb")
    argv = [sys.executable, "-c", TOY_SABOTAGES, str(tmp_path / "01_toy.ipynb")]
    plan = json.dumps([["twice", old, new, check]])
    done = subprocess.run(
        [*argv, plan], capture_output=True, encoding="utf-8", timeout=120, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert words in str(said) if words else said == []


def test_a_chapter_that_fails_as_shipped_is_told(tmp_path):
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in ["# | default_exp toy", "x = y", "assert x"]]
    )
    nbformat.write(nb, tmp_path / "01_toy.ipynb")
    plan = json.dumps([["any", "assert x", "x", "assert x"]])
    argv = [sys.executable, "-c", TOY_SABOTAGES, str(tmp_path / "01_toy.ipynb"), plan]
    done = subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=120, check=True)
    assert "as shipped the chapter fails: NameError" in done.stdout
