"""Chapter 9: bad input, extremes, dtypes, generators, exactness of the samplers on Gaussians, training."""

import math

import pytest
import torch
from chapter_functions import defined_in
from torch.nn import functional as F

from silen_lib import mixtures, nets
from silen_lib import score as S
from silen_lib.exercises import diagnose
from silen_lib.mixtures import mixture_log_density, sample_mixture


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


TAUGHT = defined_in("09_score_matching", vars(S) | vars(mixtures))
W, MEANS = torch.tensor([0.8, 0.2]), torch.tensor([[-3.0, -4.0], [3.0, 4.0]])


X = normal(6, 2, dtype=torch.float32)
NET = S.ScoreNet(X, width=4)


def islands(x, sigma=0.0):
    return S.mixture_score(x, W, MEANS, 0.5, sigma)


def bell(x, sigma):
    "The score of a normal of width 1, blurred."
    return -x / (1 + sigma**2)


# bad input

BAD = {
    "x is int": (
        lambda: S.mixture_score(torch.ones(3, 2).long(), W, MEANS, 0.5),
        "x has dtype torch.int64",
    ),
    "x is a list": (lambda: S.mixture_score([1.0, 2.0], W, MEANS, 0.5), "x is a list"),
    "x has another d": (lambda: S.mixture_score(normal(3, 5), W, MEANS, 0.5), "do not fit"),
    "weights and means differ": (
        lambda: S.mixture_score(normal(3, 2), W[:1], MEANS, 0.5),
        "do not fit",
    ),
    "weights must sum to 1": (
        lambda: S.mixture_score(normal(3, 2), 2 * W, MEANS, 0.5),
        "weights must sum to 1",
    ),
    "a negative weight": (
        lambda: S.mixture_score(normal(3, 2), torch.tensor([1.5, -0.5]), MEANS, 0.5),
        "≥ 0",
    ),
    "no width at all": (lambda: S.mixture_score(normal(3, 2), W, MEANS, 0.0), "point mass"),
    "sigma is negative": (lambda: islands(normal(3, 2), -1.0), "sigma spans -1"),
    "sigma is NaN": (lambda: islands(normal(3, 2), math.nan), "sigma is nan"),
    "sigma is infinite": (lambda: islands(normal(3, 2), math.inf), "finite"),
    "mixture of other widths": (
        lambda: S.mixture_score(normal(3, 2), W, MEANS, torch.ones(3)),
        "stds has shape",
    ),
    "no draws": (lambda: NET.start(0, 1.0), "n is 0"),
    "score changes the shape": (
        lambda: S.score_trace(lambda x: x.sum(-1), normal(3, 2)),
        "score gave shape",
    ),
    "noise of another shape": (
        lambda: S.denoising_score_matching(bell, normal(3, 2), 1.0, normal(3, 1)),
        "noise has",
    ),
    "loss with sigma < 0": (
        lambda: S.denoising_score_matching(bell, normal(3, 2), -1.0, normal(3, 2)),
        "sigma spans",
    ),
    "net without data": (lambda: S.ScoreNet(normal(1, 2)), "data has shape"),
    "net with flat data": (lambda: S.ScoreNet(normal(9)), "data has shape"),
    "net at sigma 0": (lambda: S.ScoreNet(normal(9, 2))(normal(3, 2), 0.0), "sigma spans 0"),
    "low above high": (
        lambda: S.train_score(S.ScoreNet(normal(9, 2)), normal(9, 2), 2.0, 1.0),
        "low and high",
    ),
    "no steps": (
        lambda: S.train_score(S.ScoreNet(normal(9, 2)), normal(9, 2), 1.0, 2.0, steps=0),
        "steps is 0; it must be a whole number ≥ 1",
    ),
    "ladder upwards": (lambda: S.sigma_ladder(1, 2, 5), "high, low and n"),
    "ladder to 0": (lambda: S.sigma_ladder(1, 0, 5), "high, low and n"),
    "ladder of one": (lambda: S.sigma_ladder(1, 0.1, 1), "n is 1; it must be a whole number ≥ 2"),
    "rising levels": (lambda: S.reverse_diffusion(bell, normal(3, 2), [1.0, 2.0]), "sigmas are"),
    "no levels": (lambda: S.annealed_langevin(bell, normal(3, 2), []), "sigmas are"),
    "a negative rate": (
        lambda: S.annealed_langevin(bell, normal(3, 2), [1.0], rate=-0.1),
        "rate is -0.1",
    ),
    "a negative step size": (
        lambda: S.annealed_langevin(bell, normal(3, 2), [1.0], step_size=-0.1),
        "step_size is -0.1",
    ),
    "a negative level": (
        lambda: S.reverse_diffusion(bell, normal(3, 2), [1.0, -0.5]),
        "sigmas are",
    ),
    "step to the same level": (
        lambda: S.reverse_step(normal(2), normal(2), 1.0, 1.0, normal(2)),
        "next_sigma",
    ),
    "step below 0": (
        lambda: S.reverse_step(normal(2), normal(2), 1.0, -0.1, normal(2)),
        "next_sigma",
    ),
    "step by one score for all": (
        lambda: S.reverse_step(normal(3, 2), normal(2), 2.0, 1.0, normal(3, 2)),
        "s has shape",
    ),
    "step with one noise for all": (
        lambda: S.reverse_step(normal(3, 2), normal(3, 2), 2.0, 1.0, normal(1, 2)),
        "noise has shape",
    ),
    "mixture in two places": (
        lambda: S.mixture_score(normal(3, 2), W, MEANS.to("meta"), 0.5),
        "means is on meta and x on cpu",
    ),
    "net trained on wider data": (
        lambda: S.train_score(S.ScoreNet(normal(9, 2)), normal(9, 3), 1.0, 2.0),
        "data has shape .* to go with net",
    ),
    "net made of data without numbers": (
        lambda: S.ScoreNet(normal(9, 2).to("meta")),
        "data is on meta",
    ),
    "draws from rising levels": (lambda: NET.sample(3, [1.0, 2.0]), "sigmas are"),
    "draws from a level below 0": (lambda: NET.start(3, -1.0), "sigma is -1.0"),
    "flow with equal levels": (
        lambda: S.probability_flow(bell, normal(3, 2), [1.0, 1.0]),
        "sigmas are",
    ),
    "scores not square": (lambda: S.info_nce(normal(3, 4)), "scores has shape"),
    "no scores": (lambda: S.info_nce(normal(0, 0)), "scores has shape"),
    "temperature 0": (lambda: S.info_nce(normal(3, 3), 0.0), "temperature is 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


# mixtures


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2,), (7, 2), (3, 4, 2), (0, 2)])
def test_shapes_and_dtypes(shape, dtype):
    x = normal(*shape, dtype=dtype)
    s, log_p = islands(x, 0.3), mixture_log_density(x, W, MEANS, 0.5, 0.3)
    assert s.shape == shape and s.dtype == dtype
    assert log_p.shape == shape[:-1] and log_p.dtype == dtype


