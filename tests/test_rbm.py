"""silen_lib.rbm: identities against enumeration, samplers against their laws, the trainer against its formula,
AIS over hundreds of machines, bad input, dtypes, batches, devices, and state that survives a round trip.

Statistical tests either use fixed generators or tolerances with a false alarm below 1e-6."""

import copy
import inspect
import itertools
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from shared_checks import generator, transforms

from silen_lib import rbm as R
from silen_lib.coins import Coins
from silen_lib.contrast import ais_increment
from silen_lib.data import bars_and_stripes
from silen_lib.exercises import verify
from silen_lib.mnist_rbm import ProductionRBM

EXERCISES = [
    "rbm_energy",
    "block_gibbs",
    "rbm_free_energy",
    "rbm_log_partition",
    "cd_gradient",
    "likelihood_gain",
    "trust_ais",
]
DTYPES = [torch.float32, torch.float64]
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def machine(n_visible, n_hidden, scale=1.0, seed=0, dtype=torch.float64, device="cpu"):
    g, rbm = (
        generator(seed),
        R.RBM(n_visible, n_hidden, device, dtype=dtype, generator=generator(0)).requires_grad_(
            False
        ),
    )
    for p in rbm.parameters():
        p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64) * scale)
    return rbm


def bits(*shape, seed=0, dtype=torch.float64):
    return (torch.rand(shape, generator=generator(seed)) < 0.5).to(dtype)


def joint(rbm):
    "Energies of all pairs of states, by loops over units."
    W, a, b = rbm.W.tolist(), rbm.a.tolist(), rbm.b.tolist()
    rows = itertools.product(*[(0, 1)] * len(a)), list(itertools.product(*[(0, 1)] * len(b)))
    return torch.tensor(
        [
            [
                -sum(x * y for x, y in zip(v, a))
                - sum(x * y for x, y in zip(h, b))
                - sum(v[i] * W[i][j] * h[j] for i in range(len(a)) for j in range(len(b)))
                for h in rows[1]
            ]
            for v in rows[0]
        ],
        dtype=torch.float64,
    )


def codes(v):
    return (v.double() @ 2.0 ** torch.arange(v.shape[-1] - 1, -1, -1, dtype=torch.float64)).long()


def within(counts, p, sigmas=6.0, slack=0.0):
    "Every frequency within six standard deviations (and 8/n for rare states) of its probability."
    n = counts.sum()
    return bool(((counts / n - p).abs() < sigmas * (p * (1 - p) / n).sqrt() + 8 / n + slack).all())


# exercises


@pytest.mark.parametrize("name", EXERCISES)
def test_every_known_mistake_earns_its_own_hint(name):
    assert verify(name) == []


# exact quantities


@pytest.mark.parametrize("n_visible, n_hidden", [(1, 1), (3, 2), (2, 5), (4, 4)])
def test_everything_against_enumeration(n_visible, n_hidden):
    rbm = machine(n_visible, n_hidden, seed=n_visible)
    v, h, E = (
        R.all_states(n_visible, torch.float64),
        R.all_states(n_hidden, torch.float64),
        joint(rbm),
    )
    p = torch.softmax(-E.flatten(), 0).view_as(E)
    torch.testing.assert_close(rbm.energy(v[:, None], h), E)
    torch.testing.assert_close(rbm.free_energy(v), -torch.logsumexp(-E, 1))
    torch.testing.assert_close(rbm.hidden_probability(v), p @ h / p.sum(1, keepdim=True))
    torch.testing.assert_close(rbm.visible_probability(h), p.T @ v / p.sum(0)[:, None])
    log_Z = torch.logsumexp(-E.flatten(), 0).item()
    assert rbm.log_partition() == pytest.approx(log_Z, abs=1e-10)
    assert R.log_likelihood(rbm, v[:3]) == pytest.approx(
        p.sum(1)[:3].log().mean().item(), abs=1e-10
    )
    assert R.log_likelihood(rbm, v[:3], log_Z=log_Z + 1) == pytest.approx(
        p.sum(1)[:3].log().mean().item() - 1, abs=1e-10
    )


@pytest.mark.parametrize("n_visible, n_hidden", [(16, 3), (3, 16), (15, 15), (17, 20)])
def test_log_partition_in_blocks(n_visible, n_hidden):
    rbm = machine(n_visible, n_hidden, scale=0.3, seed=n_hidden)
    plain = torch.logsumexp(-rbm.free_energy(R.all_states(n_visible, torch.float64)), 0)
    assert rbm.log_partition() == pytest.approx(plain.item(), abs=1e-9)


def test_log_partition_of_the_largest_layer_stays_in_memory():
    rbm = R.RBM(30, 18, weight_std=0.0)
    assert rbm.log_partition() == pytest.approx(48 * math.log(2), abs=1e-9)


def test_log_partition_can_be_differentiated():
    W, a, b = (p.clone().requires_grad_(True) for p in (lambda m: (m.W, m.a, m.b))(machine(4, 16)))
    torch.autograd.gradcheck(lambda *p: R.rbm_log_partition(*p), (W[:, :2], a, b[:2]))
    R.rbm_log_partition(W, a, b).backward()
    assert W.grad.shape == (4, 16) and bool(W.grad.abs().max() > 0)


def test_states_are_counted_with_the_first_unit_highest():
    assert R.all_states(3).tolist()[:3] == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert torch.equal(codes(R.all_states(7)), torch.arange(128))


