"""Chapter 10: bounds that hold everywhere, descents that never climb, plans against enumeration, a peer, bad input."""

import itertools
import math

import pytest
import torch
from shared_checks import generator, transforms
from torch import Tensor

from silen_lib import free_energy as E


def simplex(*shape, seed=0, dtype=torch.float64):
    return (2 * torch.randn(*shape, generator=generator(seed), dtype=dtype)).softmax(-1)


def random_model(n_outcomes=3, n_states=4, n_actions=2, seed=0):
    A = simplex(n_states, n_outcomes, seed=seed).T.contiguous()
    B = simplex(n_actions, n_states, n_states, seed=seed + 1).mT.contiguous()
    return E.DecisionModel(
        A, B, simplex(n_outcomes, seed=seed + 2).log(), simplex(n_states, seed=seed + 3)
    )


# the functional


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_free_energy_bounds_the_surprise(dtype):
    log_joint = 5 * torch.randn(200, 6, generator=generator(1), dtype=dtype)
    surprise = -log_joint.logsumexp(-1)
    free = E.variational_free_energy(simplex(200, 6, seed=2, dtype=dtype), log_joint)
    assert free.dtype == dtype and bool((free >= surprise - 1e-4).all())
    torch.testing.assert_close(
        E.variational_free_energy(log_joint.softmax(-1), log_joint), surprise
    )


def test_certain_and_impossible():
    q = torch.cat([torch.eye(2), torch.full((1, 2), 0.5)])
    free = E.variational_free_energy(q, torch.tensor([-1.0, -math.inf]))
    assert free.tolist() == [1.0, math.inf, math.inf]


def test_gradient_is_finite_at_a_certain_belief():
    logits = torch.tensor([200.0, 0.0, -200.0], requires_grad=True)
    E.variational_free_energy(logits.softmax(-1), torch.tensor([-3.0, -1.0, -2.0])).backward()
    assert bool(logits.grad.isfinite().all())


# mixtures


@pytest.mark.parametrize("dim, k", [(1, 1), (1, 4), (3, 2), (5, 3)])
def test_em_never_climbs(dim, k):
    x = torch.randn(60, dim, generator=generator(dim), dtype=torch.float64) * 2
    r, last = simplex(60, k, seed=k), math.inf
    for _ in range(15):
        mixture = E.GaussianMixture.m_step(x, r, ridge=0.0)
        after_m = mixture.mean_free_energy(x, r).item()
        r = mixture.log_joint(x).softmax(-1)
        after_e = mixture.mean_free_energy(x, r).item()
        assert after_m <= last + 1e-9 and after_e <= after_m + 1e-9
        assert abs(after_e + mixture.log_joint(x).logsumexp(-1).mean().item()) < 1e-9
        last = after_e


def test_one_component_is_the_sample_moments():
    x = torch.randn(40, 3, generator=generator(0), dtype=torch.float64)
    weights, means, covariances = E.GaussianMixture.m_step(
        x, torch.ones(40, 1, dtype=torch.float64), ridge=0.0
    )
    torch.testing.assert_close((weights, means[0]), (torch.ones(1, dtype=torch.float64), x.mean(0)))
    torch.testing.assert_close(covariances[0], torch.cov(x.T, correction=0))


def test_an_empty_component_stays_finite():
    x = torch.randn(10, 2, generator=generator(0), dtype=torch.float64)
    r = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(10, 2)
    assert all(bool(t.isfinite().all()) for t in E.GaussianMixture.m_step(x, r))


