"""MNIST in every state a disk and a network can leave it in; batches; patterns."""

import socket
import threading
import time

import pytest
import torch

from silen_lib import data
from silen_lib.core import data_dir


def _raw(root):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    return raw


def _put(root, archives, skip=()):
    for name, content in archives.items():
        if name not in skip:
            (_raw(root) / name).write_bytes(content)


def test_download_and_read(tmp_path, mirror):
    d = data.load_mnist(tmp_path)
    assert d.train.shape == (40, 784) and d.test.shape == (10, 784) and d.shape == (28, 28)
    assert d.train.dtype == torch.float32 and 0 <= d.train.min() and d.train.max() == 1
    assert len(set(mirror)) == 4
    mirror.clear()
    data.load_mnist(tmp_path)
    assert not mirror, "a second load asks for nothing"
    assert data.mnist_state(tmp_path)[0] == "ready"


def test_archives_on_disk_need_no_network(tmp_path, tiny_mnist, no_network):
    _put(tmp_path, tiny_mnist)
    assert len(data.load_mnist(tmp_path).train) == 40


@pytest.mark.parametrize("harm", ["truncated", "flipped", "empty", "text"])
def test_damaged_archive_is_named_and_fetched_again(tmp_path, tiny_mnist, mirror, capsys, harm):
    _put(tmp_path, tiny_mnist)
    name = "train-images-idx3-ubyte.gz"
    good = tiny_mnist[name]
    bad = {
        "truncated": good[: len(good) // 2],
        "flipped": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
        "empty": b"",
        "text": b"<html>404",
    }
    (_raw(tmp_path) / name).write_bytes(bad[harm])
    assert data.mnist_state(tmp_path)[0] == "damaged"
    assert len(data.load_mnist(tmp_path).train) == 40
    assert set(mirror) == {name}
    out = capsys.readouterr().out
    assert name in out and "damaged" in out and "fetching it again" in out
    assert (_raw(tmp_path) / name).read_bytes() == good


@pytest.mark.parametrize("harm", ["truncated", "header"])
def test_damaged_unpacked_file_comes_from_its_archive_again(tmp_path, tiny_mnist, no_network, harm):
    _put(tmp_path, tiny_mnist)
    want = data.load_mnist(tmp_path).test
    path = _raw(tmp_path) / "t10k-images-idx3-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] if harm == "truncated" else b"\0\0\0\0" + whole[4:])
    assert data.mnist_state(tmp_path)[0] == "damaged"
    assert torch.equal(data.load_mnist(tmp_path).test, want)


def test_damaged_and_no_network_is_refused_and_nothing_is_deleted(tmp_path, tiny_mnist, no_network):
    _put(tmp_path, tiny_mnist)
    path = _raw(tmp_path) / "train-labels-idx1-ubyte.gz"
    path.write_bytes(b"half")
    before = sorted(p.name for p in _raw(tmp_path).iterdir())
    with pytest.raises(data.DataError, match="train-labels-idx1-ubyte.gz is damaged .* could not be fetched again"):
        data.load("mnist", tmp_path)
    assert path.read_bytes() == b"half"
    assert set(before) <= {p.name for p in _raw(tmp_path).iterdir()}
    assert not list(_raw(tmp_path).glob("*.damaged"))


def test_no_file_and_no_network_gives_one_line_and_the_digits(tmp_path, tiny_mnist, no_network, capsys):
    d = data.load("mnist", tmp_path)
    assert d.name == "digits" and d.train.shape == (1400, 64)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(lines) == 1 and "Using scikit-learn's 8×8 digits" in lines[0]


def test_a_mirror_that_sends_rubbish_is_not_believed(tmp_path, tiny_mnist, mirror):
    tiny_mnist["train-images-idx3-ubyte.gz"] = b"not what was promised"
    with pytest.raises(FileNotFoundError, match="could not be fetched"):
        data.load_mnist(tmp_path)


def test_a_mirror_that_never_answers_is_given_up(tmp_path, tiny_mnist, monkeypatch):
    silent = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: [silent.accept() for _ in range(8)], daemon=True).start()
    mirrors = [f"http://127.0.0.1:{silent.getsockname()[1]}/"]
    monkeypatch.setattr(data.import_torchvision().datasets.MNIST, "mirrors", mirrors)
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError):
        data.load_mnist(tmp_path, timeout=0.5)
    assert time.perf_counter() - start < 10
    assert socket.getdefaulttimeout() is None


def test_the_operator_fix_is_for_a_broken_pair_only(monkeypatch):
    import builtins

    real, seen = builtins.__import__, []

    def fails_once(name, *args, **kwargs):
        if name == "torchvision" and not seen:
            seen.append(name)
            raise RuntimeError("something else is wrong")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fails_once)
    with pytest.raises(RuntimeError, match="something else"):
        data.import_torchvision()


def test_real_mnist():
    if data.mnist_state()[0] == "missing":
        pytest.skip(f"no MNIST below {data_dir()}: `make train` fetches it")
    d = data.load_mnist(download=False)
    assert d.train.shape == (60_000, 784) and d.test.shape == (10_000, 784)
    assert abs(d.train.mean().item() - 0.1307) < 1e-4  # the mean grey value every MNIST tutorial normalises by
    assert d.train_labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert d.test_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_batches_are_a_permutation_and_follow_the_generator():
    x = torch.arange(103)
    make = lambda seed: list(data.Batches(x, 10, torch.Generator().manual_seed(seed)))  # noqa: E731
    one, two, other = make(1), make(1), make(2)
    assert len(one) == 10 and all(len(b) == 10 for b in one)
    assert torch.cat(one).unique().numel() == 100
    assert torch.equal(torch.cat(one), torch.cat(two)) and not torch.equal(torch.cat(one), torch.cat(other))
    again = data.Batches(x, 10, torch.Generator().manual_seed(1))
    assert not torch.equal(torch.cat(list(again)), torch.cat(list(again))), "each pass is shuffled anew"
    state = torch.get_rng_state()
    make(3)
    assert torch.equal(state, torch.get_rng_state()), "the global generator is left alone"


@pytest.mark.parametrize("size", [0, -1, 104])
def test_batch_sizes_that_cannot_be(size):
    with pytest.raises(ValueError, match=f"batch_size is {size}; the data have 103 rows"):
        data.Batches(torch.arange(103), size)


def test_patterns():
    shapes = data.shapes_8x8()
    assert list(shapes)[8] == "checkerboard" and len(shapes) == 10
    board = shapes["checkerboard"]
    assert (board[:-1] != board[1:]).all() and (board[:, :-1] != board[:, 1:]).all()
    for glyph in data.glyphs_5x5().values():
        assert glyph.shape == (5, 5) and (glyph.abs() == 1).all()
    bars = data.bars_and_stripes(4).view(-1, 4, 4)
    assert all((b == b[:1]).all() or (b == b[:, :1]).all() for b in bars)
