"""Other terminals, other systems, no checkout: what must work away from the machine the course was made on."""

import io
import os
import subprocess
import sys

import pytest

from silen_lib.core import say

MARKS = "✓ ✗ × ± … → ≥ − ½ β é 日本 𝄞"


def _page(encoding, errors="strict"):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, newline="\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "shift_jis", "utf-8", "utf-16"])
def test_say_on_every_encoding(encoding):
    page = _page(encoding)
    say(MARKS, 3, file=page)
    text = page.buffer.getvalue().decode(encoding)
    assert text.endswith(" 3\n")
    assert text.count(" ") == MARKS.count(" ") + 1, "each character has one stand-in, without a space"
    for mark in MARKS.split():
        if mark.encode(encoding, "ignore").decode(encoding) == mark:
            assert mark in text, "what the terminal can show stays as it is"


def test_stand_ins_read_well():
    page = _page("ascii")
    say("✓ ✗ 28×28 3 ± 1 … a → b, T ≥ ½, β, ξᵀ, é, −1", file=page)
    assert page.buffer.getvalue() == b"ok x 28x28 3 +- 1 ... a -> b, T >= 1/2, beta, xiT, e, -1\n"


class _Broken(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left"), OSError(5, "Input/output error")])
def test_say_survives_a_stream_that_fails(error):
    say("lost", file=_Broken(error))


def test_say_survives_a_closed_and_an_absent_stream(monkeypatch):
    page = _page("utf-8")
    page.close()
    say("lost", file=page)
    monkeypatch.setattr(sys, "stdout", None)
    say("lost")


def test_say_does_not_swallow_the_stop_button():
    with pytest.raises(KeyboardInterrupt):
        say("stop", file=_Broken(KeyboardInterrupt()))


def _python(code, encoding="ascii", **kwargs):
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, timeout=120, **kwargs)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_costs_nothing():
    with open("/dev/full", "w") as full:
        run = _python("from silen_lib.core import say\nfor i in range(3): say(i)", stdout=full)
    assert (run.returncode, run.stderr) == (0, b"")


def test_a_reader_that_went_away_costs_nothing():
    read, write = os.pipe()
    os.close(read)
    run = _python("from silen_lib.core import say\nfor i in range(3): say(i)", stdout=write)
    os.close(write)
    assert (run.returncode, run.stderr) == (0, b"")


def test_any_terminal_covers_print_argparse_and_tracebacks():
    code = (
        "import argparse\nfrom silen_lib.core import any_terminal\nany_terminal()\nprint('✓ 28×28 ± β')\n"
        "argparse.ArgumentParser(prog='p', description='β × ✓').print_help()\nraise ValueError('✗ ±')"
    )
    run = _python(code, stdout=subprocess.PIPE)
    assert run.stdout.startswith(b"ok 28x28 +- beta") and b"beta x ok" in run.stdout
    assert b"ValueError: x +-" in run.stderr
