"""Chapter 2: theory against tables and limits, exact Glauber sweeps, half loads, rules beyond Hebb, bad input."""

import math

import pytest
import torch
from shared_checks import price, transforms

from silen_lib import capacity as C
from silen_lib import spins as engine
from silen_lib.hopfield import (
    build_hopfield_weights,
    corrupt_pattern,
    recall,
    unstable_bits,
)
from silen_lib.spins import random_patterns


def generator(seed):
    return torch.Generator().manual_seed(seed)


def spins(*shape, seed=0, dtype=torch.float32):
    return (torch.randint(0, 2, shape, generator=generator(seed)) * 2 - 1).to(dtype)


# theory


def test_wall_against_a_fine_grid():
    t = torch.linspace(1.4, 1.6, 400_001, dtype=torch.float64)
    assert abs(C.critical_capacity() - C.ags_load(t).max()) < 1e-9
    assert abs(C.critical_capacity(0.0).item() - 0.137906) < 1e-6


def test_zero_temperature_is_the_limit():
    a = torch.tensor([0.05, 0.1, 0.13])
    assert torch.allclose(C.ags_state(a, 1e-6).m, C.ags_state(a).m, atol=1e-7)
    assert torch.allclose(C.critical_capacity(1e-6), C.critical_capacity(0.0), atol=1e-6)


@pytest.mark.parametrize("T", [0.0, 0.01, 0.1, 0.4, 0.8])
def test_the_state_solves_the_equations_on_a_plain_grid(T):
    alpha = 0.5 * C.critical_capacity(T).item()
    s = C.ags_state(alpha, T)
    z = torch.linspace(-10, 10, 400_001, dtype=torch.float64)
    weight = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    y = s.m + s.noise * z
    spin = torch.tanh(y / T) if T else y.sign()
    assert abs((spin * weight).sum() - s.m) < 2e-5
    assert abs((spin**2 * weight).sum() - s.q) < 2e-5
    assert abs(s.noise**2 - alpha * s.r) < 1e-9 and abs(s.r - s.q / (1 - s.C) ** 2) < 1e-9
    if T:
        assert abs(s.C - (1 - s.q) / T) < 1e-9


def test_no_load_is_the_curie_weiss_magnet():
    m = C.ags_state(0.0, 0.6).m.item()
    assert abs(m - math.tanh(m / 0.6)) < 1e-7 and m > 0.5
    assert C.ags_state(0.0).m.item() == pytest.approx(1.0)


def test_beyond_the_wall_there_is_nothing():
    assert C.ags_state(torch.tensor([0.14, 0.5, 3.0])).m.tolist() == [0, 0, 0]
    assert (
        C.critical_capacity([1.0, 2.0]).tolist() == [0, 0] and C.ags_state(0.001, 1.5).m.item() == 0
    )


def test_overlap_falls_with_load_and_heat():
    m = C.ags_state(torch.linspace(0.01, 0.1, 8)[:, None], torch.tensor([0.0, 0.1, 0.2])).m
    assert m.shape == (8, 3) and (m.diff(dim=0) < 0).all() and (m.diff(dim=1) < 0).all()


def test_free_energy_is_stationary():
    alpha, T = torch.tensor(0.06, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64)
    s = C.ags_state(alpha, T)
    bump = [s._replace(m=s.m + d).free_energy(alpha, T) for d in (-1e-4, 1e-4)]
    assert abs(bump[1] - bump[0]) / 2e-4 < 1e-5


def test_bit_error():
    assert C.bit_error(torch.tensor([0.138, 0.37])).tolist() == pytest.approx(
        [0.0036, 0.0501], abs=1e-4
    )
    assert C.bit_error(torch.tensor(1e-9)).item() == 0
    assert C.bit_error(torch.tensor(1e9)).item() == pytest.approx(0.5, abs=1e-4)


# dynamics


def loop(s, xi, coins, T):
    "One spin at a time, with the coins given."
    W, s = build_hopfield_weights(xi), s.clone()
    for i, u in enumerate(coins):
        s[:, i] = torch.where(u < torch.sigmoid(2 * (s @ W[i]) / T), 1.0, -1.0).to(s.dtype)
    return s


