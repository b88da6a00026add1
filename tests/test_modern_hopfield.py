"""Chapter 6: exact steps, descent at every β, the layer against torch's, bad input, memory."""

import copy
import io
import itertools
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from silen_lib import modern_hopfield as M

ROOT = Path(__file__).resolve().parents[1]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CAUSAL = nn.Transformer.generate_square_subsequent_mask


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=generator(seed), dtype=dtype)


def spins(*shape, seed=0, dtype=torch.float64):
    return (torch.randint(0, 2, shape, generator=generator(seed)) * 2 - 1).to(dtype)


# the step


@pytest.mark.parametrize(("dtype", "eps"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 1, 1), (64, 10, 64), (7, 200, 16)])
def test_a_step_is_attention(shape, dtype, eps):
    n, P, d = shape
    x, xi = normal(n, d, seed=1, dtype=dtype), normal(P, d, seed=2, dtype=dtype)
    new, weights = M.modern_hopfield_update(x, xi, d**-0.5)
    want = F.scaled_dot_product_attention(x, xi, xi)
    assert (new - want).abs().max() <= eps * max(1, want.abs().max())
    assert (M.modern_hopfield_retrieve(x, xi, d**-0.5) - want).abs().max() <= eps * max(
        1, want.abs().max()
    )
    assert weights.shape == (n, P) and torch.allclose(weights.sum(-1), torch.ones(n, dtype=dtype))
    assert new.dtype == weights.dtype == dtype


def test_energy_never_rises():
    "30,000 states at 13 values of β, lengths from 1e-3 to 1e3; it falls by at least half the squared step."
    checked = 0
    for i, beta in enumerate(torch.logspace(-2, 3, 13, dtype=torch.float64).tolist()):
        for j in range(30):
            g = generator(1000 * i + j)
            P, d = torch.randint(1, 60, (2,), generator=g).tolist()
            lengths = 10 ** (torch.rand(P + 80, 1, generator=g, dtype=torch.float64) * 3 - 1.5)
            rows = torch.randn(P + 80, d, generator=g, dtype=torch.float64) * lengths
            xi, x = rows[:P], rows[P:]
            new, _ = M.modern_hopfield_update(x, xi, beta)
            before, after = (M.modern_hopfield_energy(s, xi, beta) for s in (x, new))
            scale = 1 + x.square().sum(-1) + xi.square().sum(-1).max() + math.log(P) / beta
            assert ((after - before + (new - x).square().sum(-1) / 2) / scale).max() < 1e-13
            assert bool(
                (M.modern_hopfield_energy(x, xi, beta, constant=True) >= -1e-12 * scale).all()
            )
            checked += len(x)
    assert checked >= 30_000


@pytest.mark.parametrize("beta", [0.01, 1.0, 1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_overflow(beta, dtype):
    xi = normal(20, 8, seed=3, dtype=dtype) * 1000
    x = torch.cat([xi[:5], -xi[:5], torch.zeros(1, 8, dtype=dtype)])
    new, weights = M.modern_hopfield_update(x, xi, beta)
    for value in (
        new,
        weights,
        M.modern_hopfield_energy(x, xi, beta),
        M.modern_hopfield_retrieve(x, xi, beta),
    ):
        assert bool(value.isfinite().all())


def test_gradient_is_state_minus_step():
    x, xi = (
        normal(9, 5, seed=4, dtype=torch.float64).requires_grad_(),
        normal(6, 5, seed=5, dtype=torch.float64),
    )
    for beta in (0.05, 1.0, 30.0):
        (grad,) = torch.autograd.grad(M.modern_hopfield_energy(x, xi, beta).sum(), x)
        assert torch.allclose(grad, x - M.modern_hopfield_update(x, xi, beta)[0], atol=1e-12)


def test_beta_may_be_learned():
    beta = torch.tensor(0.7, requires_grad=True)
    x, xi = normal(4, 3, seed=6), normal(5, 3, seed=7)
    for value in (
        M.modern_hopfield_energy(x, xi, beta),
        M.modern_hopfield_retrieve(x, xi, beta, n_steps=2),
    ):
        (grad,) = torch.autograd.grad(value.sum(), beta)
        assert grad.abs() > 0
    assert torch.allclose(
        M.modern_hopfield_retrieve(x, xi, beta), M.modern_hopfield_update(x, xi, 0.7)[0], atol=1e-6
    )


def test_tutorial_call_forms():
    "As a tutorial calls them: one state, a batch of one, beta by name; (new state, weights)."
    stored = F.normalize(normal(10, 64, seed=8), dim=1)
    query = F.normalize(stored[3] + 0.1 * normal(64, seed=9), dim=0)
    assert M.modern_hopfield_energy(query, stored).shape == ()
    assert M.modern_hopfield_energy(query.unsqueeze(0), stored, beta=8.0).shape == (1,)
    retrieved, attention = M.modern_hopfield_update(query.unsqueeze(0), stored, beta=8.0)
    assert (
        retrieved.shape == (1, 64) and attention.shape == (1, 10) and attention.argmax().item() == 3
    )
    assert M.modern_hopfield_update(query, stored)[0].shape == (64,)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (4, 3, 2)])
def test_batches_of_any_shape(shape):
    x, xi, values = normal(*shape, 3, seed=10), normal(5, 3, seed=11), normal(5, 2, seed=12)
    assert M.modern_hopfield_energy(x, xi).shape == shape
    assert M.modern_hopfield_update(x, xi)[1].shape == (*shape, 5)
    assert M.modern_hopfield_retrieve(x, xi).shape == (*shape, 3)
    assert M.modern_hopfield_retrieve(x, xi, values=values, n_steps=2).shape == (*shape, 2)
    assert M.modern_hopfield_settle(x, xi, 2.0).shape == (*shape, 3)


def test_values_of_another_width_in_blocks():
    x, xi, values = normal(300, 4, seed=13), normal(40_000, 4, seed=14), normal(40_000, 3, seed=15)
    want = torch.softmax(0.5 * x @ xi.T, -1) @ values
    assert torch.allclose(M.modern_hopfield_retrieve(x, xi, 0.5, values=values), want, atol=1e-5)


