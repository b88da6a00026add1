"""Every chapter in a real JupyterLab: open, Run All, no error anywhere, and every widget on the page answers."""

import jlab
import pytest
from reader import try_widgets

CHAPTERS = [*sorted(p.name for p in (jlab.ROOT / "nbs").glob("[0-9][0-9]_*.ipynb")), "index.ipynb"]
WORKSHOP = ["lib/plot.ipynb", "lib/widgets.ipynb"]


@pytest.mark.parametrize("notebook", [*CHAPTERS, *WORKSHOP])
def test_runs_and_answers(open_nb, notebook, record_property):
    if not (jlab.ROOT / "nbs" / notebook).exists():
        pytest.skip(f"{notebook} is not written yet")
    lab = open_nb(notebook)
    lab.run_all(timeout=400)
    name = notebook.replace("/", "_").removesuffix(".ipynb")
    lab.tall_shot(f"chapter_{name}")
    assert lab.problems() == []
    seen, wrong = try_widgets(lab)
    record_property("widgets", dict(seen))
    print(f"\n{notebook}: tried {dict(seen)}")
    lab.widget_shots(f"chapter_{name}_widget")
    assert wrong == []
    assert lab.page.refused == [], "the notebook asked for something from the web"


def test_the_reader_finds_what_does_not_answer(open_nb):
    "A slider whose picture never changes, a callback that fails only when used: both must be reported."
    lab = open_nb("fixtures/lazy.ipynb")
    lab.run_all()
    assert lab.problems() == []
    seen, wrong = try_widgets(lab)
    assert seen == {"sliders": 2, "buttons": 1, "maps": 1}
    assert any("slider 0 moves, its picture does not change" in w for w in wrong)
    assert any("ValueError: only the first picture" in w for w in wrong)
    assert any("ZeroDivisionError" in w for w in wrong), "an exception in a button's Output"


def test_the_reader_is_content_with_the_fixture(open_nb):
    lab = open_nb("fixtures/widgets.ipynb")
    lab.run_all()
    seen, wrong = try_widgets(lab)
    assert seen == {"sliders": 5, "grids": 1, "maps": 2, "players": 1}
    assert wrong == ["ValueError: too far to the right"] or wrong == []