def test_responsibilities_survive_underflow():
    r = E.mixture_responsibilities(torch.tensor([[-1e5, -1e5 - 1]]), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(r, torch.tensor([[1.0, math.exp(-1)]]) / (1 + math.exp(-1)))


# autoencoder


def test_reparameterised_samples_have_their_law():
    n = 100_000
    mean, log_var = torch.full((n,), 2.0), torch.full((n,), math.log(9.0))
    z = E.VAE(4).draw_latent(mean, log_var, generator=generator(5)).double()
    assert abs(z.mean() - 2) < 6 * 3 / n**0.5 and abs(z.var() - 9) < 6 * 9 * (2 / n) ** 0.5


def test_generators_repeat_and_leave_the_global_one_alone():
    state = torch.get_rng_state()
    x = (torch.rand(20, 12, generator=generator(0)) < 0.5).float()
    runs = []
    for _ in range(2):
        vae = E.VAE(12, 2, 8, generator=generator(1))
        runs.append(
            (
                E.fit_vae(vae, x, 2, 7, generator=generator(2)),
                vae.elbo(x, generator=generator(3)).tolist(),
            )
        )
    net = E.PredictiveCodingNetwork([3, 2], generator=generator(0))
    E.run_agent(E.DecisionModel.t_maze(), 0, generator=generator(4))
    assert runs[0] == runs[1] and len(net.W) == 1
    vae.importance_bound(x, 3, generator=generator(3))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture(scope="module")
def small_vae():
    x = (torch.rand(300, 10, generator=generator(6)) < torch.linspace(0.1, 0.9, 10)).float()
    vae = E.VAE(10, 1, 16, generator=generator(7))
    E.fit_vae(vae, x, 15, 50, 1e-2, generator=generator(8))
    return vae, x


def test_bounds_stand_in_order(small_vae):
    vae, x = small_vae
    with torch.no_grad():
        exact = vae.log_evidence(x, 400, 8.0)
        k1, k20 = (
            torch.stack(
                [vae.importance_bound(x, k, generator=generator(s)) for s in range(60)]
            ).mean(0)
            for k in (1, 20)
        )
        elbo = torch.stack([vae.elbo(x, generator=generator(s)) for s in range(60)]).mean(0)
    assert elbo.mean() < k20.mean() < exact.mean() + 0.02
    assert abs(elbo.mean() - k1.mean()) < 0.05


def test_evidence_sums_to_one():
    vae = E.VAE(6, 2, 8, generator=generator(9))
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))
    with torch.no_grad():
        assert abs(vae.log_evidence(every, 121, 6.0).logsumexp(0)) < 1e-3


def test_a_tuned_belief_is_nearer_and_weights_average_to_the_bound(small_vae):
    vae, x = small_vae
    with torch.no_grad():
        tuned = vae.tuned_belief(x, generator=generator(1))
        exact = vae.log_evidence(x, 400, 8.0)
        guessed, better = (
            (exact - vae.log_weights(x, 3000, belief, generator=generator(2)).mean(0)).mean()
            for belief in (None, tuned)
        )
        weights = vae.log_weights(x, 7, generator=generator(3))
        bound = vae.importance_bound(x, 7, generator=generator(3))
    assert -0.005 < better < guessed
    torch.testing.assert_close(bound, weights.logsumexp(0) - math.log(7))


def test_the_gap_of_a_gaussian_belief_is_its_divergence():
    belief, posterior = torch.distributions.Normal(0.3, 0.8), torch.distributions.Normal(0.0, 1.0)
    z = 0.3 + 0.8 * torch.randn(400_000, generator=generator(5))
    gap = E.evidence_gap(posterior.log_prob(z) - belief.log_prob(z) - 4)
    assert abs(gap - torch.distributions.kl_divergence(belief, posterior)) < 0.01


# predictive coding


@pytest.mark.parametrize("sign, arrives", [(1, True), (-1, False)])
def test_settling_arrives_and_with_reversed_drives_it_does_not(sign, arrives, monkeypatch):
    right = E.pc_drive
    monkeypatch.setattr(E, "pc_drive", lambda *layer: sign * right(*layer))
    double = torch.float64
    net = E.PredictiveCodingNetwork([4, 5, 3], 0.5, 1.0, dtype=double, generator=generator(1))
    x = [torch.randn(6, n, generator=generator(n), dtype=double) for n in net.sizes]
    settled, trace = net.infer(x, [0, 1], 300)
    assert bool((trace.diff(dim=0) <= 0).all())  # whatever the drives are
    assert bool(net.unrest(settled, [0, 1]).max() < 1e-3) == arrives


@pytest.mark.parametrize("activation", ["tanh", "linear"])
@pytest.mark.parametrize("top_variance", [2.0, math.inf])
def test_drives_are_minus_the_gradient(activation, top_variance):
    net = E.PredictiveCodingNetwork(
        [4, 5, 2, 3],
        0.3,
        top_variance,
        activation=activation,
        dtype=torch.float64,
        generator=generator(1),
    )
    x = [
        torch.randn(6, n, generator=generator(n), dtype=torch.float64, requires_grad=True)
        for n in net.sizes
    ]
    for drive, grad in zip(net.drives(x), torch.autograd.grad(net.energy(x).sum(), x)):
        torch.testing.assert_close(drive, -grad)