def test_memory_does_not_grow_with_queries_times_patterns():
    code = (
        "import torch, silen_lib.modern_hopfield as M\n"
        "peak = lambda: float(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1e3\n"
        "x, xi = torch.randn(4096, 64), torch.randn(32768, 64)\n"
        "with torch.no_grad():\n"
        "    M.modern_hopfield_retrieve(x[:64], xi[:64], 0.1)\n"
        "    before = peak(); M.modern_hopfield_retrieve(x, xi, 0.1); print(peak() - before)\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=True, env=env, cwd=ROOT
    )
    assert float(run.stdout) < 60  # MB; the matrix of weights alone is 537


BAD_STEP = [
    (dict(beta=0.0), "beta is 0"),
    (dict(beta=-1.0), "beta is -1"),
    (dict(beta=math.nan), "beta is nan"),
    (dict(beta=math.inf), "beta is inf"),
    (dict(beta=torch.ones(2)), r"beta has shape \(2,\)"),
    (dict(patterns=torch.ones(0, 3)), "at least one pattern"),
    (dict(patterns=torch.ones(3)), r"patterns has shape \(3,\)"),
    (dict(patterns=torch.ones(2, 4)), "last dimension must be 4"),
    (dict(patterns=torch.ones(2, 3, dtype=torch.float64)), "convert one of them"),
    (dict(patterns=torch.tensor([[1.0, 2.0, math.nan]])), "patterns contains NaN"),
    (dict(x=torch.tensor([1.0, math.inf, 0.0])), "x contains NaN or infinity"),
    (
        dict(x=torch.ones(3, dtype=torch.int64)),
        "x has dtype torch.int64; it must be floating point",
    ),
    (dict(x=[1.0, 2.0, 3.0]), "x is a list; it must be a torch tensor"),
    (dict(x=torch.tensor(1.0)), r"x has shape \(\)"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_STEP)
@pytest.mark.parametrize(
    "f", [M.modern_hopfield_energy, M.modern_hopfield_update, M.modern_hopfield_retrieve]
)
def test_bad_input_is_named(f, bad, message):
    with pytest.raises(ValueError, match=message):
        f(**(dict(x=torch.ones(3), patterns=torch.ones(2, 3), beta=1.0) | bad))


BAD_OTHER = [
    (
        lambda: M.modern_hopfield_retrieve(torch.ones(3), torch.ones(2, 3), n_steps=0),
        "n_steps is 0",
    ),
    (
        lambda: M.modern_hopfield_retrieve(
            torch.ones(3), torch.ones(2, 3), values=torch.ones(3, 3)
        ),
        "values has shape",
    ),
    (lambda: M.dense_energy(torch.ones(3), torch.ones(2, 3), 1), "power is 1"),
    (lambda: M.dense_energy(torch.ones(3), torch.ones(2, 3), 2.5), "power is 2.5"),
    (lambda: M.dense_update(torch.ones(3), torch.ones(2, 4)), "state has shape"),
    (lambda: M.dense_update(torch.ones(3), torch.ones(2, 3), "cube"), "power is 'cube'"),
    (
        lambda: M.universal_retrieve(torch.ones(3), torch.ones(2, 3), torch.ones(4, 3), torch.sign),
        "values has shape",
    ),
    (lambda: M.HopfieldAttention(6, 4), "embed_dim is 6"),
    (lambda: M.HopfieldAttention(6, 3, n_steps=0), "n_steps is 0"),
    (lambda: M.HopfieldAttention(6, 3, beta=-1.0), "beta is -1"),
    (lambda: M.HopfieldAttention(6, 3, n_steps=2).as_multihead_attention(), "n_steps is 2"),
    (
        lambda: M.HopfieldAttention(6, 3, separation=M.sparsemax).as_multihead_attention(),
        "separation is sparsemax",
    ),
    (lambda: M.HopfieldAttention(6, 3, separation=2), "separation is 2"),
    (lambda: M.HopfieldPooling(6, 3, 0), "num_queries is 0"),
    (lambda: M.HopfieldLookup(6, 3, 0), "num_memories is 0"),
    (
        lambda: M.modern_hopfield_retrieve(torch.ones(3), torch.ones(2, 3), causal=True),
        r"x has shape \(3,\)",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD_OTHER)
def test_other_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# spins


def flip_costs(s, xi, power):
    "Change of the energy when one neuron flips, for every neuron, one after the other."
    n = s.shape[-1]
    flips = torch.stack([s * (1 - 2 * torch.eye(n, dtype=s.dtype)[i]) for i in range(n)], -2)
    return M.dense_energy(flips, xi, power) - M.dense_energy(s, xi, power)[..., None]


@pytest.mark.parametrize("power", [2, 3, 4, "exp"])
def test_dense_recall_ends_at_a_local_minimum(power):
    s, xi = spins(20, 30, seed=22), spins(12, 30, seed=23)
    start = s.clone()
    end = M.dense_update(s, xi, power, generator=generator(1))
    assert torch.equal(s, start) and end.dtype == s.dtype and bool((end.abs() == 1).all())
    assert bool((flip_costs(end, xi, power) >= -1e-9).all())
    assert bool((M.dense_energy(end, xi, power) <= M.dense_energy(s, xi, power) + 1e-9).all())
    assert torch.equal(end, M.dense_update(s, xi, power, generator=generator(1)))


def test_exponential_memory_of_many_neurons():
    "Overlaps of 2,000 would overflow any exponential."
    xi = spins(50, 2000, seed=24, dtype=torch.float32)
    cue = xi[0] * (1 - 2 * (torch.rand(2000, generator=generator(25)) < 0.3).float())
    assert M.dense_energy(xi, xi, "exp").isfinite().all()
    assert torch.equal(M.dense_update(cue, xi, "exp", sweeps=1, generator=generator(2)), xi[0])


def test_nothing_touches_the_global_generator():
    s, xi, before = spins(2, 5), spins(3, 5), torch.get_rng_state()
    M.dense_update(s, xi, generator=generator(0))
    assert torch.equal(torch.get_rng_state(), before)


# separations


def test_sparsemax_is_the_projection():
    z = normal(200, 9, seed=30, dtype=torch.float64) * 3
    a = M.sparsemax(z)
    assert torch.allclose(a.sum(-1), torch.ones(200, dtype=a.dtype)) and a.min() == 0
    other = torch.softmax(normal(500, 1, 9, seed=31, dtype=torch.float64) * 3, -1)
    assert bool(
        ((z - a).norm(dim=-1) <= (z - other).norm(dim=-1) + 1e-12).all()
    )  # no point of the simplex is nearer
    assert torch.allclose(M.sparsemax(z + 1e6), a, atol=1e-8) and M.sparsemax(
        z[0, :1]
    ).tolist() == [1.0]


def test_entmax15_solves_its_equation():
    z = normal(300, 12, seed=32, dtype=torch.float64) * 4
    a = M.entmax15(z)
    tau = (z / 2 - a.sqrt()).masked_fill(a == 0, -math.inf).amax(-1, keepdim=True)
    assert torch.allclose((z / 2 - tau).clamp(min=0).square(), a, atol=1e-9)
    assert torch.allclose(a.sum(-1), torch.ones(300, dtype=a.dtype))
    support = lambda w: (w > 0).sum(-1)
    assert bool((support(M.sparsemax(z)) <= support(a)).all())


@pytest.mark.parametrize("f", [M.sparsemax, M.entmax15])
def test_sparse_separations_have_the_right_gradients(f):
    z = torch.tensor([0.7, 0.5, -2.0, 0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, z)


# the layer against nn.MultiheadAttention


def both(*args, seed=0, **kwargs):
    torch.manual_seed(seed)
    theirs, ours = nn.MultiheadAttention(*args, **kwargs), M.HopfieldAttention(*args, **kwargs)
    for p in theirs.parameters():
        nn.init.normal_(p, std=0.3)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return theirs, ours


def outcome(layer, inputs, **kwargs):
    "Outputs, weights, and the gradients of all parameters and inputs."
    layer.zero_grad()
    x = (
        [i.clone().requires_grad_() for i in inputs]
        if len(inputs) > 1
        else [inputs[0].clone().requires_grad_()] * 3
    )
    out, weights = layer(*x, **kwargs)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)).sum().backward()
    return [
        out,
        *([] if weights is None else [weights]),
        *(p.grad for p in layer.parameters()),
        *(i.grad for i in x),
    ]


def worst(a, b):
    assert [x.shape for x in a] == [x.shape for x in b]
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True))


