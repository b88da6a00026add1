"""Chapter 7: weights from any entropy, circle intersections, the sparse distributed memory, kernel regression."""

import math

import pytest
import torch
import torch.nn.functional as F

from silen_lib import attention as A
from silen_lib.energy import free_energy
from silen_lib.places import SparseDistributedMemory


def generator(seed):
    return torch.Generator().manual_seed(seed)


def spins(*shape, seed=0, dtype=torch.float32):
    return (torch.randint(0, 2, shape, generator=generator(seed)) * 2 - 1).to(dtype)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=generator(seed), dtype=dtype)


# weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [1.0, 1.01, 1.3, 1.5, 2.0, 3.0])
def test_weights_satisfy_the_conditions_of_an_optimum(alpha, dtype):
    "Karush–Kuhn–Tucker: one marginal gain for all shares above zero, no larger gain for those at zero."
    s, beta = normal(50, 6, dtype=dtype), 0.7
    p = A.max_entropy_weights(s, alpha, beta)
    assert p.dtype == dtype and p.shape == s.shape and (p >= 0).all()
    assert torch.allclose(p.sum(-1), torch.ones(50, dtype=dtype), atol=1e-5)
    slope = (
        -p.log() if alpha == 1 else (1 / alpha - p ** (alpha - 1)) / (alpha - 1)
    )  # dH/dp, up to a constant
    gain = beta * s + slope.clamp(max=1e6)
    price = torch.where(p > 1e-4, gain, -math.inf).amax(-1, keepdim=True)
    tol = 1e-8 if dtype == torch.float64 else 1e-2
    assert ((gain - price).abs()[p > 1e-3] < tol).all()
    assert (gain <= price + tol)[p == 0].all()


def test_weights_are_a_maximum_among_random_divisions():
    s, p = (
        normal(5),
        torch.distributions.Dirichlet(torch.ones(5, dtype=torch.float64)).sample((5000,)),
    )
    for alpha in (1.0, 1.5, 2.0, 4.0):
        best = A.max_entropy_weights(s, alpha, 2.0)
        value = lambda p, alpha=alpha: 2.0 * (p * s).sum(-1) + A.tsallis_entropy(p, alpha)
        assert (value(p) <= value(best) + 1e-12).all()


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_weights_at_extremes(alpha):
    huge = torch.tensor([[1e4, 0.0, -1e4], [1e-8, 0.0, -1e-8]], dtype=torch.float64)
    p = A.max_entropy_weights(huge, alpha, 100.0)
    assert torch.allclose(p[0], torch.tensor([1.0, 0, 0], dtype=torch.float64))
    assert torch.allclose(p[1], torch.full((3,), 1 / 3, dtype=torch.float64), atol=1e-5)
    masked = A.max_entropy_weights(torch.tensor([0.3, -math.inf, 0.1]), alpha)
    assert masked[1] == 0 and masked.sum() == pytest.approx(1)
    assert torch.equal(A.max_entropy_weights(torch.tensor([5.0]), alpha), torch.ones(1))
    assert A.max_entropy_weights(torch.zeros(0, 4), alpha).shape == (0, 4)


def test_weights_of_one_winner_or_none_need_no_rounding():
    tied = A.max_entropy_weights(torch.ones(3, 8), 2.0)
    assert torch.allclose(tied, torch.full((3, 8), 1 / 8))
    shifted = normal(4, 7)
    for alpha in (1.5, 2.0):
        moved = A.max_entropy_weights(shifted + 1000, alpha)
        assert torch.allclose(A.max_entropy_weights(shifted, alpha), moved, atol=1e-9)


def test_gradient_flows_through_the_softmax_only():
    s = normal(4).requires_grad_()
    assert (
        A.max_entropy_weights(s).requires_grad and not A.max_entropy_weights(s, 2.0).requires_grad
    )


def test_free_energy_gap_is_a_divergence():
    s, p = (
        normal(30, 4),
        torch.distributions.Dirichlet(torch.ones(4, dtype=torch.float64)).sample((30,)),
    )
    for beta in (0.01, 1.0, 50.0):
        best = (beta * s).softmax(-1)
        gap = A.attention_free_energy(p, s, beta) - A.attention_free_energy(best, s, beta)
        assert torch.allclose(
            gap, (p * (p.log() - (beta * s).log_softmax(-1))).sum(-1) / beta, atol=1e-9
        )


