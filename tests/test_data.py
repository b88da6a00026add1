"""MNIST in every state a disk and a network can leave it in; batches; patterns."""

import socket
import threading
import time

import numpy as np
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


def _harm(whole, harm):
    return {
        "truncated": whole[: len(whole) // 3],
        "header": b"\0\0\0\0" + whole[4:],
        "half zeroed": whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2),
        "all zeros": whole[:16] + bytes(len(whole) - 16),
        "14×56 pixels": whole[:8] + (14).to_bytes(4, "big") + (56).to_bytes(4, "big") + whole[16:],
        "one bit": whole[:-1] + bytes([whole[-1] ^ 1]),
        "too long": whole + b"\0",
        "empty": b"",
    }[harm]


HARMS = [
    "truncated",
    "header",
    "half zeroed",
    "all zeros",
    "14×56 pixels",
    "one bit",
    "too long",
    "empty",
]


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "train-labels-idx1-ubyte"])
@pytest.mark.parametrize("harm", HARMS)
def test_damaged_unpacked_file_comes_from_its_archive_again(
    tmp_path, tiny_mnist, no_network, harm, name
):
    _put(tmp_path, tiny_mnist)
    want = data.load_mnist(tmp_path)
    path = _raw(tmp_path) / name
    whole = path.read_bytes()
    path.write_bytes(_harm(whole, harm))
    state, line = data.mnist_state(tmp_path)
    assert state == "damaged" and name in line and "damaged (" in line
    got = data.load_mnist(tmp_path)
    assert torch.equal(got.test, want.test) and torch.equal(got.train_labels, want.train_labels)
    assert path.read_bytes() == whole and data.mnist_state(tmp_path)[0] == "ready"


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_unpacked_file_without_archive_is_named(tmp_path, tiny_mnist, no_network, harm):
    _put(tmp_path, tiny_mnist)
    data.load_mnist(tmp_path)
    path = _raw(tmp_path) / "train-images-idx3-ubyte"
    path.with_name(f"{path.name}.gz").unlink()
    path.write_bytes(_harm(path.read_bytes(), harm))
    with pytest.raises(data.DataError, match="train-images-idx3-ubyte is damaged"):
        data.load_dataset("mnist", tmp_path)


def test_a_label_that_is_no_digit_is_named(tmp_path, tiny_mnist, no_network):
    _put(tmp_path, tiny_mnist)
    data.load_mnist(tmp_path)
    path = _raw(tmp_path) / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + bytes([200]))
    assert "it holds the label 200" in data.mnist_state(tmp_path)[1]


# --- folders that cannot be written: each way the system has of saying so


def _no_space(*args, **kwargs):
    raise OSError(28, "No space left on device")


def _read_only(*args, **kwargs):
    raise OSError(30, "Read-only file system", "/shared/x")


def _forbidden(*args, **kwargs):
    raise PermissionError(13, "Permission denied", "/shared/x")


REFUSALS = [_no_space, _read_only, _forbidden]


@pytest.mark.parametrize("refuse", REFUSALS)
def test_archives_that_cannot_be_unpacked_are_read_as_they_are(
    tmp_path, tiny_mnist, no_network, monkeypatch, capsys, refuse
):
    _put(tmp_path, tiny_mnist)
    monkeypatch.setattr(data, "atomic_write", refuse)
    monkeypatch.setattr(data.Path, "mkdir", refuse)
    monkeypatch.setattr(data.tempfile, "TemporaryDirectory", refuse)
    before = sorted(_files(tmp_path))
    d = data.load_dataset("mnist", tmp_path)
    assert d.name == "mnist" and len(d.train) == 40 and sorted(_files(tmp_path)) == before
    assert capsys.readouterr().out == ""


def _files(root):
    return [p for p in root.rglob("*") if p.is_file()]


@pytest.mark.parametrize("refuse", REFUSALS)
@pytest.mark.parametrize("where", ["mkdir", "TemporaryDirectory", "import_torchvision"])
def test_no_folder_to_write_to_gives_one_line_and_the_digits(
    tmp_path, tiny_mnist, monkeypatch, capsys, refuse, where
):
    place = {"mkdir": data.Path, "TemporaryDirectory": data.tempfile, "import_torchvision": data}[
        where
    ]
    monkeypatch.setattr(place, where, refuse)
    assert data.load_dataset("mnist", tmp_path / "new").name == "digits"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "Using scikit-learn's" in lines[0] and len(lines[0]) < 400