WIDTHS = [(8, 2, None, None), (12, 3, 5, 7), (16, 1, 16, None), (6, 6, None, 9)]
SIZES = [(1, 1, 1), (3, 5, 5), (2, 4, 9)]
ATTN = ["none", "bool2", "float2", "bool3", "float3"]


def attn_mask(kind, B, H, L, S):
    if kind == "none":
        return None
    shape = (L, S) if kind.endswith("2") else (B * H, L, S)
    return (
        torch.randn(shape) if "float" in kind else (torch.rand(shape) < 0.4) & (torch.arange(S) > 0)
    )


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("widths", WIDTHS)
def test_layer_is_torchs(widths, batch_first):
    E, H, kdim, vdim = widths
    warnings.simplefilter("ignore")
    for (B, L, S), extra in itertools.product(SIZES, range(3)):
        more = dict(
            bias=extra < 2, add_bias_kv=extra > 0, add_zero_attn=extra == 2, kdim=kdim, vdim=vdim
        )
        theirs, ours = both(E, H, batch_first=batch_first, **more)
        shape = lambda n, d: (B, n, d) if batch_first else (n, B, d)
        x = [
            torch.randn(shape(L, E)),
            torch.randn(shape(S, kdim or E)),
            torch.randn(shape(S, vdim or E)),
        ]
        if L == S and kdim is None and vdim is None:
            x = x[:1]
        for kind, padded, need, average in itertools.product(
            ATTN, (0, 1, 2), (True, False), (True, False)
        ):
            if not need and not average:
                continue
            pad = [None, (torch.rand(B, S) < 0.4) & (torch.arange(S) > 0), torch.randn(B, S)][
                padded
            ]
            kwargs = dict(attn_mask=attn_mask(kind, B, H, L, S), key_padding_mask=pad, need_weights=need,
                          average_attn_weights=average)  # fmt: skip
            assert worst(outcome(theirs, x, **kwargs), outcome(ours, x, **kwargs)) <= 1e-5


@pytest.mark.parametrize("need", [True, False])
def test_unbatched_causal_and_dtype(need):
    theirs, ours = both(8, 2, dtype=torch.float64)
    x = torch.randn(5, 8, dtype=torch.float64)
    causal = dict(attn_mask=CAUSAL(5).double(), is_causal=True)
    for kwargs in (dict(), causal, dict(attn_mask=torch.randn(2, 5, 5).double()),
                   dict(key_padding_mask=torch.tensor([False, True, False, False, True]))):  # fmt: skip
        a, b = (
            outcome(theirs, [x], need_weights=need, **kwargs),
            outcome(ours, [x], need_weights=need, **kwargs),
        )
        assert worst(a, b) <= 1e-12 and b[0].dtype == torch.float64


@pytest.mark.parametrize("need", [True, False])
def test_fully_masked_rows_as_in_torch(need):
    theirs, ours = both(8, 2, batch_first=True)
    x, pad = torch.randn(2, 3, 8), torch.tensor([[True] * 3, [False, True, False]])
    a, b = (layer(x, x, x, key_padding_mask=pad, need_weights=need)[0] for layer in (theirs, ours))
    assert torch.allclose(a, b, atol=1e-6, equal_nan=True)
    assert (
        bool(b[0].isnan().all()) if need else torch.allclose(b[0], ours.out_proj.bias.expand(3, 8))
    )
    assert bool(b[1].isfinite().all())


def test_dropout_is_torchs():
    theirs, ours = both(8, 2, dropout=0.5, batch_first=True)
    x = torch.randn(4, 6, 8)
    for need in (True, False):
        torch.manual_seed(1)
        a = theirs(x, x, x, need_weights=need)[0]
        torch.manual_seed(1)
        b = ours(x, x, x, need_weights=need)[0]
        assert torch.allclose(a, b, atol=1e-6)
    assert torch.allclose(theirs.eval()(x, x, x)[0], ours.eval()(x, x, x)[0], atol=1e-6)