@pytest.mark.parametrize(("call", "says"), [
    (lambda: A.max_entropy_weights(torch.zeros(3), 0.5), "alpha is 0.5"),
    (lambda: A.max_entropy_weights(torch.zeros(3), math.nan), "alpha is nan"),
    (lambda: A.max_entropy_weights(torch.zeros(3), beta=0), "beta is 0"),
    (lambda: A.max_entropy_weights(torch.zeros(3), beta=math.inf), "beta is inf"),
    (lambda: A.max_entropy_weights(torch.zeros(3, 0)), "n ≥ 1"),
    (lambda: A.max_entropy_weights(torch.tensor([True, False])), "must be floating point"),
    (lambda: A.max_entropy_weights([1.0]), "list"),
    (lambda: A.max_entropy_weights(torch.tensor([math.nan, 1.0]), 2.0), "NaN"),
    (lambda: A.attention_free_energy(torch.ones(2) / 2, torch.zeros(2), -1.0), "beta is -1.0"),
    (lambda: A.tsallis_entropy(torch.ones(2) / 2, 0.0), "alpha is 0.0"),
    (lambda: A.circle_intersection(0, 0, 0), "n is 0; it must be a whole number ≥ 1"),
    (lambda: A.circle_intersection(10, 11, 0), "d is 11; it must be a whole number from 0 to 10"),
    (lambda: A.circle_intersection(10, 5, -1), "v is -1; it must be a whole number from 0 to 10"),
    (lambda: SparseDistributedMemory.best_radius(64, 0, 10), "n_locations is 0"),
    (lambda: SparseDistributedMemory.best_radius(64, math.inf, 10), "n_locations is inf"),
    (lambda: A.regression_gap(normal(3, 2), normal(4, 1), 1.0), "query has shape (3, 2)"),
    (lambda: A.regression_gap(normal(3, 1), normal(4, 1), 0.0), "temperature is 0.0"),
    (lambda: A.choose_bandwidth(normal(2, 1), normal(2, 1)), "at least 3"),
    (lambda: A.choose_bandwidth(torch.ones(4, 2), torch.ones(4, 1)), "two different ones"),
    (lambda: A.causal_attention(normal(3, 2), normal(4, 2), normal(4, 1)), "query has shape (3, 2)"),
    (lambda: A.causal_attention(normal(3, 2), normal(3, 2), normal(3, 1), 0), "beta is 0"),
    (lambda: SparseDistributedMemory(spins(5), 2), "(r, n)"),
    (lambda: SparseDistributedMemory(spins(0, 4), 2), "r ≥ 1"),
    (lambda: SparseDistributedMemory(torch.zeros(3, 4), 2), "spins are ±1: use 2*addresses - 1"),
    (lambda: SparseDistributedMemory(spins(3, 4), 5), "radius is 5"),
    (lambda: SparseDistributedMemory(spins(3, 4), 1.5), "radius is 1.5"),
    (lambda: SparseDistributedMemory(spins(3, 4), 2, n_data=0), "n_data is 0"),
    (lambda: SparseDistributedMemory(spins(3, 4), 2).write(spins(2, 5)), "address has shape (2, 5)"),
    (lambda: SparseDistributedMemory(spins(3, 4), 2).write(spins(2, 4), spins(3, 4)), "must agree"),
    (lambda: SparseDistributedMemory(spins(3, 4), 2, n_data=7).write(spins(2, 4)), "data has shape"),
    (lambda: SparseDistributedMemory(spins(3, 4), 2).read(spins(4) * math.nan), "+1 and −1"),
    (lambda: SparseDistributedMemory(spins(3, 4), 2, n_data=7).recall(spins(4)), "as long as addresses"),
    (lambda: A.nadaraya_watson(normal(3), normal(4, 1), normal(4, 1), 1.0), "query has shape (3,)"),
    (lambda: A.nadaraya_watson(normal(3, 2), normal(4, 1), normal(4, 1), 1.0),
        "query has shape (3, 2); its last dimension must be 1"),
    (lambda: A.nadaraya_watson(normal(3, 1), normal(4, 1), normal(5, 1), 1.0), "4 and 5 rows"),
    (lambda: A.nadaraya_watson(normal(3, 1), normal(0, 1), normal(0, 1), 1.0), "at least 1"),
    (lambda: A.nadaraya_watson(normal(3, 1), normal(4, 1), normal(4, 1), 0.0), "bandwidth is 0.0"),
    (lambda: A.leave_one_out_error(normal(1, 1), normal(1, 1), 1.0), "at least 2"),
    (lambda: A.leave_one_out_error(normal(4, 1), normal(4, 1), math.inf), "bandwidth is inf"),
])  # fmt: skip
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=".*") as error:
        call()
    assert says in str(error.value)


