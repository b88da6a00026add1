"""Run the library "on" CUDA or MPS on a machine that has neither, and see what a real one would object to.

Fake tensors have shape, dtype and device, and no numbers. A CPU build of torch lacks the device guards that
`.to("cuda")` asks for: two lines of C++ stand in. A dispatch mode watches every operation for what goes wrong on a
device: numbers read by the host (each stalls the device), tensors of two devices in one operation, float64 on MPS
(which has none), `random_` over the full int64 range there. A read has no answer on a fake tensor; the watcher
gives one, so that control flow goes on.

Three things of torch itself have no fake: backward passes (a stand-in gives gradients of the right shape and
place), the fused attention kernel on MPS (spelled out), and results whose size depends on the numbers (taken as
large as they can be; each counts as a read).
"""

import collections
import contextlib
import functools
import os
import tempfile
import traceback
from pathlib import Path
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

GUARDS = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
C10_REGISTER_GUARD_IMPL(CUDA, c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA>);
C10_REGISTER_GUARD_IMPL(MPS, c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::MPS>);
"""
WIDE = (torch.float64, torch.complex128)


@functools.cache
def install_guards() -> str:
    "Compile the stand-ins once a process; '' or the reason why it cannot be done."
    import shutil

    from torch.utils.cpp_extension import load

    if torch.cuda.is_available():
        return "there is a real device"
    if shutil.which("g++") is None:
        return "no C++ compiler (g++)"
    folder = (
        Path(tempfile.gettempdir())
        / f"silen-guards-{torch.__version__}-{os.getuid()}-{os.getpid()}"
    )
    folder.mkdir(exist_ok=True)
    (folder / "guards.cpp").write_text(GUARDS, encoding="utf-8")
    try:
        load(
            "fake_guards",
            [str(folder / "guards.cpp")],
            is_python_module=False,
            build_directory=str(folder),
        )
    except Exception as error:
        return f"the guards do not compile ({type(error).__name__}: {str(error)[:200]})"
    return ""


class Watch(TorchDispatchMode):
    "Counts what a device would object to, and where."

    def __init__(self):
        super().__init__()
        self.kernels = 0
        self.reads, self.mixed, self.wide, self.lacking = (collections.Counter() for _ in range(4))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        flat, _ = tree_flatten((args, kwargs or {}))
        tensors = [a for a in flat if isinstance(a, torch.Tensor)]
        away = [t for t in tensors if t.device.type != "cpu"]
        devices = {
            t.device.type for t in tensors if t.ndim or t.device.type != "cpu"
        }  # numbers on the host may mix
        name, first = str(func), tensors[0] if tensors else None
        if not any(
            isinstance(t, FakeTensor) for t in tensors
        ):  # real numbers, made before the pretence
            return func(*args, **(kwargs or {}))
        if name.startswith("aten.nonzero"):
            self.reads[_where()] += bool(away)
            return first.new_zeros((first.numel(), first.ndim), dtype=torch.int64)
        if name.startswith("aten.masked_select"):
            self.reads[_where()] += bool(away)
            return first.flatten()
        if name.startswith("aten.index.Tensor") and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        ):
            self.reads[_where()] += bool(away)
            return _all_true(first, args[1])
        if "_local_scalar_dense" in name or name.startswith("aten.equal"):
            if away:
                self.reads[_where()] += 1
            x = first
            if "equal" in name or x.dtype == torch.bool:
                return True
            return 0.5 if x.is_floating_point() else 0
        if (
            len(devices) > 1 and "copy_" not in name and not name.startswith("aten.index.Tensor")
        ):  # torch moves indices
            self.mixed[f"{name} at {_where()}"] += 1
        if (
            "mps" in devices
            and "random_" in name
            and any(isinstance(a, int) and abs(a) >= 2**62 for a in flat)
        ):
            self.lacking[f"{name} over 64 bits at {_where()}"] += 1
        out = func(*args, **(kwargs or {}))
        if away and "copy" in name and isinstance(out, torch.Tensor) and out.device.type == "cpu":
            self.reads[_where()] += 1  # bringing numbers home is a read
        for made in tree_flatten(out)[0]:
            if isinstance(made, torch.Tensor):
                self.kernels += made.device.type != "cpu"
                if made.device.type == "mps" and made.dtype in WIDE:
                    self.wide[_where()] += 1
        return out

    def objections(self) -> list[str]:
        "In words."
        found = [f"mixes devices: {w}" for w in self.mixed] + [
            f"float64 on mps: {w}" for w in self.wide
        ]
        return found + [f"mps lacks: {w}" for w in self.lacking]


def _all_true(x: torch.Tensor, indices) -> torch.Tensor:
    "x[mask] for one mask, as if everything were wanted."
    skip = next(n for n, i in enumerate(indices) if i is not None)
    mask = indices[skip]
    return x.reshape(*x.shape[:skip], mask.numel(), *x.shape[skip + mask.ndim :])


def _leaves(node, seen: set) -> list[torch.Tensor]:
    "The leaf tensors below a node of autograd's graph."
    if node is None or node in seen:
        return []
    seen.add(node)
    own = [node.variable] if hasattr(node, "variable") else []
    return own + [leaf for below, _ in node.next_functions for leaf in _leaves(below, seen)]


def _gradients(outputs, inputs, grad_outputs=None, create_graph=False, **_):
    "Gradients without numbers."
    inputs = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    return tuple(torch.zeros_like(x, requires_grad=create_graph) for x in inputs)


def _backward(self, *_, **__):
    for leaf in _leaves(self.grad_fn, set()):
        leaf.grad = torch.zeros_like(leaf)


def _attention(fused):
    "The fused kernel, spelled out on MPS."

    def attend(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
        if q.device.type != "mps":
            return fused(q, k, v, attn_mask, dropout_p, is_causal, scale=scale)
        scores = q @ k.transpose(-2, -1)
        return (scores if attn_mask is None else scores + attn_mask).softmax(-1) @ v

    return attend


def _where() -> str:
    "The innermost line of the library on the stack."
    frames = [f for f in traceback.extract_stack() if "silen_lib" in f.filename]
    return (
        f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].line}"
        if frames
        else "outside the library"
    )


@contextlib.contextmanager
def pretending():
    "Fake tensors, watched."
    fused = torch.nn.functional.scaled_dot_product_attention
    with (
        mock.patch.object(torch.autograd, "grad", _gradients),
        mock.patch.object(torch.Tensor, "backward", _backward),
        mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", _attention(fused)),
        FakeTensorMode(allow_non_fake_inputs=True),
        Watch() as seen,
    ):
        yield seen


def place(module: torch.nn.Module, device: str) -> torch.nn.Module:
    "A module with its parameters and buffers on a device that is not there (`.to` cannot do it)."
    for part in module.modules():
        for name, p in part._parameters.items():
            if p is not None:
                part._parameters[name] = torch.nn.Parameter(
                    torch.empty_like(p, device=device), p.requires_grad
                )
        for name, b in part._buffers.items():
            if b is not None:
                part._buffers[name] = torch.empty_like(b, device=device)
    return module