def test_same_start_from_the_same_seed():
    torch.manual_seed(3)
    a = nn.MultiheadAttention(8, 2).state_dict()
    torch.manual_seed(3)
    b = M.HopfieldAttention(8, 2, n_steps=4).state_dict()
    assert list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("need", [True, False])
def test_steps_move_among_the_keys(need):
    "Three steps with identity projections are three updates of each head's memory, then a reading of the values."
    layer = M.HopfieldAttention(6, 2, bias=False, batch_first=True, n_steps=3, beta=1.3)
    eye = {"in_proj_weight": torch.eye(6).repeat(3, 1), "out_proj.weight": torch.eye(6)}
    layer.load_state_dict(eye)
    q, k, v = torch.randn(1, 4, 6), torch.randn(1, 5, 6), torch.randn(1, 5, 6)
    out, _ = layer(q, k, v, need_weights=need)
    for h in (slice(0, 3), slice(3, 6)):
        x = M.modern_hopfield_retrieve(q[0, :, h], k[0, :, h], 1.3, n_steps=2)
        want = M.modern_hopfield_update(x, k[0, :, h], 1.3)[1] @ v[0, :, h]
        assert torch.allclose(out[0, :, h], want, atol=1e-6)


def test_masked_keys_stay_out_of_reach_in_every_step():
    layer = M.HopfieldAttention(8, 2, batch_first=True, n_steps=4)
    x, other = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    pad = torch.tensor([[False, False, False, True, True]])
    changed = other.clone()
    changed[:, 3:] = 99.0
    for need in (True, False):
        a, b = (
            layer(x, y, y, key_padding_mask=pad, need_weights=need)[0] for y in (other, changed)
        )
        assert torch.allclose(a, b, atol=1e-6)


def test_learned_beta_loads_folds_and_learns():
    theirs, _ = both(8, 2, batch_first=True)
    learned = M.HopfieldAttention(8, 2, batch_first=True, learn_beta=True, beta=0.9)
    learned.load_state_dict(theirs.state_dict())  # strict: the missing β keeps its start
    assert torch.allclose(learned.log_beta.exp(), torch.tensor([0.9, 0.9]))
    x = torch.randn(2, 5, 8)
    learned(x, x, x)[0].square().sum().backward()
    assert learned.log_beta.grad.abs().min() > 0
    for layer in (learned, M.HopfieldAttention(8, 2, kdim=8, vdim=3, bias=False, beta=2.0)):
        inputs = (x, x, torch.randn(2, 5, layer.vdim)) if layer.vdim == 3 else (x, x, x)
        assert torch.allclose(
            layer.as_multihead_attention()(*inputs)[0], layer(*inputs)[0], atol=1e-5
        )
    again = M.HopfieldAttention(8, 2, batch_first=True, learn_beta=True)
    again.load_state_dict(learned.state_dict())
    assert torch.allclose(again(x, x, x)[0], learned(x, x, x)[0])
    with pytest.raises(
        RuntimeError, match="log_beta"
    ):  # a fixed β must not swallow a learned one silently
        theirs.load_state_dict(learned.state_dict())


def test_inside_transformer_layers_steps_survive_eval():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    x, pad = torch.randn(2, 6, 16), torch.zeros(2, 6, dtype=torch.bool)
    pad[1, 4:] = True
    ours = M.HopfieldAttention(16, 4, batch_first=True)
    ours.load_state_dict(layer.self_attn.state_dict())
    mixed = copy.deepcopy(layer)
    mixed.self_attn = ours.eval()
    with torch.no_grad():
        assert torch.allclose(mixed(x), layer(x), atol=1e-5)
        a, b = (block(x, src_key_padding_mask=pad)[~pad] for block in (mixed, layer))
        assert torch.allclose(a, b, atol=1e-5)
        ours.n_steps = 3
        assert (mixed(x) - layer(x)).abs().max() > 1e-4
        stack = nn.TransformerEncoder(mixed, 2, enable_nested_tensor=False)
        assert stack(x, src_key_padding_mask=pad).shape == x.shape


BAD_CALLS = [
    (lambda x: (x[..., :5], x, x), {}, "query has shape"),
    (lambda x: (x, x[0], x), {}, "key has shape"),
    (lambda x: (x, x, x[:, :2]), {}, "each key needs its value"),
    (lambda x: (x, x[:1], x[:1]), {}, "batches of 2 and 1"),
    (lambda x: (x, [1], x), {}, "key is a list"),
    (lambda x: (x, x, x), dict(attn_mask=torch.zeros(2, 2)), "attn_mask has shape"),
    (
        lambda x: (x, x, x),
        dict(attn_mask=torch.zeros(3, 3, dtype=torch.int64)),
        "attn_mask must be a tensor",
    ),
    (lambda x: (x, x, x), dict(key_padding_mask=torch.zeros(3, 2)), "key_padding_mask has shape"),
]


@pytest.mark.parametrize(("inputs", "kwargs", "message"), BAD_CALLS)
def test_bad_calls_of_the_layer_are_named(inputs, kwargs, message):
    with pytest.raises(ValueError, match=message):
        M.HopfieldAttention(8, 2, batch_first=True)(*inputs(torch.randn(2, 3, 8)), **kwargs)


@pytest.mark.parametrize("device", DEVICES)
def test_device_follows_the_inputs(device):
    x, xi = normal(4, 8).to(device), normal(6, 8, seed=1).to(device)
    layer = M.HopfieldAttention(8, 2, batch_first=True, n_steps=2, learn_beta=True, device=device)
    mask = torch.zeros(4, 4, dtype=torch.bool, device=device)
    tokens, s, stored = x[None], spins(2, 5).to(device), spins(3, 5).to(device)
    results = [M.modern_hopfield_energy(x, xi), *M.modern_hopfield_update(x, xi), M.modern_hopfield_retrieve(x, xi),
               M.sparsemax(x), M.entmax15(x), M.modern_hopfield_settle(x, xi),
               M.dense_update(s, stored, generator=generator(0)),
               *layer(tokens, tokens, tokens, attn_mask=mask), layer(tokens, tokens, tokens, need_weights=False)[0],
               layer.log_beta]  # fmt: skip
    assert {r.device.type for r in results} == {device}