# circles


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_circle_intersection_counts_every_word(n):
    for d in range(n + 1):
        for v in range(n + 1):
            other = (1 << v) - 1
            count = sum(z.bit_count() <= d and (z ^ other).bit_count() <= d for z in range(1 << n))
            assert A.circle_intersection(n, d, v) == count


def test_circle_intersection_sums_and_symmetries():
    "Summed over all second centres it is the square of the circle; whole space and single points are exact."
    for n, d in ((12, 4), (40, 13), (300, 130)):
        circle = sum(math.comb(n, k) for k in range(d + 1))
        assert (
            sum(math.comb(n, v) * A.circle_intersection(n, d, v) for v in range(n + 1)) == circle**2
        )
        assert A.circle_intersection(n, n, n // 2) == 2**n
        assert A.circle_intersection(n, 0, 0) == 1 and A.circle_intersection(n, 0, 1) == 0
        assert A.circle_intersection(n, d, 0) == circle
    values = [A.circle_intersection(1000, 451, v) for v in range(0, 1001, 50)]
    assert values == sorted(values, reverse=True)


def test_a_place_at_every_word_shares_the_intersection_exactly():
    every = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 9)
    memory = SparseDistributedMemory(every, 3)
    v = ((9 - every @ every[7]) / 2).long()
    assert memory.shared(every[7:8], every)[0].tolist() == [
        A.circle_intersection(9, 3, k) for k in v.tolist()
    ]
    assert A.SparseDistributedMemory is SparseDistributedMemory  # where it was before


def test_shared_locations_follow_the_binomial_law():
    "Six standard deviations: a false alarm is rarer than 1 in 10⁷ for all distances together."
    n, r, d = 40, 60_000, 13
    x, memory = spins(1, n, seed=1), SparseDistributedMemory(spins(r, n, seed=2), d)
    for v in (0, 1, 2, 5, 10, 15):
        y = x.clone()
        y[:, :v] *= -1
        p = A.circle_intersection(n, d, v) / 2**n
        assert abs(memory.shared(x, y).item() - r * p) < 6 * math.sqrt(r * p * (1 - p)) + 6


# the memory


def slow_memory(places, d, address, data, cue):
    counters = torch.zeros(len(places), data.shape[-1], dtype=torch.float64)
    for a, w in zip(address, data):
        for i, place in enumerate(places):
            if (place != a).sum() <= d:
                counters[i] += w
    sums = [sum((counters[i] for i, place in enumerate(places) if (place != c).sum() <= d),
                torch.zeros(data.shape[-1], dtype=torch.float64)) for c in cue]  # fmt: skip
    return counters, torch.stack(sums)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("n", "n_data", "d"), [(1, 1, 0), (8, 8, 2), (9, 3, 4), (16, 20, 0), (16, 5, 16)]
)
def test_memory_is_the_loop(n, n_data, d, dtype):
    places, x = spins(30, n, seed=1, dtype=dtype), spins(7, n, seed=2, dtype=dtype)
    y = spins(7, n_data, seed=3, dtype=dtype)
    cue = torch.cat([x[:2], spins(4, n, seed=4, dtype=dtype)])
    memory = SparseDistributedMemory(places, d, n_data).write(x, y)
    counters, sums = slow_memory(places, d, x, y, cue)
    assert torch.equal(memory.counters.double(), counters)
    assert torch.equal(memory.read_sums(cue).double(), sums)
    assert torch.equal(memory.read(cue), sums.sign().to(dtype)) and memory.read(cue).dtype == dtype