def test_widths_and_levels_broadcast():
    x, stds, sigma = normal(6, 2), torch.tensor([0.2, 1.0]), torch.linspace(0.1, 3, 6).double()
    together = S.mixture_score(x, W, MEANS, stds, sigma)
    alone = torch.stack([S.mixture_score(p, W, MEANS, stds, float(s)) for p, s in zip(x, sigma)])
    assert torch.allclose(together, alone)


def test_a_weight_of_zero_is_no_component():
    x = normal(5, 2)
    got = S.mixture_score(x, torch.tensor([1.0, 0.0]), MEANS, 0.5, 0.2)
    assert torch.allclose(got, (MEANS[0] - x) / (0.25 + 0.04), atol=1e-6)


def test_far_away_nothing_overflows():
    x = torch.tensor([[1e4, -1e4], [-1e6, 0.0]])
    assert (
        torch.isfinite(islands(x)).all()
        and torch.isfinite(mixture_log_density(x, W, MEANS, 0.5)).all()
    )


def test_great_noise_sees_one_gaussian():
    "As sigma grows the score tends to −(x − mean)/sigma²."
    x, sigma = 1e3 * normal(20, 2), 1e3
    want = -(x - (W[:, None] * MEANS).sum(0)) / sigma**2
    assert torch.allclose(islands(x, sigma), want, rtol=2e-3, atol=1e-9)