@pytest.mark.parametrize("N, P, T", [(20, 3, 0.1), (60, 20, 0.5), (33, 40, 2.0)])
def test_a_sweep_is_the_loop(N, P, T):
    xi, s = spins(P, N, seed=1, dtype=torch.float64), spins(11, N, seed=2, dtype=torch.float64)
    coins = torch.empty(N, 11, dtype=torch.float64).uniform_(generator=generator(3))
    assert torch.equal(C.glauber(s, xi, T, block=N, generator=generator(3)), loop(s, xi, coins, T))


def test_blocks_draw_the_same_coins_in_the_same_order():
    xi, s = spins(5, 48, seed=1, dtype=torch.float64), spins(7, 48, seed=2, dtype=torch.float64)
    runs = [
        C.glauber(s, xi, 0.3, sweeps=3, block=b, generator=generator(4))
        for b in (1, 7, 16, 48, 100)
    ]
    assert all(torch.equal(runs[0], r) for r in runs)


@pytest.mark.parametrize("ties", ["keep", "up"])
def test_cold_glauber_is_recall(ties):
    for P, N in ((3, 40), (14, 100), (6, 65)):
        xi, s = spins(P, N, seed=P), spins(9, N, seed=N)
        want = recall(s.double(), build_hopfield_weights(xi.double()), "fixed", ties=ties)
        for block in (1, 16, 64):
            assert torch.equal(
                C.glauber(s, xi, 0.0, sweeps=None, ties=ties, block=block).double(), want
            )


def test_many_networks_are_one_after_the_other():
    xi, s = spins(3, 8, 50, seed=1), spins(3, 5, 50, seed=2)
    together = C.glauber(s, xi, 0.0, sweeps=None)
    assert torch.equal(
        together, torch.stack([C.glauber(a, b, 0.0, sweeps=None) for a, b in zip(s, xi)])
    )


@pytest.mark.parametrize("T", [0.15, 0.5, 3.0])
def test_stationary_law(T):
    "Total variation to the enumerated law; McDiarmid: a false alarm below 1e-6 at 0.045 for 40,000 chains."
    xi = spins(3, 6, seed=8)
    s = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 6)
    law = torch.softmax(0.5 * ((s @ build_hopfield_weights(xi)) * s).sum(1) / T, 0)

    def distance(x):
        code = ((x + 1) / 2 @ 2.0 ** torch.arange(5, -1, -1)).long()
        return (torch.bincount(code, minlength=64) / len(x) - law).abs().sum() / 2

    start = s[torch.multinomial(law, 40_000, replacement=True)]
    assert (
        distance(C.glauber(start, xi, T, sweeps=2, block=4)) < 0.045
    )  # it starts in the law and must stay
    start[:, 0] = 1  # from a wrong law it must move towards it
    assert distance(C.glauber(start, xi, T, sweeps=3)) < 0.8 * distance(start)


def test_extreme_temperatures():
    xi, s = spins(2, 300, seed=1), spins(40, 300, seed=2)
    cold = C.glauber(s, xi, 1e-30, sweeps=20)
    assert unstable_bits(cold, build_hopfield_weights(xi)).sum() == 0
    hot = C.glauber(s, xi, 1e30, sweeps=1)
    assert bool((hot.abs() == 1).all()) and abs(hot.mean()) < 6 / 12_000**0.5


def test_glauber_keeps_shape_dtype_input_and_the_global_generator():
    xi, s = spins(4, 30, seed=1), spins(2, 3, 30, seed=2)
    torch.manual_seed(0)
    before, copy = torch.get_rng_state(), s.clone()
    for dtype in (torch.float32, torch.float64):
        out = C.glauber(s.to(dtype), xi, 0.2, generator=generator(1))
        assert out.shape == s.shape and out.dtype == dtype
    assert C.glauber(s[0, 0], xi, 0.2, generator=generator(1)).shape == (30,)
    C.Wall.retained(50, 0.1, networks=2, cues=3, sweeps=2, generator=generator(1))
    assert torch.equal(C.glauber(s, xi, 0.3, sweeps=0), s)
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(s, copy)


def test_same_generator_same_result():
    a, b = (
        C.Wall.retained(200, 0.13, networks=3, sweeps=10, generator=generator(7)) for _ in range(2)
    )
    assert torch.equal(a, b)


# the measurement


def test_retained_far_from_the_wall():
    assert (C.Wall.retained(500, 0.03, networks=2, sweeps=10) == 16).all()
    assert (C.Wall.retained(500, 0.4, networks=2, sweeps=30) == 0).all()


