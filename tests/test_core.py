"""Seeds, devices, folders, atomic writes and wandb's mode."""

import os

import numpy as np
import pytest
import torch

from silen_lib import core


def test_seed_from_the_environment(monkeypatch):
    monkeypatch.setenv("SILEN_SEED", "7")
    assert core.set_seed() == 7
    a = torch.rand(2)
    assert core.set_seed(7) == 7 and torch.equal(a, torch.rand(2))
    monkeypatch.setenv("SILEN_SEED", "lucky")
    with pytest.raises(ValueError, match="SILEN_SEED is 'lucky'"):
        core.set_seed()


@pytest.mark.parametrize(
    "there,want", [((True, True), "cuda"), ((False, True), "mps"), ((False, False), "cpu")]
)
def test_device_order(monkeypatch, there, want):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there[0])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there[1])
    assert core.get_device().type == want
    assert core.get_device("cpu").type == "cpu"  # an explicit wish wins


def test_a_wish_that_cannot_be_met_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="not there; this machine has: "):
        core.get_device("cuda")
    with pytest.raises(ValueError, match="must be auto, cuda, cuda:N, mps or cpu"):
        core.get_device("xpu")


def test_atomic_write_keeps_the_old_file_and_leaves_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    for stop in (RuntimeError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(stop), core.atomic_write(path) as temporary:
            temporary.write_text("ne", encoding="utf-8")
            raise stop
        assert path.read_text(encoding="utf-8") == "old" and [
            p.name for p in tmp_path.iterdir()
        ] == ["a.txt"]
    with core.atomic_write(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "new" and [p.name for p in tmp_path.iterdir()] == [
        "a.txt"
    ]


def _mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask to speak of")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_follow_the_umask_and_a_file_keeps_its_own(tmp_path, umask):
    before = os.umask(umask)
    try:
        plain, made, kept = tmp_path / "plain", tmp_path / "made", tmp_path / "kept"
        plain.touch()
        kept.touch()
        kept.chmod(0o640)
        for path in (made, kept):
            with core.atomic_write(path):
                pass
    finally:
        os.umask(before)
    assert _mode(made) == _mode(plain) and _mode(kept) == 0o640


def test_atomic_write_never_touches_the_umask(tmp_path, monkeypatch):
    def touched(mask):
        raise AssertionError(
            "the umask belongs to the whole process: another thread's files would get it"
        )

    monkeypatch.setattr(os, "umask", touched)
    with core.atomic_write(tmp_path / "a"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target, link, dangling = folder / "a.txt", tmp_path / "link", tmp_path / "dangling"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    dangling.symlink_to(folder / "b.txt")
    for path in (link, dangling):
        with core.atomic_write(path) as temporary:
            assert temporary.parent == folder, "one file system: the rename is all or nothing"
            temporary.write_text("new", encoding="utf-8")
        assert path.is_symlink() and path.read_text(encoding="utf-8") == "new"
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "b.txt"]


def _refusals(folder):
    (folder / "sub").mkdir()
    (folder / "round").symlink_to(folder / "round")
    os.mkfifo(folder / "pipe")
    return {
        "no such folder": (folder / "no" / "a", "No such file or directory: '.*no/a'"),
        "a folder": (folder / "sub", "not an ordinary file: '.*sub'"),
        "a pipe": (folder / "pipe", "not an ordinary file: '.*pipe'"),
        "a device": (os.devnull, "not an ordinary file"),
        "a circle of links": (folder / "round", "circle: '.*round'"),
        "a name too long": (folder / ("x" * 300), "too long: '.*xxx'"),
        "a file as folder": (folder / "file" / "a", "Not a directory: '.*file/a'"),
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_cannot_be_written_is_refused_before_the_block_by_its_own_name(tmp_path):
    (tmp_path / "file").touch()
    for path, words in _refusals(tmp_path).values():
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(OSError, match=words), core.atomic_write(path):
            raise AssertionError("the work began")
        assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_permission_names_the_file(tmp_path, monkeypatch):
    def refuses(*args):
        raise PermissionError(13, "Permission denied", ".a-123.txt")

    monkeypatch.setattr(os, "open", refuses)
    with (
        pytest.raises(PermissionError, match="Permission denied: '.*a.txt'"),
        core.atomic_write(tmp_path / "a.txt"),
    ):
        pass


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    if not hasattr(os, "O_DIRECTORY"):
        pytest.skip("folders are not synced here")
    real = os.open

    def no_folders(path, flags, *mode):
        if flags & os.O_DIRECTORY:
            raise OSError(22, "Invalid argument")
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", no_folders)
    with core.atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("x", encoding="utf-8")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "x"


def test_long_and_odd_names(tmp_path):
    for name in (
        "x" * 240 + ".npz",
        "é" * 120,
        ".hidden",
        "a b.tar.gz",
        "日本.pt",
        "a." + "日" * 80,
    ):
        with core.atomic_write(tmp_path / name) as temporary:
            assert temporary.suffix == (tmp_path / name).suffix[:20] or name == ".hidden"
        assert (tmp_path / name).exists()


def test_wandb_mode(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert core.wandb_mode() == ("offline", "")
    assert core.wandb_mode("online")[0] == "offline" and "no key" in core.wandb_mode("online")[1]
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert core.wandb_mode() == ("disabled", "")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert core.wandb_mode("online") == ("online", "")


def test_key_in_netrc(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert not core.wandb_has_key()
    (tmp_path / ".netrc").write_text(
        "machine api.wandb.ai login user password " + "x" * 40 + "\n", encoding="utf-8"
    )
    (tmp_path / ".netrc").chmod(0o600)
    assert core.wandb_has_key()


WRONG_SEEDS = [
    -1,
    2**64,
    10**30,
    1.0,
    float("nan"),
    "7",
    None,
    True,
    np.True_,
    [7],
    torch.tensor([1, 2]),
]


@pytest.mark.parametrize("seed", WRONG_SEEDS, ids=repr)
def test_seeds_that_cannot_be(seed, monkeypatch):
    if seed is None:
        monkeypatch.setenv("SILEN_SEED", "9" * 5000)
    state = torch.get_rng_state()
    with pytest.raises(
        ValueError, match=r"(seed|SILEN_SEED) is .*; it must be an integer ≥ 0 and < 2\*\*64"
    ):
        core.set_seed(seed)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "seed", [0, 2**32, 2**64 - 1, np.int64(7), np.uint64(2**64 - 1), torch.tensor(7)], ids=repr
)
def test_seeds_that_can_be(seed):
    assert core.set_seed(seed) == int(seed) and isinstance(core.set_seed(seed), int)


def test_data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("SILEN_DATA", str(tmp_path))
    assert core.data_dir() == tmp_path
    monkeypatch.delenv("SILEN_DATA")
    assert core.data_dir() == core.course_root() / "data"


def test_the_widest_numbers_of_a_device():
    assert (
        core.wide_dtype("mps") == torch.float32
        and core.wide_dtype(torch.device("cpu")) == torch.float64
    )


@pytest.mark.parametrize("draw", [
    lambda g: core.uniform((2,), torch.ones(1), g),
    lambda g: core.normal((2,), torch.ones(1), g),
    lambda g: core.permutation(3, torch.device("cpu"), g),
    lambda g: core.categorical(torch.ones(3) / 3, 2, g),
])  # fmt: skip
@pytest.mark.parametrize("bad", [0, "cpu", torch.ones(1), lambda: 0.5])
def test_a_generator_that_is_none_is_refused_by_name(draw, bad):
    with pytest.raises(ValueError, match="generator is a .*; it must be a torch.Generator or None"):
        draw(bad)


FOREIGN = {
    "an nbdev project": "[DEFAULT]\nlib_name = theirs\n",
    "no sections": "lib_name = silen_lib\n",
    "not text": "\udcff",
    "empty": "",
    "another's, which mentions ours": "[DEFAULT]\nlib_name = theirs\nrequirements = silen_lib\n",
    "a percent sign": "[DEFAULT]\nlib_name = %(theirs)s\n",
}


def _project(folder, settings):
    (folder / "nbs").mkdir(parents=True)
    (folder / "nbs" / "index.ipynb").write_text("{}", encoding="utf-8")
    (folder / "settings.ini").write_text(settings, encoding="utf-8", errors="surrogateescape")


@pytest.mark.parametrize("case", FOREIGN)
def test_somebody_elses_project_is_not_the_course(monkeypatch, tmp_path, case):
    "Installed into a virtual environment inside it, run from inside it."
    _project(tmp_path, FOREIGN[case])
    package = tmp_path / ".venv" / "lib" / "silen_lib"
    package.mkdir(parents=True)
    monkeypatch.setattr(core, "__file__", str(package / "core.py"))
    monkeypatch.chdir(tmp_path / "nbs")
    monkeypatch.delenv("SILEN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert core.course_root() is None
    assert tmp_path not in core.data_dir().parents or "cache" in core.data_dir().parts
    assert core.data_dir() == core.data_dir().absolute(), "the same folder wherever one stands"
    assert core.short_path("a") == str(tmp_path / "nbs" / "a")


def test_the_course_is_found_from_the_package_then_from_the_current_folder(monkeypatch, tmp_path):
    ours, here = "[DEFAULT]\nlib_name = silen_lib\n", tmp_path / "clone"
    _project(here, ours)
    monkeypatch.chdir(here / "nbs")
    assert core.course_root() != here, "the checkout that the package lies in comes first"
    monkeypatch.setattr(core, "__file__", str(tmp_path / "site-packages" / "silen_lib" / "core.py"))
    assert core.course_root() == here
    (here / "nbs" / "index.ipynb").unlink()
    assert core.course_root() is None


def test_a_current_folder_that_is_gone(monkeypatch, tmp_path):
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(core, "__file__", str(tmp_path / "core.py"))
    monkeypatch.setattr(core.Path, "cwd", gone)
    assert core.course_root() is None
