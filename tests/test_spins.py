"""The room of ±1 spins: the engine is the one-at-a-time loop, for every source, rule, block and way; laws; errors."""

import math

import pytest
import torch
from shared_checks import transforms

from silen_lib import spins as S

COLD, WARM = ("keep", "up"), ("heat bath", "metropolis")


def generator(seed):
    return torch.Generator().manual_seed(seed)


def spins(*shape, seed=0, dtype=torch.float64):
    return (torch.randint(0, 2, shape, generator=generator(seed)) * 2 - 1).to(dtype)


def grid(n, seed, diagonal=0.0):
    "Couplings in multiples of 1/64, biases in multiples of 1/32: sums are exact, and fields of exactly 0 are common."
    a = torch.randint(-2, 3, (n, n), generator=generator(seed)).double()
    return ((a + a.T) / 64).fill_diagonal_(diagonal), torch.randint(
        -1, 2, (n,), generator=generator(seed)
    ).double() / 32


def hebb(patterns):
    return (patterns.mT @ patterns / patterns.shape[-1]).fill_diagonal_(0)


class Loop:
    "The definition, one spin after the other, in Python, for states (B, N)."

    def __init__(
        self, W, bias=None, rule="keep", T=None, fixed=None, order=None, seed=0, antithetic=False
    ):
        self.W, self.bias = W, torch.zeros(len(W)).to(W) if bias is None else bias
        self.rule, self.T, self.fixed, self.antithetic = rule, T, fixed, antithetic
        self.order = torch.arange(len(W)) if order is None else order
        self.coins = generator(seed)
        self.tie = S.tie_width(W, self.bias)

    def visit(self, s, i, u):
        "What spin i of each state becomes; u is its coin."
        stubborn = self.W[i, i] if self.rule in COLD else 0.0
        h = s @ self.W[i] - self.W[i, i] * s[:, i] + stubborn * s[:, i] + self.bias[i]
        if self.rule == "keep":
            return torch.where(s[:, i] * h < -self.tie, -s[:, i], s[:, i])
        if self.rule == "up":
            return torch.where(h >= -self.tie, 1.0, -1.0).to(s)
        T = torch.as_tensor(self.T).to(s).clamp(min=self.tie)
        if self.rule == "heat bath":
            up = u < torch.sigmoid(2 * h / T) if self.antithetic else u >= torch.sigmoid(-2 * h / T)
            return torch.where(up, 1.0, -1.0).to(s)
        return torch.where(u < (-2 * s[:, i] * h / T).exp(), -s[:, i], s[:, i])

    def sweep(self, s):
        "True when a spin moved; s is changed."
        before, u = s.clone(), torch.zeros(s.T.shape)
        if self.rule in WARM:
            u = torch.rand(s.T.shape, generator=self.coins, dtype=s.dtype)
        for k, i in enumerate(self.order.tolist()):
            new = self.visit(s, i, u[k])
            s[:, i] = new if self.fixed is None else torch.where(self.fixed[:, i], s[:, i], new)
        return (s != before).any(1)

    def run(self, s, sweeps):
        "The states after so many sweeps, and how many each one took (a cold one stops at rest)."
        s, taken, awake = s.clone(), torch.zeros(len(s), dtype=torch.long), torch.ones(len(s)) > 0
        while taken.max() != sweeps and bool(awake.any()):
            moved = self.sweep(s)
            taken += awake
            awake = moved if self.rule in COLD else awake
        return s, taken