def test_memory_takes_any_batch_shape_and_any_portion(monkeypatch):
    places, x = spins(500, 32, seed=1), spins(2, 3, 5, 32, seed=2)
    whole = SparseDistributedMemory(places, 12).write(x)
    pieces = SparseDistributedMemory(places, 12)
    for w in x.reshape(-1, 32):
        pieces.write(w)
    assert torch.equal(whole.counters, pieces.counters)
    sums = whole.read_sums(x)
    assert sums.shape == (2, 3, 5, 32) and torch.equal(whole.read_sums(x[1, 2, 3]), sums[1, 2, 3])
    assert whole.read_sums(torch.empty(0, 32)).shape == (0, 32)
    assert torch.equal(whole.write(torch.empty(0, 32)).counters, pieces.counters)
    monkeypatch.setattr(SparseDistributedMemory, "_portions", portions_of_four)
    assert torch.equal(whole.read_sums(x), sums)


def portions_of_four(self, address):
    for a in range(0, len(address), 4):
        yield slice(a, a + 4), self.active(address[a : a + 4]).nonzero().unbind(1)


def test_words_out_of_reach_read_as_unknown_and_recall_keeps_them():
    memory = SparseDistributedMemory(spins(20, 64, seed=1), 2).write(spins(5, 64, seed=2))
    cue = spins(64, seed=3)
    assert torch.equal(memory.read(cue), torch.zeros(64)) and torch.equal(memory.recall(cue), cue)


def test_writing_twice_counts_twice_and_the_opposite_erases():
    places, x, y = spins(200, 24, seed=1), spins(6, 24, seed=2), spins(6, 10, seed=3)
    memory = SparseDistributedMemory(places, 9, 10).write(x, y)
    once = memory.counters.clone()
    assert torch.equal(memory.write(x, y).counters, 2 * once)
    memory.write(x, -y).write(x, -y)
    assert not memory.counters.any()


def test_inputs_are_left_alone():
    places, x = spins(50, 16, seed=1), spins(4, 16, seed=2)
    before = x.clone(), places.clone()
    SparseDistributedMemory(places, 6).write(x).recall(x)
    assert torch.equal(x, before[0]) and torch.equal(places, before[1])


def test_the_best_radius():
    best = SparseDistributedMemory.best_radius
    assert [best(*a) for a in ((64, 2.0**64, 1024), (1000, 1e6, 1e4))] == [11, 446]
    assert best(1000, 2.0**1000, 1e6) > 0  # no overflow


# regression


@pytest.mark.parametrize("bandwidth", [1e-3, 0.1, 1.0, 100.0])
def test_regression_is_the_formula(bandwidth):
    q, k, v = normal(40, 3, seed=1), normal(60, 3, seed=2), normal(60, 2, seed=3)
    far = (q[:, None] - k).square().sum(-1) / (2 * bandwidth**2)
    want = (-far + far.amin(1, keepdim=True)).exp()
    want = want @ v / want.sum(1, keepdim=True)
    assert torch.allclose(A.nadaraya_watson(q, k, v, bandwidth), want, atol=1e-7)


def test_regression_does_not_care_where_the_origin_is():
    q, k, v = (
        normal(*s, seed=i, dtype=torch.float32) for i, s in enumerate([(30, 4), (50, 4), (50, 1)])
    )
    near, far = A.nadaraya_watson(q, k, v, 0.5), A.nadaraya_watson(q + 100, k + 100, v, 0.5)
    assert torch.allclose(near, far, atol=2e-3)


