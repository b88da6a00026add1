"""Chapter 8: stationary laws against exact densities, bad input, extremes, dtypes, generators, equality of forms.

Every statistical limit is passed by a correct sampler except about once in 10⁷ runs."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats

from silen_lib import sampling as S
from silen_lib.boltzmann import heat_bath
from silen_lib.energy import boltzmann, gaussian_wells, grid_points, sample_states
from silen_lib.exercises import diagnose, verify
from silen_lib.hopfield import hopfield_energy
from silen_lib.rbm import RBM, all_states

EXERCISES = [
    "acceptance_probability",
    "judge_sampler",
    "langevin_step",
    "mala_log_ratio",
    "hamiltonian_proposal",
    "split_rhat",
    "worth_of_step",
]
DTYPES = [torch.float32, torch.float64]
WALLED = partial(
    gaussian_wells,
    centres=((-2.0, -1.0), (2.0, 1.0), (0.0, 3.0)),
    depths=(3.0, 2.0, 2.5),
    widths=(0.8, 1.0, 0.7),
    confinement=0.1,
)


def double_well(x):
    return x**4 - 2 * x**2


def tilted_well(x):
    return x**4 / 2 - x**3 - 2 * x**2 + 3 * x


def separable(energy):
    "The landscape of independent coordinates, from the energy of one."
    return lambda x: energy(x).sum(-1)


WELL = separable(tilted_well)


def spring(x):
    return x.square().sum(-1) / 2


def g(seed):
    return torch.Generator().manual_seed(seed)


def flip_one(low=-1.0, high=1.0):
    "Propose to turn one random unit of each state over, from one of its two values to the other."

    def propose(x, generator=None):
        site = torch.randint(x.shape[-1], (*x.shape[:-1], 1), generator=generator)
        return x.scatter(-1, site, low + high - x.gather(-1, site)), 0.0

    return propose


def dkw_limit(n, alarm=1e-7):
    "Largest gap of a cumulative distribution that n honest draws show, but for a chance `alarm` (Massart 1990)."
    return math.sqrt(math.log(2 / alarm) / (2 * n))


def cdf_distance(samples, points, p):
    "Largest gap to the cumulative distribution of cells with middles `points`, over the cells' right edges."
    s = samples.flatten().to(points.dtype).sort().values
    below = torch.searchsorted(s, points + (points[1] - points[0]) / 2) / len(s)
    return (below - p.cumsum(0)).abs().max().item()


def grid_draws(energy, low, high, n_samples, T=1.0, n=400):
    "Exact draws (n_samples, d) in a box cut into n cells a side: a cell by its probability, then a place in it."
    points, _ = grid_points(low, high, n, dtype=torch.float64)
    points = points.reshape(-1, len(low))
    cell = torch.multinomial(boltzmann(energy(points), T), n_samples, replacement=True)
    width = (torch.tensor(high, dtype=torch.float64) - torch.tensor(low, dtype=torch.float64)) / n
    return points[cell] + width * (torch.rand_like(points[cell]) - 0.5)


def middles(low, high, n):
    "Middles of n equal cells."
    return low + (high - low) * (torch.arange(n, dtype=torch.float64) + 0.5) / n


def ladder_of(T):
    "A ladder on the spring."
    return S.replica_exchange(spring, lambda t: S.mala(spring, 0.1, t), T)


def gap_on_line(step, energy, low, high, T, steps, n=20_000, cells=1000):
    "Largest gap of the cumulative distribution after some steps from exact starts."
    x = middles(low, high, cells)
    starts = grid_draws(energy, (low,), (high,), n, T, cells)
    end = S.Chains.walk(step, starts, 1, burn=steps - 1).x
    return cdf_distance(end, x, boltzmann(energy(x[:, None]), T))


def gap_of_states(step, states, E, T, steps, n=20_000):
    "The same for a list of all states of spins or bits."
    starts = states[sample_states(E, n, T)]
    end = S.Chains.walk(step, starts, 1, burn=steps - 1).x[:, 0]
    where = (end.unsqueeze(1) == states).all(-1).float().argmax(1)
    return cdf_distance(where, torch.arange(len(states)).double(), boltzmann(E.double(), T))


@pytest.mark.parametrize("name", EXERCISES)
def test_every_known_mistake_earns_its_own_hint(name):
    assert verify(name) == []


def test_a_langevin_step_in_place_is_told_so_and_one_kick_for_the_whole_batch_is_refused():
    def in_place(x, slope, step_size, T=1.0, generator=None):
        x -= step_size * slope
        return x.add_((2 * step_size * T) ** 0.5 * torch.randn(x.shape, generator=generator))

    def one_kick(x, slope, step_size, T=1.0, generator=None):
        return (
            x
            - step_size * slope
            + (2 * step_size * T) ** 0.5 * torch.randn(x.shape[-1], generator=generator)
        )

    assert diagnose("langevin_step", in_place).kind == "modified"
    assert diagnose("langevin_step", one_kick).kind == "law"
    assert diagnose("langevin_step", lambda *args, **kwargs: None).kind == "type"


# laws


@pytest.mark.parametrize("T", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("make", [
    lambda E, T: S.metropolis_hastings(E, 0.7, T),
    lambda E, T: S.mala(E, 0.07, T),
    lambda E, T: S.mala(E, 0.25, T),
    lambda E, T: S.hmc(E, 0.25, 1, T),
    lambda E, T: S.hmc(E, 0.2, 7, T),
])  # fmt: skip
def test_adjusted_walks_leave_the_tilted_well_alone(make, T):
    assert gap_on_line(make(WELL, T), WELL, -4.5, 5, T, 40) < dkw_limit(20_000)


def test_adjusted_walk_on_a_landscape_with_a_kink():
    kink = separable(lambda x: 2 * x.abs())
    assert gap_on_line(S.mala(kink, 0.3), kink, -12, 12, 1.0, 40) < dkw_limit(20_000)


def test_the_limit_notices_a_wrong_temperature():
    step = S.metropolis_hastings(spring, 1.5, 1.6)
    assert gap_on_line(step, spring, -8, 8, 1.0, 60) > dkw_limit(20_000)


@pytest.mark.parametrize(
    "eta,k,T", [(0.05, 1, 1.0), (0.2, 1, 1.0), (0.5, 1, 1.0), (0.3, 4, 0.5), (0.9, 2, 2.0)]
)
def test_variance_of_unadjusted_langevin(eta, k, T):
    theory = T / k / (1 - eta * k / 2)
    n, burn = 200_000, math.ceil(math.log(1e-10) / math.log((1 - eta * k) ** 2 + 1e-12)) + 1
    x = S.Chains.walk(
        S.langevin(lambda x: k * x.square().sum(-1) / 2, eta, T), torch.randn(n, 1), 1, burn=burn
    ).x
    assert abs(x.var() - theory) < 6 * theory * (2 / n) ** 0.5
    assert abs(x.mean()) < 6 * (theory / n) ** 0.5


def test_two_dimensions_by_both_coordinates():
    line = middles(-14, 14, 400)
    points = torch.cartesian_prod(line, line)
    p = boltzmann(WALLED(points), 0.7).view(400, 400)
    starts = grid_draws(WALLED, (-14, -14), (14, 14), 20_000, 0.7)
    end = S.Chains.walk(S.mala(WALLED, 0.2, 0.7), starts, 1, burn=30).x[:, 0]
    assert cdf_distance(end[:, 0], line, p.sum(1)) < dkw_limit(20_000)
    assert cdf_distance(end[:, 1], line, p.sum(0)) < dkw_limit(20_000)


@pytest.mark.parametrize("T", [0.5, 2.0])
def test_spins_by_flips_and_by_heat_bath(T):
    a = torch.randn(6, 6, generator=g(1))
    W = ((a + a.T) / 2).fill_diagonal_(0)
    states = 2 * all_states(6) - 1
    E = hopfield_energy(states, W)
    flips = S.metropolis_hastings(partial(hopfield_energy, W=W), flip_one(), T)

    def bath(w, generator=None):
        return S.Walkers(heat_bath(w.x, W, T=T, generator=generator))

    assert gap_of_states(flips, states, E, T, 15) < dkw_limit(20_000)
    assert gap_of_states(bath, states, E, T, 3) < dkw_limit(20_000)


def test_bits_of_an_rbm_by_flips():
    rbm = RBM(5, 3, weight_std=1.5, generator=g(2)).requires_grad_(False)
    states = all_states(5)
    step = S.metropolis_hastings(rbm.free_energy, flip_one(0, 1))
    assert gap_of_states(step, states, rbm.free_energy(states), 1.0, 20) < dkw_limit(20_000)


def test_a_leaning_proposal_needs_its_ratio():
    "Turning a spin up is proposed more often than turning it down; only with the ratio does the law stay."
    states, E = torch.tensor([[-1.0], [1.0]]), torch.tensor([0.0, 0.8])

    def leaning(ratio):
        def propose(x, generator=None):
            flip = torch.rand(x.shape, generator=generator) < torch.where(x < 0, 0.9, 0.3)
            new = torch.where(flip, -x, x)
            back = torch.where(new < 0, 0.9, 0.3)
            forth = torch.where(x < 0, 0.9, 0.3)
            return new, torch.where(flip, (back / forth).log(), 0.0).sum(-1) * ratio

        return propose

    def energy(x):
        return 0.4 * x.sum(-1) + 0.4

    gaps = [
        gap_of_states(S.metropolis_hastings(energy, leaning(r)), states, E, 1.0, 15) for r in (1, 0)
    ]
    assert gaps[0] < dkw_limit(20_000) < gaps[1]


@pytest.mark.parametrize("R", [2, 3, 4])
def test_every_rung_of_a_ladder_keeps_its_own_law(R):
    "Exchanges only mix rungs if the laws stay: exact starts on all of them, one gap for each."
    T = [0.4, 0.8, 1.5, 3.0][:R]
    x = middles(-4.5, 5, 1000)
    starts = torch.stack([grid_draws(WELL, (-4.5,), (5,), 20_000, t, 1000) for t in T])
    run = S.Chains.walk(
        S.replica_exchange(WELL, lambda t: S.mala(WELL, 0.05, t), T), starts, 1, burn=20
    )
    for row, t in zip(run.x, T):
        assert cdf_distance(row, x, boltzmann(tilted_well(x), t)) < dkw_limit(20_000)
    assert run.swaps.shape == (R - 1,) and (run.swaps > 0.05).all()


def test_tempering_spins_with_a_column_of_temperatures():
    a = torch.randn(5, 5, generator=g(4))
    W = ((a + a.T) / 2).fill_diagonal_(0)
    states, T = 2 * all_states(5) - 1, [0.3, 1.0]
    E = hopfield_energy(states, W)
    energy = partial(hopfield_energy, W=W)
    starts = torch.stack([states[sample_states(E, 20_000, t)] for t in T])
    run = S.Chains.walk(
        S.replica_exchange(energy, lambda t: S.metropolis_hastings(energy, flip_one(), t), T),
        starts,
        1,
        burn=10,
    )
    for row, t in zip(run.x[:, :, 0], T):
        where = (row.unsqueeze(1) == states).all(-1).float().argmax(1)
        assert cdf_distance(
            where, torch.arange(32.0).double(), boltzmann(E.double(), t)
        ) < dkw_limit(20_000)


def test_a_bridge_is_crossed_by_tempering_only():
    start = torch.full((400, 1), 2.1)
    alone = S.Chains.walk(S.mala(WELL, 0.05, 0.15), start, 1, burn=600).x
    ladder = [0.15, 0.25, 0.4, 0.65, 1.0, 1.6, 2.5]
    trade = S.Chains.walk(
        S.replica_exchange(WELL, lambda t: S.mala(WELL, 0.05, t), ladder),
        start.expand(7, 400, 1),
        1,
        burn=600,
    )
    assert (alone > 0.6).all() and (trade.x[0] < 0.6).double().mean() > 0.97


def test_hmc_of_one_step_is_mala():
    x, p = torch.randn(50, 2, generator=g(1)).double(), torch.randn(50, 2, generator=g(2)).double()
    y, rise = S.hamiltonian_proposal(WALLED, x, p, 0.4, 1)
    (E, slope), (E_y, slope_y) = S.Walkers(x).slopes(WALLED), S.Walkers(y).slopes(WALLED)
    torch.testing.assert_close(y, x - 0.08 * slope + 0.4 * p)
    torch.testing.assert_close(
        -rise, E - E_y + S.mala_log_ratio(x, slope, y, slope_y, 0.08), atol=1e-10, rtol=0
    )


def test_a_path_is_reversible_keeps_volume_and_its_error_falls_with_the_square_of_the_step():
    x, p = torch.randn(6, 2, generator=g(1)).double(), torch.randn(6, 2, generator=g(2)).double()
    there, _ = S.hamiltonian_proposal(WALLED, x, p, 0.2, 10)
    jacobian = torch.autograd.functional.jacobian(
        lambda z: leapfrog(WALLED, z[:2], z[2:], 0.2, 10), torch.cat([x[0], p[0]])
    )
    assert abs(torch.linalg.det(jacobian).item() - 1) < 1e-9
    end = leapfrog(WALLED, x[0], p[0], 0.2, 10)
    torch.testing.assert_close(there[0], end[:2])
    back, _ = S.hamiltonian_proposal(WALLED, there[:1], -end[None, 2:], 0.2, 10)
    torch.testing.assert_close(back[0], x[0])
    rises = [S.hamiltonian_proposal(WALLED, x, p, 1.0 / n, n)[1].abs().mean() for n in (20, 40)]
    assert 3.5 < rises[0] / rises[1] < 4.5


def leapfrog(energy, x, p, eps, n):
    "Position and momentum of one walker, with a graph."
    slope = torch.func.grad(energy)
    for _ in range(n):
        p = p - eps / 2 * slope(x)
        x = x + eps * p
        p = p - eps / 2 * slope(x)
    return torch.cat([x, p])


def test_the_worth_of_a_step_is_what_long_chains_show():
    P = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], dtype=torch.float64)
    p = torch.linalg.matrix_power(P, 1000)[0]
    f, n, chains = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64), 400, 10_000
    state, total = torch.multinomial(p, chains, replacement=True), torch.zeros(chains).double()
    for _ in range(n):
        state = torch.multinomial(P[state], 1)[:, 0]
        total += f[state]
    variance = p @ f**2 - (p @ f) ** 2
    seen = variance / ((total / n).var() * n)
    assert abs(seen / S.worth_of_step(P, p, f) - 1) < 6 * (2 / chains) ** 0.5 + 0.02


def test_a_sampler_of_another_library_agrees_on_a_posterior():
    "NUTS of blackjax, after its own warm-up, and our HMC in whitened units: mean and spread of a dose-response fit."
    jax, blackjax = pytest.importorskip("jax"), pytest.importorskip("blackjax")
    jnp, dose = jax.numpy, [20.0 * k for k in range(1, 11)]
    hit = [0, 1, 1, 3, 6, 9, 13, 16, 18, 20]

    def log_density(w):  # in units of the spread, so that the default warm-up has an easy start
        z = -5.3 + 0.7 * w[0] + (0.043 + 0.0057 * w[1]) * jnp.array(dose)
        return (jnp.array(hit) * z - 20 * jax.nn.softplus(z)).sum()

    def energy(w):
        a, b = -5.3 + 0.7 * w[..., :1], 0.043 + 0.0057 * w[..., 1:]
        z = a + b * torch.tensor(dose, dtype=w.dtype)
        return (20 * torch.nn.functional.softplus(z) - torch.tensor(hit) * z).sum(-1)

    warm, chain = jax.random.split(jax.random.key(1))
    found, _ = blackjax.window_adaptation(blackjax.nuts, log_density).run(
        warm, jnp.zeros(2), num_steps=1000
    )
    kernel = blackjax.nuts(log_density, **found.parameters)
    _, theirs = jax.lax.scan(
        lambda s, k: (lambda new: (new, new.position))(kernel.step(k, s)[0]),
        found.state,
        jax.random.split(chain, 8000),
    )
    theirs = torch.tensor(np.asarray(theirs)).double()[None]
    ours = S.Chains.walk(S.hmc(energy, 0.15, 10), torch.zeros(40, 2), 500, burn=200).x
    for f in (lambda x: x, torch.square, lambda x: x.prod(-1, keepdim=True)):
        a, b = S.Convergence.of(f(theirs).reshape(4, 2000, -1)), S.Convergence.of(f(ours))
        assert ((a.mean - b.mean).abs() < 6 * (a.error**2 + b.error**2).sqrt()).all()
        assert (a.error < 0.1).all() and (b.error < 0.1).all() and (b.rhat < 1.05).all()


# forms


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [
    lambda: S.metropolis_hastings(WALLED, 0.4), lambda: S.langevin(WALLED, 0.1),
    lambda: S.mala(WALLED, 0.1), lambda: S.hmc(WALLED, 0.4, 3),
])  # fmt: skip
def test_dtype_is_kept_and_a_generator_decides_everything(make, dtype):
    start = torch.randn(7, 2, generator=g(0)).to(dtype)
    before, state = start.clone(), torch.get_rng_state()
    a, b = (S.Chains.walk(make(), start, 9, burn=2, thin=3, generator=g(5)) for _ in range(2))
    assert torch.equal(a.x, b.x) and a.x.dtype == dtype and a.x.shape == (7, 9, 2)
    assert torch.equal(start, before) and torch.equal(torch.get_rng_state(), state)
    assert not a.x.requires_grad and not torch.equal(
        a.x, S.Chains.walk(make(), start, 9, burn=2, thin=3, generator=g(6)).x
    )


def test_a_ladder_with_a_generator():
    start = torch.randn(3, 4, 2)
    step = S.replica_exchange(WALLED, lambda t: S.langevin(WALLED, 0.1, t), [1.0, 2.0, 4.0])
    a, b = (S.Chains.walk(step, start, 6, generator=g(5)) for _ in range(2))
    assert torch.equal(a.x, b.x) and a.x.shape == (3, 4, 6, 2) and a.acceptance is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_ladder_follows_the_walkers_dtype(dtype):
    step = S.replica_exchange(
        WALLED, lambda t: S.mala(WALLED, 0.1 * t**0.5, t), torch.tensor([1.0, 2.0])
    )
    last = S.Chains.walk(step, torch.randn(2, 4, 2).to(dtype), 6).last
    assert last.x.dtype == last.E.dtype == last.slope.dtype == dtype


def test_chains_go_on_where_they_stopped():
    step, start = S.mala(WALLED, 0.1), torch.randn(5, 2, generator=g(1))
    generator = g(2)
    first = S.Chains.walk(step, start, 10, generator=generator)
    second = S.Chains.walk(step, first.last, 10, generator=generator)
    whole = S.Chains.walk(step, start, 20, generator=g(2))
    assert torch.equal(torch.cat([first.x, second.x], 1), whole.x)
    assert torch.allclose(
        (first.acceptance + second.acceptance) / 2, whole.acceptance.to(first.acceptance.dtype)
    )


def test_thinning_keeps_every_thin_th():
    step, start = S.langevin(WALLED, 0.1), torch.randn(5, 2)
    every = S.Chains.walk(step, start, 12, generator=g(3)).x
    assert torch.equal(S.Chains.walk(step, start, 4, thin=3, generator=g(3)).x, every[:, 2::3])
    assert torch.equal(S.Chains.walk(step, start, 7, burn=5, generator=g(3)).x, every[:, 5:])


def test_what_walkers_carry_is_what_is_true_there():
    w = S.Walkers(torch.randn(6, 2))
    for _ in range(5):
        w = S.mala(WALLED, 0.4)(w)
        E, slope = S.Walkers(w.x).slopes(WALLED)
        assert torch.equal(E, w.E) and torch.equal(slope, w.slope)
    w = S.Walkers(torch.randn(3, 6, 2))
    step = S.replica_exchange(WALLED, lambda t: S.mala(WALLED, 0.3, t), [0.5, 1.0, 2.0])
    for _ in range(5):
        w = step(w)
        E, slope = S.Walkers(w.x).slopes(WALLED)
        torch.testing.assert_close(E, w.E)
        torch.testing.assert_close(slope, w.slope)


@pytest.mark.parametrize("R", [2, 3, 4, 5])
def test_exchanges_only_permute(R):
    "A kernel that stands still leaves the exchanges alone: who moved is told, and nothing is made or lost."

    def still(T):
        return lambda w, generator=None: w

    x = torch.randn(R, 50, 2)
    E, slope = S.Walkers(x).slopes(WALLED)
    w = S.replica_exchange(WALLED, still, 2.0 ** torch.arange(R))(S.Walkers(x, E, slope), g(1))
    assert torch.equal(w.E.sort(0).values, E.sort(0).values) and w.swapped.any()
    assert w.swapped.shape == (R - 1, 50)
    torch.testing.assert_close(WALLED(w.x), w.E)
    torch.testing.assert_close(S.Walkers(w.x).slopes(WALLED)[1], w.slope)
    row = torch.arange(R)[:, None].expand(R, 50).clone()
    for first in (0, 1):  # the even pairs, then the odd ones
        for k in range(first, R - 1, 2):
            swap = w.swapped[k]
            row[k], row[k + 1] = (
                torch.where(swap, row[k + 1], row[k]),
                torch.where(swap, row[k], row[k + 1]),
            )
    assert torch.equal(w.x, x.gather(0, row[..., None].expand(x.shape)))


def test_step_sizes_and_temperatures_for_each_chain():
    "A column of step sizes is the same as running the chains one by one: a spring has variance T for each."
    T = torch.tensor([[0.2], [1.0], [5.0]])
    start = T.sqrt().unsqueeze(-1) * torch.randn(3, 20_000, 1)
    x = S.Chains.walk(S.mala(spring, torch.tensor([[0.3], [0.5], [1.0]]), T), start, 1, burn=20).x
    assert ((x.flatten(1).var(1) - T[:, 0]).abs() < 6 * T[:, 0] * (2 / 20_000) ** 0.5).all()


def test_gradients_under_no_grad_and_of_frozen_input():
    x = torch.randn(3, 2)
    with torch.no_grad():
        E, slope = S.Walkers(x).slopes(WALLED)
    assert not E.requires_grad and not slope.requires_grad and not x.requires_grad
    torch.testing.assert_close(E, WALLED(x))


@pytest.mark.parametrize("n,lags", [(2, 2), (7, 7), (64, 10), (65, 65)])
def test_autocorrelation_is_the_double_loop(n, lags):
    x = torch.randn(3, n, dtype=torch.float64).cumsum(-1)
    y = x - x.mean(-1, keepdim=True)
    c = torch.stack([(y[:, : n - k] * y[:, k:]).sum(-1) for k in range(lags)], -1)
    torch.testing.assert_close(S.autocorrelation(x, lags), c / c[:, :1])
    assert S.autocorrelation(x[0], 1).tolist() == [1.0]


@pytest.mark.parametrize("n", [4, 5, 50, 101])
def test_rhat_is_arviz(n):
    x = torch.randn(3, n, dtype=torch.float64).cumsum(-1)
    assert abs(float(S.split_rhat(x)) - array_stats.rhat(x.numpy(), method="split")) < 1e-9


def test_convergence_is_arviz():
    x = torch.randn(4, 60, 3)
    c = S.Convergence.of(x)
    for k in range(3):
        a = x[..., k].double().numpy()
        got = [float(v[k]) for v in (c.error, c.ess, c.rhat)]
        np.testing.assert_allclose(
            got, [array_stats.mcse(a), array_stats.ess(a), array_stats.rhat(a)], rtol=1e-6
        )
    torch.testing.assert_close(c.mean, x.double().mean((0, 1)))


# extremes


def test_large_and_infinite_energies():
    big = torch.tensor([0.0, 1e30, -1e30, 0.0, math.inf])
    new = torch.tensor([1e30, 0.0, 1e30, math.inf, 0.0])
    assert S.acceptance_probability(big, new).tolist() == [0.0, 1.0, 0.0, 0.0, 1.0]


def test_nan_proposals_are_refused():
    holes = separable(lambda x: torch.where(x.abs() > 1, math.nan, 0 * x))
    run = S.Chains.walk(S.metropolis_hastings(holes, 2.0), torch.zeros(200, 1), 50)
    assert run.x.abs().max() <= 1 and 0 < run.acceptance.double().mean() < 1


def test_a_wall_is_never_crossed_and_what_is_inside_is_uniform():
    box = separable(lambda x: torch.where((x > 0) & (x < 1), 0.0, math.inf))
    end = S.Chains.walk(S.metropolis_hastings(box, 0.5), torch.rand(20_000, 1), 1, burn=20).x
    assert ((end > 0) & (end < 1)).all()
    x = middles(0.0, 1.0, 100)
    assert cdf_distance(end, x, torch.full((100,), 0.01).double()) < dkw_limit(20_000)


def test_at_almost_zero_temperature_walks_only_go_down():
    w = S.Walkers(torch.randn(50, 1))
    step = S.metropolis_hastings(WELL, 0.3, 1e-12)
    E = WELL(w.x)
    for _ in range(50):
        w = step(w)
        assert (w.E <= E).all()
        E = w.E


def test_a_move_of_probability_1e30_never_happens():
    step = S.metropolis_hastings(lambda x: 69.0 * (x.sum(-1) > 0), flip_one())
    assert S.Chains.walk(step, -torch.ones(20_000, 1), 100).acceptance.sum() == 0


def test_walkers_that_fly_off_do_not_disturb_the_others():
    quartic = separable(double_well)
    start = torch.tensor([[0.9], [30.0], [1.1]])
    end = S.Chains.walk(S.langevin(quartic, 0.05, 1e-6), start, 1, burn=100).x
    assert (end[[0, 2]] - 1).abs().max() < 0.05 and not end[1].abs().max() < 1e6
    assert S.Chains.walk(S.mala(quartic, 0.05, 1e-6), start, 1, burn=100).x.isfinite().all()


def test_no_chains_and_one_chain_without_a_batch():
    assert S.Chains.walk(S.mala(spring, 0.1), torch.zeros(0, 3), 5).x.shape == (0, 5, 3)
    assert S.Chains.walk(S.mala(spring, 0.1), torch.zeros(3), 5).x.shape == (5, 3)


# bad input


@pytest.mark.parametrize("call,words", [
    (lambda: S.metropolis_hastings(spring, 0.0), "propose"),
    (lambda: S.metropolis_hastings(spring, math.nan), "propose"),
    (lambda: S.metropolis_hastings(spring, 1.0, T=-1.0), "T must"),
    (lambda: S.langevin(spring, 0.0), "step_size"),
    (lambda: S.mala(spring, math.inf), "step_size"),
    (lambda: S.mala(spring, 0.1, T=torch.tensor([1.0, 0.0])), "T must"),
    (lambda: ladder_of([1.0]), r"\bT\b"),
    (lambda: ladder_of([1.0, -2.0]), r"\bT\b"),
    (lambda: ladder_of([1.0, 2.0])(S.Walkers(torch.zeros(5, 2))), "x must"),
    (lambda: S.Chains.walk(S.langevin(spring, 0.1), torch.zeros(3, 2, dtype=torch.long), 3), "x has dtype torch.int64"),
    (lambda: S.Chains.walk(S.langevin(spring, 0.1), [0.0], 3), "x is a list"),
    (lambda: S.Chains.walk(S.langevin(spring, 0.1), torch.tensor(1.0), 3), r"x has shape \(\)"),
    (lambda: S.Chains.walk(S.langevin(spring, 0.1), torch.tensor([[math.nan]]), 3), "x contains NaN"),
    (lambda: S.Chains.walk(S.langevin(spring, 0.1), torch.zeros(3, 2), 0), "n is 0; it must be a whole number ≥ 1"),
    (lambda: S.Chains.walk(S.langevin(spring, 0.1), torch.zeros(3, 2), 1, burn=-1), "burn"),
    (lambda: S.Chains.walk(S.langevin(spring, 0.1), torch.zeros(3, 2), 1, thin=1.5), "thin"),
    (lambda: S.Chains.walk(S.langevin(double_well, 0.1), torch.zeros(3, 2), 1), "energy"),
    (lambda: S.Chains.walk(S.metropolis_hastings(double_well, 1.0), torch.zeros(3, 2), 1), "energy"),
    (lambda: S.Chains.walk(S.mala(lambda x: torch.zeros(3), 0.1), torch.zeros(3, 2), 1), "does not depend"),
    (lambda: S.autocorrelation(torch.zeros(3, 5), 6), "n_lags"),
    (lambda: S.split_rhat(torch.zeros(3, 3)), "x must"),
    (lambda: S.split_rhat(torch.zeros(12)), "x has shape .*; it must have 2 axes"),
    (lambda: S.Convergence.of(torch.zeros(1, 50, 2)), "x must"),
])  # fmt: skip
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


X, E = torch.randn(4, 2, generator=g(1)), torch.randn(4, generator=g(2))


@pytest.mark.parametrize("call,words", [
    (lambda: S.Chains.walk(S.metropolis_hastings(lambda x: x.sum(-1) * math.nan, 1.0), X, 1),
        "energy is NaN"),
    (lambda: S.Chains.walk(S.mala(lambda x: x.sum(-1) * math.nan, 0.1), X, 1), "energy is NaN"),
    (lambda: S.langevin_step(X, X[:, :1], 0.1), "slope has shape"),
    (lambda: S.langevin_step(X, X[0], 0.1), r"slope has shape .* that of x"),
    (lambda: S.acceptance_probability(E, E[:, None]), r"E_new has shape .* that of E"),
    (lambda: S.acceptance_probability(E, E, 1.0, E[:, None]), r"log_ratio has shape .* that of E"),
    (lambda: S.mala_log_ratio(X, X, X[0], X, 0.1), r"\by has shape .* that of x"),
    (lambda: S.mala_log_ratio(X, X, X, X[:0], 0.1), r"slope_y has shape .* that of x"),
    (lambda: S.autocorrelation(X[:0], 1), "x is empty"),
    (lambda: S.langevin_step(X, X, torch.ones(4)), "step_size has shape"),
    (lambda: S.acceptance_probability(E, E, torch.ones(3)), "T has shape"),
    (lambda: S.autocorrelation(torch.ones(2, 5), 3), "x goes up to 1"),
    (lambda: S.split_rhat(torch.ones(2, 6)), "x goes up to 1"),
    (lambda: S.replica_exchange(spring, lambda t: None, [1.0, math.nan]), r"\bT\b"),
    (lambda: S.replica_exchange(spring, lambda t: None, [1.0, 2.0])(S.Walkers(torch.zeros(2, 3, 1))),
        r"kernel\(T\) is"),
    (lambda: S.replica_exchange(spring, lambda t: S.langevin(spring, 1.0, t), [1.0, 2.0])(
        S.Walkers(torch.full((2, 3, 1), math.inf))), "energy is NaN"),
])  # fmt: skip
def test_what_would_go_wrong_silently_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_temperature_below_the_smallest_float32_is_not_0():
    "1e-60 is 0 in float32, and 0/0 no number: equal energies are taken, higher ones are not."
    for T in (1e-60, torch.tensor(1e-60, dtype=torch.float64)):
        p = S.acceptance_probability(
            torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 2.0, -1.0]), T
        )
        assert p.tolist() == [1, 0, 1]


def test_a_start_of_undefined_energy_is_looked_for_once():
    looks = []

    def energy(x):
        looks.append(len(looks))
        return spring(x) if len(looks) == 1 else spring(x) * math.nan

    assert S.Chains.walk(S.metropolis_hastings(energy, 1.0), X, 3).acceptance.sum() == 0


@pytest.mark.parametrize("f", [
    lambda x: S.acceptance_probability(x.sum(-1), spring(x), 0.7), lambda x: S.autocorrelation(x, 2),
    lambda x: S.mala_log_ratio(x, x.sin(), x.cos(), x, 0.1, torch.tensor(0.5))])  # fmt: skip
def test_vmap_grad_and_compile(f):
    want = f(X)
    assert torch.allclose(torch.func.vmap(f)(X), want, atol=1e-6)
    assert torch.allclose(torch.compile(f, backend="eager", fullgraph=True)(X), want, atol=1e-6)
    assert torch.func.grad(lambda x: f(x).sum())(X).isfinite().all()