def test_half_load_has_honest_errors():
    "Clustered data: 400 repetitions; the error must match the scatter. z beyond 6 is the false alarm."
    loads, g = torch.linspace(0.12, 0.15, 4), generator(0)
    out = []
    for _ in range(400):
        shift = 0.004 * torch.randn(4, 12, generator=g)  # each network has its own wall
        p = torch.sigmoid((0.135 + shift - loads[:, None]) / 0.006)
        out.append(
            C.Wall.half_load(loads, torch.binomial(torch.full((4, 12), 16.0), p, generator=g), 16)
        )
    half, err = torch.tensor(out, dtype=torch.float64).T
    assert abs(half.mean() - 0.135) < 6 * half.std() / 20 + 1e-4
    assert 0.75 < err.mean() / half.std() < 1.25


def test_half_load_of_a_perfect_step_is_in_the_middle():
    half, err = C.Wall.half_load(torch.tensor([0.12, 0.14]), torch.tensor([[16, 16], [0, 0]]), 16)
    assert half == pytest.approx(0.13) and math.isfinite(err)


@pytest.mark.parametrize("kept", [[[16, 16], [16, 16]], [[0, 0], [0, 0]], [[3, 4], [9, 8]]])
def test_half_load_of_no_step_is_refused(kept):
    with pytest.raises(ValueError, match="kept does not fall"):
        C.Wall.half_load(torch.tensor([0.12, 0.14]), torch.tensor(kept), 16)


@pytest.mark.parametrize("power", [2 / 3, 1.0])
def test_extrapolate_finds_a_planted_limit(power):
    sizes = torch.tensor([500, 1000, 4000, 9000])
    value, err = C.extrapolate(
        sizes, 0.135 + 2 * sizes.double() ** -power, torch.full((4,), 1e-3), power
    )
    assert abs(value - 0.135) < 1e-6 and 0 < err < 1e-2


def test_measure_wall_in_small():
    "Tiny sizes: only the machinery, and that the loads are some that N neurons can have."
    wall = C.measure_wall(
        sizes=(60, 100, 160), networks=(6, 6, 6), loads=(0.08, 0.16, 0.24), cues=5
    )
    assert wall.halves.shape == (3, 2) and wall.fits.shape == (3, 3) and wall.error > 0
    assert wall.fits[2, 0] == wall.value and wall.fits[2, 1] == wall.error


def planted(power, seed, error=2e-4):
    "Half loads with a known wall of 0.135, and the fit."
    sizes = torch.tensor([250, 500, 1000, 2000, 4000])
    noise = error * torch.randn(5, generator=generator(seed)).double()
    y = 0.135 + 6.0 * 250 ** (power - 1) * sizes.double() ** -power + noise
    return C.Wall.from_halves(sizes, torch.stack([y, torch.full_like(y, error)], 1))


@pytest.mark.parametrize("power", [2 / 3, 0.85, 1.0, 1.2])
def test_the_bar_of_the_wall_covers_the_truth_whatever_the_power(power):
    "300 repetitions; a coverage of .68 has a scatter of .027, six of which are .16."
    walls = [planted(power, seed) for seed in range(300)]
    inside = sum(abs(w.value - 0.135) < w.error for w in walls) / 300
    assert abs(inside - 0.68) < 0.16
    assert abs(sum(w.power[0] for w in walls) / 300 - power) < 0.03


def test_a_wrong_power_is_refused_by_its_misfit():
    wall = planted(1.0, 0)
    assert wall.fits[0, 2] > 50 and wall.fits[1, 2] < 30 and wall.fits[2, 2] < 30
    value, error = C.extrapolate(wall.sizes, *wall.halves.T, 1.0)
    assert wall.fits[1, :2].tolist() == pytest.approx([value, error], rel=1e-6)


def test_crosstalk_has_the_variance_of_the_load():
    "Each of 20 networks has a variance of its own, about 3% apart; six standard errors."
    found = torch.stack(
        [C.crosstalk_variance(random_patterns(50, 500, generator=generator(s))) for s in range(20)]
    )
    assert abs(found.mean() / 0.098 - 1) < 6 * found.std() / 20**0.5 / 0.098 + 0.005


def test_a_settled_memory_is_worse_than_one_step():
    assert C.accept_load(0.135, 0.01)[0] and not C.accept_load(0.1365, 0.01)[0]
    assert C.accept_load(0.13, 1.0)[1] == pytest.approx(
        (1 - C.ags_state(0.13).m.item()) / 2, rel=1e-3
    )
    assert C.accept_load(0.138, 0.01) == (False, 0.5)