@pytest.mark.parametrize("lead", [(), (1,), (6,), (2, 3)])
def test_batches_of_any_shape(lead):
    rbm, v, h = machine(5, 3), bits(*lead, 5), bits(*lead, 3, seed=1)
    assert rbm.energy(v, h).shape == rbm.free_energy(v).shape == lead
    assert rbm.sample_hidden(v)[0].shape == (*lead, 3) and rbm.gibbs(v, 2).shape == (*lead, 5)
    assert rbm.sample_visible(h)[1].shape == (*lead, 5)
    if lead == (2, 3):
        torch.testing.assert_close(rbm.free_energy(v)[1, 2], rbm.free_energy(v[1, 2]))
        torch.testing.assert_close(rbm.energy(v, h)[1, 2], rbm.energy(v[1, 2], h[1, 2]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("device", DEVICES)
def test_dtype_and_device_follow_the_model(dtype, device):
    rbm = machine(5, 3, dtype=dtype, device=device)
    v = bits(4, 5, dtype=dtype).to(device)
    for out in (
        rbm.gibbs(v),
        *rbm.sample_hidden(v),
        rbm.free_energy(v),
        rbm.complete(v, torch.tensor([True] * 5).to(device)),
    ):
        assert out.dtype == dtype and out.device.type == device
    trainer = R.Trainer(rbm, 4, data_mean=v.mean(0), generator=generator(0, device))
    trainer.step(v, 0.1)
    assert trainer.X.dtype == dtype and bool(rbm.W.isfinite().all())
    assert math.isfinite(R.ais(rbm, 10, 5, generator=generator(0, device)).log_Z)
    assert rbm.exact_samples(7, generator=generator(0, device)).dtype == dtype


def test_a_constructor_with_a_generator_leaves_the_global_one_alone():
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    a, b = R.RBM(6, 4, generator=generator(1)), R.RBM(6, 4, generator=generator(1))
    assert torch.equal(torch.rand(1), first) and torch.equal(a.W, b.W)
    assert "6 visible, 4 hidden, 34 parameters" in repr(a)


def test_every_sampler_repeats_with_its_generator_and_spares_the_global_one():
    rbm, v = machine(6, 4), bits(8, 6)
    mean, known = v.mean(0), torch.tensor([True, False] * 3)

    def train(g):
        copy = machine(6, 4)
        trainer = R.Trainer(copy, 8, data_mean=mean, generator=g)
        trainer.step(v, 0.1)
        return copy.W

    def cd(g):
        copy = machine(6, 4)
        R.contrastive_divergence(copy, v, generator=g)
        return copy.W

    for draw in (
        lambda g: rbm.gibbs(v, 3, generator=g),
        lambda g: rbm.sample_hidden(v, generator=g)[0],
        lambda g: rbm.complete(v, known, 3, generator=g),
        lambda g: rbm.exact_samples(9, generator=g),
        lambda g: torch.tensor(R.ais(rbm, 9, 5, generator=g)[:2]),
        train,
        cd,
    ):
        torch.manual_seed(1)
        first = torch.rand(1)
        torch.manual_seed(1)
        assert torch.equal(draw(generator(3)), draw(generator(3)))
        assert not torch.equal(draw(generator(3)), draw(generator(4)))
        torch.manual_seed(1)
        draw(generator(3))
        assert torch.equal(torch.rand(1), first)


def test_sampling_keeps_no_graph_but_the_free_energy_has_one():
    rbm, v = R.RBM(6, 4), bits(8, 6, dtype=torch.float32)
    assert not rbm.gibbs(v, 3).requires_grad and not rbm.sample_hidden(v)[1].requires_grad
    rbm.free_energy(v).mean().backward()
    assert rbm.W.grad is not None


# samplers against exact laws


def test_block_gibbs_settles_into_the_exact_law():
    rbm, n = machine(3, 2), 60_000
    p = torch.softmax(-joint(rbm), 1).new_tensor(
        torch.softmax(-rbm.free_energy(R.all_states(3, torch.float64)), 0).tolist()
    )
    chains = rbm.gibbs(bits(n, 3, seed=2), 40)
    assert within(codes(chains).bincount(minlength=8), p)


def test_one_round_has_the_exact_transition_law():
    rbm, n = machine(3, 2, seed=4), 60_000
    J = (-joint(rbm)).exp()
    P = (J / J.sum(1, keepdim=True)) @ (J / J.sum(0)).T
    for start in (0, 5):
        v = R.all_states(3, torch.float64)[start].repeat(n, 1)
        assert within(codes(rbm.gibbs(v)).bincount(minlength=8), P[start])
        assert within(
            codes(rbm.gibbs(v, 3)).bincount(minlength=8), torch.linalg.matrix_power(P, 3)[start]
        )


def test_exact_samples_have_the_exact_law():
    rbm = machine(4, 3, scale=2)
    p = torch.softmax(-rbm.free_energy(R.all_states(4, torch.float64)), 0)
    assert within(codes(rbm.exact_samples(100_000)).bincount(minlength=16), p)


def test_a_persistent_trainer_at_rest_samples_the_model():
    rbm, n = machine(3, 2), 50_000
    trainer = R.Trainer(rbm, 1, k=3, n_chains=n, centred=False)
    before = rbm.W.clone()
    for _ in range(25):
        trainer.step(torch.zeros(1, 3, dtype=torch.float64), 0.0)
    p = torch.softmax(-rbm.free_energy(R.all_states(3, torch.float64)), 0)
    assert torch.equal(rbm.W, before)
    assert within(codes(trainer.X[1 : 1 + n]).bincount(minlength=8), p, slack=1e-4)


def test_completion_has_the_conditional_law_and_keeps_what_is_known():
    rbm, known = machine(4, 3), torch.tensor([True, False, True, False])
    v = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).repeat(60_000, 1)
    out = rbm.complete(v, known, k=40)
    assert torch.equal(out[:, known], v[:, known])
    states = R.all_states(4, torch.float64)
    fits = states[(states[:, 0] == 1) & (states[:, 2] == 0)]
    want = torch.softmax(-rbm.free_energy(fits), 0) @ fits
    assert bool(((out.mean(0) - want).abs() < 6 * 0.5 / 60_000**0.5).all())
    everything = rbm.complete(v[:5], torch.ones(4, dtype=torch.bool), k=1)
    assert torch.equal(everything, v[:5])


# coins


@pytest.mark.parametrize("target", [2**-12, 0.01, 0.3, 0.5, 0.9, 1 - 2**-12])
def test_coins_are_fair_in_each_lane(target):
    n = 200_000
    lanes = Coins().toss_(torch.full((n, 4), target)).mean(0)
    assert bool(
        ((lanes - target).abs() < 6 * (target * (1 - target) / n) ** 0.5 + 2**-17 + 8 / n).all()
    )


def test_coins_do_not_know_each_other():
    n = 400_000
    t = Coins().toss_(torch.full((n, 4), 0.5)) * 2 - 1
    lanes = t.T @ t / n - torch.eye(4)
    assert bool((lanes.abs() < 6 / n**0.5).all())
    flat = t.flatten()
    for lag in (1, 2, 3, 4, 5, 8, 64, 1000):
        assert abs((flat[lag:] * flat[:-lag]).mean().item()) < 6 / (flat.numel() - lag) ** 0.5
    nibbles = codes((t + 1) / 2).bincount(minlength=16)
    assert within(nibbles, torch.full((16,), 1 / 16))
    again = Coins()
    first, second = (again.toss_(torch.full((n, 4), 0.5)) * 2 - 1 for _ in range(2))
    assert abs((first * second).mean().item()) < 6 / (4 * n) ** 0.5


def test_coins_at_the_ends_and_in_between():
    coins = Coins()
    assert coins.toss_(torch.zeros(5000)).sum() == 0 and coins.toss_(torch.ones(5000)).sum() == 5000
    assert coins.toss_(torch.full((5000,), 2**-18)).sum() == 0  # below the resolution
    for size in (1, 2, 3, 4, 5, 4999):
        p = torch.full((size,), 0.5, dtype=torch.float64)
        out = coins.toss_(p)
        assert out is p and bool(((p == 0) | (p == 1)).all())
    a, b = (Coins(generator=generator(7)).toss_(torch.full((5, 10), 0.5)) for _ in range(2))
    assert torch.equal(a, b)


def test_a_toss_without_a_look_is_the_same_toss():
    p = torch.rand(40, 7, generator=generator(1))
    seen, out = Coins(generator=generator(2)), torch.empty_like(p)
    blind = Coins(generator=generator(2))
    assert seen.toss_(p.clone(), out) is out
    assert torch.equal(blind.toss_(p.clone(), look=False), out)
    assert blind.toss_(torch.full((3,), 255.0), look=False).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="p spans"):
        seen.toss_(torch.full((3,), 255.0))