# traces and losses


def test_trace_can_be_trained_through_and_leaves_x_alone():
    A = normal(3, 3).requires_grad_()
    x = normal(5, 3, seed=1)
    s, trace = S.score_trace(lambda y: y @ A, x)
    assert torch.allclose(trace, A.trace().expand(5)) and not x.requires_grad
    trace.sum().backward()
    assert torch.allclose(A.grad, 5 * torch.eye(3).double())


def test_implicit_and_denoising_agree_about_the_best_slope():
    "Both losses of s = −a x on blurred data are quadratics in a with their minimum at 1/variance."
    clean, noise, sigma = normal(4000, 1), normal(4000, 1, seed=1), 0.7
    noisy = clean + sigma * noise
    ism = [S.implicit_score_matching(lambda x, a=a: -a * x, noisy).item() for a in (0.0, 1.0, 2.0)]
    dsm = [
        S.denoising_score_matching(lambda x, s, a=a: -a * x, clean, sigma, noise).item()
        for a in (0.0, 1.0, 2.0)
    ]
    best = [(4 * f[1] - 3 * f[0] - f[2]) / 2 / (2 * f[1] - f[0] - f[2]) for f in (ism, dsm)]
    assert abs(best[0] - 1 / noisy.square().mean().item()) < 1e-6
    assert abs(best[1] - 1 / 1.49) < 0.1


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 1e3])
def test_weighted_loss_of_silence_is_d(sigma):
    "A model that says 0 pays |ε|², whatever sigma: 3 dimensions, 20,000 points, seven standard errors."
    loss = S.denoising_score_matching(
        lambda x, s: 0 * x, normal(20_000, 3), sigma, normal(20_000, 3, seed=2)
    )
    assert abs(loss.item() - 3) < 7 * math.sqrt(6 / 20_000)


def test_loss_hands_each_point_its_level():
    seen = {}

    def model(x, sigma):
        seen["sigma"] = sigma
        return x

    S.denoising_score_matching(
        model, normal(4, 2), torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), normal(4, 2)
    )
    assert seen["sigma"].tolist() == [1, 2, 3, 4]
    S.denoising_score_matching(model, normal(4, 2), 0.5, normal(4, 2))
    assert seen["sigma"].tolist() == [0.5] * 4


# samplers


def test_reverse_process_is_exact_for_a_gaussian_in_small_steps():
    start, ladder = math.sqrt(1 + 100) * normal(20_000, 1), S.sigma_ladder(10, 0.01, 400)
    x = S.reverse_diffusion(bell, start, ladder, generator=generator(3))
    assert abs(x.std().item() - 1) < 0.02 + 6 / math.sqrt(
        40_000
    )  # discretisation, and six standard errors


@pytest.mark.parametrize("sigmas", [[5.0, 0.0], [5.0, 2.0, 0.0], [5.0, 4.9, 0.1, 0.0]])
def test_one_data_point_is_found_in_any_number_of_steps(sigmas):
    point = normal(3, seed=4)
    x = S.reverse_diffusion(
        lambda x, s: (point - x) / s**2, 5 * normal(9, 3), sigmas, generator=generator(5)
    )
    assert torch.allclose(x, point.expand(9, 3), atol=1e-12)


def test_keep_returns_every_state():
    ladder = S.sigma_ladder(3, 0.1, 7)
    for sampler in (S.reverse_diffusion, S.probability_flow):
        states = sampler(bell, normal(4, 2), ladder, keep=True)
        assert states.shape == (7, 4, 2) and torch.equal(states[0], normal(4, 2))


