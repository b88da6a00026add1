"""silen_lib.energy: identities that hold for any input, edge values, and every complaint about bad input."""

import math
from functools import partial

import pytest
import torch
from shared_checks import price, transforms

from silen_lib import energy as en
from silen_lib.exercises import verify

EXERCISES = (
    "gradient_descent step_is_stable boltzmann estimate_temperature entropy macrostate_free_energy "
    "free_energy".split()
)
DTYPES = [torch.float32, torch.float64]
THREE_WELLS = {
    "centres": ((-2.0, -1.0), (2.0, 1.0), (0.0, 3.0)),
    "depths": (3.0, 2.0, 2.5),
    "widths": (0.8, 1.0, 0.7),
}
double_well = lambda x: x**4 - 2 * x**2
tilted_well = lambda x: x**4 / 2 - x**3 - 2 * x**2 + 3 * x
three_wells = partial(en.gaussian_wells, **THREE_WELLS)


@pytest.mark.parametrize("name", EXERCISES)
def test_every_known_mistake_earns_its_own_hint(name):
    assert verify(name) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("energy", [double_well, tilted_well])
def test_gradient_against_differences(energy, dtype):
    x = torch.linspace(-2, 2, 21, dtype=torch.float64)
    crude = (energy(x + 1e-5) - energy(x - 1e-5)) / 2e-5
    got = en.energy_gradient(energy, x.to(dtype))
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), crude, atol=1e-4, rtol=1e-4)


def test_gradient_under_no_grad_and_without_touching_its_input():
    x = torch.tensor([0.3, 1.0])
    with torch.no_grad():
        slope = en.energy_gradient(double_well, x)
    torch.testing.assert_close(slope, 4 * x**3 - 4 * x)
    assert not x.requires_grad and not slope.requires_grad


def test_gradient_of_points_in_the_plane():
    x = torch.randn(5, 7, 2, dtype=torch.float64)
    got = en.energy_gradient(lambda p: three_wells(p, confinement=0.3), x)
    h = torch.eye(2, dtype=torch.float64) * 1e-6
    crude = torch.stack(
        [
            (three_wells(x + e, confinement=0.3) - three_wells(x - e, confinement=0.3)) / 2e-6
            for e in h
        ],
        -1,
    )
    torch.testing.assert_close(got, crude, atol=1e-7, rtol=1e-5)


def test_descent_equals_a_plain_loop_and_is_independent_across_starts():
    x = torch.linspace(-1.5, 1.5, 12, dtype=torch.float64).reshape(3, 4)
    path = en.gradient_descent(tilted_well, x, lr=0.02, n_steps=30)
    assert path.shape == (31, 3, 4) and torch.equal(path[0], x)
    for i, j in ((0, 0), (2, 3)):
        v = float(x[i, j])
        for _ in range(30):
            v -= 0.02 * (2 * v**3 - 3 * v**2 - 4 * v + 3)
        assert abs(v - float(path[-1, i, j])) < 1e-12
    torch.testing.assert_close(path[:, 1], en.gradient_descent(tilted_well, x[1], 0.02, 30))


def test_descent_of_no_steps_is_the_start_itself():
    x = torch.tensor([1.0, 2.0])
    path = en.gradient_descent(double_well, x, n_steps=0)
    assert torch.equal(path, x[None]) and path.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("lr", [0.02, 0.1, 0.2])
def test_divergence_sets_in_where_theory_says(lr):
    edge = math.sqrt(1 + 1 / (2 * lr))
    starts = torch.tensor([edge * 0.999, edge * 1.001, -edge * 1.001], dtype=torch.float64)
    end = en.gradient_descent(double_well, starts, lr, 3000)[-1]
    assert (end.abs() < 1e6).tolist() == [True, False, False]


@pytest.mark.parametrize("dtype", DTYPES)
def test_boltzmann_matches_softmax_where_both_work(dtype):
    E = torch.randn(6, 9, dtype=dtype)
    p = en.boltzmann(E, 0.7)
    assert p.dtype == dtype
    torch.testing.assert_close(p, torch.softmax(-E / 0.7, -1))
    torch.testing.assert_close(
        en.boltzmann(E + 3e4, 0.7), p, atol=2e-2 if dtype == torch.float32 else 1e-9, rtol=0
    )