def test_regression_limits_and_dtype():
    q, k, v = normal(20, 2, seed=1), normal(30, 2, seed=2), normal(30, 3, seed=3)
    nearest = v[torch.cdist(q, k).argmin(1)]
    assert torch.allclose(A.nadaraya_watson(q, k, v, 1e-4), nearest)
    assert torch.allclose(A.nadaraya_watson(q, k, v, 1e6), v.mean(0).expand(20, 3), atol=1e-9)
    assert A.nadaraya_watson(q.float(), k.float(), v.float(), 1.0).dtype == torch.float32
    assert A.nadaraya_watson(q[:0], k, v, 1.0).shape == (0, 3)
    assert A.nadaraya_watson(q, k[:1], v[:1], 1.0).shape == (20, 3)


def test_regression_has_gradients():
    q, k, v = (normal(*s, seed=i).requires_grad_() for i, s in enumerate([(5, 2), (7, 2), (7, 2)]))
    assert torch.autograd.gradcheck(lambda *x: A.nadaraya_watson(*x, 0.8), (q, k, v))


def test_unit_keys_make_it_attention_whatever_the_queries():
    q, k, v = normal(6, 4, seed=1), F.normalize(normal(9, 4, seed=2), dim=-1), normal(9, 2, seed=3)
    for tau in (0.1, 1.0, 10.0):
        want = F.scaled_dot_product_attention(q[None], k[None], v[None], scale=1 / tau)[0]
        assert torch.allclose(A.nadaraya_watson(q, k, v, math.sqrt(tau)), want, atol=1e-12)


def test_leave_one_out_is_the_shortcut_through_the_smoother():
    "For any linear smoother that renormalises: residual / (1 − S_ii)."
    k, v, h = normal(25, 2, seed=1), normal(25, 3, seed=2), 0.6
    S = A.nadaraya_watson(k, k, torch.eye(25, dtype=torch.float64), h)
    want = ((v - S @ v) / (1 - S.diagonal())[:, None]).square().mean()
    assert torch.allclose(A.leave_one_out_error(k, v, h), want)


def test_leave_one_out_with_twins_and_tiny_bandwidth():
    k = torch.tensor([[0.0], [0.0], [1.0]])
    v = torch.tensor([[1.0], [3.0], [7.0]])
    assert A.leave_one_out_error(k, v, 1e-3).item() == pytest.approx((4 + 4 + 25) / 3)


@pytest.mark.parametrize(("keys", "h"), [
    (torch.arange(1900, 1950, 1 / 12), 1 / 12), (1013 + 0.1 * normal(200), 0.01), (1013 + 0.01 * torch.arange(26.0),
        0.01),
    (torch.arange(10_000.0), 0.5), (1e6 + torch.arange(50.0), 2.0)])  # fmt: skip
def test_digits_far_from_the_origin(keys, h):
    "float32 keys: direct differences in double decide, to 1e-5."
    k = keys.float()[:, None]
    v = (torch.arange(len(k)) % 2).float()[:, None] + 0.1 * normal(len(k), 1, dtype=torch.float32)
    some = torch.linspace(0, len(k) - 1, 40).long()
    r2 = (k[some].double() - k.double().T).square()
    p = (-r2 / (2 * h * h)).softmax(-1)
    got = A.nadaraya_watson(k[some], k, v, h)
    assert (
        got.dtype == torch.float32
        and ((got - p @ v.double()).abs() <= 1e-5 * (1 + v.abs().max())).all()
    )
    if len(k) < 1000:
        r2 = (k.double() - k.double().T).square().fill_diagonal_(math.inf)
        want = ((-r2 / (2 * h * h)).softmax(-1) @ v.double() - v.double()).square().mean()
        assert A.leave_one_out_error(k, v, h).item() == pytest.approx(want.item(), rel=1e-5)


def test_a_cloud_far_from_the_origin_and_the_bandwidth_it_chooses():
    cloud = (1000 + normal(60, 2)).float()
    v = cloud[:, :1].double().sub(1000).sin().float()
    near, far = ([A.leave_one_out_error(c, v.to(c.dtype), h).item() for h in (0.05, 0.1, 0.3, 1.0)]
                 for c in (cloud.double() - 1000, cloud))  # fmt: skip
    assert far == pytest.approx(near, rel=1e-5)


