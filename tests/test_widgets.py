"""The widgets' callbacks, called directly: an error inside one is swallowed by every notebook runner."""

import base64
import gc
import io
import json
import re

import matplotlib

matplotlib.use("Agg")
import ipywidgets as W  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

from silen_lib import controls as S  # noqa: E402
from silen_lib.plot import plot_energy_2d, subplots, use_style  # noqa: E402


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        use_style()
        yield
    assert plt.get_fignums() == [], "a figure was left in pyplot, the cell would show it twice"


def bar(k=1, **_):
    fig, ax = subplots(figsize=(2, 1))
    ax.bar([0], [float(k)])
    ax.set_ylim(0, 10)
    return fig


def image(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def is_png(b):
    return b[:8] == b"\x89PNG\r\n\x1a\n"


# --- live


def test_live_draws_at_once_and_follows():
    k, calls = W.IntSlider(value=1, max=9), []
    box = S.LiveBox(lambda k: calls.append(k) or bar(k), k=k)
    assert calls == [1] and is_png(box.still) and box.picture.value == box.still
    k.value = 5
    assert calls == [1, 5] and box.picture.value != box.still
    k.value = 1
    assert (image(box.picture.value) == image(box.still)).all()


def test_live_shows_one_bundle_with_a_picture(monkeypatch):
    shown = []
    monkeypatch.setattr(S, "display", shown.append)
    assert S.live(bar, k=W.IntSlider(value=1)) is None
    [box] = shown
    bundle = box._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and is_png(
        base64.b64decode(bundle["image/png"])
    )


def test_the_first_error_is_raised_a_later_one_is_shown_in_red():
    def f(k):
        if k > 3:
            raise KeyError("<b>k</b>")
        return bar(k)

    with pytest.raises(KeyError):
        S.LiveBox(f, k=W.IntSlider(value=4))
    k = W.IntSlider(value=1, max=9)
    box = S.LiveBox(f, k=k)
    k.value = 7
    assert (
        "KeyError" in box.message.value
        and "&lt;b&gt;" in box.message.value
        and "#b00020" in box.message.value
    )
    assert box.picture.value == box.still
    k.value = 2
    assert box.message.value == "" and box.picture.value != box.still


def test_every_kind_of_control():
    got = {}
    controls = dict(
        a=W.Dropdown(options=[("one", 1), ("two", 2)]),
        b=W.Checkbox(),
        c=W.Button(),
        d=W.FloatLogSlider(value=1),
        e=S.PixelGrid(2, 2),
        f=S.PixelGrid(2, 2, kind="unit"),
        g=S.ClickMap(lambda x, y: bar(), x=0.1, y=0.2),
        h=W.Text("t"),
        i=W.ToggleButtons(options=["x", "y"]),
        j=W.IntRangeSlider(value=(1, 2)),
    )
    S.LiveBox(lambda **v: got.update(v) or bar(), **controls)
    assert (
        got["e"].tolist() == [-1] * 4
        and got["f"].tolist() == [0] * 4
        and got["g"] == (0.1, 0.2)
        and got["c"] == 0
    )
    controls["a"].value, controls["b"].value, controls["i"].value = 2, True, "y"
    controls["c"].click()
    controls["c"].click()
    controls["e"].spins = torch.tensor([1, -1, -1, 1])
    controls["g"].set_state(dict(x=0.5, y=0.6, n_clicks=1))
    assert (got["a"], got["b"], got["c"], got["i"], got["g"], got["j"]) == (
        2,
        True,
        2,
        "y",
        (0.5, 0.6),
        (1, 2),
    )
    assert got["e"].tolist() == [1, -1, -1, 1] and got["e"].dtype == torch.float32


def test_a_control_is_named_after_its_argument():
    k, named = W.IntSlider(), W.IntSlider(description="steps")
    S.LiveBox(lambda **v: bar(), n_steps=k, m=named)
    assert (
        k.description == "n steps"
        and named.description == "steps"
        and k.style.description_width == "initial"
    )


def test_pyplot_figures_are_closed():
    def f(k):
        return plt.subplots(figsize=(2, 1))[0]

    k = W.IntSlider()
    S.LiveBox(f, k=k)
    k.value = 3


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: S.LiveBox(3, k=W.IntSlider()), "draw: wants a function"),
        (lambda: S.LiveBox(bar, k=3), "k: wants a widget"),
        (lambda: S.LiveBox(bar, k=W.HBox()), "k: wants a widget with a value"),
        (lambda: S.LiveBox(lambda k: None, k=W.IntSlider()), "draw: must return"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# --- painting


def test_a_figure_without_a_layout_engine_and_one_drawn_twice():
    fig = Figure(figsize=(2, 1), layout="none")
    fig.subplots().plot([1, 2])
    paint = S._Painter()
    assert paint(fig) == paint(fig)
    same, ax = subplots(figsize=(2, 1))
    first = paint(same)
    ax.set_title("a title\nof two lines")
    assert image(first).shape == image(paint(same)).shape == (80, 160, 3)


def test_labels_get_their_room():
    "A tick label that grows must not be cut off at the edge of the picture."
    paint = S._Painter()
    paint(bar())
    fig = bar()
    fig.axes[0].set_ylim(0, 10_000_000)
    fig.axes[0].set_yticks([0, 10_000_000], ["0", "ten million"])
    pixels = image(paint(fig))
    assert (pixels[:, 0] == 255).all(), "ink in the first column"


def test_a_picture_of_new_proportions_gets_a_new_layout():
    "A wide image leaves room above itself, a square one does not: its title must not leave the page."

    def draw(cols):
        fig, (a, b) = subplots(1, 2, figsize=(5, 2))
        a.imshow(np.ones((5, cols)))
        a.set(title="stored", xticks=[], yticks=[])
        return fig

    paint = S._Painter()
    paint(draw(25))
    assert np.abs(image(paint(draw(5))) - image(S._Painter()(draw(5)))).max() < 60
    assert (image(paint(draw(5)))[0] == 255).all(), "ink in the first row"


def test_a_title_that_leaves_the_page_gets_a_new_layout():
    paint = S._Painter()
    paint(bar())
    fig = bar()
    fig.axes[0].xaxis.set_tick_params(labelsize=30)
    fig.axes[0].set_xlabel("x")
    other = bar()
    other.axes[0].set_xlabel("x")
    paint(other)
    assert (image(paint(fig))[-1] == 255).all(), "ink in the last row"


def test_a_tick_label_at_the_edge_gets_its_room():
    "The same number of characters, now at the very end of the axis."

    def draw(high):
        fig, ax = subplots(figsize=(3, 1))
        ax.set(xlim=(0, high), xticks=[0, 500])
        return fig

    paint = S._Painter()
    paint(draw(900))
    assert (image(paint(draw(500)))[:, -1] == 255).all(), "ink in the last column"


def test_garbage_waits_for_the_picture():
    with S._collect_after():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    with S._collect_after():
        pass
    assert not gc.isenabled()
    gc.enable()
    with pytest.raises(KeyError), S._collect_after():
        raise KeyError
    assert gc.isenabled()


def test_a_redraw_costs_little_processor_time():
    "Processor time, so that a busy neighbour does not count; the browser tests measure what a reader sees."
    import time

    def draw(k):
        fig, (a, b) = subplots(1, 2, figsize=(8, 3.2))
        plot_energy_2d(lambda p: (p**2).sum(-1) * k, ax=a)
        b.imshow(np.eye(25) * k)
        return fig

    k, took = W.FloatSlider(value=1, max=90), []
    S.LiveBox(draw, k=k)
    for i in range(30):
        start = time.thread_time()
        k.value = 2 + i / 10
        took.append(1000 * (time.thread_time() - start))
    assert np.percentile(took, 95) < 150, (
        f"{np.median(took):.0f} ms in the middle, {max(took):.0f} ms at worst"
    )


# --- a cell that is run again

CELL = """
def draw(k, again=0):
    calls.append(NAME)
    return bar(k)
live(draw, k=k, **more)
"""


class _Shell:
    "What a kernel tells about the request it works on."

    def __init__(self):
        self.user_ns, self.parent = {"In": [""]}, {}

    def get_parent(self):
        return self.parent

    def run(self, source, names, cell=None, msg_type="execute_request"):
        self.user_ns["In"].append(source)
        header = {"msg_id": str(len(self.user_ns["In"])), "msg_type": msg_type}
        self.parent = {"header": header, "metadata": {"cellId": cell} if cell else {}}
        exec(compile(source, f"cell-{hash(source)}", "exec"), names)
        self.parent = {"header": {"msg_id": "x", "msg_type": "comm_msg"}}


@pytest.fixture(params=["kernel with cell ids", "kernel without", "no kernel"])
def shell(request, monkeypatch):
    monkeypatch.setattr(S, "display", lambda *a, **k: None)
    made = _Shell()
    if request.param != "no kernel":
        monkeypatch.setattr(S, "get_ipython", lambda: made)
    made.ids = request.param == "kernel with cell ids"
    return made


def _cell(shell, name, names, source=CELL):
    shell.run(source.replace("NAME", repr(name)), names, f"id of {name}" if shell.ids else None)


@pytest.mark.parametrize("how", ["live", "live_map"])
def test_a_cell_run_four_times_draws_once_for_one_change(shell, how):
    k, again = W.IntSlider(value=1), W.Button()
    names = dict(calls=[], bar=bar, k=k, more={"again": again}, live=S.live)
    if how == "live_map":
        names |= dict(live=S.live_map, bar=lambda k: where(0, 0))
    source = CELL if how == "live" else CELL.replace("draw(k,", "draw(x, y, k,")
    for _ in range(4):
        _cell(shell, "one", names, source)
    _cell(shell, "two", names, source)
    names["calls"].clear()
    k.value = 2
    assert sorted(names["calls"]) == ["one", "two"], "the picture of another cell is still seen"
    again.click()
    assert sorted(names["calls"]) == ["one", "one", "two", "two"] and S._read(again) == 1


def test_an_edited_cell_replaces_itself(monkeypatch, shell):
    if not shell.ids:
        pytest.skip("without an id nobody can tell that it is the same cell")
    names = dict(calls=[], bar=bar, k=W.IntSlider(value=1), more={}, live=S.live)
    _cell(shell, "one", names)
    _cell(shell, "one", names, CELL + "\n# edited")
    names["calls"].clear()
    names["k"].value = 2
    assert names["calls"] == ["one"]


def test_several_pictures_of_one_run_all_follow(shell):
    names = dict(calls=[], bar=bar, k=W.IntSlider(value=1), more={}, live=S.live)
    both = "\ndef other(k):\n    calls.append('other')\n    return bar(k)\nlive(other, k=k)\n"
    for _ in range(2):
        _cell(
            shell,
            "one",
            names,
            CELL + both + "live(lambda k: calls.append('third') or bar(k), k=k)",
        )
    names["calls"].clear()
    names["k"].value = 2
    assert sorted(names["calls"]) == ["one", "other", "third"]


def test_a_picture_made_by_a_callback_drops_nothing(monkeypatch):
    shell = _Shell()
    monkeypatch.setattr(S, "display", lambda *a, **k: None)
    monkeypatch.setattr(S, "get_ipython", lambda: shell)
    names = dict(calls=[], bar=bar, k=W.IntSlider(value=1), more={}, live=S.live)
    shell.run(CELL.replace("NAME", "'cell'"), names, "a")
    shell.run(CELL.replace("NAME", "'callback'"), names, None, "comm_msg")
    names["calls"].clear()
    names["k"].value = 2
    assert sorted(names["calls"]) == ["callback", "cell"]


def test_in_a_real_kernel_too():
    from nbformat.v4 import new_code_cell, new_notebook

    from silen_lib.notebooks import execute

    first = (
        "import ipywidgets as W\nfrom silen_lib.widgets import live\nfrom silen_lib.plot import subplots\n"
        "k, calls = W.IntSlider(value=1), []"
    )
    draw = "def draw(k):\n    calls.append(k)\n    return subplots()[0]\nlive(draw, k=k)"
    last = "calls.clear(); k.value = 2; print(calls)"
    nb = new_notebook(cells=[new_code_cell(c) for c in (first, draw, draw, draw, draw, last)])
    execute(nb, ".")
    assert nb.cells[-1].outputs[0].text == "[2]\n"


# --- colours that suit a light page and a dark one


def _luminance(color):
    from matplotlib.colors import to_rgb

    lin = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * lin[0] + 0.7152 * lin[1] + 0.0722 * lin[2]


def _contrast(a, b):
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("where", ["message", "map"])
def test_an_error_is_legible_on_any_page(where):
    "A colour of letters comes with the ground it stands on."
    style = (
        S._complaint(ValueError("x"))
        if where == "message"
        else S._MAP_CSS.split(".silen-error {")[1].split("}")[0]
    )
    ink = re.search(r"(?<!-)color: (#\w+)", style)[1]
    ground = re.search(r"background: (#\w+)", style)[1]
    assert _contrast(ink, ground) >= 4.5


def test_no_letters_have_a_colour_without_a_ground_or_a_theme():
    css = S._GRID_CSS + S._MAP_CSS
    for rule in re.findall(r"\{([^}]*)\}", css):
        ink = re.search(r"(?<![-\w])color: ([^;]+);", rule)
        assert not ink or "background" in rule or "var(--jp" in ink[1], rule


# --- PixelGrid


def test_grid_state():
    g = S.PixelGrid(2, 3, pixels=np.array([[1, 0, 1], [0, 0, 1]]))
    assert (
        g.pixels == [1, 0, 1, 0, 0, 1]
        and g.spins.tolist() == [1, -1, 1, -1, -1, 1]
        and g.units.tolist() == g.pixels
    )
    g.units = torch.zeros(2, 3, dtype=torch.bool)
    assert g.pixels == [0] * 6
    g.spins = -torch.ones(6, requires_grad=True)
    assert g.pixels == [0] * 6
    seen = []
    g.observe(lambda c: seen.append(c.new), "pixels")
    g.set_state({"pixels": [0, 0, 1, 0, 0, 0]})  # as the browser does
    assert seen == [[0, 0, 1, 0, 0, 0]] and g.spins[2] == 1


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: S.PixelGrid(0, 3), "rows"),
        (lambda: S.PixelGrid(3, 2.5), "cols"),
        (lambda: S.PixelGrid(True, 3), "rows"),
        (lambda: S.PixelGrid(2, 2, size=0), "size"),
        (lambda: S.PixelGrid(2, 2, kind="weight"), "kind"),
        (lambda: S.PixelGrid(2, 2, [1, 0]), "pixels: wants 4 values, got 2"),
        (lambda: S.PixelGrid(2, 2, [1, 0, 0, -1]), "pixels: wants only 0 and 1"),
        (lambda: S.PixelGrid(1, 1, [float("nan")]), "pixels: wants only"),
        (lambda: setattr(S.PixelGrid(2, 2), "spins", [0, 1, 1, 1]), "spins: wants only -1 and 1"),
        (lambda: setattr(S.PixelGrid(2, 2), "units", [1]), "units"),
        (lambda: setattr(S.PixelGrid(2, 2), "cols", 4), "cols: is fixed"),
        (lambda: setattr(S.PixelGrid(1, 2), "pixels", [2, 0]), "pixels"),
    ],
)
def test_grid_refusals(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def bundle(widget):
    got = widget._repr_mimebundle_()
    return got[0] if isinstance(got, tuple) else got


def test_grid_leaves_a_picture_of_its_present_state():
    g = S.PixelGrid(4, 6, label="a")
    blank = bundle(g)["image/png"]
    g.units = torch.ones(24)
    assert bundle(g)["image/png"] != blank and "application/vnd.jupyter.widget-view+json" in bundle(
        g
    )


# --- ClickMap


def where(x, y, **_):
    fig, ax = subplots(figsize=(4, 3))
    ax.set(xlim=(-2, 4), ylim=(1, -1))
    ax.plot([x], [y], "o", color="#D55E00")
    return fig


def test_map_draws_once_for_a_click():
    calls = []
    m = S.ClickMap(lambda x, y: calls.append((x, y)) or where(x, y), x=1, y=0.5)
    m.set_state(dict(x=2.0, y=-0.5, n_clicks=1))
    assert calls == [(1, 0.5), (2.0, -0.5)] and m.state() == (2.0, -0.5)
    m.x = 0.0
    assert calls[-1] == (0.0, -0.5) and is_png(m.png)


def test_map_knows_where_its_axes_are():
    m = S.ClickMap(where, x=1.5, y=-0.25)
    (left, top, width, height), (x0, x1, y0, y1) = m.box, m.extent
    assert (x0, x1, y0, y1) == (-2, 4, 1, -1)
    pixels = image(m.png)
    row, col = np.nonzero(np.abs(pixels - [213, 94, 0]).sum(-1) < 12)
    u, v = (1.5 - x0) / (x1 - x0), (-0.25 - y0) / (y1 - y0)
    want = (left + u * width) * pixels.shape[1], (top + (1 - v) * height) * pixels.shape[0]
    assert np.allclose(
        (col.mean() + 0.5, row.mean() + 0.5), want, atol=1
    )  # matplotlib snaps a marker to the pixels


@pytest.mark.parametrize("size", [(3, 2), (5, 5)])
@pytest.mark.parametrize("aspect", ["auto", "equal"])
@pytest.mark.parametrize("bars", [True, False])
def test_map_agrees_with_matplotlibs_transform(size, aspect, bars):
    made = []

    def draw(x, y):
        fig, ax = subplots(figsize=size)
        made.append(
            plot_energy_2d(lambda p: (p**2).sum(-1), (-1, 3), (0, 1), colorbar=bars, n=20, ax=ax)
        )
        ax.set_aspect(aspect)
        return fig

    m = S.ClickMap(draw)
    m.redraw()  # the second time with the layout of the first
    (l, t, w, h), (x0, x1, y0, y1) = m.box, m.extent
    W_, H_ = np.array(size) * 80
    for u, v in ((0.1, 0.2), (0.9, 0.6)):
        pixel = (l + u * w) * W_, (1 - t - (1 - v) * h) * H_
        assert np.allclose(
            made[-1].transData.inverted().transform(pixel),
            (x0 + u * (x1 - x0), y0 + v * (y1 - y0)),
            atol=1e-9,
        )


def test_map_keeps_its_picture_when_drawing_fails():
    def draw(x, y):
        if x > 1:
            raise ZeroDivisionError("too far")
        return where(x, y)

    m = S.ClickMap(draw)
    before = m.png
    m.set_state(dict(x=2.0, y=0.0, n_clicks=1))
    assert m.message == "ZeroDivisionError: too far" and m.png == before
    m.set_state(dict(x=0.5, y=0.0, n_clicks=2))
    assert m.message == "" and m.png != before


def test_map_of_a_fixed_figure_and_its_refusals():
    m = S.ClickMap(where(0, 0))
    before = m.png
    m.set_state(dict(x=1.0, y=0.0, n_clicks=1))
    assert m.png == before and m.state() == (1.0, 0.0)

    def log(x, y):
        fig, ax = subplots()
        ax.set_xscale("log")
        return fig

    for call, words in (
        (lambda: S.ClickMap(log), "linear"),
        (lambda: S.ClickMap(None), "draw: wants"),
        (lambda: S.ClickMap(where, y="a"), "y: wants a finite"),
        (lambda: setattr(m, "x", np.inf), "x: wants a finite"),
        (lambda: S.ClickMap(lambda x, y: Figure()), "no axes"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_live_map(monkeypatch):
    shown, got = [], []
    monkeypatch.setattr(S, "display", shown.append)
    k, again = W.IntSlider(value=1), W.Button()
    m = S.live_map(lambda x, y, **v: got.append((x, y, v)) or where(x, y), x=1.0, k=k, again=again)
    k.value = 2
    again.click()
    m.set_state(dict(x=3.0, y=0.0, n_clicks=1))
    assert (
        got[-1] == (3.0, 0.0, dict(k=2, again=1))
        and len(got) == 4
        and "image/png" in shown[0]._repr_mimebundle_()
    )
    with pytest.raises(ValueError, match="k: wants"):
        S.live_map(where, k=3)


# --- animate


def test_player_holds_its_frames_and_fetches_nothing():
    movie = S.animate(bar, range(1, 6), still=2, label='"a" <b>')
    frames = json.loads(re.search(r"frames = (\[.*?\])", movie.html)[1])
    assert (
        len(frames) == 5
        and all(is_png(base64.b64decode(f)) for f in frames)
        and movie.png == frames[2]
    )
    assert (
        "http" not in re.sub(r"base64,[\w+/=]+", "", movie.html)
        and "&quot;a&quot; &lt;b&gt;" in movie.html
    )
    assert f'src="data:image/png;base64,{frames[2]}"' in movie.html, "a picture without a script"
    assert set(movie._repr_mimebundle_()) == {"text/html", "image/png", "text/plain"}


def test_a_player_without_its_script_offers_nothing_that_does_nothing():
    page = S.animate(bar, 3).html
    body, script = page.split("<script>")
    assert "<img" in body and not re.search("<(button|input|span)", body)
    assert "<button" in script and "<input" in script


def test_player_is_modest():
    assert len(S.animate(bar, 20).html) < 400_000
    for call, words in (
        (lambda: S.animate(bar, 20, max_kb=1), "limit is 1"),
        (lambda: S.animate(bar, []), "frames"),
        (lambda: S.animate(bar, 3, fps=0), "fps"),
        (lambda: S.animate(3), "draw"),
        (lambda: S.animate(lambda i: None, 2), "draw: must return"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_two_players_do_not_share_an_id():
    ids = [re.search(r'id="([\w-]+)"', S.animate(bar, 2).html)[1] for _ in range(2)]
    assert ids[0] != ids[1]