@pytest.mark.parametrize("make", [R.RBM, ProductionRBM])
def test_every_machine_takes_sizes_and_device_first_and_the_rest_by_name(make):
    parameters = list(inspect.signature(make).parameters.values())
    assert [p.name for p in parameters[:3]] == ["n_visible", "n_hidden", "device"]
    assert make(3, 2, torch.device("cpu"), weight_std=0.0).W.device.type == "cpu"


def test_a_mean_over_data_is_a_float_summed_in_wide_numbers():
    rbm, v = R.RBM(6, 4, weight_std=0.0), torch.zeros(3, 6)
    assert type(R.log_likelihood(rbm, v)) is type(R.log_likelihood(rbm, v, log_Z=2)) is float
    assert R.log_likelihood(rbm, v) == pytest.approx(-6 * math.log(2), abs=1e-6)


# learning


def exact_gradient(rbm, data):
    W, a, b = (p.detach().clone().requires_grad_(True) for p in (rbm.W, rbm.a, rbm.b))
    logp = -R.rbm_free_energy(data, W, a, b).mean() - R.rbm_log_partition(W, a, b)
    return torch.autograd.grad(logp, (W, a, b))


def expected_cd(rbm, data, k):
    v, J = R.all_states(rbm.n_visible, torch.float64), (-joint(rbm)).exp()
    P = torch.linalg.matrix_power((J / J.sum(1, keepdim=True)) @ (J / J.sum(0)).T, k)
    p = codes(data).bincount(minlength=len(v)).double() / len(data) @ P
    return data.T @ rbm.hidden_probability(data) / len(data) - v.T @ (
        p[:, None] * rbm.hidden_probability(v)
    )


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_cd_goes_to_the_exact_gradient_as_k_grows(scale):
    rbm, data = machine(5, 4, scale, seed=3), bits(30, 5, seed=8)
    true = exact_gradient(rbm, data)[0]
    errors = [
        ((expected_cd(rbm, data, k) - true).norm() / true.norm()).item()
        for k in (1, 3, 10, 30, 100, 1000)
    ]
    assert all(y < max(x, 1e-12) for x, y in zip(errors, errors[1:])) and errors[-1] < 1e-6
    rate = math.exp(-1 / rbm.relaxation_time())
    assert errors[2] <= 50 * errors[0] * rate**9


def test_cd_with_exact_samples_of_the_model_is_the_exact_gradient_on_average():
    rbm, data = machine(5, 4, seed=1), bits(40, 5, seed=2)
    n = 200_000
    got = R.cd_gradient(data, rbm.exact_samples(n), rbm.W, rbm.b)
    for g, want in zip(got, exact_gradient(rbm, data)):
        assert bool(((g - want).abs() < 6 * 0.5 / n**0.5).all())


@pytest.mark.parametrize("k", [1, 2])
def test_naive_cd_has_the_expected_mean(k):
    rbm, data = machine(5, 4, seed=5), bits(20, 5, seed=6)
    moved = machine(5, 4, seed=5)
    R.contrastive_divergence(moved, data.repeat(5000, 1), k=k, lr=1.0)
    assert bool(
        ((moved.W - rbm.W - expected_cd(rbm, data, k)).abs() < 6 * 0.5 / 100_000**0.5).all()
    )