@pytest.mark.parametrize("step", [1e-6, 0.2, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_settling_never_climbs(step, dtype):
    for seed in range(5):
        net = E.PredictiveCodingNetwork(
            [6, 8, 8, 4], 0.01, 1.0, dtype=dtype, generator=generator(seed)
        )
        x = [3 * torch.randn(7, n, generator=generator(seed + n), dtype=dtype) for n in net.sizes]
        settled, trace = net.infer(x, [0, 1, 2], 80, step=step)
        assert bool((trace.diff(dim=0) <= 0).all()) and trace.shape == (81, 7)
        torch.testing.assert_close(trace[-1], net.energy(settled))
        assert torch.equal(settled[3], x[3]) and settled[0].dtype == dtype


def test_what_is_observed_stays():
    net = E.PredictiveCodingNetwork([2, 5], generator=generator(0))
    x = [torch.zeros(3, 2), torch.randn(3, 5, generator=generator(1))]
    seen = torch.tensor([True, False, True, False, False])
    settled, _ = net.infer(x, [0, 1], 300, observed=seen)
    assert torch.equal(settled[1][:, seen], x[1][:, seen])
    torch.testing.assert_close(
        settled[1][:, ~seen], net.predictions(settled)[1][:, ~seen], atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("sizes", [[8, 6, 3], [8, 6, 6, 3], [8, 6, 6, 6, 6, 3]])
def test_the_limit_is_backpropagation(sizes):
    net = E.PredictiveCodingNetwork(sizes, 1e3, dtype=torch.float64, generator=generator(2))
    top, target = (torch.randn(20, n, generator=generator(n), dtype=torch.float64) for n in (8, 3))
    settled, _ = net.infer([*net.forward(top)[:-1], target], range(1, len(sizes) - 1), 400)
    for ours, theirs in zip(net.weight_gradients(settled)[0], net.backprop_gradients(top, target)):
        assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), 0) > 0.999
        torch.testing.assert_close(1e3 * ours, theirs, atol=5e-3, rtol=5e-2)


def test_learning_lowers_the_settled_energy():
    net = E.PredictiveCodingNetwork([3, 4, 5], 0.5, generator=generator(3))
    x = [torch.randn(30, n, generator=generator(n)) for n in net.sizes]
    before = net.infer(x, [1], 60)[1][-1].mean()
    for _ in range(20):
        net.learn(net.infer(x, [1], 30)[0], 0.02)
    assert net.infer(x, [1], 60)[1][-1].mean() < before
    norm = net.W[0].norm().item()
    net.learn(net.forward(x[0]), 0.1, decay=0.5)
    assert abs(net.W[0].norm().item() - norm / 2) < 1e-4


# planning


def trajectories(m, policy):
    "G by listing every state and outcome of every step."
    total, belief = 0.0, m.D
    for a in policy:
        belief = m.B[a] @ belief
        joint = m.A * belief
        predicted = joint.sum(1)
        for o, s in itertools.product(range(len(m.C)), range(len(belief))):
            p = joint[o, s].item()
            total += (
                p * (math.log(predicted[o]) - m.C[o].item() - math.log(m.A[o, s])) if p > 0 else 0
            )
    return total


@pytest.mark.parametrize("seed", range(5))
def test_policies_against_enumeration(seed):
    m = random_model(seed=10 * seed)
    policies = torch.tensor(list(itertools.product(range(2), repeat=3)))
    efe = E.expected_free_energy(m, policies)
    listed = [trajectories(m, p) for p in policies.tolist()]
    torch.testing.assert_close(efe.G, torch.tensor(listed, dtype=torch.float64))
    torch.testing.assert_close(
        (efe.risk + efe.ambiguity, -efe.epistemic - efe.pragmatic), (efe.G, efe.G)
    )
    assert bool((efe.risk >= 0).all() and (efe.epistemic >= -1e-12).all())


def reacting_plans(m, belief, depth):
    "The best G over all decision trees, each scored by walking it; no minimum inside the recursion."

    def trees(d):
        if d == 0:
            return [None]
        kids = list(itertools.product(trees(d - 1), repeat=len(m.C)))
        return [(a, k) for a in range(len(m.B)) for k in kids]

    def score(tree, b):
        if tree is None:
            return 0.0
        s = m.B[tree[0]] @ b
        joint = m.A * s
        p = joint.sum(1)
        risk, ambiguity = E.risk_and_ambiguity(s, m.A, m.C)
        rest = sum(q * score(t, j / q) for q, t, j in zip(p.tolist(), tree[1], joint) if q > 0)
        return (risk + ambiguity).item() + rest

    return min(score(t, belief) for t in trees(depth))


@pytest.mark.parametrize(
    "shape, depth", [((2, 3, 2), 1), ((2, 3, 2), 3), ((3, 4, 2), 2), ((2, 2, 3), 2)]
)
def test_reacting_plans_against_all_trees(shape, depth):
    m = random_model(*shape, seed=3)
    best = m.plan_values(m.D, depth).min().item()
    assert abs(best - reacting_plans(m, m.D, depth)) < 1e-10


def test_plans_take_batches_and_know_the_fixed_policies():
    m = random_model(seed=5)
    beliefs = simplex(2, 3, 4, seed=6)
    batch = m.plan_values(beliefs, 2)
    torch.testing.assert_close(batch[1, 2], m.plan_values(beliefs[1, 2], 2))
    fixed = E.expected_free_energy(m, torch.arange(2)[:, None], beliefs[0, 0]).G
    torch.testing.assert_close(m.plan_values(beliefs[0, 0], 1), fixed)


def test_single_precision_plans():
    m = E.DecisionModel.t_maze(0.9, 1.0, 0.3)
    single = E.DecisionModel(*(t.float() for t in m))
    values = single.plan_values(single.D, 3)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), m.plan_values(m.D, 3), atol=1e-4, rtol=1e-4)


