"""Every public function that takes numbers, with one legal call: what the walks over all of them start from.

An argument is a *kind*: it knows a legal value and the values that must be refused. `ENTRIES` lists the calls, `EXEMPT`
the public names that have none; tests/test_arguments.py fails for a name that is in neither.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

Generator = torch.Generator


def _seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


class Kind:
    "An argument that is not attacked."

    def __init__(self, value=None, make: Callable | None = None):
        self.value, self.factory = value, make

    def make(self, device="cpu"):
        return self.factory(device) if self.factory else self.value

    def hostile(self) -> dict:
        return {}


def _with(x: Tensor, value: float) -> Tensor:
    "x with its last entry replaced."
    y = x.clone()
    y.view(-1)[-1] = value
    return y


class Array(Kind):
    "Real numbers; `wide`: another argument dictates the last axis; `lone`: there is no other tensor to clash with."

    low, high = -1.0, 1.0

    def __init__(
        self,
        *shape,
        wide=True,
        lone=False,
        half=False,
        empty=False,
        infinite=False,
        value=None,
        may=(),
    ):
        self.shape, self.wide, self.lone, self.half = shape, wide, lone, half
        self.empty, self.infinite, self.given, self.may = empty, infinite, value, may

    def numbers(self) -> Tensor:
        return (
            torch.rand(self.shape, generator=_seeded(sum(self.shape))) * (self.high - self.low)
            + self.low
        )

    def make(self, device="cpu"):
        x = self.numbers() if self.given is None else torch.as_tensor(self.given)
        return torch.empty_like(x, device=device) if _is_fake(device) else x.to(device)

    def hostile(self):
        return {name: value for name, value in self.attacks().items() if name not in self.may}

    def attacks(self) -> dict:
        "Everything that could be wrong with it."
        x = self.make()
        nan = x.clone()
        nan.view(-1)[0] = math.nan
        bad = {
            "nan": nan,
            "int": x.long(),
            "bool": x > 0,
            "complex": x.to(torch.complex64),
            "numpy": x.numpy(),
            "None": None,
        }
        bad |= {"list": x.tolist(), "text": "0.5"}
        if not self.half:
            bad |= {"float16": x.half(), "bfloat16": x.bfloat16()}
        if not self.infinite:
            bad |= {"inf": x * math.inf, "an inf": _with(x, math.inf), "-inf": _with(x, -math.inf)}
        if not self.empty:
            bad["empty"] = x[:0] if x.ndim else x.new_zeros(0)
        if self.wide:
            bad |= {"one wider": torch.cat([x, x[..., :1]], -1), "one narrower": x[..., :-1]}
        if not self.lone:
            bad |= {"elsewhere": x.to("meta"), "float64": x.double()}
        return bad


class Spins(Array):
    def numbers(self):
        return (torch.rand(self.shape, generator=_seeded(sum(self.shape))) < 0.5).float() * 2 - 1

    def attacks(self):
        x = self.make()
        return super().attacks() | {
            "bits": (x + 1) / 2,
            "doubled": 2 * x,
            "grey": x * 255,
            "half grey": x / 2,
            "a grey one": _with(x, 0.5),
            "zeros": 0 * x,
            "bytes": (x + 1) * 127.5,
        }


class Bits(Array):
    "0 and 1; probabilities are legal too."

    def numbers(self):
        return (torch.rand(self.shape, generator=_seeded(sum(self.shape))) < 0.5).float()

    def attacks(self):
        x = self.make()
        return super().attacks() | {"spins": 2 * x - 1, "grey": 255 * x, "just above 1": x + 0.01}


class Probabilities(Array):
    "Rows that sum to 1."

    def numbers(self):
        return super().numbers().softmax(-1)

    def attacks(self):
        x = self.make()
        return super().attacks() | {"negative": x - 1, "twice": 2 * x, "negated": -x}


class Couplings(Array):
    "Symmetric, zero diagonal."

    def __init__(self, n, symmetric=True, **more):
        super().__init__(n, n, wide=False, **more)
        self.symmetric = symmetric

    def numbers(self):
        W = torch.randn(self.shape, generator=_seeded(3)) / self.shape[0] ** 0.5
        return ((W + W.T) / 2).fill_diagonal_(0)

    def attacks(self):
        W = self.make()
        bad = super().attacks() | {
            "not square": W[:-1],
            "one row": W[0],
            "wide": torch.cat([W, W[:, :1]], 1),
        }
        return bad | ({"not symmetric": W + torch.eye(len(W)).roll(1, 0)} if self.symmetric else {})


@dataclass
class Count(Kind):
    value: int
    least: int = 1
    optional: bool = False

    def make(self, device="cpu"):
        return self.value

    def hostile(self):
        bad = {
            "too few": self.least - 1,
            "half": self.value + 0.5,
            "inf": math.inf,
            "nan": math.nan,
            "text": "3",
        }
        bad |= {
            "True": True,
            "list": [self.value],
            "negative": -1,
            "a whole float": float(self.value),
            "complex": 1j,
        }
        bad |= {"a float tensor": torch.tensor(2.0), "two": torch.ones(2)}
        return bad if self.optional else bad | {"None": None}


class Number(Kind):
    "A finite number between limits."

    def __init__(
        self, value, low=-math.inf, high=math.inf, above=False, below=False, optional=False, may=()
    ):
        self.value, self.low, self.high, self.above, self.below = value, low, high, above, below
        self.optional, self.may = optional, may

    def make(self, device="cpu"):
        return self.value

    def hostile(self):
        bad = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "text": "0.5", "list": [0.5]}
        bad |= {"True": True, "complex": 1j, "two": torch.ones(2), "numpy": np.ones(2)}
        bad["a nan tensor"] = torch.tensor(math.nan)
        if math.isfinite(self.low):
            bad |= {"too low": self.low if self.above else self.low - 0.5, "below": self.low - 1.0}
            bad |= {"far below": self.low - 9.0, "a tensor below": torch.tensor(self.low - 1.0)}
            if self.above:
                bad["a tensor too low"] = torch.tensor(self.low)
        if math.isfinite(self.high):
            bad["too high"] = self.high if self.below else self.high + 0.5
        if not self.optional:
            bad["None"] = None
        return {name: value for name, value in bad.items() if name not in self.may}


def Positive(value, **more):
    return Number(value, 0.0, above=True, **more)


def Fraction(value, **more):
    return Number(value, 0.0, 1.0, **more)


class Temperature(Number):
    def __init__(self, value=1.0, zero=False, **more):
        super().__init__(value, 0.0, above=not zero, **more)

    def hostile(self):
        bad = {
            case: value for case, value in super().hostile().items() if case != "two"
        }  # one a chain
        bad |= {"negative": -1.0, "a bad one": torch.tensor([1.0, -1.0]), "numpy": np.ones(1)}
        bad |= {"a nan": torch.tensor([1.0, math.nan]), "too many": torch.ones(2, 3, 5, 7, 11)}
        return bad | {"one negative": torch.tensor([-1.0]), "one nan": torch.tensor([math.nan])}


class Gen(Kind):
    def make(self, device="cpu"):
        return _seeded(1)

    def hostile(self):
        return {
            "a seed": 7,
            "zero": 0,
            "text": "seed",
            "numpy": np.random.default_rng(0),
            "tensor": torch.ones(1),
            "function": torch.rand,
            "class": torch.Generator,
        }


class Choice(Kind):
    def hostile(self):
        bad = {"no such": "no such choice", "None": None, "number": 3, "list": [self.value]}
        return bad | {"tensor": torch.ones(1), "numpy": np.ones(2)}


class Function(Kind):
    def hostile(self):
        return {"number": 3, "None": None, "text": "energy", "tensor": torch.ones(1)}


class Machine(Kind):
    "An object of the library."

    def hostile(self):
        return {"None": None, "number": 3, "tensor": torch.ones(2, 2)}


class Mask(Kind):
    "True for n of what is held or known; None is legal where `optional`."

    def __init__(self, n, optional=True):
        super().__init__(torch.arange(n) < n // 2)
        self.optional = optional

    def hostile(self):
        x = self.value
        bad = {
            "floats": x.float(),
            "numpy": x.numpy(),
            "list": x.tolist(),
            "text": "all",
            "True": True,
        }
        bad |= {"elsewhere": x.to("meta"), "wide": torch.cat([x, x[:1]]), "narrow": x[1:]}
        return bad if self.optional else bad | {"None": None}


class Only(Kind):
    "A value with a list of its own of what is wrong."

    def __init__(self, value, *wrong, **named):
        super().__init__(value)
        self.wrong = {f"{i} {str(x)[:30]}": x for i, x in enumerate(wrong)} | named

    def hostile(self):
        return self.wrong


class Binary(Bits):
    "0 and 1 and nothing between them."

    def attacks(self):
        return super().attacks() | {"halves": self.make() / 2}


class Integers(Kind):
    "A tensor of whole numbers from 0 to `most`."

    def __init__(self, value, most=None, may=()):
        self.value, self.most, self.may = torch.tensor(value), most, may

    def make(self, device="cpu"):
        return (
            torch.empty_like(self.value, device=device)
            if _is_fake(device)
            else self.value.to(device)
        )

    def hostile(self):
        x = self.value
        bad = {
            "float": x.float(),
            "negative": x - 1 - x.min(),
            "numpy": x.numpy(),
            "list": x.tolist(),
            "None": None,
        }
        bad |= {
            "bool": x > 0,
            "empty": x[:0],
            "narrower": x[..., :-1],
            "elsewhere": x.to("meta"),
            "far below": x - 99,
        }
        bad = {name: value for name, value in bad.items() if name not in self.may}
        return (
            bad
            if self.most is None
            else bad | {"too high": x - x.max() + self.most + 1, "far above": x + 99}
        )


def _is_fake(device) -> bool:
    return str(device) in ("cuda", "mps")


@dataclass
class Entry:
    "One legal call."

    name: str  # module.function, or module.Class.method
    call: Callable  # the function, or a function of the device that makes the bound method
    arguments: dict[str, Kind]
    bound: bool = False  # `call` makes the method
    fake: str = "run"  # on fake devices: "run", or the reason why it cannot be
    reads: int = 0  # host reads that are allowed on an accelerator, whatever the number of sweeps

    def function(self, device="cpu"):
        return self.call(device) if self.bound else self.call

    def legal(self, device="cpu") -> dict:
        return {name: kind.make(device) for name, kind in self.arguments.items()}

    def wrong(self):
        "(argument, what is wrong with it, the value) of all that must be refused."
        for name, kind in self.arguments.items():
            taken = TAKEN.get(f"{self.name}.{name}", ())
            yield from (
                (name, case, value) for case, value in kind.hostile().items() if case not in taken
            )


def _put(build: Callable, device):
    "A machine on a device, also one that is not there."
    if not _is_fake(device):
        return build().to(device)
    from fake_device import place
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    with unset_fake_temporarily():
        machine = build()
    return place(machine, device)


def _import(name: str):
    from importlib import import_module

    module, _, rest = name.partition(".")
    found = import_module(f"silen_lib.{module}")
    for part in rest.split("."):
        found = getattr(found, part)
    return found


ENTRIES: list[Entry] = []
TAKEN: dict[
    str, tuple[str, ...]
] = {}  # module.function.argument: what its kind refuses and it takes on purpose


def entry(name: str, fake: str = "run", reads: int = 0, **arguments):
    "A function called with these arguments; bare values are not attacked."
    kinds = {n: a if isinstance(a, Kind) else Kind(a) for n, a in arguments.items()}
    ENTRIES.append(Entry(name, _import(name), kinds, fake=fake, reads=reads))


def method(name: str, owner: Callable, fake: str = "run", reads: int = 0, **arguments):
    "A method of what `owner(device)` makes."
    kinds = {n: a if isinstance(a, Kind) else Kind(a) for n, a in arguments.items()}
    last = name.rpartition(".")[2]
    ENTRIES.append(
        Entry(name, lambda device="cpu": getattr(owner(device), last), kinds, True, fake, reads)
    )


# ---------------------------------------------------------------- shared pieces
N, P = 8, 3
FLEW_OFF = ("nan", "inf")  # one walker that flew off must not stop the others: NaN comes through
ENERGIES = ("int", "float16", "bfloat16")  # energies may be whole numbers, and coarse
well = lambda x: (x**4 - 2 * x**2).sum(-1)
curve = lambda x: x**4 - 2 * x**2
toward_zero = lambda x, sigma=1.0: -x
EXACT = "enumerates small systems, on the processor"
DATA_SHAPED = "the result's size depends on the numbers"


def _state(**more):
    return Spins(4, N, **more)


# ---------------------------------------------------------------- 0 energy
entry(
    "energy.energy_gradient",
    energy=Function(curve),
    x=Array(5, wide=False, lone=True, empty=True, may=FLEW_OFF),
)
entry(
    "energy.gaussian_wells",
    x=Array(5, 2, lone=True, may=FLEW_OFF),
    centres=((0.0, 0.0), (1.0, 1.0)),
    depths=(1.0, 2.0),
    widths=(1.0, 1.0),
    confinement=Number(0.1, 0.0),
)
entry(
    "energy.sample_states",
    E=Array(6, wide=False, lone=True, may=("inf", *ENERGIES)),
    n_samples=Count(4),
    T=Temperature(),
    generator=Gen(),
    reads=1,
)
entry(
    "energy.grid_points",
    fake="makes its own tensors",
    low=Number(-1.0),
    high=Number(1.0),
    n=Kind(20),
)
_E = dict(E=Array(2, 6, wide=False, lone=True, infinite=True, may=ENERGIES))
entry("energy.log_partition", **_E, T=Temperature(), cell=Positive(1.0))
entry("energy.boltzmann", **_E, T=Temperature())
entry("energy.step_is_stable", H=Array(3, 2, 2, wide=False, lone=True), lr=Positive(0.1))
entry(
    "energy.estimate_temperature",
    E=Array(value=torch.tensor([0.0, 0.1, 0.2, 3.0, 4.0, 5.0]), wide=False, may=("inf", *ENERGIES)),
    states=Integers([0, 0, 1, 1, 2, 2]),
    reads=1,
)
entry("energy.free_energy", **_E, T=Temperature())
entry("energy.entropy", p=Probabilities(2, 6, wide=False, lone=True, half=True))
entry(
    "energy.macrostate_free_energy",
    fake=DATA_SHAPED,
    E=Array(6, wide=False, may=("inf", *ENERGIES)),
    label=Integers([0, 0, 1, 1, 2, 2]),
    T=Temperature(),
)
entry(
    "energy.gradient_descent",
    energy=Function(curve),
    x=Array(5, wide=False, lone=True),
    lr=Positive(0.1),
    n_steps=Count(3, 0),
)

# ---------------------------------------------------------------- 1 hopfield
_patterns = dict(patterns=Spins(P, N))
entry(
    "hopfield.corrupt_pattern",
    pattern=Spins(N, wide=False, lone=True),
    noise_fraction=Fraction(0.25),
    n=Count(2, optional=True),
    generator=Gen(),
)
entry("hopfield.local_field", state=_state(), W=Couplings(N, symmetric=False))
entry("hopfield.hopfield_energy", state=_state(), W=Couplings(N, symmetric=False))
entry(
    "hopfield.hopfield_update",
    fake="keeps the history of one state",
    state=Spins(N),
    W=Couplings(N),
    max_steps=Count(3, 0),
    ties=Choice("up"),
    generator=Gen(),
)
entry(
    "hopfield.energy_change",
    state=_state(),
    W=Couplings(N, symmetric=False, may=("nan",)),
    i=Count(2, 0),
)
entry(
    "hopfield.async_step",
    state=_state(),
    W=Couplings(N, symmetric=False, may=("nan",)),
    i=Count(2, 0),
)
entry("hopfield.can_circle", reads=4, W=Couplings(N, symmetric=False, lone=True))
entry(
    "hopfield.basin_radius",
    reads=4,
    recall=Kind(make=lambda device: lambda states: states.clone()),
    memory=Spins(N, wide=False, lone=True),
)
entry("hopfield.identify", state=_state(), **_patterns)
entry("hopfield.overlaps", state=_state(), **_patterns)
entry("hopfield.pattern_field", state=_state(), **_patterns)
entry("hopfield.unstable_bits", reads=2, state=_state(), W=Couplings(N, symmetric=False))
entry("hopfield.build_hopfield_weights", patterns=Spins(P, N, wide=False, lone=True))
entry(
    "hopfield.recall",
    reads=8,
    state=_state(),
    W=Couplings(N),
    max_sweeps=Count(2, optional=True),
    ties=Choice("keep"),
    order=Choice("random"),
    block=Count(4),
    generator=Gen(),
)
entry(
    "hopfield.recall_patterns",
    reads=8,
    state=_state(),
    **_patterns,
    max_sweeps=Count(2, optional=True),
    ties=Choice("keep"),
    order=Choice("random"),
    block=Count(4),
    generator=Gen(),
)
entry(
    "data.wave_pictures",
    fake="makes its own tensors",
    n=Count(2),
    size=Count(9, 2),
    generator=Gen(),
)
entry("data.letters", fake="makes its own tensors", text=Choice("AB"))

# ---------------------------------------------------------------- spins
entry(
    "spins.random_spins",
    fake="makes its own tensors",
    shape=(2, 5),
    fraction=Fraction(0.5),
    generator=Gen(),
)
entry(
    "spins.random_patterns",
    fake="makes its own tensors",
    n_patterns=Count(2),
    n_neurons=Count(5),
    fraction=Fraction(0.5),
    generator=Gen(),
)
entry("spins.spin_states", fake="makes its own tensors", n=Count(3))
for _name in ("ising_energy", "ising_field"):
    entry(f"spins.{_name}", state=_state(), W=Couplings(N, symmetric=False))
entry("spins.tie_width", W=Couplings(N, symmetric=False, lone=True, may=("one row",)))
entry("spins.Couplings", W=Couplings(N, lone=True))
entry("spins.Patterns", patterns=Spins(P, N, wide=False, lone=True))
_swept = dict(
    sweeps=Count(2, 0, optional=True),
    order=Choice("random"),
    block=Count(4, optional=True),
    columns=Count(2, optional=True),
    generator=Gen(),
)
entry(
    "spins.sweep_spins",
    reads=8,
    state=_state(),
    fields=Kind(make=lambda d: _import("spins.Couplings")(Couplings(N).make(d))),
    rule=Choice("keep"),
    **_swept,
)
entry(
    "spins.sweep_spins",
    reads=8,
    state=_state(may=("float64",)),
    fields=Kind(make=lambda d: _import("spins.Patterns")(Spins(P, N).make(d))),
    rule=Choice("metropolis"),
    T=Temperature(zero=True),
    **(_swept | dict(sweeps=Count(2, 0))),
)


def _walk(device="cpu"):
    fields = _import("spins.Couplings")(Couplings(N).make(device))
    return _import("spins.SpinWalk")(_state().make(device), fields, "heat bath")


entry(
    "spins.SpinWalk",
    reads=4,
    state=_state(),
    fields=Kind(make=lambda d: _import("spins.Couplings")(Couplings(N).make(d))),
    rule=Choice("metropolis"),
    generator=Gen(),
)
method("spins.SpinWalk.sweep", _walk, reads=1, T=Kind(make=lambda d: torch.ones(4, device=d)))

# ---------------------------------------------------------------- 2 capacity
entry(
    "mean_field.critical_capacity",
    fake="a theory in float64, on the processor",
    T=Temperature(0.1, zero=True, may=("list",)),
)
entry(
    "mean_field.ags_state",
    fake="a theory in float64, on the processor",
    alpha=Number(0.05, 0.0, may=("list",)),
    T=Temperature(0.1, zero=True, may=("list",)),
)
entry(
    "capacity.glauber",
    state=_state(),
    **_patterns,
    T=Temperature(0.1, zero=True),
    sweeps=Count(2, 0, optional=True),
    ties=Choice("keep"),
    block=Count(4),
    generator=Gen(),
    reads=3,
)
entry(
    "capacity.Wall.retained",
    fake="makes its own tensors",
    n_neurons=Count(40, 2),
    load=Positive(0.1),
    T=Temperature(0.1, zero=True),
    networks=Count(2),
    cues=Count(2),
    sweeps=Count(2, 0, optional=True),
    threshold=Number(0.65, -1.0, 1.0),
    generator=Gen(),
)
entry(
    "capacity.half_load",
    fake="a fit in float64, on the processor",
    loads=Array(3, value=[0.1, 0.14, 0.18], wide=False),
    kept=Kind(torch.tensor([[4, 4], [2, 3], [0, 1]])),
    cues=Count(4),
)
entry(
    "capacity.extrapolate",
    fake="a fit in float64, on the processor",
    sizes=Kind(torch.tensor([100, 200, 400])),
    values=Array(3, may=("int",)),
    errors=Array(3, value=[0.1, 0.1, 0.1]),
    power=Positive(2 / 3),
)
entry(
    "capacity.measure_wall",
    fake="makes its own tensors",
    T=Temperature(0.1, zero=True),
    sizes=(40, 60, 80),
    networks=(30, 30, 30),  # fewer may see no step
    loads=(0.05, 0.3),
    cues=Count(2),
    watch=Positive(5.0),
    generator=Gen(),
)
entry("capacity.bit_error", load=Array(3, value=[0.1, 0.2, 0.3], wide=False, lone=True))
entry("capacity.ags_load", t=Array(3, value=[0.5, 1.0, 2.0], wide=False, lone=True))
entry("capacity.crosstalk_variance", patterns=Spins(P, N, wide=False, lone=True))
entry("capacity.accept_load", load=Number(0.1, 0.02), error=Positive(0.01))
entry("capacity.pseudo_inverse_weights", patterns=Spins(P, N, wide=False, lone=True))
entry("capacity.unlearn", W=Couplings(N, symmetric=False), dreams=Spins(2, N), rate=Number(0.01))


# ---------------------------------------------------------------- 3 boltzmann
def _machine(device="cpu"):
    from silen_lib.chains import BoltzmannMachine

    return _put(lambda: BoltzmannMachine(3, 2, generator=_seeded()), device)


for _name in ("heat_bath", "metropolis"):
    entry(
        f"chains.{_name}",
        reads=4,
        state=_state(),
        W=Couplings(N),
        T=Temperature(zero=True),
        sweeps=Count(2, 0),
        generator=Gen(),
    )
entry(
    "chains.boltzmann_update",
    fake="keeps the history of one state",
    state=Spins(N),
    W=Couplings(N),
    T=Temperature(),
    n_steps=Count(3, 0),
    generator=Gen(),
)
entry(
    "chains.simulated_annealing",
    fake="keeps the history of one state",
    state=Spins(N),
    W=Couplings(N),
    T_start=Positive(5.0),
    T_end=Positive(0.1),
    n_steps=Count(3, 0),
    generator=Gen(),
)
entry(
    "chains.anneal",
    reads=4,
    W=Couplings(N, lone=True),
    T=(2.0, 1.0),
    n_reads=Count(3),
    rule=Choice("metropolis"),
    generator=Gen(),
)
entry(
    "chains.parallel_tempering",
    reads=4,
    W=Couplings(N, lone=True),
    T=(1.0, 2.0),
    n_chains=Count(2),
    sweeps=Count(2),
    generator=Gen(),
)
entry(
    "boltzmann.spin_up_probability",
    h=Array(4, wide=False, lone=True, may=("inf",)),
    T=Temperature(),
)
entry(
    "chains.metropolis_probability",
    dE=Array(4, wide=False, lone=True, infinite=True),
    T=Temperature(),
)
entry(
    "boltzmann.leaves_invariant",
    fake="gives yes or no",
    P=Probabilities(4, 4, wide=False),
    E=Array(4, wide=False, lone=True),
    T=Temperature(),
)
entry(
    "boltzmann.refuses_temperature",
    fake="gives yes or no",
    seen=Array(4, wide=False, lone=True),
    E=Array(4, wide=False, lone=True),
    T=Temperature(),
)
entry("boltzmann.glass_schedule", fake="makes its own tensors", sweeps=Count(5, 2))
entry(
    "boltzmann.heat_bath_sweep",
    state=_state(),
    W=Couplings(N),
    T=Temperature(),
    generator=Gen(),
    reads=4,
)
entry(
    "chains.cooling_schedule",
    fake="makes its own tensors",
    T_start=Positive(5.0),
    T_end=Positive(0.1),
    n=Count(5, 2),
    kind=Choice("linear"),
)
entry(
    "boltzmann.swap_probability",
    E1=Array(4, wide=False, infinite=True),
    E2=Array(4, wide=False, infinite=True),
    T1=Positive(1.0),
    T2=Positive(2.0),
)
entry(
    "boltzmann.learning_gradient",
    clamped=Spins(3, N),
    p_clamped=Probabilities(3),
    free=Spins(2, N),
    p_free=Probabilities(2),
)
entry(
    "chains.BoltzmannMachine",
    fake="makes its own tensors",
    n_visible=Count(3),
    n_hidden=Count(2, 0),
    weight_std=Number(0.3, 0.0),
    generator=Gen(),
)
method("chains.BoltzmannMachine.energy", _machine, s=Spins(4, 5))
method("chains.BoltzmannMachine.free_energy", _machine, v=Spins(4, 3))
method("chains.BoltzmannMachine.hidden_energies", _machine, v=Spins(4, 3))
method(
    "chains.BoltzmannMachine.relative_entropy",
    _machine,
    fake="gives a number",
    v=Spins(4, 3),
)
method("chains.BoltzmannMachine.log_likelihood", _machine, v=Spins(4, 3))
method("chains.BoltzmannMachine.exact_gradient", _machine, v=Spins(4, 3), reads=4)
method(
    "chains.BoltzmannMachine.sample",
    _machine,
    n=Count(2),
    sweeps=Count(2, 0),
    T=Temperature(zero=True),
    generator=Gen(),
    reads=4,
)
method(
    "chains.BoltzmannMachine.sampled_gradient",
    _machine,
    clamp=Kind(
        make=lambda d: torch.ones(2, 5, device=d) * torch.tensor([1.0, 1, 1, 0, 0], device=d)
    ),
    clamped=Spins(2, 5),
    free=Spins(2, 5),
    sweeps=Count(1, 0),
    generator=Gen(),
    reads=8,
)
method(
    "chains.BoltzmannMachine.fit",
    _machine,
    fake="records numbers as it goes",
    v=Spins(4, 3),
    n_steps=Count(2, 0),
    lr=Positive(0.1),
    momentum=Number(0.0, 0.0, 1.0, below=True),
    every=Count(1),
)


# ---------------------------------------------------------------- 4 rbm
def _rbm(device="cpu"):
    from silen_lib.rbm import RBM

    return _put(lambda: RBM(6, 4, generator=_seeded()), device)


def _production(device="cpu"):
    from silen_lib.mnist_rbm import ProductionRBM

    return _put(lambda: ProductionRBM(6, 4, generator=_seeded()), device)


def _trainer(device="cpu"):
    from silen_lib.rbm import Trainer

    mean = torch.full((6,), 0.5, device=device)
    generator = _seeded() if not _is_fake(device) else None
    return Trainer(_rbm(device), batch_size=5, data_mean=mean, generator=generator)


_units = dict(W=Array(6, 4, wide=False), a=Array(6), b=Array(4))
_model = dict(rbm=Machine(make=_rbm))
entry("contrast.all_states", fake="makes its own tensors", n=Count(3))
entry("rbm.rbm_energy", v=Bits(5, 6), h=Bits(5, 4), **_units)
entry("rbm.rbm_free_energy", v=Bits(5, 6), **_units)
entry("rbm.rbm_log_partition", W=Array(6, 4, wide=False), a=Array(6), b=Array(4))
entry("rbm.block_gibbs", v=Bits(5, 6), **_units, k=Count(2), generator=Gen())
entry(
    "rbm.cd_gradient", v_data=Bits(5, 6), v_model=Bits(5, 6), W=Array(6, 4, wide=False), b=Array(4)
)
entry(
    "contrast.ais_increment",
    v=Bits(5, 6),
    **_units,
    a0=Array(6),
    beta=Fraction(0.1),
    next_beta=Fraction(0.2),
)
entry(
    "rbm.likelihood_gain",
    first=Machine(make=_rbm),
    second=Machine(make=_rbm),
    v=Binary(5, 6),
    reads=6,
)
_walk = Machine(make=lambda d="cpu": _import("contrast.AIS")(1.0, 0.1, 60.0, 9, "forward"))
entry("rbm.trust_ais", fake="takes no tensors", forward=_walk, reverse=_walk)
entry("rbm.log_likelihood", **_model, v=Binary(5, 6), log_Z=Number(1.0, optional=True), reads=2)
entry(
    "rbm.contrastive_divergence",
    **_model,
    v_data=Bits(5, 6),
    k=Count(1),
    lr=Number(0.1, 0.0),
    generator=Gen(),
    reads=2,
)
entry(
    "rbm.ais",
    **_model,
    n_temperatures=Count(3),
    n_chains=Count(4),
    base_bias=Array(6, may=("None",)),
    generator=Gen(),
    reads=6,
)
entry(
    "rbm.RBM",
    fake="makes its own tensors",
    n_visible=Count(3),
    n_hidden=Count(2),
    weight_std=Number(0.01, 0.0),
    generator=Gen(),
)
method("rbm.RBM.energy", _rbm, v=Bits(5, 6), h=Bits(5, 4))
method("rbm.RBM.hidden_probability", _rbm, v=Bits(5, 6))
method("rbm.RBM.visible_probability", _rbm, h=Bits(5, 4))
method("rbm.RBM.sample_hidden", _rbm, v=Bits(5, 6), generator=Gen())
method("rbm.RBM.sample_visible", _rbm, h=Bits(5, 4), generator=Gen())
method("rbm.RBM.gibbs", _rbm, v=Bits(5, 6), k=Count(2), generator=Gen())
method("rbm.RBM.free_energy", _rbm, v=Bits(5, 6))
method("rbm.RBM.at_temperature", _rbm, T=Temperature(2.0), reads=3)
method("rbm.RBM.exact_samples", _rbm, fake=EXACT, n=Count(3), generator=Gen())
method(
    "rbm.RBM.complete",
    _rbm,
    v=Bits(2, 6),
    known=Kind(
        make=lambda d: (
            torch.tensor([True] * 3 + [False] * 3).to(d)
            if not _is_fake(d)
            else torch.ones(6, dtype=torch.bool, device=d)
        )
    ),
    k=Count(2),
    generator=Gen(),
    reads=2,
)
entry("coins.Coins", fake="makes its own tensors", device=Kind("cpu"), generator=Gen())
method(
    "coins.Coins.toss_",
    lambda d="cpu": _import("coins.Coins")(d),
    p=Bits(5, 6, wide=False, lone=True),
)
entry(
    "rbm.Trainer",
    fake="see Trainer.step",
    **_model,
    batch_size=Count(4),
    k=Count(1),
    n_chains=Count(3, optional=True),
    data_mean=Bits(6),
    hidden_rate=Fraction(0.01),
    momentum=Number(0.0, 0.0, 1.0, below=True),
    weight_decay=Number(0.0, 0.0),
    sparsity=Number(0.0, 0.0),
    sparsity_target=Number(0.1, 0.0, 1.0, above=True, below=True),
    generator=Gen(),
)
method(
    "rbm.Trainer.step", _trainer, v=Bits(5, 6, half=True, may=("int", "bool")), lr=Number(0.05, 0.0)
)

# ---------------------------------------------------------------- 5 mnist_rbm
entry(
    "mnist_rbm.ProductionRBM",
    fake="makes its own tensors",
    n_visible=Count(3),
    n_hidden=Count(2),
    weight_std=Number(0.01, 0.0),
    generator=Gen(),
)
method(
    "mnist_rbm.ProductionRBM.get_hidden_activation_stats",
    _production,
    fake="gives numbers",
    v_batch=Bits(5, 6),
)
method("mnist_rbm.ProductionRBM.full_pseudo_likelihood", _production, v=Binary(5, 6))
entry(
    "mnist_rbm.pseudo_log_likelihood",
    **_model,
    v=Binary(5, 6),
    i=Integers([0, 1, 2, 3, 5], most=5),
    reads=2,
)
entry("mnist_rbm.free_energy_gap", **_model, train=Bits(5, 6), held_out=Bits(5, 6), reads=2)
entry("mnist_rbm.hidden_activity", **_model, v=Bits(5, 6), batch_size=Count(2))
entry(
    "mnist_rbm.share_of_copies",
    samples=Binary(5, 6, wide=False),
    train=Binary(4, 6),
    held_out=Binary(3, 6),
    reads=1,
)
entry("mnist_rbm.log_odds", v=Bits(5, 6, wide=False, lone=True))
entry("mnist_rbm.glorot_std", n_visible=Count(3), n_hidden=Count(2), gain=Positive(4.0))
entry(
    "mnist_rbm.training_flops",
    n_visible=Count(3),
    n_hidden=Count(2),
    batch_size=Count(4),
    k=Count(1),
)
entry("mnist_rbm.dream", **_model, n=Count(2), k=Count(2), generator=Gen(), reads=2)
entry(
    "mnist_rbm.train_rbm_production",
    fake="gives numbers",
    rbm=Machine(make=_production),
    train_loader=Kind(make=lambda d: [torch.ones(4, 6)] * 2),
    n_epochs=Count(1, optional=True),
    lr=Positive(0.1),
    momentum=Number(0.0, 0.0, 1.0, below=True),
    weight_decay=Number(0.0, 0.0),
    k=Count(1),
    generator=Gen(),
)

# ---------------------------------------------------------------- 6 modern_hopfield
_memory = dict(patterns=Array(P, N, half=True))
_beta = Positive(1.5)
entry(
    "modern_hopfield.dense_energy",
    state=_state(empty=True),
    patterns=Spins(P, N),
    power=Count(3, 2),
)
entry(
    "spins.dense_update",
    state=_state(empty=True),
    patterns=Spins(P, N),
    power=Count(3, 2),
    sweeps=Count(2, 0, optional=True),
    generator=Gen(),
    reads=8,
)
entry(
    "layers.modern_hopfield_settle",
    x=Array(4, N, empty=True),
    patterns=Array(P, N),
    beta=_beta,
    tol=Number(1e-6, 0.0),
    max_steps=Count(3),
    reads=9,
)
for _name in ("modern_hopfield_energy", "modern_hopfield_update"):
    entry(f"modern_hopfield.{_name}", x=Array(4, N, half=True, empty=True), **_memory, beta=_beta)
entry(
    "layers.modern_hopfield_retrieve",
    x=Array(4, N, half=True, empty=True),
    **_memory,
    beta=_beta,
    n_steps=Count(2),
)
entry(
    "layers.universal_retrieve",
    query=Array(4, N, empty=True),
    keys=Array(P, N),
    values=Array(P, 2, wide=False),
    separate=Function(lambda s: s.softmax(-1)),
)
for _name in ("layers.entmax15", "modern_hopfield.sparsemax"):
    entry(
        _name,
        scores=Array(4, P, wide=False, lone=True, empty=True, half=True, may=("int",)),
    )
entry(
    "modern_hopfield.effective_patterns",
    weights=Probabilities(4, P, wide=False, lone=True, empty=True, half=True),
)
entry(
    "layers.split_heads",
    x=Array(
        2,
        5,
        8,
        wide=False,
        lone=True,
        half=True,
        empty=True,
        infinite=True,
        may=("nan", "int", "bool", "complex"),
    ),
    num_heads=Count(2),
)
entry(
    "layers.join_heads",
    x=Array(
        2,
        2,
        5,
        4,
        wide=False,
        lone=True,
        half=True,
        empty=True,
        infinite=True,
        may=("nan", "int", "bool", "complex"),
    ),
)
entry(
    "modern_hopfield.HopfieldAttention",
    fake="see forward",
    embed_dim=Count(8),
    num_heads=Count(2),
    dropout=Fraction(0.0),
    n_steps=Count(1),
    beta=Positive(0.5, optional=True),
)


def _layer(device="cpu"):
    from silen_lib.modern_hopfield import HopfieldAttention

    return _put(lambda: HopfieldAttention(8, 2, batch_first=True, n_steps=2), device)


_sequence = dict(half=True, infinite=True, empty=True, may=("nan", "bool", "float16", "bfloat16"))
method(
    "modern_hopfield.HopfieldAttention.forward",
    _layer,
    query=Array(2, 5, 8, **_sequence),
    key=Array(2, 7, 8, **_sequence),
    value=Array(2, 7, 8, **_sequence),
)
entry(
    "modern_hopfield.recall_radius",
    fake="looks at what came back after every recall",
    recall=Function(lambda x: 0.5 * x),
    memory=Array(N, lone=True, wide=False),
    tol=Positive(0.01),
    generator=Gen(),
)
entry(
    "modern_hopfield.is_gradient_step",
    fake="gives a verdict",
    step=Function(lambda x: 0.5 * x),
    x=Array(4, N, lone=True, wide=False),
)
for _name, _rows in (("Pooling", "num_queries"), ("Lookup", "num_memories")):
    entry(
        f"modern_hopfield.Hopfield{_name}",
        fake="see forward",
        embed_dim=Count(8),
        num_heads=Count(2),
        **{_rows: Count(3)},
    )


def _pooling(device="cpu"):
    from silen_lib.modern_hopfield import HopfieldPooling

    return _put(lambda: HopfieldPooling(8, 2, 3, batch_first=True, n_steps=2), device)


def _lookup(device="cpu"):
    from silen_lib.modern_hopfield import HopfieldLookup

    return _put(lambda: HopfieldLookup(8, 2, 3, batch_first=True, n_steps=2), device)


method("modern_hopfield.HopfieldPooling.forward", _pooling, key=Array(2, 7, 8, **_sequence))
method("modern_hopfield.HopfieldLookup.forward", _lookup, query=Array(2, 5, 8, **_sequence))


# ---------------------------------------------------------------- 7 attention
def _sdm(device="cpu"):
    from silen_lib.places import SparseDistributedMemory

    return SparseDistributedMemory(Spins(20, N).make(device), 4)


entry(
    "attention.tsallis_entropy",
    p=Probabilities(2, 5, wide=False, lone=True, empty=True, half=True),
    alpha=Number(2.0, 1.0),
)
_levels = dict(half=True, may=("int", "float64"))  # p is brought to the scores' dtype
entry(
    "attention.attention_free_energy",
    p=Probabilities(2, 5, half=True, may=("float64",)),
    scores=Array(2, 5, **_levels),
    beta=_beta,
)
entry(
    "attention.max_entropy_weights",
    scores=Array(2, 5, wide=False, lone=True, empty=True, half=True, may=("int",)),
    alpha=Number(1.5, 1.0),
    beta=_beta,
)
entry("attention.circle_intersection", n=Count(8), d=Count(3, 0), v=Count(2, 0))
entry(
    "attention.nadaraya_watson",
    query=Array(4, 2, empty=True),
    keys=Array(6, 2),
    values=Array(6, 3, wide=False),
    bandwidth=Positive(0.5),
)
entry(
    "attention.squared_distances",
    x=Array(4, 2, empty=True, may=FLEW_OFF),
    y=Array(6, 2, may=FLEW_OFF),
)
entry(
    "attention.leave_one_out_error",
    keys=Array(6, 2, wide=False),
    values=Array(6, 3, wide=False),
    bandwidth=Positive(0.5),
)
entry(
    "attention.choose_bandwidth",
    fake="gives a number",
    keys=Array(6, 2, wide=False),
    values=Array(6, 3, wide=False),
)
entry(
    "attention.regression_gap",
    query=Array(4, 2, empty=True),
    keys=Array(6, 2),
    temperature=Positive(0.5),
)
entry(
    "attention.causal_attention",
    query=Array(6, 2),
    keys=Array(6, 2),
    values=Array(6, 3, wide=False),
    beta=_beta,
)
entry(
    "places.SparseDistributedMemory",
    addresses=Spins(20, N, wide=False, lone=True),
    radius=Count(3, 0),
    n_data=Count(4, optional=True),
)
for _name in ("active", "read", "read_sums"):
    method(
        f"places.SparseDistributedMemory.{_name}",
        _sdm,
        fake=DATA_SHAPED,
        address=Spins(4, N, empty=True),
    )
method(
    "places.SparseDistributedMemory.write",
    _sdm,
    fake=DATA_SHAPED,
    address=Spins(4, N),
    data=Spins(4, N, may=("None",)),
)
method(
    "places.SparseDistributedMemory.recall",
    _sdm,
    fake=DATA_SHAPED,
    address=Spins(4, N, empty=True),
    max_reads=Count(3, 0),
)
method(
    "places.SparseDistributedMemory.shared",
    _sdm,
    x=Spins(4, N, empty=True),
    y=Spins(4, N, empty=True),
)

entry(
    "places.SparseDistributedMemory.best_radius",
    n_bits=Count(16),
    n_locations=Number(100.0, 1.0),
    n_patterns=Number(10.0, 1.0),
)
# ---------------------------------------------------------------- 8 sampling
entry(
    "sampling.metropolis_hastings",
    energy=Function(well),
    propose=Function(lambda x, g=None: (x, 0.0)),
    T=Temperature(),
)
entry("sampling.langevin", energy=Function(well), step_size=Positive(0.1), T=Temperature())
entry("sampling.mala", energy=Function(well), step_size=Positive(0.1), T=Temperature())
entry(
    "sampling.replica_exchange",
    energy=Function(well),
    kernel=Function(lambda T: None),
    T=(1.0, 2.0),
)
entry(
    "sampling.Chains.walk",
    step=Function(make=lambda d: _import("sampling.langevin")(well, 0.1)),
    x=Array(4, 2, wide=False, lone=True, empty=True),
    n=Count(3),
    burn=Count(1, 0),
    thin=Count(2),
    generator=Gen(),
)
for _name in ("energies", "slopes"):
    ENTRIES.append(
        Entry(
            f"sampling.Walkers.{_name}",
            lambda energy, x, name=_name: getattr(_import("sampling.Walkers")(x), name)(energy),
            {
                "energy": Function(well),
                "x": Array(4, 2, wide=False, lone=True, empty=True, may=FLEW_OFF),
            },
        )
    )
entry("sampling.Convergence.of", fake="asks numpy", x=Array(3, 20, 2, wide=False, lone=True))
entry(
    "sampling.acceptance_probability",
    E=Array(4, wide=False, may=FLEW_OFF),
    E_new=Array(4, wide=False, infinite=True, may=("nan",)),
    T=Temperature(),
)
entry(
    "sampling.langevin_step",
    x=Array(4, 2, may=FLEW_OFF),
    slope=Array(4, 2, may=FLEW_OFF),
    step_size=Number(0.1, 0.0),
    T=Temperature(zero=True),
    generator=Gen(),
)
entry(
    "sampling.mala_log_ratio",
    x=Array(4, 2, may=FLEW_OFF),
    slope=Array(4, 2, may=FLEW_OFF),
    y=Array(4, 2, may=FLEW_OFF),
    slope_y=Array(4, 2, may=FLEW_OFF),
    step_size=Positive(0.1),
    T=Temperature(),
)
entry("sampling.autocorrelation", x=Array(3, 20, wide=False, lone=True), n_lags=Count(4, 0))
entry("sampling.split_rhat", x=Array(3, 20, wide=False, lone=True))

# ---------------------------------------------------------------- 9 score
_mixture = dict(weights=Probabilities(2), means=Array(2, 3), stds=Number(1.0, 0.0))
_falling = (1.0, 0.5, 0.1)


def _net(device="cpu"):
    from silen_lib.score import ScoreNet

    return _put(lambda: ScoreNet(Array(20, 3).make(), width=8, depth=1), device)


entry("score.mixture_score", x=Array(4, 3, empty=True), **_mixture, sigma=Number(0.1, 0.0))
entry(
    "score.score_trace",
    score=Function(toward_zero),
    x=Array(4, 3, wide=False, lone=True, empty=True, may=FLEW_OFF),
)
entry(
    "score.ScoreNet",
    fake="see forward",
    data=Array(20, 3, wide=False, lone=True),
    width=Count(8),
    depth=Count(1, 0),
    generator=Gen(),
)
method("score.ScoreNet.forward", _net, x=Array(4, 3, empty=True, may=FLEW_OFF), sigma=Positive(0.5))
method("score.ScoreNet.start", _net, n=Count(3), sigma=Number(1.0, 0.0), generator=Gen())
method("score.ScoreNet.sample", _net, n=Count(3), sigmas=_falling, generator=Gen())
entry(
    "score.train_score",
    net=Function(make=_net),
    data=Array(20, 3),
    low=Positive(0.1),
    high=Positive(2.0),
    steps=Count(2),
    batch=Count(4),
    lr=Positive(1e-3),
    average=Number(0.9, 0.0, 1.0, below=True),
    generator=Gen(),
    reads=2,
)
entry("score.sigma_ladder", high=Positive(2.0), low=Positive(0.1), n=Count(4, 2))
entry(
    "score.annealed_langevin",
    score=Function(toward_zero),
    x=Array(4, 3, wide=False, lone=True, empty=True),
    sigmas=_falling,
    steps=Count(2, 0),
    rate=Number(0.1, 0.0),
    step_size=Number(0.1, 0.0, optional=True),
    generator=Gen(),
)
entry(
    "score.reverse_diffusion",
    score=Function(toward_zero),
    x=Array(4, 3, wide=False, lone=True, empty=True),
    sigmas=_falling,
    generator=Gen(),
)
entry(
    "score.probability_flow",
    score=Function(toward_zero),
    x=Array(4, 3, wide=False, lone=True, empty=True),
    sigmas=_falling,
)
entry(
    "score.implicit_score_matching",
    score=Function(toward_zero),
    x=Array(4, 3, wide=False, lone=True),
)
entry(
    "score.denoising_score_matching",
    score=Function(toward_zero),
    x=Array(4, 3),
    sigma=Number(0.5, 0.0),
    noise=Array(4, 3),
)
entry(
    "score.reverse_step",
    x=Array(4, 3, may=FLEW_OFF),
    s=Array(4, 3, may=FLEW_OFF),
    sigma=Positive(1.0),
    next_sigma=Number(0.5, 0.0, 1.0, below=True),
    noise=Array(4, 3, may=FLEW_OFF),
)
entry("score.info_nce", scores=Array(4, 4, wide=False, lone=True), temperature=Positive(1.0))


# ---------------------------------------------------------------- 10 free_energy
def _vae(device="cpu"):
    from silen_lib.free_energy import VAE

    return _put(lambda: VAE(6, 2, 8, generator=_seeded()), device)


def _pc(device="cpu"):
    from silen_lib.free_energy import PredictiveCodingNetwork

    net = PredictiveCodingNetwork((3, 4, 2), generator=_seeded())
    net.W, net.b = [w.to(device) for w in net.W], [b.to(device) for b in net.b]
    return net


_layers = Kind(make=lambda d: [Array(5, n).make(d) for n in (3, 4, 2)])
_maze = Machine(make=lambda d: _import("free_energy.DecisionModel").t_maze())
entry(
    "free_energy.variational_free_energy",
    q=Probabilities(2, 5),
    log_joint=Array(2, 5, infinite=True),
)
entry(
    "free_energy.mixture_responsibilities",
    log_density=Array(4, 3, may=("inf",)),
    weights=Probabilities(3),
)


def _mixture(device="cpu"):
    return _import("beliefs.GaussianMixture").m_step(Array(5, 2).make(), Probabilities(5, 3).make())


method(
    "beliefs.GaussianMixture.m_step",
    lambda d="cpu": _import("beliefs.GaussianMixture"),
    x=Array(5, 2, wide=False),
    responsibilities=Probabilities(5, 3, wide=False),
    ridge=Number(1e-6, 0.0),
)
for _name in ("log_density", "log_joint"):
    method(
        f"beliefs.GaussianMixture.{_name}",
        _mixture,
        fake="needs a positive definite matrix",
        x=Array(5, 2),
    )
method(
    "beliefs.GaussianMixture.mean_free_energy",
    _mixture,
    fake="needs a positive definite matrix",
    x=Array(5, 2),
    responsibilities=Probabilities(5, 3),
)
entry("free_energy.gaussian_kl", mean=Array(4, 2), log_var=Array(4, 2))
entry("free_energy.evidence_gap", log_weights=Array(7, 3, infinite=True, lone=True, wide=False))
entry(
    "free_energy.pc_drive",
    error=Array(4, 3),
    slope=Array(4, 3),
    error_next=Array(4, 2),
    W=Array(2, 3),
)
entry(
    "free_energy.VAE",
    fake="makes its own tensors",
    n_visible=Count(6),
    n_latent=Count(2),
    n_hidden=Count(8),
    generator=Gen(),
)
method("free_energy.VAE.encode", _vae, x=Bits(5, 6))
method("free_energy.VAE.log_conditional", _vae, x=Bits(5, 6), z=Array(5, 2))
method("free_energy.VAE.draw_latent", _vae, mean=Array(4, 2), log_var=Array(4, 2), generator=Gen())
method("free_energy.VAE.elbo", _vae, x=Bits(5, 6), generator=Gen())
method("free_energy.VAE.importance_bound", _vae, x=Bits(5, 6), n_samples=Count(2), generator=Gen())
method("free_energy.VAE.log_weights", _vae, x=Bits(5, 6), n_samples=Count(2), generator=Gen())
method("free_energy.VAE.tuned_belief", _vae, x=Bits(5, 6), n_steps=Count(2), generator=Gen())
method("free_energy.VAE.log_evidence", _vae, x=Bits(5, 6), n=Count(5, 2), span=Positive(4.0))
entry(
    "beliefs.fit_vae",
    vae=Machine(make=_vae),
    x=Bits(5, 6),
    epochs=Count(1, 0),
    batch_size=Count(2),
    lr=Positive(1e-3),
    generator=Gen(),
    reads=9,
)
entry(
    "free_energy.PredictiveCodingNetwork",
    fake="makes its own tensors",
    sizes=(3, 4, 2),
    output_variance=Positive(1.0),
    activation=Choice("tanh"),
    generator=Gen(),
)
for _name in ("predictions", "errors", "energy", "drives", "weight_gradients"):
    method(f"free_energy.PredictiveCodingNetwork.{_name}", _pc, x=_layers)
method("free_energy.PredictiveCodingNetwork.unrest", _pc, x=_layers, free=(1,))
method("free_energy.PredictiveCodingNetwork.forward", _pc, top=Array(5, 3))
method(
    "free_energy.PredictiveCodingNetwork.infer",
    _pc,
    x=_layers,
    free=(1,),
    n_steps=Count(2, 0),
    step=Positive(0.2),
)
method(
    "free_energy.PredictiveCodingNetwork.learn",
    _pc,
    x=_layers,
    lr=Number(0.1, 0.0),
    decay=Number(0.0, 0.0, 1.0),
)
method(
    "free_energy.PredictiveCodingNetwork.backprop_gradients",
    _pc,
    top=Array(5, 3),
    target=Array(5, 2),
)
entry(
    "free_energy.risk_and_ambiguity",
    fake="float64 tables, on the processor",
    states=Probabilities(2, 3),
    A=Kind(torch.full((2, 3), 0.5)),
    log_preference=Array(2, infinite=True),
)
entry(
    "free_energy.information_gain",
    fake="float64 tables, on the processor",
    states=Probabilities(2, 3),
    A=Kind(torch.full((2, 3), 0.5)),
)
method(
    "free_energy.DecisionModel.t_maze",
    lambda d="cpu": _import("free_energy.DecisionModel"),
    fake="makes its own tensors",
    reliability=Fraction(0.9),
    stake=Number(2.0),
    cost=Number(0.0),
    cheese=Fraction(0.9),
    left=Fraction(0.5),
)
method(
    "free_energy.DecisionModel.belief_after",
    lambda d="cpu": _maze.make(),
    fake="float64 tables, on the processor",
    states=Probabilities(value=_maze.make().D, wide=False, may=("float64",)),
    outcome=Only(0, -1, 5, 0.5, None, True, "0"),
)
entry(
    "free_energy.expected_free_energy",
    fake="float64 tables, on the processor",
    model=_maze,
    policies=Integers([[1, 2], [1, 3]], most=3),
)
method(
    "free_energy.DecisionModel.plan_values",
    lambda d="cpu": _maze.make(),
    fake="float64 tables, on the processor",
    belief=Probabilities(value=_maze.make().D, wide=False, may=("float64",)),
    depth=Count(1),
    curiosity=Number(1.0),
)
entry(
    "beliefs.run_agent",
    fake="float64 tables, on the processor",
    model=_maze,
    state=Count(0, 0),
    n_steps=Count(1),
    generator=Gen(),
)

# ---------------------------------------------------------------- the workshop
entry(
    "data.binarise",
    x=Bits(4, 6, wide=False, lone=True),
    how=Choice("stochastic"),
    generator=Gen(),
    reads=2,
)
entry(
    "data.Batches",
    fake="see the trainer",
    x=Kind(torch.ones(6, 2)),
    batch_size=Count(2),
    generator=Gen(),
)
entry("data.bars_and_stripes", fake="makes its own tensors", n=Count(3))

# ---------------------------------------------------------------- the same and others, with what is left out above
AGAIN = "called above, or draws"
again = partial(entry, fake=AGAIN)
again_method = partial(method, fake=AGAIN)
NAN, INF = math.nan, math.inf


def given(x, **more):
    "An array that is this one."
    return Array(value=x, **dict(wide=False) | more)


def counts(value, *more):
    "What no count is, where the kind's limits are not one number."
    return Only(
        value, -1, 1.5, INF, NAN, True, None, "3", torch.ones(2), torch.tensor(2.0), 1j, *more
    )


_row = torch.tensor([[0.0, 1.0, 2.0, 0.5], [1.0, 0.0, 0.2, 0.3]])
_dtypes = (torch.int64, torch.half, "float")
again(
    "energy.energy_gradient",
    energy=curve,
    x=Array(5, wide=False, lone=True, infinite=True, may=("nan",)),
)
for _name in ("energy_gradient", "gradient_descent"):
    again(f"energy.{_name}", energy=Only(curve, torch.zeros_like, lambda x: 3), x=torch.ones(5))
again(
    "energy.gaussian_wells",
    x=torch.zeros(4, 2),
    centres=Only(
        [[0.0, 0.0]],
        *(
            None,
            "ab",
            np.zeros((1, 2)),
            [[NAN, 0.0]],
            torch.zeros(1, 2).long(),
            torch.zeros(1, 2).to("meta"),
        ),
    ),
    depths=Only([1.0], [INF], [[1.0], [2.0, 3.0]]),
    widths=Only([1.0], [0.0], torch.zeros(1), [-1.0]),
)
again(
    "energy.grid_points",
    low=Only(0.0, 2.0, (0.0, 0.0)),
    high=Only(1.0, -1.0),
    n=counts(20, 0),
    dtype=Only(torch.float32, *_dtypes),
    device=Only("cpu", "abacus", [1]),
)
_levels = dict(half=True, infinite=True, may=("int", "float64", "None", "-inf"))
again(
    "energy.free_energy",
    E=given(_row, **_levels),
    T=Temperature(zero=True),
    p=Probabilities(2, 4, **_levels),
)
again("energy.entropy", p=Only(_row.softmax(-1), torch.cat([_row.softmax(-1), _row[:, :1]], 1)))
again(
    "energy.macrostate_free_energy",
    E=_row[0],
    label=Only(torch.tensor([0, 1, 1, 0]), torch.tensor([0, -1, -1, 0])),
)

_five, _order = Spins(5), torch.arange(N)
for _name in ("energy_change", "async_step"):
    again(f"hopfield.{_name}", state=_state(), W=Couplings(N).make(), i=Only(2, N))
again(
    "hopfield.recall",
    state=_state(),
    W=Couplings(N),
    order=Only(_order, 3, "up", torch.ones(N), torch.zeros(N).long(), None, _order.numpy()),
    fixed=Mask(N),
)
again("hopfield.recall_patterns", state=_state(), **_patterns, fixed=Mask(N))
again("hopfield.hopfield_update", state=Spins(N), W=Couplings(N), fixed=Mask(N))
again("data.letters", text=Only("A", ["A"], "a", ""))
_s5 = _five.make()
again(
    "hopfield.show_patterns",
    patterns=Only([_s5], [_s5.numpy()], None, [], [_s5 * 0], np.ones((3, 5))),
)
again(
    "controls.PatternMemory",
    rows=Count(5),
    cols=Count(5),
    memories=Only(None, [_s5], {"a": torch.zeros(25)}, {"a": _s5}, {"a": torch.ones(25).int()}),
    generator=Gen(),
)

_loads = torch.tensor([0.05, 0.1])
_no_load = (
    -0.1,
    NAN,
    INF,
    "a",
    None,
    True,
    1j,
    _loads.numpy(),
    -_loads,
    _loads.long(),
    _loads.half(),
    _loads + 0j,
)
_no_load += (_loads[:0], [0.1, -1.0], [None])
again("mean_field.critical_capacity", T=Only(0.05, *_no_load))
again("mean_field.ags_state", alpha=Only(_loads, *_no_load), T=Only(0.1, *_no_load, torch.ones(3)))
again("capacity.glauber", state=_state(), **_patterns, sweeps=Only(1, None), fixed=Mask(N))
again(
    "capacity.Wall.retained",
    n_neurons=Only(40, 0),
    load=0.1,
    networks=1,
    cues=2,
    sweeps=1,
    threshold=Only(0.65, NAN, "a"),
)
_kept = torch.ones(2, 2)
again(
    "capacity.half_load",
    loads=Only(torch.tensor([0.1, 0.2]), torch.ones(2)),
    kept=Only(
        torch.tensor([[9, 9], [1, 0]]),
        *(-_kept, _kept * 10, _kept.numpy(), _kept[0], _kept * NAN, _kept + 0j, _kept[:1]),
    ),
    cues=9,
)
_no_sizes = ("abc", (20.0, 30.0, 40.0), None, (0, 30, 40), 3)
again(
    "capacity.measure_wall",
    sizes=Only((20, 30, 40), *_no_sizes),
    networks=Only((40, 40, 40), *_no_sizes),
    loads=Only((0.05, 0.6), (NAN, 0.1), 0.1, (-0.1, 0.1), (0.1,)),
    cues=2,
)
again("capacity.bit_error", load=Only(_loads, _loads * 0, 0.1))
again("capacity.ags_load", t=Only(_loads, _loads * 0, 0.1))
again(
    "capacity.extrapolate",
    sizes=Only(
        torch.tensor([10, 20, 30]),
        torch.arange(3),
        [1, 2, 3],
        _loads.numpy(),
        NAN * _loads,
        torch.ones(3),
    ),
    values=torch.tensor([0.1, 0.2, 0.3]),
    errors=Only(torch.ones(3), torch.zeros(3)),
)

_bias = given(torch.ones(N), wide=True, may=("None", "float64"))
_no_times = (1.0, [-1.0, 1.0], [NAN, 1.0], "ab", None, [None, 1.0], np.ones(2), torch.ones(2, 2))
_no_times += (torch.tensor([INF, 1.0]), torch.ones(2) + 0j)
for _name in ("heat_bath", "metropolis"):
    again(f"chains.{_name}", state=_state(), W=Couplings(N), bias=_bias, fixed=Mask(N))
for _name in ("heat_bath", "metropolis"):
    again(
        f"chains.{_name}",
        state=_state(),
        W=Couplings(N, symmetric=True).make(),
        bias=Only(torch.ones(N), True),
    )
again(
    "chains.parallel_tempering",
    W=Couplings(N),
    T=[1.0, 2.0],
    state=torch.ones(2, 2, N),
    fixed=Mask(N),
)
again("chains.boltzmann_update", state=Spins(N), W=Couplings(N), fixed=Mask(N))
again(
    "chains.simulated_annealing",
    state=Spins(N),
    W=Couplings(N),
    T_start=Temperature(5.0),
    T_end=Temperature(0.1),
    n_steps=3,
    fixed=Mask(N),
)
again(
    "chains.anneal",
    W=Couplings(N),
    T=Only([1.0, 0.5], *_no_times),
    bias=_bias,
    state=Spins(4, N, may=("None",)),
    fixed=Mask(N),
)
again(
    "chains.parallel_tempering",
    W=Couplings(N),
    T=Only([1.0, 0.5], *_no_times, [0.0, 1.0]),
    bias=_bias,
    state=Spins(2, 3, N, may=("None",)),
    sweeps=2,
)
again(
    "chains.BoltzmannMachine",
    n_visible=3,
    dtype=Only(torch.float32, torch.int64, torch.half, None),
)
for _name in ("exact_gradient", "relative_entropy"):
    again_method(
        f"chains.BoltzmannMachine.{_name}",
        _machine,
        v=Spins(4, 3),
        p=Probabilities(4, may=("None",)),
    )
_clamp = torch.tensor([[1.0, 1, 1, 0, 0]]).repeat(2, 1)
_clamps = dict(
    value=_clamp,
    may=("None", "bits", "zeros", "bytes", "half grey", "a grey one", "grey", "doubled"),
)
again_method(
    "chains.BoltzmannMachine.sample", _machine, clamp=Spins(2, 5, **_clamps), state=Spins(2, 5)
)
again_method(
    "chains.BoltzmannMachine.sampled_gradient",
    _machine,
    clamp=Spins(2, 5, **_clamps),
    clamped=torch.ones(2, 5),
    free=torch.ones(2, 5),
)
again_method(
    "chains.BoltzmannMachine.sampled_gradient",
    _machine,
    clamp=Only(_clamp, _clamp / 2, _clamp * 255, _clamp * 2),
    clamped=torch.ones(2, 5),
    free=torch.ones(2, 5),
)
again_method(
    "chains.BoltzmannMachine.fit",
    _machine,
    v=Spins(4, 3),
    p=Probabilities(4, may=("None",)),
    n_steps=1,
    n_chains=Count(2),
    sweeps=Count(1, 0),
    generator=Gen(),
)
again(
    "boltzmann.swap_probability", E1=_row[0], E2=_row[0], T1=Temperature(1.0), T2=Temperature(2.0)
)
again(
    "boltzmann.heat_bath_sweep",
    state=_state(),
    W=Only(Couplings(N).make(), Couplings(N).make() + torch.eye(N)),
)

again(
    "layers.modern_hopfield_settle",
    x=Array(4, N, empty=True),
    patterns=Array(P, N),
    beta=1.0,
    fixed=Mask(N),
)
again("spins.dense_update", state=_state(empty=True), patterns=Spins(P, N), fixed=Mask(N))
again(
    "layers.modern_hopfield_retrieve",
    x=Array(4, N, half=True, empty=True),
    patterns=Array(P, N, half=True),
    beta=1.0,
    values=Array(P, 2, wide=False, half=True, may=("None",)),
)
again(
    "layers.universal_retrieve",
    query=Array(4, N, empty=True),
    keys=Array(P, N),
    values=Array(P, 2, wide=False),
    separate=torch.sign,
    similarity=Function(torch.cdist),
)
again(
    "modern_hopfield.effective_patterns",
    weights=Probabilities(4, P, wide=False, lone=True, empty=True, half=True),
)
_any_layer = dict(wide=False, half=True, empty=True, infinite=True, may=("nan", "float64"))
again("layers.split_heads", x=Array(2, 5, 8, lone=True, **_any_layer), num_heads=2)
again("layers.join_heads", x=Array(2, 2, 5, 4, lone=True, **_any_layer))
again_method(
    "modern_hopfield.HopfieldAttention.forward",
    _layer,
    query=Array(2, 5, 8, **_any_layer),
    key=Array(2, 7, 8, **_any_layer),
    value=Array(2, 7, 8, **_any_layer),
)

_walked = torch.zeros(4, 2)
ENTRIES.append(
    Entry(
        "sampling.metropolis_hastings",
        lambda propose, generator: _import("sampling.metropolis_hastings")(well, propose)(
            _import("sampling.Walkers")(_walked), generator
        ),
        {"propose": Positive(0.5), "generator": Gen()},
        fake=AGAIN,
    )
)
_no_ladder = ([], [1.0], [1.0, NAN], [1.0, INF], [1.0, 0.0], 3.0, None, "21")
again(
    "sampling.replica_exchange",
    energy=well,
    kernel=lambda T: None,
    T=Only([1.0, 2.0], *_no_ladder),
)
_no_sigmas = ([], [NAN], [1.0, NAN], [1.0, 1.0], [1.0, INF], [2.0, -1.0], 3.0, None, "21")
_sigmas = Only([2.0, 1.0], *_no_sigmas)
for _name in ("annealed_langevin", "reverse_diffusion", "probability_flow"):
    again(f"score.{_name}", score=toward_zero, x=torch.ones(4, 3), sigmas=_sigmas)
again_method("score.ScoreNet.sample", _net, n=3, sigmas=_sigmas)

_b5, _b6 = Bits(5, 6), Binary(5, 6)
_no_bits = (
    _b5.make() * 255,
    (2 * _b5.make() - 1).to(torch.int8),
    (255 * _b5.make()).to(torch.uint8),
)
again("rbm.ais", **_model, n_temperatures=3, n_chains=4, reverse_from=Bits(5, 6, may=("None",)))
again_method("rbm.RBM.complete", _rbm, v=torch.ones(2, 6), known=Mask(6, optional=False))
_coins = lambda d="cpu": _import("coins.Coins")(d)
again_method("coins.Coins.toss_", _coins, p=Only(torch.ones(2, 3), torch.ones(2, 3).to("meta")))
again(
    "rbm.Trainer",
    **_model,
    data_mean=Only(torch.full((6,), 0.4), torch.full((6,), 102.0), torch.full((6,), -0.2)),
)
again_method("rbm.Trainer.step", _trainer, v=Only(_b5.make(), *_no_bits), lr=0.1)
_bits = dict(half=True, may=("None", "int", "bool", "float64"))
method(
    "mnist_rbm.ProductionRBM.monitor",
    _production,
    fake="gives numbers",
    train=_b6,
    held_out=Binary(5, 6, may=("None",)),
    generator=Gen(),
)
_resident = lambda train_loader: _import("loop.bit_batches")(train_loader, 6, torch.device("cpu"))
for _loader in (Bits(5, 6, half=True, may=("int", "bool", "float64")), Only(_b5.make(), *_no_bits)):
    ENTRIES.append(Entry("loop.bit_batches", _resident, {"train_loader": _loader}, fake=AGAIN))
again("mnist_rbm.plot_filters", **_model, shape=(2, 3), n=Count(2))
again("mnist_rbm.dream", **_model, n=2, k=2, start=Bits(5, 6, **_bits))
again(
    "mnist_rbm.train_rbm_production",
    rbm=Kind(make=_production),
    train_loader=Bits(5, 6, half=True, may=("int", "bool", "float64")),
    n_epochs=Only(1, None),
    lr=0.1,
    held_out=Bits(5, 6, **_bits),
    progress=False,
)
again(
    "mnist_rbm.train_rbm_production",
    rbm=Kind(make=_production),
    train_loader=Only(_b5.make(), *_no_bits),
    n_epochs=1,
    held_out=Only(_b5.make(), *_no_bits),
    progress=False,
)

_belief = dict(value=_maze.make().D, wide=False)
again_method(
    "free_energy.PredictiveCodingNetwork.infer",
    _pc,
    x=_layers,
    free=(1,),
    n_steps=1,
    step=0.1,
    observed=Mask(2),
)
again(
    "free_energy.expected_free_energy",
    model=_maze,
    policies=Only(torch.tensor([[1, 2]]), torch.tensor([[1, 99]]), torch.tensor([[1, -99]])),
    belief=Probabilities(**_belief, may=("None", "float64")),
)
_A = Array(value=[[0.5] * 3] * 2, wide=False)
again(
    "free_energy.risk_and_ambiguity",
    states=Probabilities(2, 3),
    A=_A,
    log_preference=Array(2).make(),
)
again("free_energy.information_gain", states=Probabilities(2, 3), A=_A)


# ---------------------------------------------------------------- what is right though the kind says it is wrong
def taken(reason: str, cases: str, *arguments: str):
    "module.function.argument of those that take these cases on purpose."
    for argument in arguments:
        TAKEN[argument] = TAKEN.get(argument, ()) + tuple(cases.split(", "))


taken(
    "one walker that flew off does not stop the others",
    "an inf, -inf",
    *(f"energy.{f}.x" for f in ("energy_gradient", "gaussian_wells")),
    "attention.squared_distances.x",
    "attention.squared_distances.y",
    *(f"sampling.Walkers.{f}.x" for f in ("energies", "slopes")),
    *(f"sampling.langevin_step.{a}" for a in ("x", "slope")),
    *(f"sampling.mala_log_ratio.{a}" for a in ("x", "slope", "y", "slope_y")),
    *(f"sampling.acceptance_probability.{a}" for a in ("E", "E_new")),
    "score.score_trace.x",
    "score.ScoreNet.forward.x",
    *(f"score.reverse_step.{a}" for a in ("x", "s", "noise")),
)
taken(
    "a forbidden state",
    "an inf",
    *(f"energy.{f}.E" for f in ("sample_states", "macrostate_free_energy", "estimate_temperature")),
)
taken(
    "what never happens",
    "-inf",
    "attention.attention_free_energy.scores",
    "attention.max_entropy_weights.scores",
    "modern_hopfield.sparsemax.scores",
    "layers.entmax15.scores",
    "free_energy.mixture_responsibilities.log_density",
)
taken("a field without bounds decides", "an inf, -inf", "boltzmann.spin_up_probability.h")
taken("no spread at all", "-inf", "free_energy.VAE.draw_latent.log_var")
taken(
    "a step looks at its own row",
    "an inf, -inf",
    "hopfield.energy_change.W",
    "hopfield.async_step.W",
)
taken("what is not known is not looked at", "an inf, -inf", "rbm.RBM.complete.v")
taken(
    "numbers, made float64 or brought to the others' type",
    "float64",
    *(f"energy.{f}.E" for f in ("macrostate_free_energy", "estimate_temperature")),
    *(f"hopfield.recall_patterns.{a}" for a in ("state", "patterns")),
    *(f"capacity.glauber.{a}" for a in ("state", "patterns")),
    "capacity.half_load.loads",
    *(f"capacity.extrapolate.{a}" for a in ("values", "errors")),
    "rbm.ais.base_bias",
    "rbm.ais.reverse_from",
    "rbm.Trainer.data_mean",
    "rbm.Trainer.step.v",
    "places.SparseDistributedMemory.write.data",
    *(f"score.mixture_score.{a}" for a in ("x", "weights", "means")),
)
_p = [f"chains.BoltzmannMachine.{f}.p" for f in ("exact_gradient", "fit", "relative_entropy")]
taken("weights, brought to the machine's type", "float16, bfloat16, float64", *_p)
taken(
    "one a chain, a component or a point of the theory",
    "two",
    "mean_field.ags_state.alpha",
    "sampling.metropolis_hastings.propose",
    *(f"sampling.{f}.step_size" for f in ("langevin", "mala", "langevin_step")),
    "score.mixture_score.stds",
)
taken(
    "any shape is right, or is seen when it meets the chains",
    "too many",
    *(f"mean_field.{f}.T" for f in ("critical_capacity", "ags_state")),
    *(f"sampling.{f}.T" for f in ("metropolis_hastings", "langevin", "mala")),
    *(f"boltzmann.swap_probability.{a}" for a in ("T1", "T2")),
)
taken(
    "a number is the width of a Gaussian step",
    "number, tensor",
    "sampling.metropolis_hastings.propose",
)
taken("fewer looks", "narrower", "energy.estimate_temperature.states")
taken("shorter plans", "narrower", "free_energy.expected_free_energy.policies")
taken(
    "the library's own",
    "None",
    "chains.BoltzmannMachine.sample.state",
)
taken("the library's own", "None", "layers.universal_retrieve.similarity")

# ---------------------------------------------------------------- public names without an entry
# constants, records and pictures; what a run of silen-train is made of is tested in test_train.py
EXEMPT = {
    "energy": "Grid",
    "spins": "Swept SpinWalk.state",
    "mean_field": "RetrievalState",
    "capacity": "Wall Wall.from_halves Wall.half_load",
    "chains": "Annealed Tempered BoltzmannMachine.Learned BoltzmannMachine.Phases "
    "BoltzmannMachine.log_partition BoltzmannMachine.extra_repr",
    "coins": "Coins.state Coins.restore",
    "rbm": "RBM.log_partition",
    "mnist_rbm": "ProductionRBM.get_weight_stats",
    "modern_hopfield": "HopfieldAttention.as_multihead_attention HopfieldAttention.extra_repr",
    "sampling": "Walkers Chains Convergence",
    "free_energy": "PredictiveCodingNetwork.drives_from",  # called with values that `drives` has looked at
}