def written_out(rbm, v, chain, trainer, lam, lr):
    "The update, term by term: centred or not, weight decay, sparsity."
    mu = trainer.mu if trainer.centred else torch.zeros_like(trainer.mu)
    lam = lam if trainer.centred else torch.zeros_like(lam)
    p, q = rbm.hidden_probability(v), rbm.hidden_probability(chain)
    dW = (v - mu).T @ (p - lam) / len(v) - (chain - mu).T @ (q - lam) / len(chain)
    da = v.mean(0) - chain.mean(0) - dW @ lam
    db = (
        p.mean(0) - q.mean(0) - dW.T @ mu + trainer.sparsity * (trainer.sparsity_target - p.mean(0))
    )
    return dW - trainer.weight_decay * rbm.W, da, db


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(
    "extra",
    [
        {},
        dict(weight_decay=0.01),
        dict(sparsity=0.3),
        dict(momentum=0.8),
        dict(k=3, momentum=0.5, weight_decay=0.1),
    ],
)
@pytest.mark.parametrize("batch_size, n_chains, n", [(8, 8, 8), (8, 5, 3), (1, 16, 1)])
def test_the_trainer_is_the_written_out_update(persistent, centred, extra, batch_size, n_chains, n):
    rbm, before = machine(6, 4), machine(6, 4)
    trainer = R.Trainer(
        rbm,
        batch_size,
        persistent=persistent,
        n_chains=n_chains,
        centred=centred,
        data_mean=torch.linspace(0.1, 0.9, 6, dtype=torch.float64),
        **extra,
    )
    velocity = [torch.zeros_like(p) for p in (before.W, before.a, before.b)]
    for step in range(3):
        v, lam = bits(n, 6, seed=step), trainer.lam.clone()
        trainer.step(v, 0.1)
        c = trainer.n_chains if persistent else n
        chain = trainer.X[batch_size : batch_size + c] + trainer.mu  # the rows are centred in place
        want = written_out(before, v, chain, trainer, lam, 0.1)
        velocity = [trainer.momentum * u + 0.1 * g for u, g in zip(velocity, want)]
        activity = before.hidden_probability(v).mean(0)
        for p, u in zip((before.W, before.a, before.b), velocity):
            p.add_(u)
        for p, q in zip(rbm.parameters(), before.parameters()):
            torch.testing.assert_close(p, q, atol=1e-12, rtol=0)
        torch.testing.assert_close(trainer.lam, lam.lerp(activity, trainer.hidden_rate))


@pytest.mark.parametrize(
    "extra", [{}, dict(momentum=0.5), dict(weight_decay=0.1), dict(reduce=lambda tensors: None)]
)
def test_bfloat16_products_round_the_update_and_nothing_else(extra):
    """The update of weights from rounded factors lies within a few parts in 256 of the exact one."""
    rbm, before = (
        R.RBM(60, 40, weight_std=0.3, generator=generator(1)),
        R.RBM(60, 40, generator=generator(1)),
    )
    before.load_state_dict(rbm.state_dict())
    trainer = R.Trainer(
        rbm, 50, data_mean=torch.full((60,), 0.4), product_dtype=torch.bfloat16, **extra
    )
    v, lam = bits(50, 60, dtype=torch.float32), trainer.lam.clone()
    trainer.step(v, 1.0)
    states = (trainer.X + trainer.mu).round(decimals=5)  # the rows are centred in place
    want = written_out(before, v, states[50:], trainer, lam, 1.0)
    for p, q, change in zip(rbm.parameters(), before.parameters(), want):
        assert p.dtype == torch.float32
        assert 0 < (p - q - change).norm() < 0.03 * change.norm()
    assert set(states.unique().tolist()) == {0.0, 1.0}


def test_a_trainer_with_bfloat16_products_at_rest_samples_the_model():
    """Total variation within the coins' noise and the rounding: |x| ≤ 4 in the exponent moves by at most 2⁻⁷ of it."""
    rbm, n = machine(3, 4, dtype=torch.float32), 50_000
    trainer = R.Trainer(rbm, 1, k=3, n_chains=n, centred=False, product_dtype=torch.bfloat16)
    for _ in range(30):
        trainer.step(torch.zeros(1, 3), 0.0)
    states = (trainer.X[1 : 1 + n] @ torch.tensor([4.0, 2.0, 1.0])).long()
    exact = torch.softmax(
        -rbm.free_energy(torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)), 0
    )
    assert (states.bincount(minlength=8) / n - exact).abs().sum() / 2 < 0.03


def test_plain_cd_1_of_the_trainer_has_the_naive_mean():
    rbm, data = machine(5, 4, seed=5), bits(20, 5, seed=6)
    moved = machine(5, 4, seed=5)
    R.Trainer(moved, 100_000, persistent=False, centred=False).step(data.repeat(5000, 1), 1.0)
    assert bool(
        ((moved.W - rbm.W - expected_cd(rbm, data, 1)).abs() < 6 * 0.5 / 100_000**0.5 + 1e-4).all()
    )


def test_reduce_is_called_with_everything_that_is_averaged():
    seen = []
    a, b = machine(6, 4), machine(6, 4)
    settings = dict(data_mean=torch.full((6,), 0.5, dtype=torch.float64))
    one = R.Trainer(a, 8, generator=generator(1), **settings)
    two = R.Trainer(
        b,
        8,
        generator=generator(1),
        reduce=lambda tensors: seen.append([t.shape for t in tensors]),
        **settings,
    )
    for i in range(4):
        one.step(bits(8, 6, seed=i), 0.1), two.step(bits(8, 6, seed=i), 0.1)
    assert seen == [[(6, 4), (6,), (4,), (4,)]] * 4
    for p, q in zip(a.parameters(), b.parameters()):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(momentum=0.9),
        dict(centred=False, k=2),
        dict(n_chains=3, sparsity=0.1),
        dict(product_dtype=torch.bfloat16),
    ],
)
def test_a_trainer_resumes_bit_for_bit(settings):
    g, data, mean = generator(1), bits(40, 6, dtype=torch.float32), torch.full((6,), 0.5)
    rbm = R.RBM(6, 4, generator=generator(2))
    trainer = R.Trainer(rbm, 10, data_mean=mean, generator=g, **settings)
    for batch in data.split(10):
        trainer.step(batch, 0.1)
    kept = {k: v.clone() for k, v in rbm.state_dict().items()}, trainer.state_dict(), g.get_state()
    for batch in data.split(10):
        trainer.step(batch, 0.1)
    other = R.RBM(6, 4, generator=generator(3))
    g2 = generator(9)
    second = R.Trainer(other, 10, data_mean=mean, generator=g2, **settings)
    other.load_state_dict(kept[0]), second.load_state_dict(kept[1]), g2.set_state(kept[2])
    for batch in data.split(10):
        second.step(batch, 0.1)
    assert all(torch.equal(p, q) for p, q in zip(rbm.parameters(), other.parameters()))
    assert all(
        torch.equal(x, second.state_dict()[name]) for name, x in trainer.state_dict().items()
    )