def test_keep_holds_the_start_and_the_last_of_each_level():
    "A chain that is kept is the chain that is walked level by level."
    x, g = normal(4, 2), generator(3)
    states = S.annealed_langevin(bell, x, [2.0, 1.0], steps=3, keep=True, generator=generator(3))
    walked = [x]
    for sigma in (2.0, 1.0):
        walked.append(S.annealed_langevin(bell, walked[-1], [sigma], steps=3, generator=g))
    assert torch.equal(states, torch.stack(walked))


def test_langevin_has_the_unadjusted_bias():
    "One level, one step size: the stationary variance of a unit normal is 1/(1 − η/2)."
    x = S.annealed_langevin(
        lambda x, s: -x, normal(20_000, 1), [1.0], steps=60, step_size=0.5, generator=generator(6)
    )
    assert abs(x.var().item() - 1 / 0.75) < 7 * 1.34 * math.sqrt(2 / 20_000)


def test_rate_means_sigma_squared():
    a = S.annealed_langevin(bell, normal(5, 2), [2.0], steps=3, rate=0.1, generator=generator(7))
    b = S.annealed_langevin(
        bell, normal(5, 2), [2.0], steps=3, step_size=0.4, generator=generator(7)
    )
    assert torch.allclose(a, b)


def test_shares_of_two_modes():
    "The reverse process within .05, the flow within .05, the circulating recipe .58: 20,000 walkers, error .003."
    net = S.ScoreNet(sample_mixture(20_000, W, MEANS, 0.5))
    start, ladder = net.start(20_000, 20, generator=generator(9)), S.sigma_ladder(20, 0.1, 101)
    share = lambda x: (x @ MEANS[0] > 0).float().mean().item()
    assert (
        abs(share(S.reverse_diffusion(islands, start, ladder, generator=generator(10))) - 0.8)
        < 0.05
    )
    assert abs(share(S.probability_flow(islands, start, ladder)) - 0.8) < 0.05
    recipe = S.annealed_langevin(
        islands,
        2 * normal(20_000, 2, dtype=torch.float32),
        [2, 1, 0.5, 0.1],
        step_size=0.01,
        generator=generator(11),
    )
    assert abs(share(recipe) - 0.583) < 0.03


@pytest.mark.parametrize("call", [
    lambda g: NET.start(9, 1.0, generator=g),
    lambda g: NET.sample(9, [2.0, 1.0], generator=g),
    lambda g: S.annealed_langevin(bell, normal(5, 2), [2.0, 1.0], steps=3, generator=g),
    lambda g: S.reverse_diffusion(bell, normal(5, 2), [2.0, 1.0], generator=g),
])  # fmt: skip
def test_a_generator_decides_and_the_global_one_is_untouched(call):
    torch.manual_seed(0)
    call(generator(1))
    before = torch.get_rng_state()
    a, b, c = call(generator(1)), call(generator(1)), call(generator(2))
    assert a.shape == b.shape and not torch.equal(a, c)
    assert torch.equal(a, b) and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("sampler", [S.annealed_langevin, S.reverse_diffusion, S.probability_flow])
def test_samplers_keep_the_dtype_and_refuse_a_score_of_another(sampler):
    for dtype in (torch.float32, torch.float64):
        x = normal(3, 2, dtype=dtype)
        assert sampler(bell, x, [2.0, 1.0]).dtype == dtype
        assert sampler(bell, x, [2.0, 1.0], keep=True)[0].equal(x)
    with pytest.raises(ValueError, match="score is torch.float64 and x is torch.float32"):
        sampler(lambda x, sigma: bell(x, sigma).double(), X, [2.0, 1.0])


def test_a_net_with_a_generator_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    a, b, c = (S.ScoreNet(X, width=4, generator=generator(k)) for k in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.correction.first.weight, b.correction.first.weight)
    assert not torch.equal(a.correction.first.weight, c.correction.first.weight)