def test_benchmark_runs_small():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import modern_hopfield as bench
    finally:
        sys.path.pop(0)
    rows = bench.measure(n_queries=32, n_patterns=64, dims=(16,), repeats=2)
    assert {r["what"] for r in rows} >= {
        "F.scaled_dot_product_attention",
        "modern_hopfield_retrieve",
    }
    assert all(r["ms"] > 0 for r in rows if r["ms"] is not None)


# what is refused


X, XI = normal(4, 3, seed=40), normal(5, 3, seed=41)
HEADS = M.HopfieldAttention(8, 2, batch_first=True)
TOKENS = normal(2, 3, 8, seed=42)
BEYOND = [
    (lambda: M.modern_hopfield_energy(X, XI, 3e38), "beta is 3e"),
    (lambda: M.modern_hopfield_update(X, XI, 3e38), "beta is 3e"),
    (lambda: M.modern_hopfield_retrieve(X, XI, 3e38, n_steps=2), "beta is 3e"),
    (lambda: M.modern_hopfield_energy(X * 1e30, XI), "x goes up to"),
    (lambda: M.modern_hopfield_settle(X, XI, 3e38, max_steps=3), "beta is 3e"),
    (lambda: M.dense_energy(torch.ones(784), torch.ones(1, 784), 14), "power is 14"),
    (lambda: M.dense_update(torch.ones(784), torch.ones(1, 784), 120), "power is 120"),
    (lambda: M.split_heads(TOKENS, 3), "num_heads is 3"),
]


@pytest.mark.parametrize(("call", "message"), BEYOND)
def test_what_leaves_the_range_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_great_beta_is_right_where_its_result_is_a_number():
    "All scores ≤ 0 and the best of them 0: the nearest memory, exactly, at any β."
    xi, x = torch.tensor([[0.0, 0.0], [-1.0, 0.0]]), torch.tensor([1.0, 0.0])
    assert M.modern_hopfield_update(x, xi, 3e38)[1].tolist() == [1, 0]
    assert M.modern_hopfield_energy(x, xi, 3e38).item() == 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_agrees_with_float32(dtype):
    x, xi = normal(5, 8, seed=50), normal(7, 8, seed=51)
    eps = 8 * torch.finfo(dtype).eps
    calls = (M.modern_hopfield_energy, lambda *a: M.modern_hopfield_update(*a)[0],
             lambda *a: M.modern_hopfield_update(*a)[1], lambda *a: M.modern_hopfield_retrieve(*a,
                 n_steps=3))  # fmt: skip
    for f in calls:
        want, got = f(x, xi, 0.5), f(x.to(dtype), xi.to(dtype), 0.5)
        assert got.dtype == dtype and (got.float() - want).abs().max() <= eps * max(
            1, want.abs().max()
        )
    layer = M.HopfieldAttention(8, 2, batch_first=True, n_steps=2)
    tokens = normal(2, 4, 8, seed=52)
    got = copy.deepcopy(layer).to(dtype)(*[tokens.to(dtype)] * 3)[0]
    assert (
        got.dtype == dtype
        and (got.float() - layer(tokens, tokens, tokens)[0]).abs().max() <= 4 * eps
    )


# held units


@pytest.mark.parametrize("power", [3, "exp"])
def test_dense_recall_holds_units(power):
    s, xi = spins(8, 30, seed=60), spins(40, 30, seed=61)
    free = M.dense_update(s, xi, power, generator=generator(2))
    one = torch.arange(30) < 10
    for fixed in (one, (torch.rand(8, 30, generator=generator(3)) < 0.3)):
        end = M.dense_update(s, xi, power, generator=generator(2), fixed=fixed)
        held = fixed.expand(8, 30)
        assert torch.equal(end[held], s[held]) and not torch.equal(free[held], s[held])
        assert bool((flip_costs(end, xi, power)[~held] >= -1e-9).all())  # the others are at rest
    nobody = M.dense_update(s, xi, power, generator=generator(2), fixed=torch.zeros(30).bool())
    assert torch.equal(nobody, free)
    assert torch.equal(M.dense_update(s, xi, power, fixed=torch.ones(30).bool()), s)


def test_settling_holds_units():
    x, xi = normal(6, 5, seed=62, dtype=torch.float64), normal(9, 5, seed=63, dtype=torch.float64)
    fixed = torch.tensor([True, False, False, True, False])
    end = M.modern_hopfield_settle(x, xi, 2.0, fixed=fixed)
    assert torch.equal(end[:, fixed], x[:, fixed])
    assert torch.allclose(
        end[:, ~fixed], M.modern_hopfield_update(end, xi, 2.0)[0][:, ~fixed], atol=1e-9
    )
    nobody = M.modern_hopfield_settle(x, xi, 2.0, fixed=torch.zeros(5).bool())
    assert torch.equal(M.modern_hopfield_settle(x, xi, 2.0), nobody)


def test_settling_ends_at_rest_or_after_the_steps_allowed():
    x, xi = normal(6, 5, seed=64, dtype=torch.float64), normal(9, 5, seed=65, dtype=torch.float64)
    end = M.modern_hopfield_settle(x, xi, 0.5)
    assert (M.modern_hopfield_update(end, xi, 0.5)[0] - end).abs().max() < 1e-9
    two = M.modern_hopfield_retrieve(x, xi, 0.5, n_steps=2)
    assert torch.allclose(M.modern_hopfield_settle(x, xi, 0.5, max_steps=2), two, atol=1e-12)
    assert M.modern_hopfield_settle(x[:0], xi).shape == (0, 5)


# dtypes: the rule of energies and entropies, the same in chapters 0, 6 and 7


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("f", [M.sparsemax, M.entmax15])
def test_sparse_separations_in_half_precision(f, dtype):
    z = normal(50, 300, seed=66)
    got = f(z.to(dtype))
    assert got.dtype == dtype
    want = f(z.to(dtype).float())
    assert (got.float() - want).abs().max() <= 2 * torch.finfo(dtype).eps
    share = torch.full((4,), 0.25, dtype=dtype)
    assert M.effective_patterns(share).item() == 4 and M.effective_patterns(share).dtype == dtype


