"""Browser tests are skipped, with a reason, where there is no Chromium; SILEN_BROWSER=require makes that a failure,
SILEN_BROWSER=no skips them at once."""

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
MODE = os.environ.get("SILEN_BROWSER", "auto")


def _missing() -> str | None:
    if MODE == "no":
        return "SILEN_BROWSER=no"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    from jlab import find_chromium

    return (
        None
        if find_chromium()
        else "no Chromium: set SILEN_CHROMIUM or install Debian's package `chromium`"
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs Chromium and runs a real JupyterLab")


def pytest_collection_modifyitems(items):
    mine = [i for i in items if HERE in pathlib.Path(i.path).parents]
    reason = _missing() if mine else None
    for item in mine:
        item.add_marker(pytest.mark.browser)
        if reason and MODE != "require":
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def course(tmp_path_factory):
    "JupyterLab over a copy of the notebooks, with the fixture notebooks beside them: its address."
    if reason := _missing():
        pytest.fail(f"SILEN_BROWSER=require: {reason}")
    import jlab

    nbs = jlab.copy_course(tmp_path_factory.mktemp("course"))
    jlab.write_fixtures(HERE / "notebooks", nbs / "fixtures")
    with jlab.server(nbs) as base:
        yield base


@pytest.fixture(scope="session")
def browser():
    import jlab

    with jlab.chromium() as b:
        yield b


@pytest.fixture
def page(browser):
    import jlab

    with jlab.new_page(browser) as p:
        yield p


@pytest.fixture
def touch_page(browser):
    import jlab

    with jlab.new_page(browser, touch=True) as p:
        yield p


@pytest.fixture
def open_nb(course, browser, request):
    "open_nb(path) → Lab; its kernel ends with the test."
    import jlab

    opened = []

    def go(path, on=None):
        opened.append(jlab.Lab(on or request.getfixturevalue("page"), course, path))
        return opened[-1]

    yield go
    for lab in opened:
        lab.close()