def test_fixed_policies_ignore_the_stake():
    policies = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    h = lambda x: -x * math.log(x) - (1 - x) * math.log(1 - x)
    for r, p, c in itertools.product([0.6, 0.85, 0.97], [0.7, 0.9], [0.1, 5.0]):
        for side in (-1e-4, 1e-4):
            best = E.expected_free_energy(
                E.DecisionModel.t_maze(r, c, h(p) - h(r) + side, cheese=p), policies
            ).G.argmin()
            assert (policies[best][0].item() == 1) == (side < 0)


def test_agents_win_as_often_as_they_should():
    m, n = E.DecisionModel.t_maze(0.9, 2.0, 0.1, cheese=0.8), 300
    wins = sum(E.run_agent(m, k % 2, generator=generator(k))[-1][1] == 3 for k in range(n))
    rho = 0.9 * 0.8 + 0.1 * 0.2
    assert abs(wins / n - rho) < 6 * (rho * (1 - rho) / n) ** 0.5


def test_information_is_symmetric_and_bounded():
    s, A = simplex(50, 4, seed=1), simplex(4, 3, seed=2).T.contiguous()
    gain = E.information_gain(s, A)
    joint = s[:, None] * A
    o = joint.sum(-1, keepdim=True)
    torch.testing.assert_close(gain, (joint * (joint / (o * s[:, None])).log()).sum((1, 2)))
    entropy = -(s * s.log()).sum(-1)
    assert bool((gain >= -1e-12).all() and (gain <= entropy + 1e-12).all())
    assert E.information_gain(s, torch.eye(4, dtype=torch.float64)).allclose(entropy)


def test_pymdp_agrees():
    control = pytest.importorskip("pymdp.control", reason="pymdp is a peer, not a dependency")
    from pymdp import utils

    for m in (
        E.DecisionModel.t_maze(0.9, 1.5, 0.2),
        E.DecisionModel.t_maze(0.7, 3.0),
        random_model(4, 5, 3, seed=8),
    ):
        A, B, C, qs = (utils.obj_array(1) for _ in range(4))
        A[0], B[0], C[0], qs[0] = (
            m.A.numpy(),
            m.B.permute(1, 2, 0).numpy(),
            m.C.numpy(),
            m.D.numpy(),
        )
        policies = torch.cartesian_prod(*[torch.arange(len(m.B))] * 2)
        _, minus_G = control.update_posterior_policies(
            qs, A, B, C, [p[:, None] for p in policies.numpy()]
        )
        ours = E.expected_free_energy(m, policies)
        torch.testing.assert_close(
            ours.G, -torch.as_tensor(minus_G, dtype=torch.float64), atol=1e-6, rtol=1e-6
        )


# bad input