# what lies beside and beyond


@pytest.mark.parametrize("P", [1, 30, 60])
def test_pseudo_inverse_holds_everything(P):
    xi = random_patterns(P, 64, generator=generator(P))
    W = C.pseudo_inverse_weights(xi)
    assert (
        unstable_bits(xi, W).sum() == 0 and torch.equal(W, W.T) and bool((W.diagonal() == 0).all())
    )


def test_unlearn_leaves_its_input_and_lowers_what_it_dreamt():
    xi = spins(5, 40, seed=1)
    W, dream = build_hopfield_weights(xi), spins(1, 40, seed=9)
    copy = W.clone()
    new = C.unlearn(W, dream, 0.5)
    assert torch.equal(W, copy)
    gain = 0.5 * ((dream @ (W - new)) * dream).sum()
    assert gain.item() == pytest.approx(0.5 * 0.5 / 40 * (40**2 - 40))


def test_recall_after_unlearning_still_works_on_symmetric_weights():
    xi = spins(10, 60, seed=1)
    W = C.unlearn(
        build_hopfield_weights(xi), recall(spins(10, 60, seed=2), build_hopfield_weights(xi))
    )
    recall(corrupt_pattern(xi[0]), W)


# bad input


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize(
    "call, name",
    [
        (lambda x: C.critical_capacity(x), "T"),
        (lambda x: C.critical_capacity([0.1, x]), "T"),
        (lambda x: C.ags_state(0.1, x), "T"),
        (lambda x: C.ags_state(x), "alpha"),
        (lambda x: C.glauber(spins(2, 5), spins(3, 5), x), "T"),
    ],
)
def test_bad_numbers(call, name, bad):
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        call(bad)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: C.glauber(spins(2, 5), spins(3, 6)), "state has shape"),
        (lambda: C.glauber(spins(2, 5), spins(3, 2, 5)), "state must be"),
        (lambda: C.glauber(spins(2, 4, 5), spins(3, 2, 5)), "state must be"),
        (lambda: C.glauber(spins(5) * 0, spins(3, 5)), "state holds 0 and 1"),
        (lambda: C.glauber(spins(5), (spins(3, 5) + 1) / 2), "patterns holds 0 and 1"),
        (lambda: C.glauber(spins(5), spins(5)), "patterns has shape"),
        (lambda: C.glauber(spins(5), torch.zeros(0, 5)), "patterns is empty"),
        (lambda: C.glauber(spins(5), spins(3, 5), sweeps=None), "sweeps"),
        (lambda: C.glauber(spins(5), spins(3, 5), sweeps=-1), "sweeps"),
        (lambda: C.glauber(spins(5), spins(3, 5), block=0), "block"),
        (lambda: C.glauber(spins(5), spins(3, 5), 0.0, ties="down"), "ties"),
        (lambda: C.Wall.retained(100, 0.1, cues=50), "cues"),
        (lambda: C.Wall.retained(100, 0.1, cues=50), "n_neurons = 100 and load = 0.1 make 11"),
        (lambda: C.Wall.retained(100, 0.1, networks=0), "networks"),
        (lambda: C.Wall.retained(1, 3.0), "n_neurons is 1"),
        (lambda: C.Wall.retained(100, 0.2, threshold=1.5), "threshold is 1.5"),
        (lambda: C.Wall.retained(100, 0.2, threshold=-1.5), "threshold is -1.5"),
        (
            lambda: C.Wall.half_load(torch.ones(2, device="meta"), torch.ones(2, 2), 9),
            "loads is on meta",
        ),
        (
            lambda: C.Wall.half_load(torch.tensor([0.1, 0.2]), torch.ones(2, 2, device="meta"), 9),
            "kept is on meta",
        ),
        (
            lambda: C.extrapolate(torch.tensor([9, 99]), torch.ones(2).to("meta"), torch.ones(2)),
            "values is on meta",
        ),
        (lambda: C.measure_wall(sizes=(100, 200), networks=(2, 2)), "three sizes"),
        (lambda: C.bit_error(torch.tensor([0.1, 0.0])), "load"),
        (lambda: C.bit_error(torch.tensor(math.nan)), "load"),
        (lambda: C.ags_load(torch.tensor(-1.0)), r"\bt\b"),
        (lambda: C.accept_load(0.01, 0.1), "load is 0.01"),
        (lambda: C.accept_load(0.1, 0.0), "error is 0"),
        (lambda: C.extrapolate(torch.tensor([9, 9]), torch.ones(2), torch.ones(2)), "sizes"),
        (lambda: C.extrapolate(torch.tensor([9, 99]), torch.ones(2), torch.zeros(2)), "errors"),
        (lambda: C.pseudo_inverse_weights((spins(3, 5) + 1) / 2), "patterns"),
        (lambda: C.unlearn(torch.zeros(5, 5), spins(2, 6)), "dreams has shape"),
    ],
)
def test_bad_arguments(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# transforms and prices


XI, STATES = spins(3, 9, seed=3), spins(5, 9, seed=4)
W9 = build_hopfield_weights(XI)


def test_a_look_costs_no_more_than_the_work(monkeypatch):
    xi, s = spins(40, 2000, seed=1), spins(4, 2000, seed=2)
    looking, blind = price(lambda: C.glauber(s, xi, 0.3), monkeypatch, 5)
    assert looking < 3 * blind + 1e-4


# units that are held, autograd, devices


@pytest.mark.parametrize("groups", [False, True])
def test_held_units_stay_and_the_others_follow_their_law(groups):
    "Total variation to the enumerated conditional law of the free spins; McDiarmid as above, for 40,000 chains."
    xi = spins(3, 6, seed=8)
    held, value = (
        torch.tensor([True, False, False, True, False, False]),
        torch.tensor([1.0, 1, 1, -1, 1, 1]),
    )
    start = value.expand(40_000, 6)
    if groups:
        s = C.glauber(
            start.view(2, 20_000, 6),
            xi.expand(2, 3, 6),
            0.5,
            sweeps=30,
            generator=generator(1),
            fixed=held,
        )
    else:
        s = C.glauber(
            start, xi, 0.5, sweeps=30, block=4, generator=generator(1), fixed=held.expand(40_000, 6)
        )
    s = s.reshape(40_000, 6)
    assert torch.equal(s[:, held], start[:, held])
    all_states = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 6)
    law = torch.softmax(
        0.5 * ((all_states @ build_hopfield_weights(xi)) * all_states).sum(1) / 0.5, 0
    )
    law = torch.where((all_states[:, held] == value[held]).all(1), law, 0)
    code = ((s + 1) / 2 @ 2.0 ** torch.arange(5, -1, -1)).long()
    assert (torch.bincount(code, minlength=64) / 40_000 - law / law.sum()).abs().sum() / 2 < 0.035


