"""A page that is only opened, a narrow window: nothing is offered that does nothing, nothing scrolls sideways."""

import jlab
import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

SHOWN = "es => es.map(e => e.offsetParent !== null && getComputedStyle(e).visibility !== 'hidden')"


def test_a_player_that_was_saved_and_not_run(browser, tmp_path):
    from silen_lib.plot import subplots
    from silen_lib.widgets import animate

    source = (
        "from silen_lib.plot import subplots\nfrom silen_lib.widgets import animate\n"
        "animate(lambda i: subplots()[0], 3)"
    )
    bundle = animate(lambda i: subplots()[0], 3)._repr_mimebundle_()
    saved = new_output("execute_result", data=bundle, execution_count=1)
    nb = new_notebook(cells=[new_code_cell(source, outputs=[saved])])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbs = jlab.copy_course(tmp_path)
    nbformat.write(nb, nbs / "player.ipynb")
    with jlab.server(nbs) as base, jlab.new_page(browser) as page:
        lab = jlab.Lab(page, base, "player.ipynb")
        page.wait_for_selector(".silen-player img")
        controls = page.locator(".silen-player button, .silen-player input")
        assert controls.evaluate_all(SHOWN) in ([False, False], []), (
            "an untrusted page runs no script"
        )
        assert page.locator(".silen-player img").is_visible()
        lab.run_all()
        assert controls.evaluate_all(SHOWN) == [True, True]
        lab.close()


def test_the_pattern_memory_fits_a_telephone(course, browser):
    with jlab.new_page(browser, width=390, height=844) as page:
        lab = jlab.Lab(page, course, "fixtures/narrow.ipynb")
        lab.run_all()
        lab.shot("narrow_pattern_memory")
        output = page.locator(".jp-OutputArea-output:has(.silen-pixels)").first
        wide = output.evaluate("""o => [o, ...o.querySelectorAll('*')]
            .filter(e => /auto|scroll/.test(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1)
            .map(e => `${e.className}: ${e.scrollWidth} in ${e.clientWidth}`)""")
        assert wide == [] and lab.problems() == []
        lab.close()