def network(kind, n, seed=1):
    "(source, W, bias): a network as the engine takes it and as the loop takes it."
    if kind == "patterns":
        xi = spins(2 + n // 12 * 2, n, seed=seed)  # an even number of patterns: ties
        return S.Patterns(xi), hebb(xi), None
    if kind == "grid":
        W, b = grid(n, seed, 0.25)
        return S.Couplings(W, b), W, b
    a = torch.randn(n, n, generator=generator(seed), dtype=torch.float64)
    W = ((a + a.T) / n**0.5).fill_diagonal_(0.3)
    return S.Couplings(W), W, None


def equal_to_loop(kind, rule, n=40, block=7, hold=False, sweeps=3, T=0.4, order=None, **more):
    "Does the engine do what the loop does?"
    source, W, bias = network(kind, n)
    s = spins(30, n, seed=3)
    fixed = torch.rand(30, n, generator=generator(4)) < 0.3 if hold else None
    T = None if rule in COLD else T
    want, taken = Loop(W, bias, rule, T, fixed, order, 5, **more).run(s, sweeps)
    how = dict(fixed=fixed, block=block, order="fixed" if order is None else order, **more)
    got = S.sweep_spins(s, source, rule, T, sweeps=sweeps, generator=generator(5), **how)
    return torch.equal(got.state, want) and torch.equal(got.sweeps, taken)


@pytest.fixture(params=["processor", "device, 1 round", "device, 3 rounds", "device, 8 rounds"])
def way(request, monkeypatch):
    "The way of the processor, and that of a device at the end of a queue."
    if request.param != "processor":
        monkeypatch.setattr(S._Engine, "here", property(lambda self: False))
        monkeypatch.setattr(S._Engine, "rounds", int(request.param.split()[1]))


@pytest.mark.parametrize("hold", [False, True], ids=["free", "held"])
@pytest.mark.parametrize("kind", ["gauss", "grid", "patterns"])
@pytest.mark.parametrize("rule", COLD + WARM)
def test_the_engine_is_the_loop(way, rule, kind, hold):
    for n in (1, 2, 31, 33, 70):
        for block in (1, 7, 32, None):
            assert equal_to_loop(kind, rule, n, block, hold, sweeps=2)


@pytest.mark.parametrize("kind", ["gauss", "grid", "patterns"])
@pytest.mark.parametrize("rule", COLD + WARM)
def test_orders_temperatures_and_coins(way, rule, kind):
    order = torch.randperm(40, generator=generator(6))
    assert equal_to_loop(kind, rule, order=order)
    if rule in COLD:
        assert equal_to_loop(kind, rule, sweeps=None)
        return
    assert equal_to_loop(kind, rule, T=torch.linspace(0.1, 3, 30).double())
    assert kind == "patterns" or equal_to_loop(kind, rule, T=torch.linspace(0, 3, 30).double())
    assert rule == "metropolis" or equal_to_loop(kind, rule, antithetic=True)


def too_few_rounds(m):
    "Content after the first round."
    same = S._Engine.same
    at_rest = lambda self, new, s: same(self, new, s) if s._base is not None else True
    m.setattr(S._Engine, "same", at_rest)


def stale_fields(m):
    for fields in (S._KeptFields, S._PatternFields):
        m.setattr(fields, "commit", lambda *a: None)


def deaf_inside_a_block(m):
    m.setattr(S._Fields, "inner", lambda self, b: 0 * self.within(b))


def hears_itself(m):
    m.setattr(S._Fields, "inner", lambda self, b: self.within(b).tril())


def hears_later_ones(m):
    m.setattr(
        S._Fields,
        "inner",
        lambda self, b: self.within(b) - torch.diag_embed(self.within(b).diagonal()),
    )


def no_width_of_ties(m):
    init = S._Fields.__init__
    m.setattr(
        S._Fields, "__init__", lambda self, matrix, tie, *a: init(self, matrix, -abs(tie), *a)
    )


def wrong_ties(m):
    decide = S._Engine.decide

    def swapped(self, h, s, block):
        rule, self.rule = self.rule, {"keep": "up", "up": "keep"}.get(self.rule, self.rule)
        new = decide(self, h, s, block)
        self.rule = rule
        return new

    m.setattr(S._Engine, "decide", swapped)


def a_block_starts_late(m):
    init = S._Engine.__init__

    def late(self, *a):
        init(self, *a)
        self.blocks = [slice(b.start + (b.start > 0), b.stop) for b in self.blocks]

    m.setattr(S._Engine, "__init__", late)


def holds_nothing(m):
    decide = S._Engine.decide

    def free(self, h, s, block):
        held, self.held = self.held, None
        new = decide(self, h, s, block)
        self.held = held
        return new

    m.setattr(S._Engine, "decide", free)


def half_the_noise(m):
    offsets = S._Engine.offsets
    m.setattr(S._Engine, "offsets", lambda self, X, T: offsets(self, X, T / 2))


WRONG = [
    (too_few_rounds, COLD + WARM, ("gauss", "grid", "patterns")),
    (stale_fields, COLD, ("gauss", "grid", "patterns")),
    (stale_fields, WARM, ("patterns",)),
    (deaf_inside_a_block, COLD + WARM, ("gauss", "grid", "patterns")),
    (hears_itself, COLD, ("gauss", "grid")),
    (hears_later_ones, COLD + WARM, ("gauss", "grid", "patterns")),
    (no_width_of_ties, COLD, ("grid", "patterns")),
    (wrong_ties, COLD, ("grid", "patterns")),
    (a_block_starts_late, COLD + WARM, ("gauss", "grid", "patterns")),
    (holds_nothing, COLD + WARM, ("gauss", "grid", "patterns")),
    (half_the_noise, WARM, ("gauss", "grid", "patterns")),
]
CASES = [(wrong, rule, kind) for wrong, rules, kinds in WRONG for rule in rules for kind in kinds]


@pytest.mark.parametrize("wrong, rule, kind", CASES, ids=lambda x: getattr(x, "__name__", x))
def test_the_nearest_wrong_engines_are_seen(monkeypatch, wrong, rule, kind):
    wrong(monkeypatch)
    assert not equal_to_loop(kind, rule, n=70, block=32, hold=True)


def test_a_wall_that_runs_through_a_whole_block(way):
    "Each spin follows the one before it: as many rounds as there are spins."
    n = 64
    W = torch.diag(torch.arange(n, 1, -1).double(), 1)  # each link to the left is the stronger one
    bias = torch.zeros(n).double()
    bias[0] = 100.0
    source, down = S.Couplings(W + W.T, bias), -torch.ones(3, n).double()
    for rule, T in (("keep", None), ("up", None), ("heat bath", 0.0), ("metropolis", 0.0)):
        assert S.sweep_spins(down, source, rule, T, sweeps=1, block=64).state.eq(1).all()


# laws


def rejects(counts, p, false_alarm=1e-7):
    "Agrawal (2020): can these counts of independent draws not come from p?"
    n, K = counts.sum().item(), len(p)
    seen = counts.double() / n
    x = n * torch.xlogy(seen, seen / p.double()).sum().item()
    return x > K - 1 and (K - 1) * (1 + math.log(x / (K - 1))) - x < math.log(false_alarm)


@pytest.mark.parametrize("rule", WARM)
@pytest.mark.parametrize("kind", ["gauss", "grid", "patterns", "networks"])
def test_the_law_is_stationary(way, rule, kind):
    "Exact draws stay exact draws: sweeps that start in equilibrium do not leave it, at the right temperature only."
    n, T = 6, 0.7
    source, W, bias = network("patterns" if kind == "networks" else kind, n)
    states = S.spin_states(n, torch.float64)
    p = torch.softmax(-S.ising_energy(states, W, bias) / T, 0)
    start = states[torch.multinomial(p, 30_000, True, generator=generator(1))]
    if kind == "networks":
        source, start = S.Patterns(source.patterns.expand(3, -1, -1)), start.view(3, 10_000, n)
    for t, fits in ((T, True), (1.6 * T, False)):
        end = S.sweep_spins(start, source, rule, t, sweeps=3, block=4, generator=generator(2)).state
        code = ((end.reshape(-1, n) + 1) / 2 @ 2.0 ** torch.arange(n - 1, -1, -1).double()).long()
        assert rejects(torch.bincount(code, minlength=2**n), p) != fits or (
            kind == "grid" and not fits
        )


def test_mirrored_coins():
    W, s = torch.zeros(50, 50), spins(20, 50, dtype=torch.float32)
    a, b = (
        S.sweep_spins(
            s, S.Couplings(W), "heat bath", 1.0, sweeps=1, antithetic=x, generator=generator(1)
        ).state
        for x in (False, True)
    )
    assert torch.equal(a, -b)


# one by one, in columns, in groups


def test_columns_do_not_matter(way):
    source, W, _ = network("gauss", 30)
    s = spins(1300, 30, seed=2)
    for rule in COLD:
        want = S.sweep_spins(s, source, rule, columns=None)
        for columns in (1299, 512, 100):
            got = S.sweep_spins(s, source, rule, columns=columns)
            assert torch.equal(got.state, want.state) and torch.equal(got.sweeps, want.sweeps)
    alone = torch.stack([S.sweep_spins(x, source).state for x in s[:20]])
    assert torch.equal(alone, S.sweep_spins(s[:20], source).state)
    assert S.sweep_spins(s[:6].view(1, 2, 3, 30), source).sweeps.shape == (1, 2, 3)
    assert S.sweep_spins(s[0].view(5, 6), source).state.shape == (5, 6)


@pytest.mark.parametrize("rule", COLD)
def test_networks_side_by_side(way, rule):
    xi, s = spins(3, 20, 150, seed=1), spins(3, 40, 150, seed=2)
    held = torch.rand(3, 40, 150, generator=generator(1)) < 0.2
    for fixed in (None, held):
        for sweeps in (None, 2):
            together = S.sweep_spins(s, S.Patterns(xi), rule, sweeps=sweeps, fixed=fixed, block=32)
            for k in range(3):
                mask = None if fixed is None else fixed[k]
                alone = S.sweep_spins(s[k], S.Patterns(xi[k]), rule, sweeps=sweeps, fixed=mask)
                assert torch.equal(together.state[k], alone.state)
                assert torch.equal(together.sweeps[k], alone.sweeps)


@pytest.mark.parametrize("rule", WARM)
@pytest.mark.parametrize("each", [False, True])
def test_a_walk_is_one_sweep_after_the_other(rule, each):
    W, b = grid(20, 1)
    s, held = spins(3, 4, 20, seed=2), torch.arange(20) < 3
    walk, g = (
        S.SpinWalk(s, S.Couplings(W, b), rule, fixed=held, generator=generator(3)),
        generator(3),
    )
    for T in (0.5, 2.0, 0.0):
        heat = torch.full((3, 4), T).double() + torch.arange(4) if each else torch.tensor(T)
        before = walk.state
        copy = before.clone()
        walk.sweep(heat)
        want = S.sweep_spins(
            before, S.Couplings(W, b), rule, heat, sweeps=1, fixed=held, generator=g
        )
        assert torch.equal(walk.state, want.state) and torch.equal(before, copy)


def test_a_list_of_temperatures_is_one_a_sweep():
    source, s, g = network("gauss", 40)[0], spins(9, 40), generator(1)
    want = s
    for T in (2.0, 1.0, 0.0):
        want = S.sweep_spins(want, source, "metropolis", T, sweeps=1, generator=g).state
    got = S.sweep_spins(
        s, source, "metropolis", [2.0, torch.tensor(1.0), 0.0], generator=generator(1)
    )
    assert torch.equal(got.state, want) and got.sweeps.eq(3).all()


def test_more_than_sixteen_sweeps(way):
    "A ring in which one wall walks a site a sweep: the kept fields are made anew now and then."
    n = 60
    W = torch.diag(torch.linspace(1.0, 2.0, n - 1).double(), 1)
    s = torch.ones(n).double()
    s[: n // 2] = -1
    out = S.sweep_spins(s, S.Couplings(torch.nn.Parameter(W + W.T)))
    assert out.sweeps == n // 2 + 1 and out.state.eq(1).all() and not out.state.requires_grad


def test_exact_beyond_what_float32_counts():
    xi, s = spins(3, 50, seed=1), spins(4, 50, seed=2)
    many = xi.float().repeat(2**24 // 150 + 1, 1)
    got = S.sweep_spins(s.float(), S.Patterns(many)).state
    assert torch.equal(got.double(), S.sweep_spins(s, S.Patterns(xi)).state)


def test_the_couplings_inside_blocks_do_not_outgrow_the_patterns(monkeypatch):
    monkeypatch.setattr(S._Fields, "memory", 0)
    fields = S.Patterns(spins(4, 300))._fields(True, None, torch.float32)
    fields.inner(slice(0, 128)), fields.inner(slice(128, 130))
    assert list(fields.couplings) == [128]
    assert equal_to_loop("patterns", "keep", n=70, block=32)


def test_inputs_and_the_global_generator_are_left_alone():
    torch.manual_seed(0)
    before, s = torch.get_rng_state(), spins(5, 12)
    W, copy = grid(12, 1, 0.5)[0], s.clone()
    kept = W.clone()
    for rule, T in (("keep", None), ("heat bath", 1.0)):
        S.sweep_spins(s, S.Couplings(W), rule, T, sweeps=2, order="random", generator=generator(1))
    S.random_spins((3, 4), generator=generator(1)), S.random_patterns(2, 3, generator=generator(1))
    assert torch.equal(s, copy) and torch.equal(W, kept)
    assert torch.equal(torch.get_rng_state(), before)


# states, energy, field


def test_random_spins():
    x = S.random_spins((400, 100), fraction=0.3, generator=generator(1))
    assert x.dtype == torch.float32 and x.abs().eq(1).all()
    assert abs((x > 0).float().mean().item() - 0.3) < 7 * (0.21 / 40_000) ** 0.5
    assert torch.equal(x, S.random_patterns(400, 100, fraction=0.3, generator=generator(1)))
    assert S.random_spins((2, 3), x.double()).dtype == torch.float64


def test_energy_and_field_are_one():
    W, b = network("gauss", 7)[1], torch.linspace(-1, 1, 7).double()
    s = S.spin_states(7, torch.float64)
    E = S.ising_energy(s, W, b)
    for i in range(7):
        t = s.clone()
        t[:, i] *= -1
        torch.testing.assert_close(
            S.ising_energy(t, W, b) - E, 2 * s[:, i] * S.ising_field(s, W, b)[:, i]
        )
    bare = W.clone().fill_diagonal_(0)
    torch.testing.assert_close(E, -0.5 * ((s @ bare) * s).sum(1) - s @ b)


def test_a_tie_is_wider_than_the_rounding_of_a_sum():
    for n in (10, 1000):
        xi = spins(2, n, seed=n, dtype=torch.float32)
        W = hebb(xi)
        exact = hebb(xi.double())
        s = spins(50, n, seed=1)
        error = ((s.float() @ W).double() - s @ exact).abs().max()
        assert error < S.tie_width(W) < 1 / n  # and narrower than the smallest vote that is none
    assert S.tie_width(torch.zeros(3, 3)) > 0


S5, W5 = spins(5, dtype=torch.float32), grid(5, 1)[0].float()
BAD = [
    (lambda: S.sweep_spins(S5, W5), "fields is a Tensor"),
    (lambda: S.sweep_spins((S5 + 1) / 2, S.Couplings(W5)), "2\\*state - 1"),
    (lambda: S.sweep_spins(spins(4, dtype=torch.float32), S.Couplings(W5)), "N = 5"),
    (lambda: S.sweep_spins(S5.double(), S.Couplings(W5)), "convert"),
    (lambda: S.Couplings(W5.triu()), "not symmetric"),
    (lambda: S.Couplings(W5 - torch.eye(5), falling=True), "negative diagonal"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5 - torch.eye(5))), "negative diagonal"),
    (lambda: S.Couplings(W5, torch.zeros(4)), "bias must hold 5"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), "down"), "rule"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), "keep", 1.0), "T is for the rules"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), "heat bath", sweeps=1), "T is None"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), "heat bath", 1.0), "sweeps is None"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), "heat bath", [1.0], sweeps=2), "T is a list of 1"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), "heat bath", [1.0, -1.0]), r"T\[1\] must"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), "heat bath", torch.ones(3), sweeps=1), "T must be"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), sweeps=-1), "sweeps is -1"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), block=0), "block is 0"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), columns=0), "columns is 0"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), order="back"), "permutation"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), order=torch.tensor([0, 1, 2, 3, 3])), "once"),
    (lambda: S.sweep_spins(S5, S.Couplings(W5), fixed=torch.ones(4) > 0), "fixed"),
    (lambda: S.sweep_spins(spins(2, 5), S.Patterns(spins(2, 3, 5))), r"must be \(G, B, N\)"),
    (lambda: S.Patterns(S5), "patterns\\[None\\]"),
    (lambda: S.Patterns([]), "at least one"),
    (lambda: S.random_spins((2, -1)), r"shape\[1\] is -1"),
    (lambda: S.random_patterns(0, 5), "n_patterns is 0"),
    (lambda: S.random_patterns(2, 5, fraction=2), "fraction is 2"),
    (lambda: S.spin_states(21), "n is 21"),
    (lambda: S.ising_energy(0.5 * S5, W5), "contains"),
    (lambda: S.ising_field(S5, W5[:3]), "square"),
    (lambda: S.tie_width(W5 * math.nan), "NaN"),
]


@pytest.mark.parametrize("call, message", BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


E6 = spins(4, 6, dtype=torch.float32), grid(6, 1)[0].float()
TRANSFORMS = {
    "ising_energy of states": (lambda x: S.ising_energy(x, E6[1]), E6[0], False),
    "ising_energy of weights": (lambda W: S.ising_energy(E6[0], W), torch.stack([E6[1]] * 3), True),
    "ising_field": (lambda W: S.ising_field(E6[0], W), torch.stack([E6[1]] * 3), True),
    "tie_width": (S.tie_width, torch.stack([E6[1]] * 3), False),
}


@pytest.mark.parametrize("f, batch, slope", TRANSFORMS.values(), ids=TRANSFORMS.keys())
@pytest.mark.filterwarnings("ignore")
def test_vmap_compile_and_grad(f, batch, slope):
    transforms(f, batch, slope)
