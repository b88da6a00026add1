"""The error finder finds: what no kernel-side runner reports must not slip through the browser tests either."""


def test_a_plain_exception_and_the_cells_behind_it(open_nb):
    lab = open_nb("fixtures/broken_plain.ipynb")
    lab.run_all()
    found = lab.problems()
    assert any("ZeroDivisionError" in t for t in found)
    assert any("not executed" in t and "after the exception" in t for t in found)


def test_swallowed_exceptions_and_lost_widgets(open_nb):
    lab = open_nb("fixtures/broken_widgets.ipynb")
    lab.run_all()
    errors, dead, problems = lab.errors(), lab.dead_widgets(), lab.problems()
    lab.shot("broken_widgets")
    assert any("ZeroDivisionError" in t for t in errors), "an exception inside interact"
    assert any("inside an Output" in t for t in errors), "an exception inside an Output widget"
    assert any("model not found" in t for t in dead), "a widget whose model is gone"
    assert any("the view is broken" in t for t in problems), "a view that throws while it is drawn"
    assert not any(t.startswith("not executed") for t in errors)