maze = E.DecisionModel.t_maze()
net = E.PredictiveCodingNetwork([3, 2])
BAD = {
    "q must sum to 1": lambda: E.variational_free_energy(torch.tensor([0.5, 0.2]), torch.zeros(2)),
    "q holds negative": lambda: E.variational_free_energy(torch.tensor([1.5, -0.5]), torch.zeros(2)),
    "NaN": lambda: E.variational_free_energy(torch.tensor([math.nan, 1.0]), torch.zeros(2)),
    "floating": lambda: E.variational_free_energy(torch.tensor([1, 0]), torch.zeros(2)),
    "q is a list": lambda: E.variational_free_energy([1.0], torch.zeros(1)),
    "N rows": lambda: E.GaussianMixture.m_step(torch.zeros(4, 2), torch.ones(3, 1)),
    "log_density has shape": lambda: E.mixture_responsibilities(torch.zeros(4, 3), torch.tensor([0.5, 0.5])),
    "it must be that of mean": lambda: E.gaussian_kl(torch.zeros(2), torch.zeros(3)),
    "n_latent is 0": lambda: E.VAE(4, 0),
    "x has shape (2, 3); its last dimension must be 4": lambda: E.fit_vae(E.VAE(4), torch.zeros(2, 3)),
    "n_samples is 0": lambda: E.VAE(4).importance_bound(torch.zeros(1, 4), 0),
    "at most 2": lambda: E.VAE(4, 3).log_evidence(torch.zeros(1, 4)),
    "at least two layers": lambda: E.PredictiveCodingNetwork([3]),
    "output_variance is 0.0; it must be a finite number > 0": lambda: E.PredictiveCodingNetwork([3, 2], 0.0),
    "activation is": lambda: E.PredictiveCodingNetwork([3, 2], activation="relu"),
    "top has shape": lambda: net.forward(torch.zeros(1, 2)),
    "x has shapes": lambda: net.infer([torch.zeros(1, 3)], [0]),
    "x has shapes [(1, 3), (2, 2)]": lambda: net.infer([torch.zeros(1, 3), torch.zeros(2, 2)], [0]),
    "free is": lambda: net.infer(net.forward(torch.zeros(1, 3)), [2]),
    "states is (2,) and A (3, 3)": lambda: E.risk_and_ambiguity(torch.ones(2) / 2, torch.eye(3), torch.zeros(3)),
    "states is": lambda: E.information_gain(torch.ones(2) / 2, torch.eye(3)),
    "reliability is 1.2": lambda: E.DecisionModel.t_maze(1.2),
    "policies is of dtype torch.float32": lambda: E.expected_free_energy(maze, torch.zeros(1, 2)),
    "belief must sum to 1": lambda: E.expected_free_energy(maze, torch.tensor([[0]]), maze.D * 2),
    "policies holds 4 … 4": lambda: E.expected_free_energy(maze, torch.tensor([[4]])),
    "A must sum to 1 along axis 0": lambda: E.expected_free_energy(maze._replace(A=maze.A / 2), torch.tensor([[0]])),
    "(O, S), (U, S, S)": lambda: E.expected_free_energy(maze._replace(C=maze.C[:2]), torch.tensor([[0]])),
    "outcome 3 has probability 0": lambda: maze.belief_after(maze.D, 3),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_bad_input_names_the_argument(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert message in str(error.value)


def test_names_are_documented():
    for name in E.__all__:
        thing = getattr(E, name)
        assert isinstance(thing, (tuple, Tensor)) or thing.__doc__, name


LOGS = {
    "log_joint": lambda x: E.variational_free_energy(torch.full((1, 2), 0.5), x),
    "log_density": lambda x: E.mixture_responsibilities(x, torch.full((2,), 0.5)),
    "log_preference": lambda x: E.risk_and_ambiguity(torch.ones(1), torch.full((2, 1), 0.5), x),
}


@pytest.mark.parametrize("name", LOGS)
def test_logarithms_may_be_minus_infinity_and_nothing_worse(name):
    logs = torch.tensor([-1.0, -math.inf])
    logs = logs if name == "log_preference" else logs[None]
    LOGS[name](logs)
    for wrong in (
        logs * math.nan,
        -logs,
        logs.half(),
        logs.to("meta"),
        logs.numpy(),
        logs.int(),
        logs[:0],
        None,
    ):
        with pytest.raises((ValueError, TypeError) if wrong is None else ValueError, match=name):
            LOGS[name](wrong)


METHODS = ["predictions", "errors", "energy", "drives", "weight_gradients"]


@pytest.mark.parametrize("method", [*METHODS, "infer", "learn"])
def test_values_of_layers_are_looked_at(method):
    nn = E.PredictiveCodingNetwork([3, 4, 2], generator=generator(3))
    call = getattr(nn, method)
    more = dict(infer=([1],), learn=(0.1,)).get(method, ())
    x = nn.forward(torch.ones(2, 3))
    call(x, *more)
    bad = [
        x[:2],
        [*x[:2], x[2][:1]],
        [*x[:2], x[2] * math.nan],
        [x[0].double(), *x[1:]],
        [x[0].numpy(), *x[1:]],
    ]
    for wrong in [*bad, [x[0].to("meta"), *x[1:]], x[0], None, 3]:
        with pytest.raises(ValueError, match=r"\bx\b"):
            call(wrong, *more)


# forbidden outcomes, divergence, transforms


def forbidden_model():
    "Two actions; the second may lead to an outcome of preference −∞, the first cannot."
    A = torch.tensor([[0.6, 0.1], [0.4, 0.5], [0.0, 0.4]], dtype=torch.float64)
    B = torch.stack(
        [torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])]
    ).double()
    return E.DecisionModel(A, B, torch.tensor([math.log(0.8), math.log(0.2), -math.inf]).double(),
                           torch.tensor([0.5, 0.5], dtype=torch.float64))  # fmt: skip