def test_samplers_keep_no_graph():
    x = normal(3, 2).requires_grad_()
    assert not S.probability_flow(bell, x, [2.0, 1.0]).requires_grad
    assert not S.reverse_diffusion(bell, x, [2.0, 1.0]).requires_grad


# network


def test_net_starts_as_the_gaussian_and_keeps_dtype():
    data = normal(200, 3) @ normal(3, 3, seed=1)
    net = S.ScoreNet(data, width=8)
    C = torch.cov(data.T) + 0.49 * torch.eye(3)
    x = normal(5, 3, seed=2)
    assert torch.allclose(net(x, 0.7), -(x - data.mean(0)) @ torch.linalg.inv(C), atol=1e-9)
    assert (
        net(x, 0.7).dtype == torch.float64
        and S.ScoreNet(data.float())(x.float(), 0.7).dtype == torch.float32
    )
    assert net(x.reshape(5, 1, 3), torch.full((5, 1), 0.7)).shape == (5, 1, 3)


def test_net_survives_pixels_that_never_change():
    data = torch.cat([normal(50, 2, dtype=torch.float32), torch.ones(50, 3)], 1)
    net = S.ScoreNet(data, width=8)
    losses = S.train_score(net, data, 0.1, 3.0, steps=20, batch=16, generator=generator(0))
    assert all(math.isfinite(v) for v in losses) and torch.isfinite(net(data, 0.01)).all()


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_the_start_has_the_moments_of_noisy_data_and_a_net_without_layers_works():
    "Six standard errors of 40,000 draws; the second axis of the data has no spread at all."
    data = torch.tensor([[-3.0, 1.0], [5.0, 1.0]]).double()
    net = S.ScoreNet(data, depth=0)
    x = net.start(40_000, 2.0, generator=generator(1))
    want = torch.tensor([32.0 + 4.0, 4.0]).double()
    assert ((x.mean(0) - data.mean(0)).abs() < 6 * (want / 40_000).sqrt()).all()
    assert ((x.var(0) - want).abs() < 6 * want * (2 / 40_000) ** 0.5).all()
    assert torch.allclose(net(x, 2.0), -(x - data.mean(0)) / want)


def test_sample_is_start_and_reverse_process_and_a_last_step():
    ladder = S.sigma_ladder(3.0, 0.1, 9)
    g = generator(2)
    x = S.reverse_diffusion(NET, NET.start(5, 3.0, generator=g), ladder, generator=g)
    want = x + 0.1**2 * NET(x, 0.1).detach()
    assert torch.allclose(NET.sample(5, ladder, generator=generator(2)), want, atol=1e-6)


def test_net_state_dict_round_trip():
    data = normal(50, 2)
    a, b = S.ScoreNet(data, width=8), S.ScoreNet(normal(50, 2, seed=3), width=8)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(data, 0.3), b(data, 0.3))


def test_training_is_reproducible_and_one_dimension_works():
    data = torch.cat([normal(300, 1) * 0.2 - 1, normal(300, 1, seed=1) * 0.2 + 1])
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        made.append(S.ScoreNet(data, width=16))
        before = made[-1].state_dict()["correction.first.weight"].clone()
        S.train_score(made[-1], data, 0.1, 5.0, steps=30, batch=32, generator=generator(4))
        assert not torch.equal(before, made[-1].correction.first.weight)
    assert torch.equal(made[0](data, 0.5), made[1](data, 0.5))


# contrast


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 2, 33])
def test_info_nce_is_cross_entropy(size, dtype):
    scores = 50 * normal(size, size, dtype=dtype)
    got = S.info_nce(scores, 0.3)
    assert (
        torch.allclose(got, F.cross_entropy(scores / 0.3, torch.arange(size)))
        and got.dtype == dtype
        and got >= 0
    )


def test_info_nce_ignores_what_depends_on_the_query_only():
    scores = normal(6, 6)
    assert torch.allclose(S.info_nce(scores), S.info_nce(scores + 100 * normal(6, 1, seed=1)))
    assert torch.allclose(S.info_nce(torch.zeros(8, 8)), torch.tensor(math.log(8)))