@pytest.mark.parametrize("refuse", REFUSALS[1:])
def test_files_that_cannot_be_read_give_one_line_and_the_digits(
    tmp_path, tiny_mnist, no_network, monkeypatch, capsys, refuse
):
    _put(tmp_path, tiny_mnist)
    monkeypatch.setattr(data.Path, "read_bytes", refuse)
    assert data.load_dataset("mnist", tmp_path).name == "digits"
    assert "train-images-idx3-ubyte cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_a_file_for_a_folder_is_a_sentence(tmp_path, monkeypatch, where):
    file = tmp_path / "passwd"
    file.write_text("root:x", encoding="utf-8")
    monkeypatch.setenv("SILEN_DATA", str(file))
    root = file if where == "argument" else None
    for call in (data.load_mnist, data.mnist_state, lambda root: data.load_dataset("mnist", root)):
        with pytest.raises(
            ValueError, match="root is .*passwd, which is a file; it must be a folder"
        ):
            call(root)


def test_damaged_and_no_network_is_refused_and_nothing_is_deleted(tmp_path, tiny_mnist, no_network):
    _put(tmp_path, tiny_mnist)
    path = _raw(tmp_path) / "train-labels-idx1-ubyte.gz"
    path.write_bytes(b"half")
    before = sorted(p.name for p in _raw(tmp_path).iterdir())
    with pytest.raises(
        data.DataError, match="train-labels-idx1-ubyte.gz is damaged .* could not be fetched again"
    ):
        data.load_dataset("mnist", tmp_path)
    assert path.read_bytes() == b"half"
    assert set(before) <= {p.name for p in _raw(tmp_path).iterdir()}
    assert not list(_raw(tmp_path).glob("*.damaged"))


def test_no_file_and_no_network_gives_one_line_and_the_digits(
    tmp_path, tiny_mnist, no_network, capsys
):
    d = data.load_dataset("mnist", tmp_path)
    assert d.name == "digits" and d.train.shape == (1400, 64)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(lines) == 1 and "Using scikit-learn's 8×8 digits" in lines[0]


def test_a_mirror_that_sends_rubbish_is_not_believed(tmp_path, tiny_mnist, mirror):
    tiny_mnist["train-images-idx3-ubyte.gz"] = b"not what was promised"
    with pytest.raises(FileNotFoundError, match="could not be fetched"):
        data.load_mnist(tmp_path)


WEB = {
    "a redirect loop": lambda h: (
        h.send_response(302),
        h.send_header("Location", h.path),
        h.end_headers(),
    ),
    "forbidden": lambda h: h.send_error(403),
    "unavailable": lambda h: h.send_error(503),
    "a login page": lambda h: (
        h.send_response(200),
        h.end_headers(),
        h.wfile.write(b"<html>log in</html>" * 50),
    ),
    "half a file": lambda h: (
        h.send_response(200),
        h.send_header("Content-Length", "99"),
        h.end_headers(),
    ),
    "not HTTP": lambda h: h.wfile.write(b"\x00\xff\n\n"),
}


@pytest.mark.parametrize("case", WEB)
def test_a_server_that_does_not_deliver_gives_one_short_line(
    tmp_path, tiny_mnist, mirror, capfd, case
):
    tiny_mnist["answer"] = WEB[case]
    assert data.load_dataset("mnist", tmp_path).name == "digits"
    lines = [line for line in capfd.readouterr().out.splitlines() if line]
    assert len(lines) == 1 and len(lines[0]) < 400 and "could not be fetched (" in lines[0]
    assert not _files(tmp_path), "nothing half done stays behind"


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
    assert (
        abs(d.train.mean().item() - 0.1307) < 1e-4
    )  # the mean grey value every MNIST tutorial normalises by
    assert d.train_labels.bincount().tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    assert d.test_labels.bincount().tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None, float("nan"), 10**30])
def test_counts_that_are_none(value):
    for name, call in (
        ("n", lambda: data.bars_and_stripes(value)),
        ("n_test", lambda: data.load_digits(n_test=value)),
        ("batch_size", lambda: data.Batches(torch.arange(9), value)),
    ):
        with pytest.raises(
            ValueError, match=f"{name} is .*must be (a whole number from )?1 (to|…) "
        ):
            call()


@pytest.mark.parametrize("x", [[0.1], np.array([0.1]), None, torch.tensor([1j])], ids=repr)
def test_what_is_no_tensor_of_grey_values(x):
    with pytest.raises(ValueError, match="x (is|has) "):
        data.binarise(x)


@pytest.mark.parametrize(
    "x", [[1, 2], np.arange(3), torch.tensor(1.0), torch.empty(0, 3)], ids=repr
)
def test_batches_of_what_has_no_rows(x):
    with pytest.raises(ValueError, match="x (is|has)"):
        data.Batches(x, 1)


def test_what_is_printed_is_ascii():
    assert repr(data.load_digits()).isascii()