@pytest.mark.parametrize("h", [1e-20, 1e-160, 1e-300])
def test_no_bandwidth_is_too_small(h):
    "The nearest point's value, and the mean of two as near."
    k, v = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[1.0], [2.0], [5.0]])
    assert A.nadaraya_watson(torch.tensor([[0.2], [0.5], [9.0]]), k, v, h).flatten().tolist() == [
        1.0,
        1.5,
        5.0,
    ]
    assert A.leave_one_out_error(k, v, h).item() == pytest.approx((1 + 1 + 9) / 3)


def test_squared_distances():
    x, y = normal(2, 4, 3, seed=1), normal(5, 3, seed=2)
    want = (x[..., None, :] - y).square().sum(-1)
    assert torch.allclose(A.squared_distances(x, y), want, rtol=1e-14) and A.squared_distances(
        x[0, 0], y
    ).shape == (5,)
    assert A.squared_distances(x.float(), y.float()).dtype == torch.float64
    assert torch.autograd.gradgradcheck(
        A.squared_distances, (x[0].requires_grad_(), y.requires_grad_())
    )


def test_free_energy_at_a_masked_optimum():
    s = torch.tensor([0.3, -math.inf, 0.1, -math.inf], dtype=torch.float64)
    p = s.softmax(-1)
    assert A.attention_free_energy(p, s).item() == pytest.approx(-s.logsumexp(-1).item())
    assert (
        A.attention_free_energy(torch.tensor([0.5, 0.5, 0, 0], dtype=torch.float64), s) == math.inf
    )  # what is forbidden, taken
    p.requires_grad_()
    (slope,) = torch.autograd.grad(A.attention_free_energy(p, s), p)
    assert torch.allclose(slope[::2], (-s - (-p.log() - 1))[::2]) and not slope.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [1e-12, 1e-7, 1e-4, 9e-3])
def test_entropies_and_weights_near_shannons(step, dtype):
    "Their difference is of order α − 1; rounding divided by it must not show."
    s = normal(20, 6, dtype=dtype)
    p = s.softmax(-1)
    H = torch.special.entr(p.double()).sum(-1)
    exact = -(p.double() * (step * p.double().log()).expm1()).sum(-1) / (step * (1 + step))
    got = A.tsallis_entropy(p, 1 + step)
    assert (
        torch.allclose(got.double(), exact, rtol=1e-5)
        and (got.double() - H).abs().max() < 4 * step + 1e-5
    )
    assert (A.max_entropy_weights(s, 1 + step) - p).abs().max() < 4 * step + 1e-5


def test_a_great_beta():
    for alpha in (1.0, 1.5):
        with pytest.raises(ValueError, match="beta is 3e"):
            A.max_entropy_weights(torch.tensor([10.0, 2.0]), alpha, 3e38)
        assert A.max_entropy_weights(torch.tensor([0.0, -2.0]), alpha, 3e38).tolist() == [1, 0]


KEYS, VALUES = normal(5, 2, seed=1, dtype=torch.float32), normal(5, 1, seed=2, dtype=torch.float32)


@pytest.mark.parametrize("f", [
    lambda x: A.attention_free_energy(x.softmax(-1), x, 2.0), lambda x: A.tsallis_entropy(x.softmax(-1), 1.5),
    lambda x: A.max_entropy_weights(x), lambda x: A.max_entropy_weights(x, 2.0) + 0 * x,
        lambda x: A.squared_distances(x, KEYS),
    lambda x: A.nadaraya_watson(x.reshape(-1, 2), KEYS, VALUES, 0.5)])  # fmt: skip
def test_vmap_grad_and_compile(f):
    x = normal(4, 2, seed=9, dtype=torch.float32)
    want = f(x)
    assert torch.allclose(torch.func.vmap(f)(x).reshape(want.shape), want, atol=1e-6)
    assert torch.allclose(torch.compile(f, backend="eager", fullgraph=True)(x), want, atol=1e-6)
    assert torch.func.grad(lambda x: f(x).sum())(x).isfinite().all()