def test_cold_glauber_with_held_units_is_recall():
    xi, s, held = spins(14, 100, seed=14), spins(9, 100, seed=2), torch.arange(100) % 5 == 0
    want = recall(s.double(), build_hopfield_weights(xi.double()), "fixed", fixed=held)
    assert torch.equal(C.glauber(s, xi, 0.0, sweeps=None, fixed=held).double(), want)
    assert not C.glauber(s, torch.nn.Parameter(xi), 0.3).requires_grad


@pytest.mark.parametrize("rounds", [1, 3, 8])
def test_the_way_of_a_device_gives_the_same(monkeypatch, rounds):
    xi, s, held = spins(20, 150, seed=1), spins(30, 150, seed=2), torch.arange(150) % 4 == 0

    def runs():
        for T, sweeps in ((0.0, None), (0.0, 3), (0.3, 3), (2.0, 2)):
            for fixed in (None, held):
                yield C.glauber(s, xi, T, sweeps=sweeps, generator=generator(1), fixed=fixed)

    want = list(runs())
    monkeypatch.setattr(engine._Engine, "here", False)
    monkeypatch.setattr(engine._Engine, "rounds", rounds)
    assert all(map(torch.equal, want, runs()))


U = torch.rand(3, 5, generator=generator(1)) * 0.8 + 0.1
TRANSFORMS = {
    "bit_error": (C.bit_error, U, True),
    "ags_load": (C.ags_load, U, True),
    "unlearn": (lambda W: C.unlearn(W, STATES), torch.stack([W9] * 3), True),
    "pseudo_inverse_weights": (C.pseudo_inverse_weights, torch.stack([XI] * 3), False),
}


@pytest.mark.parametrize("f, batch, slope", TRANSFORMS.values(), ids=TRANSFORMS.keys())
@pytest.mark.filterwarnings("ignore")
def test_vmap_compile_and_grad(f, batch, slope):
    transforms(f, batch, slope)
