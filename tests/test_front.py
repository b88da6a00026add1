"""README.md, the course map and CITATION.cff: what a stranger reads first is true, and what it says to type works."""

import configparser
import importlib
import json
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import times
import yaml
from matplotlib.image import imread

from silen_lib.board import cell_text

ROOT = times.ROOT
README, INDEX = times.PAGES
CHAPTERS = times.outlines()
SETTINGS = configparser.ConfigParser(delimiters=["="])
SETTINGS.read(ROOT / "settings.ini", encoding="utf-8")
TEXT = README.read_text(encoding="utf-8")
STRIP = ROOT / "nbs" / "images" / "strip.png"

pages = pytest.mark.parametrize("page", times.PAGES, ids=lambda p: p.name)


def routes(page):
    "The chapters of each way through, in its order."
    found = [times.LINK.findall(line) for line in times.page_lines(page) if "→" in line]
    return [names for names in found if len(names) > 1]


# --- times


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_names_its_minutes_in_its_opening(name):
    assert 30 <= int(CHAPTERS[name].minutes or 0) <= 300


@pages
def test_the_times_are_those_of_the_chapters(page):
    wrong = [
        (line, times.put_right(line, CHAPTERS))
        for line in times.page_lines(page)
        if times.put_right(line, CHAPTERS) != line
    ]
    assert not wrong, "`python tests/times.py` puts the chapters' numbers into the pages"


@pages
def test_a_chapter_that_takes_another_hour_is_noticed_wherever_it_stands(page):
    "By each way through it, by the sum of all, and on the README by its own row."
    for name, chapter in CHAPTERS.items():
        longer = {**CHAPTERS, name: chapter._replace(minutes=str(int(chapter.minutes) + 60))}
        changed = sum(times.put_right(line, longer) != line for line in times.page_lines(page))
        assert changed == 1 + sum(name in names for names in routes(page)) + (page == README)


def test_times_are_rewritten_in_a_page_and_in_a_notebook(tmp_path):
    chapters = {k: c._replace(minutes="60") for k, c in CHAPTERS.items()}
    for page in times.PAGES:
        copy = shutil.copy(page, tmp_path)
        copy = tmp_path / page.name
        assert times.rewrite(copy, chapters) and not times.rewrite(copy, chapters)
        lines = times.page_lines(copy)
        assert sum(f"about {len(CHAPTERS)} hours" in line for line in lines) == 1
        assert sum("about 3 hours" in line for line in lines) == 1  # the way with three chapters


@pages
def test_there_are_three_ways_through_and_each_holds_what_its_chapters_need(page):
    assert len(routes(page)) >= 3 and "".join(map(str, routes(README))) == "".join(
        map(str, routes(INDEX))
    )
    for names in routes(page):
        for place, name in enumerate(names):
            opening = cell_text(
                json.loads((ROOT / "nbs" / name).read_text(encoding="utf-8"))["cells"][0]
            )
            needs = re.search(r"(?:You need|\*\*Needs\*\*)(.*?)\.(?:\s|$)", opening, re.DOTALL)
            clauses = needs[1].split(";") if needs else []
            wanted = [
                n for c in clauses if "help" not in c for n in re.findall(r"chapters? (\d+)", c)
            ]
            before = [str(int(other[:2])) for other in names[:place]]
            assert set(wanted) <= set(before), f"{name} needs {wanted}, the way has {before}"


def test_the_readme_has_a_row_for_every_chapter():
    rows = [times.LINK.findall(line) for line in TEXT.splitlines() if line.startswith("|")]
    assert [names[0] for names in rows if names] == list(CHAPTERS)


# --- the course map as it is committed


def outputs():
    "The code cells of the course map, by the function that they call."
    cells = json.loads(INDEX.read_text(encoding="utf-8"))["cells"]
    return {cell_text(c).split()[3]: c["outputs"] for c in cells if c["cell_type"] == "code"}


def test_the_committed_map_is_that_of_the_chapters_and_of_a_reader_who_begins():
    page = "".join(outputs()["progress_board"][0]["data"]["text/html"])
    rows = re.findall(r"href='(\w+\.ipynb)'.*?<td>(\d*)</td>.*?<summary>(\d+/\d+) done", page)
    assert rows == [(n, c.minutes, f"0/{len(c.exercises)}") for n, c in CHAPTERS.items()]
    assert "<details open" not in page
    plain = "".join(outputs()["progress_board"][0]["data"]["text/plain"])
    assert len(plain.splitlines()) == 1 + len(CHAPTERS)


def test_nothing_of_one_machine_stands_in_the_committed_map():
    assert outputs()["doctor"] == []


# --- links, pictures, words


@pages
def test_links_lead_somewhere_and_pictures_say_what_they_show(page):
    text = "\n".join(times.page_lines(page))
    for picture, label, target in re.findall(r"(!?)\[([^]]*)\]\(([^)]+)\)", text):
        assert not picture or len(label) > 60
        if target.startswith("#"):
            headings = [h.lower() for h in re.findall(r"(?m)^#+ (.*)", text)]
            assert target[1:] in [re.sub(r"[^\w -]", "", h).replace(" ", "-") for h in headings]
        else:
            assert (page.parent / target).exists(), target


def test_the_picture_and_the_way_to_start_stand_on_the_first_screen():
    top = "\n".join(TEXT.splitlines()[:15])
    assert "nbs/images/strip.png" in top and "git clone" in top and "make lab" in top
    assert "images/strip.png" in "\n".join(times.page_lines(INDEX)[:6])
    assert "00_energy.ipynb" in "\n".join(times.page_lines(INDEX)[:8])