@pytest.mark.parametrize("T", [1e-50, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize(
    "E", [[0.0, 1.0, 2.0], [3e38, -3e38, 0.0], [0.0, math.inf, 5.0], [1e30, 1e30, 1e30]]
)
def test_boltzmann_is_finite_and_normalised_at_the_extremes(E, T):
    p = en.boltzmann(torch.tensor(E), T)
    assert p.isfinite().all() and abs(float(p.sum()) - 1) < 1e-5
    assert p[torch.tensor(E) == math.inf].sum() == 0


def test_integer_energies_and_half_precision():
    torch.testing.assert_close(
        en.boltzmann(torch.tensor([0, 1])), torch.tensor([1 / (1 + math.exp(-1)), 1 / (1 + math.e)])
    )
    assert en.boltzmann(torch.zeros(3, dtype=torch.bfloat16), 0.1).dtype == torch.bfloat16


def test_thermal_identities_hold_for_any_energies():
    E = torch.randn(4, 30, dtype=torch.float64) * 3
    T = torch.tensor([0.1, 0.5, 2.0, 20.0], dtype=torch.float64)
    p = en.boltzmann(E, T)
    torch.testing.assert_close((p * E).sum(-1) - T * en.entropy(p), -T * en.log_partition(E, T))
    torch.testing.assert_close(en.free_energy(E, T), en.free_energy(E, T, p))
    one_by_one = torch.stack([en.free_energy(e, float(t)) for e, t in zip(E, T)])
    torch.testing.assert_close(en.free_energy(E, T), one_by_one)


def test_no_distribution_has_less_free_energy():
    E, T = torch.randn(12, dtype=torch.float64), 0.6
    p = torch.randn(500, 12, dtype=torch.float64).mul(3).softmax(-1)
    excess = en.free_energy(E, T, p) - en.free_energy(E, T)
    kl = (p * (p.log() - en.boltzmann(E, T).log())).sum(-1)
    torch.testing.assert_close(excess, T * kl)
    assert (excess > 0).all()


def test_log_partition_derivatives():
    E = torch.randn(20, dtype=torch.float64)
    beta = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(en.log_partition(E, 1 / beta), beta, create_graph=True)
    (bend,) = torch.autograd.grad(slope, beta)
    p = en.boltzmann(E, 1 / 1.7)
    torch.testing.assert_close(-slope, (p * E).sum())
    torch.testing.assert_close(bend, (p * E**2).sum() - (p * E).sum() ** 2)


def test_forbidden_states():
    E = torch.tensor([math.inf, 0.0, 1.0])
    torch.testing.assert_close(en.log_partition(E), en.log_partition(E[1:]))
    p = en.boltzmann(E)
    torch.testing.assert_close(en.free_energy(E, 1.0, p), en.free_energy(E))
    assert en.log_partition(torch.full((2,), math.inf)) == -math.inf


def test_entropy_limits():
    assert float(en.entropy(torch.tensor([0.0, 1.0, 0.0]))) == 0
    torch.testing.assert_close(en.entropy(torch.full((8,), 1 / 8)), torch.tensor(math.log(8)))


def test_macrostates_partition_the_whole():
    E, label, T = torch.randn(40, dtype=torch.float64), torch.arange(40) % 7, 0.4
    F = en.macrostate_free_energy(E, label, T)
    torch.testing.assert_close(
        en.boltzmann(F, T), torch.zeros(7).double().index_add(0, label, en.boltzmann(E, T))
    )
    torch.testing.assert_close(en.free_energy(F, T), en.free_energy(E, T))
    assert en.macrostate_free_energy(E[:2], torch.tensor([0, 2]))[1] == math.inf


def test_grid_fills_the_box_once():
    points, cell = en.grid_points((-1, 0), (1, 3), (4, 6))
    assert points.shape == (4, 6, 2) and math.isclose(cell * 24, 6)
    torch.testing.assert_close(points[0, 0], torch.tensor([-0.75, 0.25]))
    x, dx = en.grid_points(0, math.pi, 1000, dtype=torch.float64)
    assert abs(float(x.sin().sum() * dx) - 2) < 1e-5


def test_gaussian_integral_in_three_dimensions():
    points, cell = en.grid_points((-9,) * 3, (9,) * 3, 60, dtype=torch.float64)
    log_z = en.log_partition(points.square().sum(-1).flatten() / 2, 1.3, cell=cell)
    assert abs(float(log_z) - 1.5 * math.log(2 * math.pi * 1.3)) < 1e-6


def test_three_wells_on_the_published_grid_and_on_growing_boxes():
    u, v = (
        torch.linspace(-5, 5, 200, dtype=torch.float64),
        torch.linspace(-3, 5, 200, dtype=torch.float64),
    )
    weights = (-three_wells(torch.stack(torch.meshgrid(u, v, indexing="ij"), -1))).exp()
    assert abs(float(weights.sum() * (u[1] - u[0]) * (v[1] - v[0])) - 155.78) < 0.005
    for side, want in ((20, 475.0737), (40, 1675.0737)):
        points, cell = en.grid_points((-side / 2,) * 2, (side / 2,) * 2, 320, dtype=torch.float64)
        assert (
            abs(float(en.log_partition(three_wells(points).flatten(), cell=cell).exp()) - want)
            < 1e-3
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_is_stable_where_a_push_dies_out(dtype):
    Q, _ = torch.linalg.qr(torch.randn(40, 3, 3, dtype=torch.float64))
    bends = torch.empty(40, 3, dtype=torch.float64).uniform_(-1, 12)
    bends[:20] = bends[:20].abs()
    bends = torch.where((bends.abs() < 0.1) | ((bends - 10).abs() < 0.1), 1.0, bends)
    H = Q @ torch.diag_embed(bends) @ Q.mT
    push = torch.ones(40, 3, 1, dtype=torch.float64)
    for _ in range(5000):
        push = (push - 0.2 * H @ push).clamp(-1e9, 1e9)
    want = push.abs().amax((1, 2)) < 1e-3
    assert torch.equal(en.step_is_stable(H.to(dtype), 0.2), want) and 0 < want.sum() < 40
    assert en.step_is_stable(H[0].to(dtype), 0.2) == want[0]


@pytest.mark.parametrize("T", [1e-3, 0.4, 2.0, 1e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_thermometer_reads_the_temperature_of_exact_shares(T, dtype):
    "Looks in the very shares that Boltzmann's law wants, on levels of the same scale, low or lifted."
    E = T * torch.tensor([0.0, 0.3, 1.0, 2.5, 4.0], dtype=torch.float64)
    counts = (en.boltzmann(E, T) * 1e6).round().long()
    states = torch.arange(5).repeat_interleave(counts)
    for lift in (0.0, 7 * T):
        found = en.estimate_temperature((E + lift).to(dtype), states)
        assert found.shape == () and abs(float(found) / T - 1) < 1e-4
    padded = torch.cat([E, torch.tensor([math.inf])])
    torch.testing.assert_close(
        en.estimate_temperature(padded, states), en.estimate_temperature(E, states)
    )


def test_samples_follow_the_law_and_the_generator():
    E, n = torch.tensor([0.0, 0.5, 1.0, 3.0]), 50_000
    share = en.sample_states(E, n, 0.8).bincount(minlength=4) / n
    p = en.boltzmann(E, 0.8)
    assert (
        (share - p).abs() < 6 * (p * (1 - p) / n).sqrt()
    ).all()  # a false alarm in fewer than 1 run in 10⁷
    first, second = (
        en.sample_states(E, 20, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_a_generator_leaves_the_global_stream_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    en.sample_states(torch.zeros(5), 10, generator=torch.Generator().manual_seed(1))
    assert torch.equal(before, torch.get_rng_state())


ROWS = torch.zeros(3, 5)
BAD = {
    "T = 0": (lambda: en.boltzmann(ROWS, 0), "T must be"),
    "T < 0": (lambda: en.free_energy(ROWS, -1.0), "T must be"),
    "T = NaN": (lambda: en.log_partition(ROWS, math.nan), "T must be"),
    "T = inf": (lambda: en.boltzmann(ROWS, math.inf), "T must be"),
    "one T is 0": (lambda: en.boltzmann(ROWS, torch.tensor([1.0, 0.0, 1.0])), "T must be"),
    "a T too many": (lambda: en.boltzmann(ROWS, torch.ones(4)), "T must be"),
    "T < 0 with p": (lambda: en.free_energy(ROWS, -1.0, ROWS + 0.2), "T must be"),
    "NaN energy": (lambda: en.boltzmann(torch.tensor([0.0, math.nan])), "E must not"),
    "energy −inf": (lambda: en.log_partition(torch.tensor([0.0, -math.inf])), "E must not"),
    "no state allowed": (lambda: en.boltzmann(torch.tensor([math.inf, math.inf])), "E forbids"),
    "no axis of states": (lambda: en.log_partition(torch.tensor(1.0)), "E must hold"),
    "no states": (lambda: en.free_energy(torch.zeros(3, 0)), "E must hold"),
    "wrong p": (lambda: en.free_energy(ROWS, 1.0, torch.ones(4) / 4), "p has shape .*must be 5"),
    "p above 1": (lambda: en.entropy(torch.tensor([0.5, 0.6])), "p must sum to 1"),
    "p below 0": (lambda: en.entropy(torch.tensor([-0.5, 1.5])), "p holds negative"),
    "p is NaN": (lambda: en.entropy(torch.tensor([math.nan, 1.0])), "p holds .*NaN"),
    "cell 0": (lambda: en.log_partition(ROWS, cell=0), "cell .*must"),
    "lr 0": (lambda: en.gradient_descent(double_well, ROWS, lr=0), "lr .*must"),
    "lr NaN": (lambda: en.gradient_descent(double_well, ROWS, lr=math.nan), "lr .*must"),
    "n_steps −1": (lambda: en.gradient_descent(double_well, ROWS, n_steps=-1), "n_steps .*must"),
    "n_steps 2.5": (
        lambda: en.gradient_descent(double_well, ROWS, n_steps=2.5),
        "n_steps .*must",
    ),
    "integers": (lambda: en.energy_gradient(double_well, torch.arange(3)), "x .*must be"),
    "detached energy": (lambda: en.energy_gradient(lambda x: x.detach(), ROWS), "does not depend"),
    "points in 3-D": (lambda: three_wells(torch.zeros(4, 3)), "x must be"),
    "a depth too many": (
        lambda: en.gaussian_wells(torch.zeros(4, 2), [[0, 0]], [1, 2], [1]),
        "depths and widths",
    ),
    "width 0": (lambda: en.gaussian_wells(torch.zeros(4, 2), [[0, 0]], [1], [0]), "widths .*must"),
    "confinement −1": (
        lambda: three_wells(torch.zeros(4, 2), confinement=-1),
        "confinement .*must",
    ),
    "reversed box": (lambda: en.grid_points(1, 0), "low must"),
    "too fine a grid": (lambda: en.grid_points((0, 0), (1, 1), 100_000), "cells"),
    "a label too few": (
        lambda: en.macrostate_free_energy(torch.zeros(3), torch.tensor([0, 1])),
        "label .*must",
    ),
    "negative label": (
        lambda: en.macrostate_free_energy(torch.zeros(2), torch.tensor([0, -1])),
        "label holds -1 .*must",
    ),
    "a Hessian that is not square": (
        lambda: en.step_is_stable(torch.zeros(2, 3), 0.1),
        "H must hold square",
    ),
    "a curvature for a Hessian": (
        lambda: en.step_is_stable(torch.tensor(8.0), 0.1),
        "H must hold square",
    ),
    "a step of 0": (lambda: en.step_is_stable(torch.eye(2), 0), "lr .*must"),
    "looks at a state too many": (
        lambda: en.estimate_temperature(torch.arange(3.0), torch.tensor([0, 3])),
        "states holds .*must",
    ),
    "looks hotter than any temperature": (
        lambda: en.estimate_temperature(torch.arange(3.0), torch.tensor([2, 2, 0])),
        "fit no temperature",
    ),
    "levels all alike": (
        lambda: en.estimate_temperature(torch.zeros(3), torch.tensor([0, 1])),
        "fit no temperature",
    ),
    "a look at a forbidden state": (
        lambda: en.estimate_temperature(torch.tensor([0.0, 1.0, math.inf]), torch.tensor([0, 2])),
        "forbidden",
    ),
    "rows to sample": (lambda: en.sample_states(ROWS, 3), "E must be"),
}


@pytest.mark.parametrize("call, words", BAD.values(), ids=BAD.keys())
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


X6 = torch.linspace(-1, 1, 6)


@pytest.mark.parametrize("door", [en.energy_gradient, en.gradient_descent])
@pytest.mark.parametrize(
    "energy",
    [
        lambda x: torch.zeros_like(x),
        lambda x: 3.0,
        lambda x: x.detach(),
        lambda x: torch.ones(6, requires_grad=True),
    ],
)
def test_an_energy_without_a_slope_is_refused_at_every_door(door, energy):
    with pytest.raises(ValueError, match="energy"):
        door(energy, X6)


def test_the_free_energy_of_a_distribution_at_zero_temperature_is_its_mean_energy():
    E, p = (
        torch.randn(3, 7, dtype=torch.float64),
        torch.randn(3, 7, dtype=torch.float64).softmax(-1),
    )
    assert torch.equal(en.free_energy(E, 0, p), (p * E).sum(-1))
    with pytest.raises(ValueError, match="T must be a finite temperature above 0"):
        en.free_energy(E, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("T", [1e-300, 1e-46, 1e-30, 1e-3])
def test_a_cold_free_energy_is_the_lowest_energy(dtype, T):
    E = torch.tensor([[10.0, 12.0, 1e4], [-7.0, -7.5, math.inf]], dtype=dtype)
    torch.testing.assert_close(en.free_energy(E, T), torch.tensor([10.0, -7.5], dtype=dtype))
    F = en.macrostate_free_energy(E[0], torch.tensor([0, 1, 3]), T)
    torch.testing.assert_close(F, torch.tensor([10.0, 12.0, math.inf, 1e4], dtype=dtype))
    assert en.free_energy(torch.full((2,), math.inf)) == math.inf


def test_a_forbidden_state_has_a_slope():
    "Taking the first share of it would spread belief without end, at no energy: the slope there is −∞, not NaN."
    p = torch.tensor([0.5, 0.5, 0.0], requires_grad=True)
    (slope,) = torch.autograd.grad(en.free_energy(torch.tensor([1.0, 2.0, math.inf]), 1.0, p), p)
    torch.testing.assert_close(slope[:2], torch.tensor([1.0, 2.0]) + math.log(0.5) + 1)
    assert slope[2] == -math.inf


BATCH = torch.rand(3, 5, generator=torch.Generator().manual_seed(1)) + 0.1
MEMBERS = torch.tensor([0, 1, 1, 0, 2])
TRANSFORMS = {
    "three_wells": (three_wells, BATCH[:, :2], True),
    "log_partition": (lambda E: en.log_partition(E, 0.5), BATCH, True),
    "boltzmann": (lambda E: en.boltzmann(E, 0.5)[..., 0], BATCH, True),
    "entropy": (en.entropy, BATCH.softmax(-1), True),
    "free_energy": (lambda E: en.free_energy(E, 0.5), BATCH, True),
    "free_energy of p": (lambda p: en.free_energy(BATCH[0], 0.5, p), BATCH.softmax(-1), True),
    "free_energy of T": (lambda T: en.free_energy(BATCH[0], T), BATCH[:, 0], True),
}


@pytest.mark.parametrize("f, batch, slope", TRANSFORMS.values(), ids=TRANSFORMS.keys())
@pytest.mark.filterwarnings("ignore")
def test_vmap_compile_and_grad(f, batch, slope):
    transforms(f, batch, slope)


def test_macrostates_under_vmap_and_grad():
    "Their number is read from the labels, so the labels must be plain numbers: no compile."
    f = lambda E: en.macrostate_free_energy(E, MEMBERS, 0.5)
    torch.testing.assert_close(torch.func.vmap(f)(BATCH), torch.stack([f(E) for E in BATCH]))
    slope = torch.func.grad(lambda E: f(E)[1])(BATCH[0])
    torch.testing.assert_close(slope[1:3], en.boltzmann(BATCH[0, 1:3], 0.5))
    assert slope[[0, 3, 4]].abs().sum() == 0


@pytest.mark.parametrize("name", ["boltzmann", "log_partition", "free_energy", "entropy"])
def test_a_look_costs_no_more_than_the_work(name, monkeypatch):
    E = torch.rand(200, 500)
    x = E.softmax(-1) if name == "entropy" else E
    looking, blind = price(lambda: getattr(en, name)(x), monkeypatch)
    assert looking < 3 * blind + 1e-4, f"{1e6 * looking:.0f} µs, {1e6 * blind:.0f} without a look"
