"""Chapter 3: exact sweeps, laws against enumeration, bad input, extremes, the board, the machine, call forms."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from shared_checks import price, transforms

from silen_lib import boltzmann as B
from silen_lib import spins as engine
from silen_lib.energy import boltzmann
from silen_lib.hopfield import (
    build_hopfield_weights,
    corrupt_pattern,
    hopfield_energy,
)
from silen_lib.spins import ising_energy, random_patterns, spin_states

ROOT = Path(__file__).resolve().parents[1]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def spins(*shape, seed=0, dtype=torch.float32):
    return torch.randint(0, 2, shape, generator=generator(seed)).to(dtype) * 2 - 1


def network(n, seed=0, dtype=torch.float32, scale=1.0):
    "Random symmetric couplings with a diagonal that must not matter, and biases."
    g = generator(seed)
    J = torch.randn(n, n, generator=g, dtype=torch.float64)
    b = torch.randn(n, generator=g, dtype=torch.float64) / 2
    return (scale * (J + J.T) / (2 * n) ** 0.5).to(dtype), b.to(dtype)


def number(s):
    return ((s > 0).long() * 2 ** torch.arange(s.shape[-1] - 1, -1, -1)).sum(-1)


def rejects(counts, p, false_alarm=1e-7):
    "Agrawal (2020): can these counts of independent draws not come from p?"
    n, K = counts.sum().item(), len(p)
    seen = counts.double() / n
    x = n * torch.xlogy(seen, seen / p.double()).sum().item()
    return x > K - 1 and (K - 1) * (1 + math.log(x / (K - 1))) - x < math.log(false_alarm)


def counts(s):
    return torch.bincount(number(s), minlength=2 ** s.shape[-1])


def exact_distribution(W, b=None, T=1.0):
    "All states and their probabilities."
    states = spin_states(len(W), W.dtype)
    return states, boltzmann(ising_energy(states, W, b), T)


def sweep_matrix(W, T, b, accept=None):
    "Probabilities to go from each state to each other by one visit to each spin, in order."
    s, N = spin_states(len(W), W.dtype), len(W)
    cost = 2 * s * (s @ W - s * W.diagonal() + b)
    flip = torch.sigmoid(-cost / T) if accept is None else accept(cost, T)
    index, P = torch.arange(2**N), torch.eye(2**N, dtype=W.dtype)
    for i in range(N):
        move = torch.diag(1 - flip[:, i])
        move[index, index ^ 2 ** (N - 1 - i)] = flip[:, i]
        P = P @ move
    return P


# the sweep is the loop


def test_strong_ferromagnet_needs_every_round():
    "A domain wall that runs through the whole block: the fixed point takes as many rounds as there are spins."
    n = 64
    W = torch.zeros(n, n)
    i = torch.arange(n - 1)
    W[i, i + 1] = W[i + 1, i] = 1.0
    b = torch.zeros(n)
    b[0] = 5.0
    out = B.heat_bath(
        -torch.ones(3, n),
        W * torch.linspace(1, 2, n)[:, None] * torch.linspace(1, 2, n),
        0.0,
        bias=b,
    )
    assert out[:, 0].eq(1).all()
    J = torch.zeros(n, n)
    J[i, i + 1] = J[i + 1, i] = torch.arange(
        n, 1, -1
    ).float()  # each link to the left is the stronger one
    assert B.heat_bath(-torch.ones(3, n), J, 0.0, bias=b * 100).eq(1).all()


# laws


@pytest.mark.parametrize("rule", [B.heat_bath, B.metropolis])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stationary_law_by_enumeration(rule, dtype):
    "Exact draws stay exact draws: one sweep started in equilibrium must leave it."
    W, b = network(7, 3, dtype, 1.5)
    for T in (0.5, 1.0, 3.0):
        states, p = exact_distribution(W, b, T)
        start = states[torch.multinomial(p.double(), 30_000, True, generator=generator(1))]
        for sweeps in (1, 3):
            assert not rejects(
                counts(rule(start, W, T, bias=b, sweeps=sweeps, generator=generator(5))), p
            )
    wrong = exact_distribution(W, b, 2.0)[1]
    assert rejects(counts(rule(start, W, 3.0, bias=b, sweeps=3, generator=generator(6))), wrong)


def test_from_noise_to_the_law():
    W, b = network(8, 4)
    p = exact_distribution(W, b)[1]
    P = sweep_matrix(W.double(), 1.0, b.double())
    start = torch.full((256,), 1 / 256, dtype=torch.float64) @ torch.linalg.matrix_power(P, 50)
    s = B.heat_bath(spins(40_000, 8), W, bias=b, sweeps=50, generator=generator(0))
    assert (start - p).abs().sum() < 1e-3 and not rejects(counts(s), start)


@pytest.mark.parametrize("rule", [B.heat_bath, B.metropolis])
def test_twelve_spins_stay_in_equilibrium(rule):
    W, b = network(12, 5)
    states, p = exact_distribution(W, b)
    s = rule(
        states[torch.multinomial(p.double(), 40_000, True, generator=generator(1))],
        W,
        bias=b,
        sweeps=2,
        generator=generator(2),
    )
    for part in (slice(0, 6), slice(6, 12)):  # both halves of the spins
        law = torch.zeros(64, dtype=torch.float64).index_add(0, number(states[:, part]), p.double())
        assert not rejects(counts(s[:, part]), law)


def test_one_sweep_has_the_law_of_the_matrix():
    W, b = network(4, 9, torch.float64)
    for rule, accept in ((B.heat_bath, None), (B.metropolis, B.metropolis_probability)):
        law = sweep_matrix(W, 0.9, b, accept)[5]
        start = spin_states(4, torch.float64)[5].repeat(20_000, 1)
        seen = counts(rule(start, W, 0.9, bias=b, generator=generator(2)))
        possible = law > 0
        assert seen[~possible].sum() == 0 and not rejects(seen[possible], law[possible])


def test_tempering_keeps_every_law():
    W, b = network(6, 10, scale=2.0)
    T = [0.4, 0.8, 1.6]
    start = torch.stack(
        [
            spin_states(6)[
                torch.multinomial(
                    exact_distribution(W, b, t)[1].double(), 20_000, True, generator=generator(k)
                )
            ]
            for k, t in enumerate(T)
        ]
    )
    out = B.parallel_tempering(W, T, bias=b, sweeps=4, state=start, generator=generator(7))
    for t, s in zip(T, out.state):
        assert not rejects(counts(s), exact_distribution(W, b, t)[1])
    assert out.swaps.shape == (2,) and (out.swaps > 0.05).all()
    assert torch.allclose(out.energy, ising_energy(out.state, W, b), atol=1e-4)
    assert torch.allclose(out.best_energy, ising_energy(out.best_state, W, b), atol=1e-4)
    assert (out.best_energy <= out.energy.min(0).values + 1e-4).all()


def test_tutorial_form_samples_its_temperature():
    W = network(4, 2)[0].fill_diagonal_(0)
    p = exact_distribution(W, None, 0.8)[1]
    s, E = spins(4, seed=1), []
    for k in range(50):
        s, e = B.boltzmann_update(s, W, 0.8, 400, generator=generator(k))
        E += e[1:]
    states = spin_states(4)
    want = (p * ising_energy(states, W)).sum()
    assert (
        abs(torch.tensor(E).mean() - want) < 0.25
        and abs(torch.tensor(E)[-1] - ising_energy(s, W)) < 1e-3
    )
    twice = (exact_distribution(W, None, 1.6)[1] * ising_energy(states, W)).sum()
    assert abs(torch.tensor(E).mean() - want) < abs(torch.tensor(E).mean() - twice)


# extremes, shapes, types


@pytest.mark.parametrize("rule", [B.heat_bath, B.metropolis])
def test_extremes(rule):
    W, b = network(20, 1)
    s = spins(6, 20)
    for T in (0.0, 1e-30, 1e-6, 1e30):
        for scale in (1e-20, 1.0, 1e20):
            out = rule(s, W * scale, T, bias=b * scale, sweeps=3)
            assert (out.abs() == 1).all()
    huge = rule(s, torch.zeros(20, 20), bias=torch.tensor([1e30, -1e30] * 10))
    assert torch.equal(huge, torch.tensor([1.0, -1.0] * 10).expand(6, 20))


def test_zero_temperature_is_greedy_and_tosses_on_a_tie():
    W, b = network(30, 5)
    cold = B.heat_bath(spins(50, 30), W, 0.0, bias=b, sweeps=200)
    field = cold @ W - W.diagonal() * cold + b
    assert (cold * field > -1e-4).all()
    assert torch.equal(B.heat_bath(cold, W, 0.0, bias=b, sweeps=5), cold)
    free = B.heat_bath(torch.ones(20_000, 3), torch.zeros(3, 3), 0.0)
    assert (free.mean(0).abs() < 6 / 20_000**0.5).all()
    assert torch.equal(
        B.metropolis(free, torch.zeros(3, 3), 1.0), -free
    )  # as documented: it alternates


@pytest.mark.parametrize("rule", [B.heat_bath, B.metropolis])
def test_shapes_types_and_generators(rule):
    W, b = network(9, 6)
    s = spins(2, 3, 9)
    before = s.clone()
    out = rule(s, W, torch.rand(2, 3) + 0.1, bias=b, sweeps=2, generator=generator(1))
    assert out.shape == s.shape and out.dtype == torch.float32 and torch.equal(s, before)
    assert rule(s[0, 0], W).shape == (9,) and rule(s.double(), W.double()).dtype == torch.float64
    assert torch.equal(rule(s, W, sweeps=0), s)
    a, c = (rule(s, W, bias=b, sweeps=3, generator=generator(4)) for _ in range(2))
    assert torch.equal(a, c)
    state = torch.get_rng_state()
    rule(s, W, bias=b, generator=generator(4))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(
        rule(s, W, bias=0.3, generator=generator(1)),
        rule(s, W, bias=torch.full((9,), 0.3), generator=generator(1)),
    )
    off = W.clone().fill_diagonal_(7.0)
    a, c = (rule(s, J, bias=b, sweeps=2, generator=generator(1)) for J in (W, off))
    assert torch.equal(a, c)
    many = rule(spins(2500, 9), W, bias=b, sweeps=2, generator=generator(1))  # more than two chunks
    assert many.shape == (2500, 9)


def test_each_chain_at_its_own_temperature():
    W, b = network(5, 7)
    T = torch.tensor([0.3, 3.0]).repeat_interleave(20_000)
    s = B.heat_bath(spins(40_000, 5), W, T, bias=b, sweeps=40, generator=generator(1))
    for t, part in zip((0.3, 3.0), s.split(20_000)):
        p = exact_distribution(W, b, t)[1]
        if t > 1:
            assert not rejects(counts(part), p)
        mean = (ising_energy(part, W, b)).mean() - (p * ising_energy(spin_states(5), W, b)).sum()
        assert mean.abs() < 0.1


# what exercises decide and design


def test_a_claim_is_accepted_for_the_temperature_it_was_made_for_and_no_other():
    W, b = network(4, 3, torch.float64)
    E = ising_energy(spin_states(4, torch.float64), W, b)
    for accept in (None, B.metropolis_probability):
        P = sweep_matrix(W, 0.8, b, accept)  # in order: no detailed balance
        assert B.leaves_invariant(P, E, 0.8) and B.leaves_invariant(P.float(), E.float(), 0.8)
        assert not any(B.leaves_invariant(P, E, 0.8 * x) for x in (0.95, 1.05, 2.0))


def test_five_per_cent_of_temperature_are_refused_on_both_sides_and_honest_samples_are_not():
    states, p = exact_distribution(*network(8, 2, torch.float64), 1.3)
    E = ising_energy(states, *network(8, 2, torch.float64))
    n = int((9 * 1.3 / 0.05) ** 2 / (p @ (E - p @ E) ** 2))

    def draws(x, seed):
        q = torch.softmax(-E / (x * 1.3), 0)
        return E[torch.multinomial(q, n, True, generator=generator(seed))]

    assert all(B.refuses_temperature(draws(x, 1), E, 1.3) for x in (0.95, 1.05))
    refused = sum(B.refuses_temperature(draws(1.0, k), E, 1.3) for k in range(40))
    assert refused <= 4  # 40 of 0.27%: five or more once in 10 million


def test_the_schedule_spends_its_budget_and_cools():
    for sweeps in (2, 50):
        T = B.glass_schedule(sweeps)
        assert T.shape == (sweeps,) and (T.diff() < 0).all() and T[-1] > 0


# bad input


W6, b6 = network(6, 1)
S6 = spins(4, 6)
BAD = [
    (lambda: B.heat_bath(S6, W6, T=-1.0), "T must be a finite temperature"),
    (lambda: B.heat_bath(S6, W6, T=math.nan), "T must be a finite temperature"),
    (lambda: B.metropolis(S6, W6, T=math.inf), "T must be a finite temperature"),
    (lambda: B.heat_bath(S6, W6, T=torch.ones(3)), "one for each state"),
    (lambda: B.heat_bath(S6, W6, sweeps=-1), "sweeps is -1"),
    (lambda: B.heat_bath(S6, W6, sweeps=1.5), "sweeps is 1.5"),
    (lambda: B.heat_bath((S6 + 1) / 2, W6), "spins are ±1"),
    (lambda: B.heat_bath(S6[:, :5], W6), "N = 6"),
    (lambda: B.heat_bath(S6.double(), W6), "convert one of them"),
    (lambda: B.heat_bath(S6[:0], W6), "empty"),
    (lambda: B.heat_bath(S6, W6.triu()), "not symmetric"),
    (lambda: B.heat_bath(S6, W6[:5]), "square"),
    (lambda: B.heat_bath(S6, W6 * math.nan), "NaN"),
    (lambda: B.heat_bath(S6.half(), W6.half()), "float32 or float64"),
    (lambda: B.heat_bath(S6, W6, bias=torch.ones(5)), "bias must hold 6"),
    (lambda: B.heat_bath(S6, W6, bias=math.inf), "bias must hold 6 finite"),
    (lambda: B.boltzmann_update(S6[0], W6, T=0.0), "T must be a finite temperature above 0"),
    (lambda: B.boltzmann_update(S6, W6), "one chain"),
    (lambda: B.boltzmann_update(S6[0], W6, n_steps=-1), "n_steps is -1"),
    (lambda: B.simulated_annealing(S6[0], W6, T_end=0.0), "T_end"),
    (lambda: B.simulated_annealing(S6[0], W6, T_start=math.nan), "T_start"),
    (lambda: B.leaves_invariant(torch.eye(3), torch.zeros(4)), "E has shape"),
    (lambda: B.leaves_invariant(torch.ones(3, 3), torch.zeros(3)), "P must"),
    (lambda: B.refuses_temperature(torch.zeros(0), torch.zeros(4)), "seen"),
    (lambda: B.glass_schedule(1), "sweeps is 1"),
    (lambda: B.cooling_schedule(1.0, 0.0), "T_end is 0.0"),
    (lambda: B.cooling_schedule(n=1), "n is 1"),
    (lambda: B.cooling_schedule(kind="cubic"), "kind is 'cubic'"),
    (lambda: B.anneal(W6, [1.0, -1.0]), "T must be a finite temperature"),
    (lambda: B.anneal(W6, 1.0), "one a sweep"),
    (lambda: B.anneal(W6, [1.0], rule="glauber"), "rule is 'glauber'"),
    (lambda: B.anneal(W6, [1.0], n_reads=0), "n_reads is 0"),
    (lambda: B.parallel_tempering(W6, [1.0]), "two or more"),
    (lambda: B.parallel_tempering(W6, [1.0, 0.0]), "above 0"),
    (lambda: B.parallel_tempering(W6, [1.0, 2.0], state=S6), "n_chains, N"),
    (lambda: B.BoltzmannMachine(0), "n_visible is 0"),
    (lambda: B.BoltzmannMachine(3, 2).free_energy(S6), "N = 3"),
    (lambda: B.BoltzmannMachine(3, 17).free_energy(S6[:, :3]), "16 or fewer"),
    (lambda: B.BoltzmannMachine(15, 6).log_partition(), "at most 20 units"),
    (lambda: B.BoltzmannMachine(3, 1).exact_gradient(S6[:, :3], torch.ones(4)), "sum to 1"),
    (lambda: B.BoltzmannMachine(3, 1).sample(clamp=torch.full((2, 4), 0.5)), "clamp contains 0.5"),
    (lambda: B.BoltzmannMachine(3, 1).fit(S6[:, :3], n_chains=0, exact=False), "n_chains is 0"),
]


@pytest.mark.parametrize("call, message", BAD, ids=[m for _, m in BAD])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message.replace("±", ".")):
        call()


# annealing


@pytest.mark.parametrize("rule", ["metropolis", "heat bath"])
def test_annealing_finds_the_ground_state_of_small_networks(rule):
    for seed in range(5):
        W, b = network(10, seed)
        found = B.anneal(
            W,
            B.cooling_schedule(3.0, 0.05, 60),
            bias=b,
            n_reads=200,
            rule=rule,
            generator=generator(seed),
        )
        E = ising_energy(spin_states(10), W, b)
        assert abs(found.energy.min() - E.min()) < 1e-4
        assert torch.allclose(found.energy, ising_energy(found.state, W, b))
        assert torch.equal(found.best, found.state[found.energy.argmin()])


def test_schedules():
    for kind in ("linear", "geometric"):
        T = B.cooling_schedule(4.0, 0.3, 9, kind)
        assert T[0] == 4.0 and T[-1] == torch.tensor(0.3) and len(T) == 9 and (T.diff() < 0).all()
    assert torch.allclose(T[1:] / T[:-1], (T[1] / T[0]).expand(8), atol=1e-5)
    s, E, T = B.simulated_annealing(S6[0], W6, 5.0, 0.1, 50)
    assert (
        s.shape == (6,)
        and len(E) == 51
        and len(T) == 50
        and T[0] == 5.0
        and abs(T[-1] - 0.1) < 1e-12
    )
    assert B.simulated_annealing(S6[0], W6, n_steps=0)[2] == []
    start = S6.clone()
    B.anneal(W6, [1.0, 0.5], state=S6)
    assert torch.equal(S6, start)


# the machine


def test_machine_against_enumeration():
    m = B.BoltzmannMachine(3, 2, weight_std=1.0, generator=generator(1), dtype=torch.float64)
    with torch.no_grad():
        m.b.copy_(torch.randn(5, generator=generator(2), dtype=torch.float64))
    s = spin_states(5, torch.float64)
    p = torch.softmax(-m.energy(s), 0).view(8, 4)
    v = spin_states(3, torch.float64)
    assert torch.allclose(m.log_likelihood(v).exp(), p.sum(1))
    assert torch.allclose(m.log_partition(), torch.logsumexp(-m.energy(s), 0))
    assert torch.allclose(exact_distribution(m.W.detach(), m.b.detach())[1], p.flatten().detach())
    weights = torch.tensor([0.5, 0.1, 0.4], dtype=torch.float64)
    dW, db = m.exact_gradient(v[:3], weights)
    aW, ab = torch.autograd.grad(weights @ m.log_likelihood(v[:3]), (m.W, m.b))
    assert torch.allclose(dW, (aW + aW.T).fill_diagonal_(0), atol=1e-12) and torch.allclose(
        db, ab, atol=1e-12
    )


def test_sampled_gradient_is_the_exact_one_on_average():
    m = B.BoltzmannMachine(3, 2, weight_std=0.5, generator=generator(3))
    v = spin_states(3)[[1, 6]]
    clamp = torch.cat([v.repeat(10_000, 1), torch.zeros(20_000, 2)], 1)
    g = generator(4)
    clamped, free = (
        m.sample(clamp=clamp, sweeps=20, generator=g),
        m.sample(20_000, sweeps=40, generator=g),
    )
    dW, db, clamped, free = m.sampled_gradient(clamp, clamped, free, sweeps=5, generator=g)
    eW, eb = m.exact_gradient(v)
    assert (dW - eW).abs().max() < 12 / 20_000**0.5 and (db - eb).abs().max() < 12 / 20_000**0.5
    assert torch.equal(clamped[:, :3], clamp[:, :3])
    assert torch.allclose(dW, dW.T, atol=1e-4) and dW.diagonal().abs().sum() == 0


def test_clamping_any_pattern_gives_the_conditional_law():
    m = B.BoltzmannMachine(4, 2, weight_std=0.8, generator=generator(5))
    held = torch.tensor([0.0, 1.0, 0.0, -1.0, 0.0, 0.0])
    s = m.sample(clamp=held.repeat(20_000, 1), sweeps=60, generator=generator(6))
    assert (s[:, 1] == 1).all() and (s[:, 3] == -1).all()
    states, p = exact_distribution(m.W.detach(), m.b.detach())
    fits = (states[:, 1] == 1) & (states[:, 3] == -1)
    assert not rejects(counts(s)[fits], p[fits] / p[fits].sum())
    assert torch.equal(m.sample(clamp=torch.ones(2, 6)), torch.ones(2, 6))


def test_fit_climbs_and_machines_without_hidden_units_stay_at_log_two():
    words = spin_states(4)
    even = words[words.prod(1) > 0]
    course = B.BoltzmannMachine(4, 0, generator=generator(0)).fit(even, n_steps=300)
    assert abs(course.kl[-1] - math.log(2)) < 1e-3 and len(course.step) == len(course.kl) == len(
        course.seconds
    )
    p = torch.tensor([0.7, 0.1, 0.2])
    learned = B.BoltzmannMachine(4, 2, generator=generator(1))
    assert learned.fit(words[[0, 5, 9]], p, n_steps=1500, lr=0.3).kl[-1] < 0.02
    assert torch.allclose(learned.log_likelihood(words[[0, 5, 9]]).exp(), p.double(), atol=0.1)
    assert torch.equal(learned.W, learned.W.T) and learned.W.diagonal().abs().sum() == 0
    twins = [B.BoltzmannMachine(4, 2, generator=generator(1)) for _ in range(2)]
    a, c = (m.fit(even, n_steps=20, exact=False, generator=generator(2)).kl for m in twins)
    assert a == c


def test_a_large_machine_learns_by_sampling():
    xi = random_patterns(2, 40, generator=generator(1))
    data = torch.cat([corrupt_pattern(x, 0.05, n=50, generator=generator(2)) for x in xi])
    m = B.BoltzmannMachine(40, 4, weight_std=0.01, generator=generator(3))
    course = m.fit(data, n_steps=60, lr=0.05, exact=False, n_chains=100, generator=generator(4))
    assert math.isnan(course.kl[-1])
    dream = m.sample(200, sweeps=50, generator=generator(5))[:, :40]
    assert ((dream @ xi.T).abs().max(1).values / 40).mean() > 0.6


# the tutorial's own cells


def test_call_forms_of_the_tutorial():
    patterns = [p.view(5, 5) for p in spins(3, 25, seed=3)]
    W = build_hopfield_weights(patterns)
    noisy = corrupt_pattern(patterns[0], noise_fraction=0.3).flatten()
    final, energies = B.boltzmann_update(noisy.clone(), W, T=0.5, n_steps=200)
    assert final.shape == (25,) and len(energies) == 201 and isinstance(energies[0], float)
    assert abs(energies[-1] - hopfield_energy(final, W)) < 1e-3
    final, energies, temps = B.simulated_annealing(patterns[0], W, n_steps=500)
    assert final.shape == (25,) and len(energies) == 501 and len(temps) == 500 and temps[0] == 5.0


def test_benchmark_runs():
    spec = importlib.util.spec_from_file_location(
        "bench_boltzmann", ROOT / "benchmarks" / "boltzmann.py"
    )
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    rows = bench.heat_bath_rows(n_spins=40, n_chains=16, repeats=2)
    assert rows[-1]["updates_per_s"] > rows[0]["updates_per_s"]


# held units, prices and transforms


W4, S16, K4 = network(4, 5)[0], spin_states(4), torch.arange(4) < 2
P16 = torch.full((16,), 1 / 16)


def test_held_units_need_a_state_that_says_where():
    for call in (
        lambda: B.anneal(W4, [1.0], fixed=K4),
        lambda: B.parallel_tempering(W4, [1.0, 2.0], fixed=K4),
        lambda: B.parallel_tempering(
            W4, [1.0, 2.0], fixed=K4, state=torch.cat([S16[:1], S16[-1:]])[:, None]
        ),
    ):
        with pytest.raises(ValueError, match="fixed"):
            call()


@pytest.mark.parametrize("name", ["spin_up_probability", "metropolis_probability", "swap_probability",
                                  "heat_bath", "metropolis", "leaves_invariant", "learning_gradient"])  # fmt: skip
def test_a_look_costs_no_more_than_the_work(name, monkeypatch):
    W, b = network(1000, 1)
    s, p = spins(40, 1000, seed=2), torch.full((40,), 1 / 40)
    arguments = dict(
        spin_up_probability=(b, 0.5), metropolis_probability=(b, 0.5),
        swap_probability=(b, -b, 0.5, 0.7), heat_bath=(s, W), metropolis=(s, W), learning_gradient=(s, p, s, p),
        leaves_invariant=(W.softmax(1), W[0]),
    )[name]  # fmt: skip
    few = 5 if name in ("heat_bath", "metropolis") else 30
    looking, blind = price(lambda: getattr(B, name)(*arguments), monkeypatch, few)
    assert looking < 3 * blind + 1e-4, f"{1e6 * looking:.0f} µs, {1e6 * blind:.0f} without a look"


# units that are held


def conditional(W, b, T, held, value):
    "All states of the free units given the others, with their probabilities."
    states, p = exact_distribution(W, b, T)
    fits = (states[:, held] == value[held]).all(1)
    return fits, p[fits] / p[fits].sum()


@pytest.mark.parametrize("rule", [B.heat_bath, B.metropolis])
@pytest.mark.parametrize("each", [False, True])
def test_held_units_stay_and_the_others_follow_their_law(rule, each):
    W, b = network(5, 11)
    held, value = (
        torch.tensor([True, False, False, True, False]),
        torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]),
    )
    fixed = held.expand(20_000, 5).clone() if each else held
    s = rule(
        value.repeat(20_000, 1), W, 0.8, bias=b, sweeps=40, generator=generator(1), fixed=fixed
    )
    assert torch.equal(s[:, held], value[held].expand(20_000, 2))
    fits, p = conditional(W, b, 0.8, held, value)
    assert not rejects(counts(s)[fits], p)
    assert rejects(
        counts(s)[fits], conditional(W, b, 1.6, held, value)[1]
    )  # it would see another temperature


def test_held_units_in_annealing_visits_and_tempering():
    W, b = network(6, 12)
    held, value = torch.arange(6) < 2, torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0, 1.0])
    start = value.repeat(300, 1)
    cold = B.anneal(
        W,
        B.cooling_schedule(3.0, 0.05, 60),
        bias=b,
        state=start,
        fixed=held,
        generator=generator(1),
    )
    states, E = spin_states(6), ising_energy(spin_states(6), W, b)
    assert torch.equal(cold.state[:, :2], start[:, :2])
    assert abs(cold.energy.min() - E[(states[:, :2] == value[:2]).all(1)].min()) < 1e-4
    for s, *_ in (
        B.boltzmann_update(value, W, 1.0, 300, generator=generator(2), fixed=held),
        B.simulated_annealing(value, W, n_steps=300, generator=generator(2), fixed=held),
        B.boltzmann_update(value, W, 1.0, 20, generator=generator(2), fixed=held | True),
    ):
        assert torch.equal(s[:2], value[:2])
    n = 4000
    ladder = B.parallel_tempering(W, [0.7, 1.5], bias=b, sweeps=60, state=value.expand(2, n, 6), fixed=held,
                                  generator=generator(3))  # fmt: skip
    assert (
        torch.equal(ladder.state[..., :2], value[:2].expand(2, n, 2)) and (ladder.swaps > 0).all()
    )
    assert torch.equal(ladder.best_state[:, :2], value[:2].expand(n, 2))
    for T, s in zip((0.7, 1.5), ladder.state):
        fits, p = conditional(W, b, T, held, value)
        assert not rejects(counts(s)[fits], p)


# autograd, transforms, devices


def test_samplers_run_on_parameters():
    m = B.BoltzmannMachine(6, 3, generator=generator(1))
    s = spins(5, 9, seed=1)
    for out in (
        B.heat_bath(s, m.W, bias=m.b, sweeps=2), B.metropolis(s, m.W, bias=m.b, sweeps=2),
        B.anneal(m.W, [1.0], bias=m.b).state, B.parallel_tempering(m.W, [1.0, 2.0], bias=m.b, sweeps=2).state,
        B.boltzmann_update(s[0], m.W, 1.0, 9)[0],
        B.simulated_annealing(s[0], m.W, n_steps=9)[0], m.sample(3, 2),
    ):  # fmt: skip
        assert not out.requires_grad and (out.abs() == 1).all()


ROWS = torch.rand(4, 6, generator=generator(1)) + 0.1
W66, S46 = network(6, 1)[0], spins(4, 6)
TRANSFORMS = {
    "spin_up_probability": (lambda x: B.spin_up_probability(x, 0.4), ROWS, True),
    "metropolis_probability": (lambda x: B.metropolis_probability(x, 0.4), ROWS, True),
    "swap_probability": (lambda x: B.swap_probability(x, -x, 0.4, 1.0), ROWS, True),
    "learning_gradient": (lambda x: B.learning_gradient(x, P16[:4] * 4, S46, P16[:4] * 4)[0], S46.expand(2, 4, 6),
                          False),
}  # fmt: skip


@pytest.mark.parametrize("f, batch, slope", TRANSFORMS.values(), ids=TRANSFORMS.keys())
@pytest.mark.filterwarnings("ignore")
def test_vmap_compile_and_grad(f, batch, slope):
    transforms(f, batch, slope)


@pytest.mark.parametrize("rounds", [1, 3, 8])
def test_the_way_of_a_device_gives_the_same(monkeypatch, rounds):
    W, b = network(120, 3)
    s, held = spins(20, 120, seed=2), torch.arange(120) % 4 == 0

    def runs():
        for T in (0.0, 0.3, 2.0):
            for fixed in (None, held):
                how = dict(bias=b, sweeps=3, generator=generator(1), fixed=fixed)
                yield B.heat_bath(s, W, T, **how)
                yield B.metropolis(s, W, T, **how)
        yield B.parallel_tempering(
            W, [0.5, 1.0, 2.0], bias=b, n_chains=4, sweeps=5, generator=generator(2)
        ).state

    want = list(runs())
    monkeypatch.setattr(engine._Engine, "here", False)
    monkeypatch.setattr(engine._Engine, "rounds", rounds)
    assert all(map(torch.equal, want, runs()))


# numbers at the edge


def test_repeated_rows_count_as_one():
    m = B.BoltzmannMachine(2, 0, generator=generator(1))
    assert min(m.fit(torch.ones(4, 2), n_steps=40).kl) >= -1e-6
    v, p = torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([0.75, 0.25])
    once, thrice = (B.BoltzmannMachine(2, 1, generator=generator(2)) for _ in range(2))
    torch.testing.assert_close(
        once.fit(v, p, n_steps=40).kl,
        thrice.fit(v[[0, 1, 0, 0]], n_steps=40).kl,
        atol=1e-5,
        rtol=1e-4,
    )


@pytest.mark.parametrize("T", [1e-46, 1e-300, 1e-30, 1e30, 1e300])
def test_probabilities_at_the_ends_of_the_thermometer(T):
    x = torch.tensor([-3.0, 0.0, 3.0])
    up = B.spin_up_probability(x, T)
    assert up[1] == 0.5 and up.isfinite().all() and (up.diff() >= 0).all()
    assert (
        B.metropolis_probability(x, T).isfinite().all() and B.metropolis_probability(x, T)[1] == 1
    )
    assert (
        B.swap_probability(x, x, T, 1.0).tolist()
        == [1, 1, 1]
        == B.swap_probability(x, -x, T, T).tolist()
    )
    assert B.metropolis_probability(torch.tensor([math.inf, -math.inf]), T).tolist() == [
        0,
        1,
    ]  # forbidden, forced
    wall = torch.tensor([math.inf, 1.0, math.inf])
    assert B.swap_probability(wall, torch.tensor([math.inf, math.inf, 1.0]), 1.0, 2.0).tolist() == [
        1,
        0,
        1,
    ]