@pytest.mark.parametrize("f", [M.sparsemax, M.entmax15])
def test_separations_take_whole_numbers_and_forbidden_choices(f):
    z = torch.tensor([[2, 0, 1], [0, 0, -5]])
    assert torch.equal(f(z), f(z.float()))
    masked = torch.tensor([0.3, -math.inf, 0.1], requires_grad=True)
    a = f(masked)
    assert a[1] == 0 and torch.allclose(a[[0, 2]], f(masked.detach()[[0, 2]]))
    (slope,) = torch.autograd.grad(a[0], masked)
    assert slope.isfinite().all()
    with pytest.raises(ValueError, match="scores forbids every choice"):
        f(torch.full((2, 3), -math.inf))


# transforms


def alone(result):
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("f", [
    lambda x: M.modern_hopfield_energy(x, XI, 1.5, True), lambda x: alone(M.modern_hopfield_update(x, XI, 1.5)),
    lambda x: M.modern_hopfield_retrieve(x, XI, 1.5, n_steps=2), M.sparsemax, M.entmax15,
    lambda x: M.effective_patterns(x.softmax(-1)), lambda x: M.universal_retrieve(x, XI, XI, M.sparsemax),
    lambda x: M.dense_energy(torch.where(x > 0, 1.0, -1.0), torch.ones(2, 3), "exp")])  # fmt: skip
def test_vmap_grad_and_compile(f):
    x = normal(4, 3, seed=70)
    want = f(x)
    assert torch.allclose(torch.func.vmap(f)(x), want, atol=1e-6)
    assert torch.allclose(torch.compile(f, backend="eager", fullgraph=True)(x), want, atol=1e-6)
    assert torch.func.grad(lambda x: f(x).sum())(x).isfinite().all()


def test_vmap_over_beta():
    betas = torch.tensor([0.5, 2.0])
    got = torch.func.vmap(lambda b: M.modern_hopfield_energy(X, XI, b))(betas)
    assert torch.allclose(
        got, torch.stack([M.modern_hopfield_energy(X, XI, b.item()) for b in betas]), atol=1e-6
    )


# the layer in what torch builds around it


