"""The board: one reader's progress file under every misfortune, and the table that shows it."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from silen_lib import board

DEMO = Path(__file__).parent / "exercise_fixtures" / "00_demo.ipynb"
ENTRY = {"status": "done", "when": "2026-02-01T10:30:00+01:00"}
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def path(tmp_path, monkeypatch):
    "A progress file with one entry."
    place = tmp_path / "progress.json"
    place.write_text(json.dumps({"overlaps": ENTRY}), encoding="utf-8")
    monkeypatch.setenv("SILEN_PROGRESS", str(place))
    return place


def statuses(path=None):
    "{name: status} of a progress file."
    return {name: entry["status"] for name, entry in board.read_progress(path).items()}


# ---- where it lies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "environment", "want"),
    [
        ("linux", {"HOME": "/home/reader"}, "/home/reader/.local/state/silen/progress.json"),
        (
            "linux",
            {"HOME": "/home/reader", "XDG_STATE_HOME": "/var/ada"},
            "/var/ada/silen/progress.json",
        ),
        (
            "linux",
            {"HOME": "/home/reader", "XDG_STATE_HOME": "not/absolute"},
            "/home/reader/.local/state/silen/progress.json",
        ),
        ("darwin", {"HOME": "/Users/ada"}, "/Users/ada/.local/state/silen/progress.json"),
        (
            "win32",
            {"HOME": "/u/ada", "APPDATA": "/u/ada/roaming"},
            "/u/ada/roaming/silen/progress.json",
        ),
        ("win32", {"HOME": "/u/ada"}, "/u/ada/AppData/Roaming/silen/progress.json"),
        (
            "linux",
            {"HOME": "/home/reader", "SILEN_PROGRESS": "~/mine.json"},
            "/home/reader/mine.json",
        ),
        ("linux", {"HOME": "/home/reader", "SILEN_PROGRESS": "off"}, None),
        ("linux", {"HOME": "/home/reader", "SILEN_PROGRESS": ""}, None),
    ],
)
def test_each_user_has_a_file(monkeypatch, platform, environment, want):
    for name in ("SILEN_PROGRESS", "XDG_STATE_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert board.progress_path() == (want and Path(want))


def test_it_does_not_depend_on_the_course_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SILEN_PROGRESS")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    places = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert board.record_progress(f"from_{folder.name}", "done") == ""
        places.add(board.progress_path())
        assert not list(folder.iterdir())
    assert len(places) == 1 and statuses() == {"from_a": "done", "from_b": "done"}


# ---- what is there is never lost -------------------------------------------------------------------------------------


TWO = json.dumps({"overlaps": ENTRY, "été": ENTRY}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("raw", "kept", "damaged"),
    [
        (TWO.encode("utf-8-sig"), {"overlaps", "été"}, False),
        (TWO.encode("utf-16"), {"overlaps", "été"}, False),
        (TWO.encode("utf-8"), {"overlaps", "été"}, False),
        (TWO.encode("latin-1"), {"overlaps"}, True),
        (TWO.encode()[:-40], {"overlaps"}, True),
        (TWO.encode()[:-1], {"overlaps", "été"}, True),
        (TWO.encode().replace(b"done", b"do\xffe", 1), {"été"}, True),
        (TWO.encode().replace(b"2026", b"\x002026", 1), {"été"}, True),
        (b"<<<<<<< mine\n" + TWO.encode() + b"\n>>>>>>>", {"overlaps", "été"}, True),
        (TWO.encode() * 2, {"overlaps", "été"}, True),
        (b"[" * 100_000, set(), True),
        (b"[1, 2]", set(), True),
        (b"\xff\xfe", set(), True),
        (b"{", set(), True),
        (b"", set(), False),
        (b" \n", set(), False),
    ],
)
def test_a_damaged_file_keeps_what_can_be_read(path, raw, kept, damaged):
    path.write_bytes(raw)
    assert set(statuses()) == kept and path.read_bytes() == raw, "reading changes nothing"
    remark = board.record_progress("new", "tried")
    assert set(statuses()) == kept | {"new"}
    backups = list(path.parent.glob("*.damaged*"))
    assert [b.read_bytes() for b in backups] == ([raw] if damaged else [])
    assert bool(remark) == damaged and (
        not damaged or "damaged" in remark and backups[0].name in remark
    )
    assert board.record_progress("another", "tried") == ""  # told once: the file is whole again


def test_two_damaged_files_are_both_kept(path):
    for raw in (b"{one", b"{two"):
        path.write_bytes(raw)
        board.record_progress("new", "tried")
    assert sorted(b.read_bytes() for b in path.parent.glob("*.damaged*")) == [b"{one", b"{two"]


def test_entries_of_another_kind_stay_in_the_file(path):
    before = {"overlaps": ENTRY, "note": "mine", "old": {"status": "seen"}, "bare": 3}
    path.write_text(json.dumps(before), encoding="utf-8")
    assert statuses() == {"overlaps": "done"}
    board.record_progress("bare", "done")
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert (
        kept["note"] == "mine"
        and kept["old"] == {"status": "seen"}
        and kept["bare"]["status"] == "done"
    )


def test_done_stays_done_and_the_first_moment_stays(path):
    before = path.read_bytes()
    assert (
        board.record_progress("overlaps", "tried")
        == board.record_progress("overlaps", "done")
        == ""
    )
    assert path.read_bytes() == before
    board.record_progress("new", "tried")
    board.record_progress("new", "done")
    assert statuses()["new"] == "done" and re.match(
        r"20\d\d-\d\d-\d\dT.*[+-]\d\d:\d\d$", board.read_progress()["new"]["when"]
    )
    with pytest.raises(ValueError, match="status: got 'right'"):
        board.record_progress("new", "right")


@pytest.mark.skipif(os.name == "nt", reason="links and modes")
def test_links_are_followed_and_modes_are_kept(tmp_path, monkeypatch):
    real, link = tmp_path / "real" / "file.json", tmp_path / "progress.json"
    link.symlink_to(real)
    monkeypatch.setenv("SILEN_PROGRESS", str(link))
    old = os.umask(0o022)
    try:
        assert board.record_progress("a", "done") == ""
        assert (
            link.is_symlink()
            and statuses(real) == {"a": "done"}
            and stat.S_IMODE(real.stat().st_mode) == 0o644
        )
        for mode in (0o600, 0o664):
            real.chmod(mode)
            board.record_progress(f"b{mode}", "done")
            assert stat.S_IMODE(real.stat().st_mode) == mode
    finally:
        os.umask(old)
    assert (
        not list(tmp_path.rglob("*.tmp")) and len(list((tmp_path / "real").iterdir())) <= 2
    )  # the file and its lock


def test_several_programs_write_at_once(path):
    code = (
        "import sys; from silen_lib.board import record_progress\n"
        "for i in range(20): assert record_progress(f'{sys.argv[1]}_{i}', 'done') == ''"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(n)], env=dict(os.environ))
        for n in range(4)
    ]
    assert [run.wait() for run in runs] == [0] * 4
    assert set(statuses()) == {"overlaps"} | {f"{n}_{i}" for n in range(4) for i in range(20)}


# ---- when it cannot be written ---------------------------------------------------------------------------------------


def no_folder(tmp_path):
    "The name's folder is a file."
    (tmp_path / "file").write_text("", encoding="utf-8")
    return tmp_path / "file" / "progress.json"


def a_folder(tmp_path):
    "The name is a folder's."
    return tmp_path


def read_only(tmp_path):
    "A folder nobody may write to."
    folder = tmp_path / "read_only"
    folder.mkdir()
    folder.chmod(0o555)
    return folder / "progress.json"


def a_device(tmp_path):
    "No ordinary file (reading a pipe would wait for ever)."
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def a_ring(tmp_path):
    "A link to itself."
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    return tmp_path / "ring"


@pytest.mark.skipif(os.name == "nt", reason="links, pipes and modes")
@pytest.mark.parametrize(
    "place",
    [
        no_folder,
        a_folder,
        pytest.param(read_only, marks=pytest.mark.skipif(ROOT, reason="root writes all")),
        a_device,
        a_ring,
    ],
)
def test_a_file_that_cannot_be_written_is_told(tmp_path, monkeypatch, place):
    monkeypatch.setenv("SILEN_PROGRESS", str(place(tmp_path)))
    remark = board.record_progress("a", "done")
    assert re.match(r"progress not saved \(.{6,}\)$", remark), remark
    assert "Errno" not in remark


def test_a_full_disk_and_a_missing_home_are_told(path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", str(path))

    before = path.read_bytes()
    monkeypatch.setattr(board, "atomic_write", full)
    assert "No space left" in board.record_progress("a", "done") and path.read_bytes() == before
    path.write_bytes(b"{damaged")
    monkeypatch.setattr(board, "_set_aside", full)  # what cannot be kept aside is not replaced
    assert (
        "No space left" in board.record_progress("a", "done") and path.read_bytes() == b"{damaged"
    )

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SILEN_PROGRESS")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert "home directory" in board.record_progress("a", "done")
    assert "home directory" in repr(board.progress_board(path.parent))


def test_a_lock_that_is_never_given_back_is_told(path, monkeypatch):
    import filelock

    monkeypatch.setattr(board._locked.__wrapped__, "__defaults__", (0.2,))
    with filelock.FileLock(f"{path}.lock"):
        assert "locked" in board.record_progress("a", "done")
    assert board.record_progress("a", "done") == ""


# ---- the board -------------------------------------------------------------------------------------------------------


def test_a_board_opens_only_the_chapters_that_a_reader_is_in(tmp_path, monkeypatch):
    "What is untouched or done is one line; what is begun shows its exercises."
    (tmp_path / DEMO.name).write_bytes(DEMO.read_bytes())
    names = [e[0] for e in board.chapter_outline(DEMO).exercises]
    for done in range(len(names) + 1):
        if done:
            board.record_progress(names[done - 1], "done")
        shown = board.progress_board(tmp_path)
        begun = 0 < done < len(names)
        assert len(repr(shown).splitlines()) == 2 + begun * len(names)
        assert repr(shown).startswith(f"{done} of {len(names)} exercises done; all chapters")
        page = shown._repr_html_()
        assert ("<details open>" in page) == begun and page.count("<details") == 1
        assert f"<summary>{done}/{len(names)} done</summary>" in page


def test_board(tmp_path, monkeypatch):
    (tmp_path / DEMO.name).write_bytes(DEMO.read_bytes())
    (tmp_path / "01_broken.ipynb").write_text("not json", encoding="utf-8")
    foreign = '{"cells": [{"cell_type": "code", "source": ["x = 1"]}]}'
    (tmp_path / "02_foreign.ipynb").write_text(foreign, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    board.record_progress("pair_energy", "done")
    board.record_progress("toss", "tried")
    shown = board.progress_board()
    assert "A small chapter: 1 of 4 done" in repr(shown) and "✓ done  0.1 the energy ●○○" in repr(
        shown
    )
    assert (
        "✗ tried  0.3" in repr(shown)
        and "○ open  0.4 a layer ●●●" in repr(shown)
        and "foreign" not in repr(shown)
    )
    assert "href='00_demo.ipynb'" in shown._repr_html_() and "1/4" in shown._repr_html_()
    assert "no chapters" in board.progress_board(tmp_path / "empty")._repr_html_()


def luminance(colour):
    "Relative luminance of #rrggbb (WCAG 2)."
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b):
    "Contrast of two colours (WCAG 2)."
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def weak_colours(page):
    "The styles in some HTML that cannot be read in a light (#ffffff) or a dark (#111111) page."
    found = []
    for style in re.findall(r"style='([^']*)'", page):
        fields = dict(part.split(":", 1) for part in style.split(";") if ":" in part)
        text = fields.get("color")
        grounds = (
            [fields["background"]]
            if fields.get("background", "").startswith("#")
            else ["#ffffff", "#111111"]
        )
        if text and min(contrast(text, g) for g in grounds) < 4.5:
            found.append(style)
        line = re.search(
            r"#[0-9a-f]{6}", " ".join(v for k, v in fields.items() if k.startswith("border"))
        )
        if line and min(contrast(line[0], g) for g in ("#ffffff", "#111111")) < 3:
            found.append(style)
    return found


def test_every_colour_can_be_read_in_both_themes(tmp_path):
    assert weak_colours("<b style='color:#b00020'>") and weak_colours(
        "<b style='border:1px solid #111111'>"
    )
    board.record_progress("pair_energy", "done")
    board.record_progress("toss", "tried")
    page = board.progress_board(DEMO.parent)._repr_html_()
    assert page.count("background:#") == 4 and weak_colours(page) == []
    from silen_lib.exercises import Verdict

    for status in board.STATUS_COLOURS:
        page = Verdict(
            "a", status, "title", "message `code`", "hint", (("got", "1"),)
        )._repr_html_()
        assert "role='status'" in page and weak_colours(page) == []