def test_a_forbidden_outcome_costs_infinity_and_only_where_it_can_come():
    m = forbidden_model()
    efe = E.expected_free_energy(m, torch.tensor([[0], [1]]))
    assert not any(bool(x.isnan().any()) for x in efe)
    assert efe.pragmatic[0].item() == pytest.approx(0.6 * math.log(0.8) + 0.4 * math.log(0.2))
    assert efe.pragmatic[1] == -math.inf and efe.G[1] == math.inf
    assert efe.G[0].item() == pytest.approx(-(efe.epistemic[0] + efe.pragmatic[0]).item())
    for depth in (1, 2, 3):
        values = m.plan_values(m.D, depth)
        assert math.isfinite(values[0]) and values[1] == math.inf
        assert values[0].item() == pytest.approx(reacting_plans(m, m.D, depth))
    assert [a for a, _, _ in E.run_agent(m, 1, 3, generator=generator(0))] == [0, 0, 0]
    assert m.plan_values(m.D, 2, curiosity=0.0)[1] == math.inf


def test_the_impossible_leaves_gradients_finite():
    q = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    minus = torch.tensor([-1.0, -math.inf], dtype=torch.float64)
    free = E.variational_free_energy(q, minus)
    assert bool(torch.autograd.grad(free, q)[0].isfinite().all())


@pytest.mark.parametrize("lr", [1e30, 3e37])
def test_a_diverging_autoencoder_says_so(lr):
    x = (torch.rand(40, 9, generator=generator(0)) < 0.5).float()
    with pytest.raises(FloatingPointError, match="smaller lr"):
        E.fit_vae(E.VAE(9, 2, 8, generator=generator(1)), x, 20, 10, lr, generator=generator(2))


def test_a_network_whose_weights_require_grad_learns():
    nn = E.PredictiveCodingNetwork([3, 4, 2], generator=generator(3))
    for W in nn.W:
        W.requires_grad_()
    before = [W.detach().clone() for W in nn.W]
    x = nn.forward(torch.ones(2, 3))
    x[-1] = torch.zeros(2, 2)
    nn.learn(x, 0.1)
    assert any(not torch.equal(W, b) for W, b in zip(nn.W, before))


def transformed():
    q, logs, m = simplex(3, 2), torch.zeros(3, 2, dtype=torch.float64) - 1, forbidden_model()
    vae = E.VAE(5).double()
    v = torch.ones(3, 5, dtype=torch.float64)
    return {
        "variational_free_energy": (E.variational_free_energy, (q, logs)),
        "mixture_responsibilities": (lambda d: E.mixture_responsibilities(d, m.D).sum(-1), (logs,)),
        "gaussian_kl": (E.gaussian_kl, (logs, logs)),
        "risk_and_ambiguity": (
            lambda s: E.risk_and_ambiguity(s, m.A, m.A[:, 0].log_softmax(0))[0],
            (q,),
        ),
        "information_gain": (lambda s: E.information_gain(s, m.A), (q,)),
        "VAE.encode": (lambda x: vae.encode(x)[0].sum(-1), (v,)),
    }


@pytest.mark.parametrize("name", transformed())
def test_transforms_see_through_the_checks(name):
    "vmap, func.grad and compile in one graph: the values are not looked at there."
    transforms(*transformed()[name], tolerance=None)