def test_a_state_dict_of_other_settings_is_refused():
    rbm, mean = R.RBM(6, 4), torch.full((6,), 0.5)
    plain = R.Trainer(rbm, 4, data_mean=mean).state_dict()
    with pytest.raises(KeyError):
        R.Trainer(rbm, 4, data_mean=mean, momentum=0.9).load_state_dict(plain)
    with pytest.raises(RuntimeError):
        R.Trainer(rbm, 5, data_mean=mean).load_state_dict(plain)


def test_bars_and_stripes_within_a_tenth_of_a_nat():
    bars = bars_and_stripes(4)
    rbm, batch = R.RBM(16, 64, weight_std=0.1), bars.repeat(10, 1)
    trainer = R.Trainer(rbm, 300, k=10, persistent=False, data_mean=bars.mean(0))
    for i in range(3000):
        trainer.step(batch, 0.5 * (1 - i / 3000))
    assert -math.log(30) - 0.1 < R.log_likelihood(rbm, bars) < -math.log(30)


# annealed importance sampling


def errors(n, scale, temperatures, chains, seed, **settings):
    "log Z by AIS less exact, in standard errors, for n random machines; all from fixed generators."
    z = []
    for i in range(n):
        g = generator(seed + i)
        v, h = torch.randint(4, 11, (2,), generator=g).tolist()
        rbm = machine(v, h, scale, seed=seed + i, dtype=torch.float32)
        if settings.get("reverse"):
            settings_ = dict(reverse_from=rbm.exact_samples(chains, generator=g))
        else:
            settings_ = dict(base_bias=torch.randn(v, generator=g)) if settings.get("base") else {}
        estimate = R.ais(rbm, temperatures, chains, generator=g, **settings_)
        z.append((estimate.log_Z - rbm.log_partition()) / estimate.standard_error)
    return torch.tensor(z)


@pytest.mark.parametrize(
    "scale, settings", [(1.0, {}), (2.0, {}), (1.0, dict(base=True)), (1.0, dict(reverse=True))]
)
def test_ais_is_within_three_standard_errors(scale, settings):
    z = errors(200, scale, 60, 100, seed=1000, **settings)
    assert (z.abs() < 3).double().mean() >= 0.99
    assert 0.7 < z.std() < 1.3 and abs(z.mean()) < 0.5


def test_forward_ais_of_any_length_has_the_right_mean_weight():
    rbm = machine(6, 4, 1.5, dtype=torch.float32)
    estimate = R.ais(rbm, 3, 200_000, generator=generator(1))
    assert abs(estimate.log_Z - rbm.log_partition()) < 6 * estimate.standard_error + 1e-3
    assert estimate.effective_samples > 1000


def test_few_temperatures_flatter_forward_and_the_reverse_errs_upwards():
    rbm = machine(12, 10, 2.0, dtype=torch.float32)
    forward = [R.ais(rbm, 2, 3, generator=generator(i)).log_Z for i in range(60)]
    back = [
        R.ais(
            rbm,
            2,
            reverse_from=rbm.exact_samples(3, generator=generator(i)),
            generator=generator(i),
        ).log_Z
        for i in range(60)
    ]
    exact = rbm.log_partition()
    assert sum(forward) / 60 < exact - 0.3 and sum(back) / 60 > exact + 0.3


def test_one_interval_of_the_walk_is_the_increment():
    rbm, a0 = machine(6, 4), torch.linspace(-1, 1, 6, dtype=torch.float64)
    v = R.all_states(6, torch.float64)
    for now, after in ((0.0, 0.1), (0.3, 0.7), (1.0, 0.5)):
        log_f = [
            v @ (a0 * (1 - t) + t * rbm.a) + F.softplus(t * (v @ rbm.W + rbm.b)).sum(-1)
            for t in (now, after)
        ]
        increment = ais_increment(v, rbm.W, rbm.a, rbm.b, a0, now, after)
        torch.testing.assert_close(increment, log_f[1] - log_f[0])
    # back from β = 1 to 0 in one interval: the walk's weight is the increment where the chain began
    log_base = F.softplus(a0).sum() + 4 * math.log(2)
    back = ais_increment(v, rbm.W, rbm.a, rbm.b, a0, 1.0, 0.0)
    for start, weight in zip(v, back):
        estimate = R.ais(rbm, 1, 1, a0, reverse_from=start[None])
        assert estimate.log_Z == pytest.approx((log_base - weight).item(), abs=1e-9)


def test_ais_of_a_machine_without_weights_is_exact():
    rbm = machine(7, 3)
    rbm.W.zero_(), rbm.b.zero_()
    estimate = R.ais(rbm, 5, 4)
    assert (
        estimate.log_Z == pytest.approx(rbm.log_partition(), abs=1e-9)
        and estimate.standard_error < 1e-9
    )
    assert estimate.effective_samples == pytest.approx(4)
    assert "forward, 5 temperatures, 4 effective samples" in str(estimate)
    assert math.isnan(R.ais(rbm, 5, 1).standard_error)


