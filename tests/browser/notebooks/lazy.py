# ruff: noqa
# %%
import ipywidgets as W
from silen_lib.plot import *
from silen_lib.widgets import *

use_style()


def still(n=1):
    return subplots(figsize=(3, 1))[0]


live(still, n=W.IntSlider(value=1, max=5))
# %%
calls = []


def once(n=1):
    calls.append(n)
    if len(calls) > 1:
        raise ValueError("only the first picture")
    return still()


live(once, n=W.IntSlider(value=1, max=5))
# %%
out, button = W.Output(), W.Button(description="press")


@out.capture()
def press(_):
    1 / 0


button.on_click(press)
W.VBox([button, out])
# %%
ClickMap(still().axes[0].figure)
