# ruff: noqa
# %%
from silen_lib.widgets import PatternMemory
from silen_lib.data import glyphs_5x5

PatternMemory(5, 5, {name: glyph.flatten() for name, glyph in glyphs_5x5().items()})
