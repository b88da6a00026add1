# ruff: noqa
# %%
import ipywidgets as W
from IPython.display import display

# %%
W.interactive(lambda n: 1 / n, n=(0, 3, 1)).children[0].value
# %%
W.interact(lambda n: 1 / n, n=W.IntSlider(value=0, max=3))
# %%
out = W.Output()
with out:
    raise KeyError("inside an Output")
# %%
out
# %%
view = dict(model_id="0123456789abcdef0123456789abcdef", version_major=2, version_minor=0)
display({"application/vnd.jupyter.widget-view+json": view, "text/plain": "a lost widget"}, raw=True)
# %%
import anywidget


class Bad(anywidget.AnyWidget):
    _esm = "export default { render() { throw new Error('the view is broken'); } }"


Bad()