# dtypes: the rule of energies and entropies, the same in chapters 0, 6 and 7


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_result_has_the_dtype_of_the_scores(dtype):
    scores = normal(20, 8).to(dtype)
    p = normal(20, 8, seed=1).softmax(-1)
    eps = 30 * torch.finfo(dtype).eps
    want = A.attention_free_energy(p, scores.double(), 0.7)
    for q in (p, p.float(), p.to(dtype)):
        got = A.attention_free_energy(q, scores, 0.7)
        assert got.dtype == dtype and (got.double() - want).abs().max() < eps + 1e-6
        assert torch.allclose(got, free_energy(-scores, 1 / 0.7, q), atol=eps)
    for alpha in (1.0, 1.001, 1.02, 2.0):
        H, w = A.tsallis_entropy(p.to(dtype), alpha), A.max_entropy_weights(scores, alpha)
        assert H.dtype == w.dtype == dtype
        exact = A.tsallis_entropy(p.to(dtype).double() / p.to(dtype).double().sum(-1, True), alpha)
        assert (H.double() - exact).abs().max() < eps + 1e-4


def test_scores_may_be_whole_numbers_as_energies_may():
    s = torch.tensor([3, 1, 0])
    p = torch.tensor([0.5, 0.25, 0.25])
    assert torch.equal(A.attention_free_energy(p, s), A.attention_free_energy(p, s.float()))
    assert torch.equal(A.max_entropy_weights(s, 2.0), A.max_entropy_weights(s.float(), 2.0))


# what may be heard, and how far


def test_a_causal_output_is_that_of_the_past_alone():
    q, k, v = normal(7, 3, seed=1), normal(7, 3, seed=2), normal(7, 2, seed=3)
    for beta in (0.3, 2.0):
        out = A.causal_attention(q, k, v, beta)
        for i in range(7):
            past = (beta * q[i] @ k[: i + 1].T).softmax(-1) @ v[: i + 1]
            assert torch.allclose(out[i], past, atol=1e-12)
        want = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, scale=beta)
        assert torch.allclose(out, want[0], atol=1e-12)
    assert torch.equal(A.causal_attention(q[:1], k[:1], v[:1]), v[:1])


def test_no_gradient_comes_from_the_future():
    q, k, v = (normal(5, 3, seed=i).requires_grad_() for i in range(3))
    A.causal_attention(q, k, v)[2].sum().backward()
    assert not v.grad[3:].any() and not k.grad[3:].any() and v.grad[:3].all()
    assert torch.autograd.gradcheck(A.causal_attention, (q, k, v))


def test_the_gap_is_zero_for_keys_of_one_length_and_only_then():
    q, k = normal(40, 3, seed=1), normal(9, 3, seed=2)
    for length in (0.1, 1.0, 5.0):
        for tau in (0.05, 1.0, 20.0):
            assert A.regression_gap(q, length * F.normalize(k, dim=-1), tau).max() < 1e-9
    gap = A.regression_gap(F.normalize(q, dim=-1), k, 0.5)
    assert gap.shape == (40,) and (gap > 1e-3).all() and (gap <= 1 + 1e-12).all()
    moved = A.regression_gap(q, k[torch.arange(9).flip(0)], 0.5)
    assert torch.allclose(moved, A.regression_gap(q, k, 0.5))


@pytest.mark.parametrize("waves", [1, 3, 8])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_chosen_bandwidth_is_nearly_the_best_at_any_scale(waves, scale):
    "Median over twenty data sets of error against the least possible: 1.05 or so; no fixed bandwidth does it."
    x = torch.rand(20, 80, 1, generator=generator(1), dtype=torch.float64)
    at = torch.linspace(0.02, 0.98, 150, dtype=torch.float64)[:, None]
    f = lambda x: (2 * math.pi * waves * x).sin()
    ratios = []
    for k, noise in zip(x, normal(20, 80, 1, seed=2)):
        v = f(k) + 0.3 * noise
        h = A.choose_bandwidth(scale * k, v)
        error = lambda h: (A.nadaraya_watson(at, k, v, h) - f(at)).square().mean().item()
        ratios.append(error(h / scale) / min(error(0.002 * 1.15**i) for i in range(45)))
    assert type(h) is float and torch.tensor(ratios).median() < 1.3
