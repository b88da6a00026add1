"""Opening a chapter and saving it without an edit leaves git nothing to say."""

import time

import jlab
import pytest


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    "A copy of the course of its own, and its address."
    nbs = jlab.copy_course(tmp_path_factory.mktemp("saved"))
    with jlab.server(nbs) as base:
        yield nbs, base


@pytest.mark.parametrize("notebook", ["index.ipynb", "01_hopfield.ipynb", "lib/core.ipynb"])
def test_opened_and_saved_it_is_the_same_file(page, served, notebook):
    nbs, base = served
    file = nbs / notebook
    before, stamp = file.read_bytes(), file.stat().st_mtime_ns
    lab = jlab.Lab(page, base, notebook)
    page.click(".jp-NotebookPanel .jp-Notebook")
    page.keyboard.press("Control+s")
    end = time.time() + 60
    while time.time() < end and (file.stat().st_mtime_ns == stamp or not file.stat().st_size):
        page.wait_for_timeout(200)
    page.wait_for_timeout(500)
    lab.close()
    assert file.stat().st_mtime_ns != stamp, "it was not saved"
    assert file.read_bytes() == before