def encoders(swapped, **how):
    "A built encoder of torch's, and its copy in which some layers attend by ours."
    torch.manual_seed(0)
    theirs = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2
    ).eval()
    mixed = copy.deepcopy(theirs)
    for i in swapped:
        ours = M.HopfieldAttention(16, 4, batch_first=True, **how)
        ours.load_state_dict(mixed.layers[i].self_attn.state_dict())
        mixed.layers[i].self_attn = ours.eval()
    return theirs, mixed


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("swapped", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("lengths", [(6, 6), (6, 4), (5, 1)])
def test_swapped_into_a_built_encoder(swapped, lengths):
    "Evaluation, no gradient, padding: torch packs the sequences, whichever layer is ours; and the steps are made."
    theirs, mixed = encoders(swapped)
    x, pad = normal(2, 6, 16, seed=80), torch.arange(6) >= torch.tensor(lengths)[:, None]
    with torch.no_grad():
        want = theirs(x, src_key_padding_mask=pad)
        assert (mixed(x, src_key_padding_mask=pad) - want).abs().max() <= 1e-5
        assert (mixed(x) - theirs(x)).abs().max() <= 1e-5
        _, deep = encoders(swapped, n_steps=3)
        assert (deep(x, src_key_padding_mask=pad) - want)[~pad].abs().max() > 1e-3
    with_grad = mixed(x, src_key_padding_mask=pad)
    assert (with_grad - want)[~pad].abs().max() <= 1e-5 and with_grad.requires_grad
    compiled = torch.compile(mixed, backend="eager", fullgraph=True)(x, src_key_padding_mask=pad)
    assert (compiled - want)[~pad].abs().max() <= 1e-5


@pytest.mark.filterwarnings(
    "ignore:enable_nested_tensor is True", "ignore:The PyTorch API of nested tensors"
)
def test_an_encoder_built_from_our_layer():
    theirs, _ = encoders(())
    block = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    block.self_attn = M.HopfieldAttention(16, 4, batch_first=True)
    ours = nn.TransformerEncoder(block, 2).eval()
    ours.load_state_dict(theirs.state_dict())
    x, pad = normal(2, 6, 16, seed=81), torch.arange(6) >= torch.tensor([6, 3])[:, None]
    with torch.no_grad():
        assert (ours(x, src_key_padding_mask=pad) - theirs(x, src_key_padding_mask=pad))[
            ~pad
        ].abs().max() <= 1e-5


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_other_than_self_attention_are_refused():
    packed = torch.nested.as_nested_tensor([torch.ones(2, 8), torch.ones(3, 8)])
    with pytest.raises(ValueError, match="query is a nested tensor"):
        HEADS(packed, TOKENS, TOKENS)
    with pytest.raises(ValueError, match="query is a nested tensor"):
        HEADS(packed, packed, packed, key_padding_mask=torch.zeros(2, 3).bool())


def test_what_a_checkpoint_was_made_with():
    "Read back from a file; the keys stay those of nn.MultiheadAttention."
    file = io.BytesIO()
    torch.save(nn.Sequential(M.HopfieldAttention(8, 2, n_steps=2, beta=0.7)).state_dict(), file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    assert set(saved) == set(nn.Sequential(nn.MultiheadAttention(8, 2)).state_dict())
    nn.Sequential(
        M.HopfieldAttention(8, 2, n_steps=2, beta=0.7, batch_first=True, dropout=0.5)
    ).load_state_dict(saved)
    nn.Sequential(nn.MultiheadAttention(8, 2)).load_state_dict(saved)
    others = [(dict(n_steps=5, beta=0.7), "n_steps is 2 in the checkpoint and 5 here"), (dict(n_steps=2),
        "beta is 0.7"),
              (dict(n_steps=2, beta=0.7, learn_beta=True), "beta is 0.7 in the checkpoint and None"),
              (dict(n_steps=2, beta=0.7, add_zero_attn=True), "add_zero_attn is False")]  # fmt: skip
    for how, message in others:
        for strict in (True, False):
            with pytest.raises(RuntimeError, match=message):
                nn.Sequential(M.HopfieldAttention(8, 2, **how)).load_state_dict(
                    saved, strict=strict
                )
    with pytest.raises(RuntimeError, match="num_heads is 2 in the checkpoint and 4 here"):
        nn.Sequential(M.HopfieldAttention(8, 4, n_steps=2, beta=0.7)).load_state_dict(saved)
    older = dict(saved)  # without metadata, as nn.MultiheadAttention's: the weights are taken
    nn.Sequential(M.HopfieldAttention(8, 2, n_steps=5)).load_state_dict(older)


def test_the_layer_says_what_it_is():
    text = repr(M.HopfieldAttention(8, 2, n_steps=3, beta=0.25))
    assert "num_heads=2" in text and "n_steps=3" in text and "beta=0.25" in text
    assert "learn_beta=True" in repr(M.HopfieldAttention(8, 2, learn_beta=True))


@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)
def test_copies_traces_exports_compiles_and_refuses_to_be_scripted():
    layer = M.HopfieldAttention(8, 2, batch_first=True, n_steps=2).eval()
    x = (TOKENS,) * 3
    want = layer(*x)[0]
    whole = torch.export.export(layer, x).module()
    for other in (
        copy.deepcopy(layer),
        torch.jit.trace(layer, x),
        torch.compile(layer, backend="eager", fullgraph=True),
        whole,
    ):
        assert torch.allclose(other(*x)[0], want, atol=1e-6)
    for module in (layer, encoders((0,))[1]):
        with pytest.raises(NotImplementedError, match="cannot be scripted; use torch.jit.trace"):
            torch.jit.script(module)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(*x)[0].dtype == torch.bfloat16
    ghost = M.HopfieldAttention(8, 2, device="meta", n_steps=2)
    assert ghost(*[TOKENS.to("meta")] * 3)[0].shape == TOKENS.shape


def test_masks_elsewhere_are_named():
    for how in (
        dict(attn_mask=torch.zeros(3, 3, device="meta")),
        dict(key_padding_mask=torch.zeros(2, 3, device="meta")),
    ):
        with pytest.raises(ValueError, match=f"{next(iter(how))} is on meta"):
            HEADS(TOKENS, TOKENS, TOKENS, **how)


# causal memories


@pytest.mark.parametrize(("L", "S"), [(1, 1), (5, 5), (3, 7), (7, 3)])
@pytest.mark.parametrize("width", [4, 3])
def test_a_causal_memory_is_a_smaller_memory(L, S, width):
    "State i of L reads the patterns 0 … i, in every step; whatever the batch, and in blocks of queries too."
    xi, values = (
        normal(S, 4, seed=90, dtype=torch.float64),
        normal(S, width, seed=91, dtype=torch.float64),
    )
    for shape in ((L, 4), (2, L, 4), (2, 3, L, 4), (0, L, 4)):
        x = normal(*shape, seed=92, dtype=torch.float64)
        got = M.modern_hopfield_retrieve(x, xi, 0.7, values=values, n_steps=2, causal=True)
        assert got.shape == (*shape[:-1], width)
        for i in range(L):
            seen = slice(0, i + 1)
            want = M.modern_hopfield_retrieve(
                x[..., i, :], xi[seen], 0.7, values=values[seen], n_steps=2
            )
            assert torch.allclose(got[..., i, :], want, atol=1e-12)


def test_a_causal_memory_in_blocks():
    x, xi, values = normal(3000, 4, seed=93), normal(3000, 4, seed=94), normal(3000, 3, seed=95)
    got = M.modern_hopfield_retrieve(x, xi, 0.5, values=values, causal=True)
    for i in (0, 1397, 1398, 2999):
        want = torch.softmax(0.5 * x[i] @ xi[: i + 1].T, -1) @ values[: i + 1]
        assert torch.allclose(got[i], want, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("need", [True, False])
@pytest.mark.parametrize("more", [dict(), dict(add_bias_kv=True), dict(add_zero_attn=True)])
def test_causal_layers_are_torchs(dtype, need, more):
    "The hint beside its mask, with and without padding; and alone, where torch's layer wants the mask as well."
    theirs, ours = both(8, 2, batch_first=True, dtype=dtype, **more)
    x, eps = normal(3, 6, 8, seed=96, dtype=dtype), 1e-5 if dtype == torch.float32 else 1e-12
    later = torch.ones(6, 6).triu(1).bool()
    pad = torch.arange(6) >= torch.tensor([6, 4, 1])[:, None]
    for padding in (None, pad):
        want = outcome(theirs, [x], attn_mask=later, key_padding_mask=padding, need_weights=need)
        for how in (
            dict(attn_mask=later),
            dict(attn_mask=later, is_causal=True),
            dict(is_causal=True),
        ):
            got = outcome(ours, [x], key_padding_mask=padding, need_weights=need, **how)
            assert worst(want, got) <= eps


@pytest.mark.parametrize("need", [True, False])
@pytest.mark.parametrize("separation", [None, M.sparsemax])
def test_nothing_later_leaks_into_a_causal_layer(need, separation):
    layer = M.HopfieldAttention(8, 2, batch_first=True, n_steps=3, beta=2.0, separation=separation)
    x = normal(2, 6, 8, seed=97)
    changed = torch.cat([x[:, :4], normal(2, 2, 8, seed=98)], 1)
    a, b = (layer(y, y, y, need_weights=need, is_causal=True)[0] for y in (x, changed))
    assert (a - b)[:, :4].abs().max() <= 1e-6 and (a - b)[:, 4:].abs().max() > 1e-3
    assert (layer(x, x, x, need_weights=need)[0] - a).abs().max() > 1e-3


# separations in the layer


def test_a_separation_takes_the_softmaxs_place():
    x, pad = normal(2, 5, 8, seed=99), torch.arange(5) >= torch.tensor([5, 3])[:, None]
    plain = M.HopfieldAttention(8, 2, batch_first=True, n_steps=2)
    for separation in (M.sparsemax, M.entmax15, lambda z: torch.softmax(z, -1)):
        layer = M.HopfieldAttention(8, 2, batch_first=True, n_steps=2, separation=separation)
        layer.load_state_dict({k: v for k, v in plain.state_dict().items()})
        out, weights = layer(x, x, x, key_padding_mask=pad, average_attn_weights=False)
        assert (
            torch.allclose(weights.sum(-1), torch.ones(2, 2, 5))
            and (weights[1, ..., 3:] == 0).all()
        )
        without, none = layer(x, x, x, key_padding_mask=pad, need_weights=False)
        assert none is None and torch.allclose(out, without, atol=1e-6)
        same = torch.allclose(out, plain(x, x, x, key_padding_mask=pad)[0], atol=1e-6)
        assert same == (separation not in (M.sparsemax, M.entmax15))
        out.sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_a_separation_travels_with_its_checkpoint():
    sparse = M.HopfieldAttention(8, 2, separation=M.sparsemax)
    assert "separation=sparsemax" in repr(sparse)
    saved = sparse.state_dict()
    M.HopfieldAttention(8, 2, separation=M.sparsemax).load_state_dict(saved)
    for other in (dict(), dict(separation=M.entmax15)):
        with pytest.raises(RuntimeError, match="separation is sparsemax in the checkpoint"):
            M.HopfieldAttention(8, 2, **other).load_state_dict(saved)


# pooling and lookup


@pytest.mark.parametrize("batch_first", [True, False])
def test_pooling_is_attention_with_queries_of_its_own(batch_first):
    pool = M.HopfieldPooling(8, 2, 3, batch_first=batch_first, n_steps=2)
    plain = M.HopfieldAttention(8, 2, batch_first=batch_first, n_steps=2)
    plain.load_state_dict(pool.state_dict(), strict=False)
    bag = normal(4, 7, 8, seed=100) if batch_first else normal(7, 4, 8, seed=100)
    pad = torch.arange(7) >= torch.tensor([7, 5, 1, 7])[:, None]
    rows = pool.queries.expand(4, 3, 8) if batch_first else pool.queries[:, None].expand(3, 4, 8)
    for need in (True, False):
        want = plain(rows, bag, bag, key_padding_mask=pad, need_weights=need)
        got = pool(bag, key_padding_mask=pad, need_weights=need)
        assert torch.equal(got[0], want[0]) and (got[1] is None) == (not need)
    one = pool(bag[0] if batch_first else bag[:, 0])[0]
    assert one.shape == (3, 8)
    got[0].sum().backward()
    assert pool.queries.grad.abs().max() > 0


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_bag_has_no_order_and_padding_no_say(batch_first):
    pool = M.HopfieldPooling(8, 2, 2, batch_first=True)
    bag = normal(2, 6, 8, seed=101)
    assert torch.allclose(pool(bag[:, torch.randperm(6)])[0], pool(bag)[0], atol=1e-6)
    pad = torch.arange(6).expand(2, 6) >= 4
    assert torch.allclose(pool(bag, key_padding_mask=pad)[0], pool(bag[:, :4])[0], atol=1e-6)


@pytest.mark.parametrize("batch_first", [True, False])
def test_lookup_is_attention_to_memories_of_its_own(batch_first):
    table = M.HopfieldLookup(8, 2, 9, batch_first=batch_first, kdim=5, vdim=3, n_steps=2)
    plain = M.HopfieldAttention(8, 2, batch_first=batch_first, kdim=5, vdim=3, n_steps=2)
    plain.load_state_dict(table.state_dict(), strict=False)
    x = normal(4, 6, 8, seed=102)
    n = 4 if batch_first else 6
    rows = lambda y: y.expand(n, *y.shape) if batch_first else y[:, None].expand(len(y), n, -1)
    want, weights = plain(x, rows(table.keys), rows(table.values))
    got, mine = table(x)
    assert torch.allclose(got, want, atol=1e-6) and torch.allclose(mine, weights, atol=1e-6)
    assert table(x[0])[0].shape == (6, 8)
    got.sum().backward()
    assert table.keys.grad.abs().max() > 0 and table.values.grad.abs().max() > 0


@pytest.mark.parametrize("make", [lambda **how: M.HopfieldPooling(8, 2, 3, batch_first=True, **how),
                                  lambda **how: M.HopfieldLookup(8, 2, 3, batch_first=True, **how)])  # fmt: skip
def test_sisters_are_copied_exported_compiled_and_folded(make):
    layer, x = make(n_steps=2).eval(), normal(2, 5, 8, seed=103)
    want = layer(x)[0]
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    again = make(n_steps=2).eval()
    again.load_state_dict(torch.load(file, weights_only=True))
    for other in (again, copy.deepcopy(layer), torch.export.export(layer, (x,)).module(),
                  torch.compile(layer, backend="eager", fullgraph=True)):  # fmt: skip
        assert torch.allclose(other(x)[0], want, atol=1e-6)
    double = make(dtype=torch.float64)
    assert all(p.dtype == torch.float64 for p in double.parameters())
    assert double(x.double())[0].dtype == torch.float64
    assert make(device="meta")(x.to("meta"))[0].shape[0] == 2
    assert isinstance(make().as_multihead_attention(), nn.MultiheadAttention)


# the theorem that chapter 6 measures itself against (Ramsauer et al. 2021, theorems 4 and 5)


def test_the_bound_on_one_step_holds_wherever_its_condition_does():
    held = 0
    for seed in range(300):
        g = generator(seed)
        P, d = (
            torch.randint(low, high, (), generator=g).item() for low, high in ((2, 30), (8, 64))
        )
        beta = 10 ** (1 + 1.5 * torch.rand((), generator=g).item())
        xi = F.normalize(torch.randn(P, d, generator=g), dim=1).double()
        delta = 1 - (xi @ xi.T).fill_diagonal_(-1).amax(1)
        noise = F.normalize(torch.randn(P, d, generator=g), dim=1).double() / (beta * P)
        star = M.modern_hopfield_settle(xi, xi, beta, tol=1e-15, max_steps=100)
        apart = torch.maximum(noise.norm(dim=1), (star - xi).norm(dim=1))
        bound = 2 * (P - 1) * torch.exp(-beta * (delta - 2 * apart))
        holds = delta >= 2 / (beta * P) + math.log(2 * (P - 1) * P * beta) / beta
        error = (M.modern_hopfield_update(xi + noise, xi, beta)[0] - xi).norm(dim=1)
        assert (error <= bound + 1e-14)[holds].all()
        assert (apart <= 1.0001 / (beta * P))[holds].all()
        held += holds.sum().item()
    assert held > 500