def test_info_nce_of_huge_scores_has_a_gradient():
    scores = (1e4 * normal(5, 5)).requires_grad_()
    S.info_nce(scores).backward()
    assert torch.isfinite(scores.grad).all()


def _implicit_without_create_graph(score, x):
    x = x.clone().requires_grad_()
    s = score(x)
    parts = [
        torch.autograd.grad(s[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1])
    ]
    return (0.5 * s.square().sum(-1) + sum(parts)).mean()


@torch.no_grad()
def _denoising_without_grad(score, x, sigma, noise):
    return S.denoising_score_matching(score, x, sigma, noise)


@pytest.mark.parametrize("name, answer", [
    ("implicit_score_matching", _implicit_without_create_graph),
    ("implicit_score_matching", lambda score, x: S.implicit_score_matching(score, x).detach()),
    ("denoising_score_matching", _denoising_without_grad)])  # fmt: skip
def test_a_loss_that_cannot_be_trained_with_is_not_right(name, answer):
    verdict = diagnose(name, answer)
    assert verdict.status == "wrong" and "trained" in verdict.hint


# digits


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("width", [0.05, 0.5])
def test_a_mixture_anywhere_is_the_mixture_at_the_origin(offset, width):
    "float32 points and centres; the truth by differences in float64 of the same numbers, to 1e-5."
    w = torch.tensor([0.5, 0.3, 0.2])
    means = (offset + torch.tensor([[0.0, 0.0], [3.0, 1.0], [-2.0, 4.0]])).float()
    x = (means[torch.arange(60) % 3] + 1.5 * width * normal(60, 2)).float()
    away = means.double() - x.double()[:, None]
    var = torch.tensor(width).double() ** 2
    log_f = w.double().log() - away.square().sum(-1) / (2 * var) - (2 * math.pi * var).log()
    score = (log_f.softmax(-1)[..., None] * away / var).sum(1)
    got = S.mixture_score(x, w, means, width)
    assert (
        got.dtype == torch.float32
        and ((got - score).norm(dim=1) <= 1e-5 * (1 + score.norm(dim=1))).all()
    )
    log_p = mixture_log_density(x, w, means, width)
    assert log_p.dtype == torch.float32 and torch.allclose(
        log_p.double(), log_f.logsumexp(-1), rtol=1e-5, atol=1e-5
    )


def test_components_keep_the_points_dtype_and_the_shares():
    x = normal(9, 2, dtype=torch.float32) * 1e3
    log_f, variance = TAUGHT["components"](x, W, MEANS, 0.5)
    exact, _ = mixtures.log_components(x, W, MEANS, 0.5)
    assert log_f.dtype == variance.dtype == torch.float32 and (log_f.amax(-1) == 0).all()
    assert torch.allclose(log_f.softmax(-1).double(), exact.softmax(-1), atol=1e-6)


def test_a_density_can_be_differentiated_twice():
    x = normal(3, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda x: mixture_log_density(x, W.double(), MEANS.double(), 0.9), x
    )


# what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: S.annealed_langevin(lambda x, s: x[:, :1], X, [1.0]), "score gave shape"),
        (lambda: S.reverse_diffusion(lambda x, s: None, X, [2.0, 1.0]), "score gave a NoneType"),
        (lambda: S.probability_flow(bell, X, [1.0, 3.0, 2.0]), "sigmas are"),
        (lambda: S.implicit_score_matching(lambda x: -x, X[:0]), "x is empty"),
        (lambda: S.denoising_score_matching(bell, X[:0], 1.0, X[:0]), "x is empty"),
        (lambda: S.info_nce(normal(3, 3) * 1e30, 1e-300), "temperature is 1e-300"),
        (lambda: S.train_score(torch.nn.Identity(), X, 0.1, 1.0), "net has no parameters"),
        (lambda: S.train_score(NET, X.double(), 0.1, 1.0), "data is torch.float64"),
    ],
)
def test_what_would_go_wrong_silently_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_training_that_diverges_stops_at_once():
    "The first loss that is no number ends it, in words, and the weights are still numbers."
    net = S.ScoreNet(X, width=8)
    with pytest.raises(
        ValueError, match=r"lr is 1e\+38 and training diverged: the loss of step \d+ is (nan|inf)"
    ):
        S.train_score(net, X, 0.1, 3.0, steps=2000, batch=8, lr=1e38, generator=generator(0))