def test_the_error_bar_sees_heavy_weights_that_are_in_nobodys_hands():
    log_w = torch.randn(100, generator=generator(0), dtype=torch.float64)
    light = R.AIS.from_weights(0 * log_w, 0.0, 5)
    assert light[:3] == (0.0, 0.0, pytest.approx(100))
    heavy = R.AIS.from_weights(2.5 * log_w, 0.0, 5)
    assert heavy.standard_error > 0.8 and heavy.effective_samples < 40
    assert math.isfinite(R.AIS.from_weights(1e4 * log_w, 0.0, 5).standard_error)
    forward, back = (R.AIS.from_weights(log_w, 3.0, 5, way) for way in ("forward", "reverse"))
    assert forward.log_Z - 3 == pytest.approx(3 - back.log_Z) and back.direction == "reverse"


def test_a_valley_that_no_walker_finds_is_seen_from_behind_only():
    """Two valleys, all on and all off; walkers that start with the machine's own biases find one of them.

    Forward alone looks perfect and is wrong by ln 2; the way back, from samples of both, says so.
    From fair coins all is well.
    """
    rbm = R.RBM(8, 8).requires_grad_(False)
    for p, value in zip(rbm.parameters(), (2, -8, -8)):
        p.fill_(value)
    back = rbm.exact_samples(200, generator=generator(0))
    for base, truth in ((None, False), (torch.zeros(8), True)):
        there = R.ais(rbm, 300, 200, base, generator=generator(1))
        reverse = R.ais(rbm, 300, base_bias=base, reverse_from=back, generator=generator(2))
        error = there.log_Z - rbm.log_partition()
        assert R.trust_ais(there, reverse) == truth
        assert abs(error) < 0.2 if truth else abs(error + math.log(2)) < 0.1
        assert there.standard_error < 0.2 and there.effective_samples > 50


def test_ais_of_few_temperatures_is_not_trusted():
    rbm = machine(12, 10, 2.0, dtype=torch.float32)
    back = rbm.exact_samples(200, generator=generator(0))
    fast, slow = (
        [R.ais(rbm, n, 200, reverse_from=start, generator=generator(3)) for start in (None, back)]
        for n in (2, 2000)
    )
    assert not R.trust_ais(*fast) and R.trust_ais(*slow)


def test_the_gain_is_the_difference_of_likelihoods_with_a_paired_error():
    one, two, v = machine(6, 4), machine(6, 3, seed=2), bits(50, 6)
    gain, error = R.likelihood_gain(one, two, v)
    assert gain == pytest.approx(R.log_likelihood(one, v) - R.log_likelihood(two, v), abs=1e-9)
    each = torch.tensor([R.log_likelihood(one, x) - R.log_likelihood(two, x) for x in v[:, None]])
    assert error == pytest.approx((each.std() / 50**0.5).item(), rel=1e-6)
    back, same = R.likelihood_gain(two, one, v)
    assert back == pytest.approx(-gain) and same == pytest.approx(error)


def test_ais_reports_its_progress():
    seen = []
    R.ais(machine(3, 2), 12, 4, progress=lambda betas: seen.extend(betas) or betas)
    assert len(seen) == 12 and seen[0] == 0


# mixing and temperature


def test_relaxation_time_is_the_second_eigenvalue():
    for seed in range(5):
        rbm = machine(5, 3, 1.5, seed=seed)
        J = (-joint(rbm)).exp()
        second = (
            torch.linalg.eigvals((J / J.sum(1, keepdim=True)) @ (J / J.sum(0)).T)
            .abs()
            .sort()
            .values[-2]
        )
        assert rbm.relaxation_time() == pytest.approx((-1 / second.log()).item(), rel=1e-6)
    frozen = machine(5, 5, 50)
    frozen.a.copy_(-frozen.W.sum(1) / 2), frozen.b.copy_(-frozen.W.sum(0) / 2)
    assert 1e6 < frozen.relaxation_time() < math.inf  # no overflow, no NaN


def test_larger_weights_relax_by_orders_of_magnitude_slower():
    def balanced(scale, seed):
        rbm = machine(5, 5, scale, seed)
        rbm.a.copy_(-rbm.W.sum(1) / 2), rbm.b.copy_(-rbm.W.sum(0) / 2)
        return rbm.relaxation_time()

    slow = [sorted(balanced(scale, seed) for seed in range(41))[20] for scale in (1, 4, 8)]
    assert slow[0] < 3 and 30 < slow[1] < 1000 and slow[2] > 3000


def test_temperature_divides_the_energy_and_spares_the_original():
    rbm = R.RBM(5, 3)
    warm, v, h = (
        rbm.at_temperature(2.0),
        bits(4, 5, dtype=torch.float32),
        bits(4, 3, seed=1, dtype=torch.float32),
    )
    torch.testing.assert_close(warm.energy(v, h), rbm.energy(v, h) / 2)
    assert warm.W.data_ptr() != rbm.W.data_ptr() and isinstance(warm, R.RBM)
    for T in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="T is"):
            rbm.at_temperature(T)