def test_batches_are_a_permutation_and_follow_the_generator():
    x = torch.arange(103)
    make = lambda seed: list(data.Batches(x, 10, torch.Generator().manual_seed(seed)))  # noqa: E731
    one, two, other = make(1), make(1), make(2)
    assert len(one) == 10 and all(len(b) == 10 for b in one)
    assert torch.cat(one).unique().numel() == 100
    assert torch.equal(torch.cat(one), torch.cat(two)) and not torch.equal(
        torch.cat(one), torch.cat(other)
    )
    again = data.Batches(x, 10, torch.Generator().manual_seed(1))
    assert not torch.equal(torch.cat(list(again)), torch.cat(list(again))), (
        "each pass is shuffled anew"
    )
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


# ── tables of one's own ──


def _write(path, content):
    "A file as its ending says; bytes as they are."
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".npy":
        np.save(path, content, allow_pickle=True)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        torch.save(content, path)
    return path


BITS = (np.arange(60).reshape(10, 6) % 7 < 3).astype(int)
TABLES = {
    "a.npy": BITS,
    "b.npy": BITS.astype(bool),
    "c.npz": {"mine": BITS.astype("float16")},
    "d.pt": torch.tensor(BITS),
    "e.csv": "\n".join(",".join(map(str, row)) for row in BITS).encode(),
    "f.csv": b"\xef\xbb\xbfa,b c,d,e,f,g\n" + b"\n".join(b"0, 1,0,1,1,0" for _ in range(10)),
    "G.CSV": b"0,1,0,1,1,0\r\n" * 10,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_becomes_rows_to_learn_from_and_rows_to_test(tmp_path, name):
    table = data.load_dataset(str(_write(tmp_path / name, TABLES[name])))
    assert table.train.shape == (9, 6) and table.test.shape == (1, 6) and table.shape is None
    assert table.train.dtype == table.test.dtype == torch.float32
    rows = torch.cat([table.train, table.test])
    if not isinstance(TABLES[name], bytes):
        assert sorted(rows.tolist()) == sorted(BITS.astype(float).tolist())
        assert rows.tolist() != BITS.astype(float).tolist(), "a sorted file is shuffled"
    again = data.load_table(tmp_path / name)
    assert torch.equal(again.train, table.train), "the shuffle is one and the same"


def test_a_table_that_is_divided_already_stays_as_it_is(tmp_path):
    parts = {"train": BITS.reshape(10, 2, 3), "test": 1 - BITS[:4].reshape(4, 2, 3)}
    table = data.load_table(_write(tmp_path / "t.npz", parts))
    assert table.shape == (2, 3)
    assert table.train.tolist() == BITS.tolist() and table.test.tolist() == (1 - BITS[:4]).tolist()


WRONG = {
    "absent.npy": (None, "does not exist"),
    "text.npy": (b"0,1\n1,0\n", "cannot be used: "),
    "empty.csv": (b"", "cannot be used: "),
    "ragged.csv": (b"0,1\n1\n", "cannot be used: "),
    "word.csv": (b"0,1\n1,yes\n", "'yes'"),
    "hole.csv": (b"0,1\n1,\n", "cannot be used: "),
    "nan.csv": (b"0,1\n1,nan\n", "without NaN"),
    "spins.npy": (2 * BITS - 1, "use (train + 1) / 2"),
    "bytes.npy": (BITS.astype("uint8") * 255, "divide by 255"),
    "cube.npy": (np.zeros((2, 2, 2, 2)), "must be (n, columns) or (n, height, width)"),
    "line.npy": (np.zeros(5), "must be (n, columns) or (n, height, width)"),
    "none.npy": (np.zeros((0, 5)), "must be (n, columns) or (n, height, width)"),
    "single.npy": (np.zeros((1, 5)), "a single row"),
    "objects.npy": (np.array([[{}]], dtype=object), "cannot be used: "),
    "words.npz": (
        {"x": BITS, "y": BITS},
        "it holds x, y; it must hold one array, or train and test",
    ),
    "two.npz": ({"train": BITS, "test": BITS[:, :5]}, "test (10, 5); their rows must be alike"),
    "complex.npy": (BITS + 1j, "cannot be used: "),
    "list.pt": ([1, 2], "cannot be used: "),
    "module.pt": (torch.nn.Linear(2, 2), "cannot be used: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_no_table_gets_a_sentence(tmp_path, name):
    content, words = WRONG[name]
    if content is not None:
        _write(tmp_path / name, content)
    with pytest.raises(data.DataError, match=rf"{name}") as error:
        data.load_table(tmp_path / name)
    assert words in str(error.value) and "\n" not in str(error.value)