@pytest.mark.parametrize("f", [
    lambda x: S.mixture_score(x, W, MEANS, 0.9, 0.3),
    lambda x: S.reverse_step(x, -x, 2.0, 1.0, x), lambda x: NET(x, 0.5)])  # fmt: skip
def test_vmap_grad_and_compile(f):
    want = f(X)
    assert torch.allclose(torch.func.vmap(f)(X), want, atol=1e-5)
    assert torch.allclose(torch.compile(f, backend="eager", fullgraph=True)(X), want, atol=1e-5)
    assert torch.func.grad(lambda x: f(x).sum())(X).isfinite().all()


# labels, energies, copies


def test_a_label_matters_and_the_last_one_means_unknown():
    net = S.ScoreNet(X, width=4, classes=3)
    with torch.no_grad():
        net.correction.last.weight.normal_(generator=generator(1))
        net.correction.labels.weight[:3].normal_(generator=generator(2))
    plain = net(X, 0.5)
    assert torch.allclose(plain, net(X, 0.5, torch.full((6,), 3)))
    assert (plain - net(X, 0.5, torch.zeros(6).long())).abs().max() > 1e-3
    for label, message in (
        (torch.full((6,), 4), "label"),
        (torch.zeros(6), "label"),
        (2, "label"),
        (torch.zeros(5).long(), "label"),
    ):
        with pytest.raises(ValueError, match=message):
            net(X, 0.5, label)
    with pytest.raises(ValueError, match="knows no classes"):
        NET(X, 0.5, torch.zeros(6).long())


def test_the_mean_of_the_weights_is_kept():
    "With average 0 the last weights stay; the mean lags behind a parameter that moves one way."
    ends = []
    for average in (0.0, 0.9):
        net = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(net.weight)
        losses = nets.fit_averaged(
            net, lambda: (net.weight - 100).square().sum(), steps=200, lr=0.1, average=average
        )
        assert losses[0] == 10_000 and losses[-1] < losses[0]
        ends.append(net.weight.item())
    assert ends[1] < ends[0]


@pytest.mark.parametrize("size, energy", [(0.0, True), (1e-5, True), (0.02, False), (1.0, False)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_field_that_turns_has_no_energy(size, energy, dtype):
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=dtype)
    field = lambda x: -torch.tanh(x) + size * x @ turn
    assert S.has_energy(field, normal(5, 2, dtype=dtype)) is energy


def test_a_constant_field_and_a_field_without_graph_have_an_energy():
    assert S.has_energy(lambda x: torch.ones_like(x) + 0 * x, normal(3, 2))
    assert S.has_energy(lambda x: x * 0, normal(3, 2))
    assert S.has_energy(torch.ones_like, normal(3, 2))
    with pytest.raises(RuntimeError):
        S.has_energy(torch.detach, normal(3, 2))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.49, 1.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_copies_are_counted(share, scale):
    "400 drawings in 12 dimensions; honest ones in the tail: 1% ± .5%, six standard errors."
    training, unseen, drawn = (normal(n, 12, seed=k) for k, n in enumerate((500, 500, 400)))
    drawn[: int(share * 400)] = training[: int(share * 400)] + 0.01 * normal(
        int(share * 400), 12, seed=4
    )
    got = S.copied_share(scale * drawn, scale * training, scale * unseen)
    assert abs(got - share) < 0.04


def test_twins_in_the_training_set_do_not_break_the_count():
    training, unseen = normal(300, 5), normal(200, 5, seed=1)
    got = S.copied_share(training, torch.cat([training, training]), unseen)
    assert 0 <= got <= 1
