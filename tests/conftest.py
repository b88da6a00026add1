"""Shared by all tests: a scratch progress file, no figure left open, wandb silent, and a small synthetic MNIST."""

import gzip
import hashlib
import http.server
import os
import sys
import threading
from pathlib import Path

import pytest
import torch

os.environ.setdefault("WANDB_MODE", "disabled")
sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))  # what they share


@pytest.fixture(autouse=True)
def _scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("SILEN_PROGRESS", str(tmp_path / "progress.json"))
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def fixture_specs(monkeypatch):
    "The specs of exercise_fixtures are found, here and in kernels; what a test registers is forgotten."
    from silen_lib import exercises

    folder = str(Path(__file__).parent / "exercise_fixtures")
    monkeypatch.setenv("SILEN_CHECKS", "fixture_checks")
    monkeypatch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
    monkeypatch.delenv("SILEN_STRICT", raising=False)
    monkeypatch.syspath_prepend(folder)
    exercises.find_spec("toss")
    specs = exercises.SPECS
    before = dict(specs)
    yield
    # a module of real checks that a test imported registers only once: keep what it brought
    kept = {n: spec for n, spec in specs.items() if str(spec.module).startswith("silen_lib.")}
    specs.clear()
    specs.update({**kept, **before})


def _idx(array):
    "A uint8 tensor as an IDX file: magic, sizes, bytes."
    header = (2048 + array.ndim).to_bytes(4, "big") + b"".join(
        n.to_bytes(4, "big") for n in array.shape
    )
    return header + array.numpy().tobytes()


@pytest.fixture
def tiny_mnist(monkeypatch, tmp_path):
    "40 + 10 random images in MNIST's format, known to silen_lib.data by their md5; returns {archive name: bytes}."
    from silen_lib import data

    g = torch.Generator().manual_seed(0)
    archives, files = {}, []
    for file in data.MNIST_FILES:
        n = 40 if "train" in file.name else 10
        size, high = ((n, 28, 28), 256) if "images" in file.name else ((n,), 10)
        raw = _idx(torch.randint(0, high, size, generator=g, dtype=torch.uint8))
        archives[f"{file.name}.gz"] = gzip.compress(raw, mtime=0)
        md5 = hashlib.md5(archives[f"{file.name}.gz"]).hexdigest()
        files.append(
            data.MnistFile(file.name, md5, len(raw), file.magic, hashlib.md5(raw).hexdigest())
        )
    monkeypatch.setattr(data, "MNIST_FILES", tuple(files))
    return archives


@pytest.fixture
def mirror(monkeypatch, tiny_mnist):
    "A web server on loopback that torchvision takes for the only mirror of MNIST; returns the list of requested names."
    from silen_lib.data import import_torchvision

    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rsplit("/", 1)[-1]
            asked.append(name)
            if "answer" in tiny_mnist:  # a server with ideas of its own
                return tiny_mnist["answer"](self)
            self.send_response(200 if name in tiny_mnist else 404)
            self.end_headers()
            self.wfile.write(tiny_mnist.get(name, b""))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(
        import_torchvision().datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"]
    )
    yield asked
    server.shutdown()


@pytest.fixture
def no_network(monkeypatch):
    "Every mirror refuses the connection."
    from silen_lib.data import import_torchvision

    monkeypatch.setattr(import_torchvision().datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