# bad input


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: R.RBM(0, 3), "n_visible is 0"),
        (lambda: R.RBM(3, 2.5), "n_hidden is 2.5"),
        (lambda: R.RBM(True, 3), "n_visible is True"),
        (
            lambda: R.RBM(3, 2).energy(torch.zeros(4), torch.zeros(2)),
            "v has shape (4,); its last dimension must be 3",
        ),
        (
            lambda: R.RBM(3, 2).energy(torch.zeros(3), torch.zeros(3)),
            "h has shape (3,); its last dimension must be 2",
        ),
        (lambda: R.RBM(3, 2).free_energy(torch.tensor(1.0)), "v has shape ()"),
        (lambda: R.RBM(3, 2).hidden_probability(torch.zeros(5, 2)), "v has shape (5, 2)"),
        (lambda: R.RBM(3, 2).visible_probability(torch.zeros(5, 3)), "h has shape (5, 3)"),
        (lambda: R.RBM(3, 2).gibbs(torch.zeros(3), 0), "k is 0"),
        (lambda: R.all_states(25), "n is 25"),
        (lambda: R.all_states(0), "n is 0"),
        (lambda: R.RBM(30, 25).log_partition(), "use ais()"),
        (lambda: R.log_likelihood(R.RBM(2, 2), torch.tensor([0.0, 255.0])), "v spans 0 … 255"),
        (lambda: R.log_likelihood(R.RBM(2, 2), torch.tensor([-1.0, 1.0])), "v spans -1 … 1"),
        (lambda: R.log_likelihood(R.RBM(2, 2), torch.tensor([math.nan, 1.0])), "without NaN"),
        (lambda: R.log_likelihood(R.RBM(3, 2), torch.zeros(0, 3)), "v is empty"),
        (
            lambda: R.contrastive_divergence(R.RBM(3, 2), torch.zeros(4, 5)),
            "v_data has shape (4, 5)",
        ),
        (lambda: R.contrastive_divergence(R.RBM(3, 2), torch.zeros(4, 3), k=0), "k is 0"),
        (lambda: R.Trainer(R.RBM(3, 2)), "data_mean is None"),
        (lambda: R.Trainer(R.RBM(3, 2), data_mean=torch.zeros(4)), "data_mean has shape (4,)"),
        (lambda: R.Trainer(R.RBM(3, 2), 0, centred=False), "batch_size is 0"),
        (lambda: R.Trainer(R.RBM(3, 2), k=0, centred=False), "k is 0"),
        (lambda: R.Trainer(R.RBM(3, 2), n_chains=0, centred=False), "n_chains is 0"),
        (lambda: R.Trainer(R.RBM(3, 2), centred=False, momentum=1.0), "momentum is 1.0"),
        (lambda: R.Trainer(R.RBM(3, 2), centred=False, weight_decay=-1.0), "weight_decay is -1.0"),
        (lambda: R.Trainer(R.RBM(3, 2), centred=False, sparsity=math.nan), "sparsity is nan"),
        (
            lambda: R.Trainer(R.RBM(3, 2), centred=False, sparsity_target=0.0),
            "sparsity_target is 0.0",
        ),
        (lambda: R.Trainer(R.RBM(3, 2), centred=False, hidden_rate=2.0), "hidden_rate is 2.0"),
        (
            lambda: R.Trainer(R.RBM(3, 2), centred=False, product_dtype=torch.float16),
            "product_dtype is torch.float16",
        ),
        (lambda: R.ais(R.RBM(3, 2), 0), "n_temperatures is 0"),
        (lambda: R.ais(R.RBM(3, 2), 5, 0), "n_chains is 0"),
        (lambda: R.ais(R.RBM(3, 2), 5, base_bias=torch.zeros(4)), "base_bias has shape (4,)"),
        (
            lambda: R.ais(R.RBM(3, 2), 5, reverse_from=torch.zeros(4, 4)),
            "reverse_from has shape (4, 4)",
        ),
        (lambda: R.ais(R.RBM(3, 2), 5, reverse_from=torch.zeros(3)), "reverse_from has shape (3,)"),
        (lambda: R.ais(R.RBM(3, 2), 5, reverse_from=-torch.ones(4, 3)), "reverse_from spans -1"),
        (lambda: R.likelihood_gain(R.RBM(3, 2), R.RBM(4, 2), torch.eye(3)), "v has shape (3, 3)"),
        (lambda: R.likelihood_gain(R.RBM(3, 2), R.RBM(3, 2), torch.eye(3)[:1]), "v has 1 rows"),
        (lambda: R.likelihood_gain(R.RBM(3, 2), None, torch.eye(3)), "second is None"),
        (lambda: R.trust_ais(R.AIS(1.0, 0.1, 60.0, 9, "forward"), 1.0), "reverse is 1.0"),
        (lambda: R.RBM(3, 2).exact_samples(0), "n is 0"),
        (lambda: R.RBM(30, 2).exact_samples(5), "n is 30"),
        (lambda: R.RBM(13, 2).relaxation_time(), "at most 12"),
        (
            lambda: R.RBM(3, 2).complete(torch.zeros(3), torch.ones(4).bool()),
            "known has shape (4,)",
        ),
        (lambda: R.RBM(3, 2).complete(torch.zeros(4), torch.ones(3).bool()), "v has shape (4,)"),
        (lambda: R.RBM(3, 2).complete(torch.zeros(3), torch.ones(3).bool(), k=0), "k is 0"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value)


# small machines, batches that do not fit, divergence


def parts():
    "A small machine's parameters and states by name."
    W = torch.randn(5, 4, generator=generator(0))
    a, b = torch.randn(5, generator=generator(1)), torch.randn(4, generator=generator(2))
    v, h = bits(3, 5, dtype=torch.float32), bits(3, 4, seed=1, dtype=torch.float32)
    v[0, 0] = h[0, 0] = 1
    return dict(W=W, a=a, b=b, v=v, h=h)


@pytest.mark.parametrize("rows", [9, 16, 0, None, "pixel"])
def test_a_batch_that_does_not_fit_is_refused_in_words_and_changes_nothing(rows):
    rbm, v = R.RBM(6, 4, generator=generator(0)), bits(16, 6, dtype=torch.float32)
    trainer = R.Trainer(rbm, 8, data_mean=torch.full((6,), 0.5), generator=generator(1))
    before = {k: x.clone() for k, x in (rbm.state_dict() | trainer.state_dict()).items()}
    wrong = {9: v[:9], 16: v, 0: v[:0], None: v[0], "pixel": v[:8, :1]}[rows]
    with pytest.raises(ValueError, match="^v (has|is empty)"):
        trainer.step(wrong, 0.1)
    after = rbm.state_dict() | trainer.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64]
)
def test_batches_of_bits_of_any_dtype_train_alike(dtype):
    machines = []
    for kind in (torch.float32, dtype):
        rbm = R.RBM(6, 4, generator=generator(0))
        trainer = R.Trainer(rbm, 8, data_mean=torch.full((6,), 0.5), generator=generator(1))
        for i in range(5):
            trainer.step(bits(8, 6, seed=i, dtype=torch.float32).to(kind), 0.1)
        machines.append(rbm.W)
    assert torch.equal(*machines)


