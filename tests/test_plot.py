"""The pictures: every accepted input, every refusal, and what is really drawn."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from silen_lib import plot as P  # noqa: E402


@pytest.fixture(autouse=True)
def clean():
    with matplotlib.rc_context():
        P.use_style()
        yield
    plt.close("all")


def drawn(fig):
    "The pixels of a figure."
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def data(fig):
    return [np.asarray(ax.images[0].get_array()) for ax in fig.axes if ax.images]


LAYOUTS = {
    "stack": (torch.ones(3, 4, 5), [(4, 5)] * 3),
    "channel": (torch.ones(2, 1, 4, 4), [(4, 4)] * 2),
    "flat rows": (torch.ones(7, 64), [(8, 8)] * 7),
    "one image": (np.ones((4, 6)), [(4, 6)]),
    "square is one": (np.ones((25, 25)), [(25, 25)]),
    "one flat": (torch.ones(784), [(28, 28)]),
    "list": ([torch.ones(3, 3), np.ones((2, 5))], [(3, 3), (2, 5)]),
    "list of flat": ([torch.ones(9), torch.ones(16)], [(3, 3), (4, 4)]),
    "lists": ([[1, -1], [1, 1]], [(2,), (2,)]),
}


@pytest.mark.parametrize("layout", [k for k in LAYOUTS if k != "lists"])
def test_layouts(layout):
    images, shapes = LAYOUTS[layout]
    assert [a.shape for a in data(P.show_images(images))] == shapes


def test_shape_decides():
    assert len(data(P.show_images(torch.ones(25, 25), shape=(5, 5)))) == 25
    assert data(P.show_images(torch.ones(4, 6), shape=(2, 3)))[0].shape == (2, 3)
    assert data(P.show_images(torch.ones(4, 16), shape=(4, 16)))[0].shape == (4, 16)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.bool]
)
def test_dtypes_and_gradients(dtype):
    x = torch.ones(2, 3, 3).to(dtype)
    if dtype.is_floating_point:
        x.requires_grad_()
    assert len(data(P.show_images(x, kind="unit"))) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu():
    assert len(data(P.show_images(torch.ones(2, 3, 3, device="cuda")))) == 2
    P.plot_points(torch.arange(3.0, device="cuda"), torch.ones(3, device="cuda"))


def test_ink_is_plus_one():
    pixels = drawn(P.show_images(np.array([[1.0, -1.0]]), size=2))
    for role, x in (("ink", 0.25), ("paper", 0.75)):
        got = pixels[pixels.shape[0] // 2, int(x * pixels.shape[1]), :3] / 255
        assert np.abs(got - to_rgb(P.COLORS[role])).max() < 0.01


def test_weights_red_is_positive_and_zero_white():
    red, white, blue = (
        np.array(matplotlib.colormaps[P.CMAPS["weight"]](v)[:3]) for v in (1.0, 0.5, 0.0)
    )
    assert red.argmax() == 0 and blue.argmax() == 2 and white.min() > 0.96
    ax = P.plot_weights(np.array([[3.0, -1.0]]))
    assert ax.images[0].get_clim() == (-3, 3)


def test_zero_weights_have_a_scale():
    assert P.plot_weights(torch.zeros(2, 2)).images[0].get_clim() == (-1, 1)
    P.show_images(torch.zeros(2, 2, 2), kind="weight")


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: P.show_images([]), "images: is empty"),
        (lambda: P.show_images("abc"), "images: wants real numbers"),
        (lambda: P.show_images(torch.full((2, 2), torch.nan)), "images: holds NaN"),
        (lambda: P.show_images(torch.ones(2, 3, 4, 4)), "one channel"),
        (lambda: P.show_images(torch.ones(2, 2) * 1.1), r"images: kind='spin'"),
        (lambda: P.show_images(-torch.ones(2, 2), kind="unit"), "wants values in"),
        (lambda: P.show_images(torch.ones(7)), "7 pixels"),
        (lambda: P.show_images(torch.ones(4, 6), shape=(5, 5)), "6 pixels"),
        (lambda: P.show_images(torch.ones(2, 2), ncols=-1), "ncols"),
        (lambda: P.show_images(torch.ones(2, 2), size=0), "size"),
        (lambda: P.show_images(1j * torch.ones(2, 2)), "images: wants real"),
        (lambda: P.axes("ax"), "ax: wants a matplotlib Axes"),
        (lambda: P.plot_theory([1, 2], [1]), "y: wants one value"),
        (lambda: P.plot_points([1, 2], [1, 2], err=[1, 2, 3]), "err: wants"),
        (lambda: P.plot_points([1], [1], role=None), "role"),
        (lambda: P.plot_guess(), "x, y: give"),
        (lambda: P.plot_guess(x=[1, 2]), "x: wants 0 dimension"),
        (lambda: P.plot_histogram([]), "samples: is empty"),
        (lambda: P.plot_histogram([1], range=(1, 0)), "range"),
        (lambda: P.plot_energy_1d(lambda x: x, x_range=(0, np.inf)), "x_range: holds"),
        (lambda: P.plot_energy_1d(lambda x: x, path=[[0.0]]), "path: wants 1 dimension"),
        (lambda: P.plot_energy_2d(lambda p: p[..., 0], y_range=3), "y_range"),
        (lambda: P.plot_energy_2d(lambda p: p[..., 0], points=[[1]]), "points"),
        (lambda: P.plot_energy_trace(3.0), "energies: wants"),
        (lambda: P.plot_energy_trace([1, 2], x=[1]), "x: wants one time"),
        (lambda: P.plot_weights([1, 2]), "W: wants 2"),
        (lambda: P.plot_weights([[1, 2]], limit=0), "limit"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_one_style_of_mark():
    ax = P.plot_theory([0, 1], [0, 1])
    P.plot_points([0, 1], [0, np.nan], 0.1, ax=ax)
    P.plot_guess(y=0.5, ax=ax)
    assert ax.lines[0].get_linestyle() == "--" and len(plt.get_fignums()) == 1
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "theory",
        "your guess",
        "measured",
    ]


def test_extrema_are_where_they_should_be():
    ax = P.plot_energy_1d(lambda x: x**4 / 2 - x**3 - 2 * x**2 + 3 * x, (-2, 3), n=2000)
    valleys, hills = np.sort(ax.lines[1].get_xdata()), ax.lines[2].get_xdata()
    assert np.allclose(valleys, [-1.2020, 2.1108], atol=3e-3) and np.allclose(
        hills, [0.5912], atol=3e-3
    )


def test_contours_know_which_axis_is_which():
    "E = x₁: bright on the right, the same from bottom to top."
    fig, ax = P.subplots(figsize=(4, 4))
    P.plot_energy_2d(lambda p: p[..., 0], colorbar=False, ax=ax)
    pixels, box = drawn(fig)[..., :3].astype(int), ax.get_window_extent()
    at = lambda u, v: pixels[
        pixels.shape[0] - 1 - int(box.y0 + v * box.height), int(box.x0 + u * box.width)
    ]  # noqa: E731
    assert (
        at(0.9, 0.5).sum() > at(0.1, 0.5).sum() + 150
        and np.abs(at(0.5, 0.1) - at(0.5, 0.9)).max() < 3
    )


def test_energies_may_be_numpy_constant_or_want_no_gradient():
    W = torch.ones(2, requires_grad=True)
    P.plot_energy_1d(lambda x: np.sin(x.numpy()))
    P.plot_energy_1d(lambda x: 1.0)
    P.plot_energy_2d(lambda p: p @ W.double(), path=torch.zeros(3, 4, 2, requires_grad=True))


def test_helpers_draw_on_object_oriented_figures():
    before = plt.get_fignums()
    fig, axs = P.subplots(2, 3)
    P.plot_energy_1d(torch.cos, path=[0.0, 1.0], label="cos", ax=axs[0, 0])
    P.plot_energy_2d(
        lambda p: (p**2).sum(-1), path=torch.zeros(4, 2), points=[(0, 0)], ax=axs[0, 1]
    )
    P.plot_weights(torch.eye(3), ax=axs[0, 2])
    P.plot_energy_trace(torch.ones(3, 100), label="runs", ax=axs[1, 0])
    P.plot_histogram(torch.arange(10.0), ax=axs[1, 1])
    P.plot_guess(1, 2, ax=P.plot_points([1], [1], ax=axs[1, 2]))
    assert isinstance(fig, Figure) and plt.get_fignums() == before
    drawn(fig)


def test_histogram_has_area_one():
    ax = P.plot_histogram(torch.arange(100.0), bins=10, range=(0, 50))
    xy = ax.patches[0].get_xy()
    x, y = xy[:, 0], xy[:, 1]
    assert abs(abs(np.trapezoid(y, x) if hasattr(np, "trapezoid") else np.trapz(y, x)) - 1) < 1e-6


def test_style_keeps_a_chapter_small():
    import io

    out = io.BytesIO()
    P.plot_energy_2d(lambda p: (p**2).sum(-1)).figure.savefig(out, format="png")
    assert out.tell() < 40_000 and matplotlib.rcParams["figure.dpi"] == 80