@pytest.mark.slow
def test_the_picture_is_what_its_command_draws(tmp_path):
    assert STRIP.stat().st_size <= 300_000
    again = tmp_path / "strip.png"
    command = [sys.executable, STRIP.with_name("strip.py"), again, "--steps", "2"]
    subprocess.run(command, check=True, timeout=300)
    committed, drawn = imread(STRIP), imread(again)
    assert committed.shape == drawn.shape and committed.shape[1] >= 1600
    same = (abs(committed - drawn).max(-1) < 0.02).mean(
        0
    )  # columns; trained networks differ by their training
    fifth = committed.shape[1] // 5
    assert same[: 2 * fifth].mean() > 0.98 and same[4 * fifth :].mean() > 0.98
    assert same[2 * fifth : 3 * fifth].mean() < 0.9  # and untrained ones are told from trained ones
    dark = committed[..., :3].mean(-1) < 0.5
    assert dark.mean() > 0.2  # not mostly white


def test_no_address_is_made_up():
    for text in (
        TEXT,
        INDEX.read_text(encoding="utf-8"),
        (ROOT / "CITATION.cff").read_text(encoding="utf-8"),
    ):
        assert not re.search(r"https?://|example\.(org|com)|@\w+\.\w", text)


def test_the_number_of_known_mistakes_is_no_boast():
    from silen_lib import checks
    from silen_lib.exercises import SPECS

    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"silen_lib.checks.{module.name}")
    known = sum(len(SPECS[e[0]].mistakes) for c in CHAPTERS.values() for e in c.exercises)
    told = int(re.search(r"more than ([\d,]+) wrong answers", TEXT)[1].replace(",", ""))
    assert told < known


# --- what it says to type


def blocks(language=""):
    fenced = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", TEXT)
    return [text for named, text in fenced if named == language]


def test_every_command_exists():
    targets = set(re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    scripts = {s.split("=")[0].strip() for s in SETTINGS["DEFAULT"]["console_scripts"].split("\n")}
    for page in times.PAGES:
        text = "\n".join(times.page_lines(page))
        typed = re.findall(r"(?m)^make (\w+)|`make (\w+)", text)
        assert typed and {a or b for a, b in typed} <= targets
        assert set(re.findall(r"\bsilen-\w+", text)) <= scripts


def test_the_lines_without_make_are_those_of_make():
    rule = re.search(r"pip install -q (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))[1]
    installs = [line for line in "\n".join(blocks()).splitlines() if "pip install" in line]
    assert len(installs) == 2  # two systems
    for line in installs:
        words = line.replace("\\", "/").split("install ")[1]
        assert shlex.split(words) == shlex.split(rule) and '"' in words and "'" not in words


def test_every_extra_exists():
    extras = {k.removesuffix("_requirements") for k in SETTINGS["DEFAULT"] if "_requirements" in k}
    named = re.findall(r"\[([\w,]+)\][\"']", TEXT)
    assert named and {name for group in named for name in group.split(",")} <= extras


@pytest.mark.slow
def test_what_an_instructor_types_works(tmp_path):
    lines = [
        line for line in "\n".join(blocks()).splitlines() if line.startswith("silen-exercises")
    ]
    assert [line.split()[1] for line in lines] == ["classroom", "nbgrader", "grade", "collect"]
    shutil.copytree(
        ROOT / "nbs", tmp_path / "nbs", ignore=shutil.ignore_patterns("lib", "checks", "0[2-9]*")
    )
    (tmp_path / "handed_in").mkdir()
    (tmp_path / "progress_files").mkdir()
    entry = {"overlaps": {"status": "done", "when": "2026-01-01T00:00:00+00:00"}}
    (tmp_path / "progress_files" / "one.json").write_text(json.dumps(entry), encoding="utf-8")
    for line in lines:
        words = shlex.split(line, comments=True)
        command = [sys.executable, "-m", "silen_lib.authoring", *words[1:]]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=300
        )
        assert done.returncode == 0, line + done.stdout + done.stderr
        if words[1] == "classroom":
            shutil.copy(tmp_path / "handout" / "01_hopfield.ipynb", tmp_path / "handed_in")
    assert "overlaps" in (tmp_path / "marks.csv").read_text(encoding="utf-8")
    assert "done" in (tmp_path / "progress.csv").read_text(encoding="utf-8")


def test_the_programs_that_need_no_file_run(tmp_path):
    programs = [text for text in blocks("python") if "model.pt" not in text]
    assert programs
    for text in programs:
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stderr
        assert -64 < float(re.search(r"-?\d+\.\d+", done.stdout)[0]) < -30  # nats: the data have 39


def test_the_library_comes_before_the_scores():
    assert TEXT.index("## Use the library") < TEXT.index("nats")


# --- how to cite


def test_the_citation_is_valid_and_invents_nobody():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert set(cited) <= {
        "cff-version", "message", "type", "title", "abstract", "authors", "version", "license", "keywords",
    }  # fmt: skip
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software"
    assert cited["authors"] == [{"name": SETTINGS["DEFAULT"]["author"]}]
    assert cited["version"] == SETTINGS["DEFAULT"]["version"] and cited["license"] == "Apache-2.0"
    assert all(isinstance(word, str) for word in cited["keywords"])