@pytest.mark.parametrize("lr", [1e30, 1e38])
@pytest.mark.parametrize(
    "settings", [{}, dict(momentum=0.9), dict(persistent=False), dict(centred=False)]
)
def test_divergence_is_said(lr, settings):
    rbm, v = R.RBM(6, 4), bits(8, 6, dtype=torch.float32)
    trainer = R.Trainer(rbm, 8, data_mean=torch.full((6,), 0.5), **settings)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        for _ in range(20):
            trainer.step(v, lr)
    with pytest.raises(FloatingPointError, match="smaller lr"):
        for _ in range(20):
            R.contrastive_divergence(rbm if rbm.W.isfinite().all() else R.RBM(6, 4), v, lr=lr)
    sick = R.RBM(6, 4)
    sick.W.data[0, 0] = math.nan
    for use in (
        lambda: R.Trainer(sick, centred=False), lambda: R.ais(sick, 5), lambda: sick.exact_samples(5),
        sick.log_partition, lambda: sick.relaxation_time(), lambda: R.log_likelihood(sick, v, 1.0),
        lambda: sick.gibbs(v), lambda: sick.sample_hidden(v), lambda: sick.free_energy(v),
        lambda: sick.complete(v, v[0] > 0), lambda: R.contrastive_divergence(sick, v),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="W contains NaN"):
            use()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_by_name(dtype):
    "In bfloat16 p + 2⁻⁹ is p: coins would be biased; float16 overflows in the tosses."
    with pytest.raises(ValueError, match="p has dtype"):
        Coins().toss_(torch.full((9,), 0.1, dtype=dtype))
    with pytest.raises(ValueError, match="dtype is"):
        R.RBM(5, 4, dtype=dtype)
    half = R.RBM(5, 4).to(dtype)
    for use in (
        lambda: R.Trainer(half, centred=False),
        lambda: R.ais(half, 5),
        lambda: half.exact_samples(5),
    ):
        with pytest.raises(ValueError, match="rbm.W has dtype"):
            use()
    with pytest.raises(ValueError, match="has dtype"):
        half.free_energy(torch.zeros(5, dtype=dtype))


def transformed():
    p, rbm = parts(), R.RBM(5, 4)
    return {
        "rbm_energy": (lambda v, h: R.rbm_energy(v, h, p["W"], p["a"], p["b"]), (p["v"], p["h"])),
        "rbm_free_energy": (lambda v: R.rbm_free_energy(v, p["W"], p["a"], p["b"]), (p["v"],)),
        "rbm_log_partition": (
            lambda W: R.rbm_log_partition(W, p["a"], p["b"]),
            (torch.stack([p["W"]] * 3),),
        ),
        "ais_increment": (
            lambda v: ais_increment(v, p["W"], p["a"], p["b"], p["a"], 0.1, 0.2),
            (p["v"],),
        ),
        "energy": (rbm.energy, (p["v"], p["h"])),
        "free_energy": (rbm.free_energy, (p["v"],)),
        "hidden_probability": (rbm.hidden_probability, (p["v"],)),
        "visible_probability": (rbm.visible_probability, (p["h"],)),
    }


@pytest.mark.parametrize("name", transformed())
def test_transforms_see_through_the_checks(name):
    "vmap, func.grad and compile in one graph: the values are not looked at there."
    transforms(*transformed()[name], tolerance=None)


def test_machines_and_trainers_can_be_copied_and_pickled():
    rbm = R.RBM(6, 4, generator=generator(0))
    trainer = R.Trainer(rbm, 4, data_mean=torch.full((6,), 0.5), generator=generator(1))
    trainer.step(bits(4, 6), 0.1)
    for twin in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        assert repr(twin.rbm) == repr(rbm)
        twin.step(bits(4, 6, seed=1), 0.1)
    trainer.step(bits(4, 6, seed=1), 0.1)
    assert torch.equal(twin.rbm.W, rbm.W)


def test_a_state_that_would_broadcast_is_refused_and_nothing_is_loaded():
    mean = torch.full((6,), 0.5)
    one, four = (R.Trainer(R.RBM(6, 4), 4, n_chains=n, data_mean=mean) for n in (1, 4))
    before = four.state_dict()
    for wrong in (
        one.state_dict(),
        before | dict(lam=torch.zeros(1)),
        before | dict(coins=torch.zeros(3)),
    ):
        with pytest.raises(RuntimeError, match="h has shape|lam has shape|coins"):
            four.load_state_dict(wrong)
    assert all(torch.equal(x, four.state_dict()[name]) for name, x in before.items())


def test_what_is_printed_is_ascii():
    estimate = R.ais(R.RBM(5, 4), 5, 4)
    for text in (str(estimate), repr(estimate), repr(R.RBM(5, 4)), repr(Coins())):
        text.encode("ascii")


def test_log_partition_is_a_method():
    rbm = machine(4, 3)
    assert rbm.log_partition() == pytest.approx(R.rbm_log_partition(rbm.W, rbm.a, rbm.b).item())
    assert not hasattr(R, "log_partition")  # a name of chapter 0


def test_draws_and_updates_take_tensors_that_require_grad():
    p = torch.nn.Parameter(torch.full((50,), 0.5))
    assert set(Coins().toss_(p).unique().tolist()) <= {0.0, 1.0}
    rbm, mean = R.RBM(6, 4), torch.nn.Parameter(torch.full((6,), 0.5))
    trainer = R.Trainer(rbm, 4, data_mean=mean)
    trainer.step(bits(4, 6), 0.1)
    assert not trainer.mu.requires_grad
    assert math.isfinite(R.ais(rbm, 5, 4, base_bias=torch.nn.Parameter(torch.zeros(6))).log_Z)


def test_what_is_unknown_may_be_anything():
    v = torch.tensor([1.0, math.nan, 0.0, 255.0, 1.0])
    known = torch.tensor([True, False, True, False, True])
    filled = R.RBM(5, 4).complete(v, known, 3)
    assert torch.equal(filled[known], v[known]) and bool(((filled >= 0) & (filled <= 1)).all())
