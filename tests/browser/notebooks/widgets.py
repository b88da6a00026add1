# ruff: noqa
# %%
import ipywidgets as W, numpy as np, torch
from silen_lib.plot import *
from silen_lib.widgets import *

use_style()


def echo(name, text=""):
    label = W.Label(text)
    label.add_class(f"t-{name}")
    return label


# %%
def wave(k=1.0):
    fig, ax = subplots(figsize=(5, 3))
    x = np.linspace(0, 6, 300)
    plot_theory(x, np.sin(k * x), ax=ax)
    plot_points(x[::20], np.sin(k * x[::20]) + 0.1, 0.1, ax=ax).set(
        xlabel="$x$", ylabel="$y$", ylim=(-1.5, 1.5)
    )
    return fig


k = W.FloatSlider(value=1, min=0.5, max=10, step=0.1, description="a rather long wave number")
k.add_class("t-slider")
live(wave, k=k)
# %%
said = echo("k", "1.0")
k.observe(lambda c: setattr(said, "value", f"{c.new:.1f}"), "value")
said


# %%
def heavy(c=1.0, n=5):
    fig, (a, b) = subplots(1, 2, figsize=(8, 3.2))
    plot_energy_2d(lambda p: ((p**2).sum(-1) - c) ** 2, ax=a)
    plot_weights(torch.arange(625.0).view(25, 25).sin() * n, ax=b, limit=20)
    return fig


live(
    heavy, c=W.FloatSlider(value=1, min=0.1, max=8, step=0.1), n=W.IntSlider(value=5, min=1, max=20)
)
# %%
left, right = PixelGrid(5, 6, label="cue"), PixelGrid(5, 6, readonly=True, label="recalled")
count = echo("count", "0")


def copy(change):
    right.spins = -left.spins
    count.value = str(sum(left.pixels))


left.observe(copy, "pixels")
left.add_class("t-left")
right.add_class("t-right")
W.VBox([W.HBox([left, right]), count])


# %%
def bowl(x, y, power=2):
    fig, ax = subplots(figsize=(5, 3.6))
    ax.plot([x], [y], "o", color=COLORS["model"])
    return plot_energy_2d(lambda p: (p**power).sum(-1), (-2, 4), (-1, 1), ax=ax).figure


point = live_map(
    bowl,
    x=1.0,
    y=0.5,
    label="click on the landscape",
    power=W.IntSlider(value=2, min=2, max=8, step=2),
)
# %%
where = echo("where", "1,0.5,0")
point.observe(
    lambda _: setattr(where, "value", f"{point.x:.4f},{point.y:.4f},{point.n_clicks}"), "n_clicks"
)
where


# %%
def outside(x, y):
    if x > 1:
        raise ValueError("too far to the right")
    fig, ax = subplots(figsize=(4, 1.6))
    ax.set(xlim=(0, 2), ylim=(0, 1))
    ax.plot([x], [y], "o")
    return fig


fail = ClickMap(outside, x=0.5, y=0.5, drag=True)
fail.add_class("t-fail")
fail
# %%
animate(wave, np.linspace(0.5, 2, 8), label="a wave grows shorter")
# %%
W.interactive(lambda n: print("n =", n), n=(0, 5))
