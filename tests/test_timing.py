"""How the benchmarks measure: who runs beside whom, what a ratio is, and that the floor is the products and no more."""

import time

import pytest
import timing
import torch


def test_a_run_tells_its_seconds_or_they_are_taken():
    assert timing.clock(lambda: 0.25) == 0.25
    assert 0.02 <= timing.clock(lambda: time.sleep(0.02)) < 1
    assert timing.clock(lambda: 7) < 1, "a count is no time"


def test_contestants_take_turns_and_the_warm_rounds_are_left_out():
    order = []
    runs = {name: (lambda name=name: order.append(name)) for name in "ab"}
    seconds = timing.in_turn(runs, rounds=3, warm=2)
    assert "".join(order) == "ab" * 5 and {len(s) for s in seconds.values()} == {3}


def test_each_runs_right_after_its_neighbour():
    order, slow = [], iter([1.0, 2.0, 4.0, 8.0])

    def base():
        order.append("-")
        return next(slow)

    runs = {"a": lambda: order.append("a") or 2.0, "b": lambda: order.append("b") or 4.0}
    pairs = timing.beside(base, runs, rounds=2)
    assert "".join(order) == "-a-b-a-b"
    assert pairs == {"a": [(2.0, 1.0), (2.0, 4.0)], "b": [(4.0, 2.0), (4.0, 8.0)]}


def test_speeds_are_work_by_time():
    speeds = timing.speeds_in_turn({"a": lambda: time.sleep(0.02) or 10}, rounds=2)
    assert len(speeds["a"]) == 2 and all(10 < v <= 500 for v in speeds["a"])


def test_a_machine_that_slows_down_leaves_the_ratio():
    "Ten times slower in two rounds of three: medians of seconds would say 20, a ratio of them 10."
    assert timing.ratio([2.0, 20.0, 20.0], [1.0, 10.0, 10.0]) == 2.0
    with pytest.raises(ValueError):
        timing.ratio([1.0], [1.0, 2.0])


@pytest.mark.parametrize("k", [1, 3])
def test_the_floor_is_the_products_and_no_more(k, monkeypatch):
    made = []
    for name in ("mm", "addmm"):
        monkeypatch.setattr(torch, name, lambda *a, name=name, out: made.append(name))
    timing.contrastive_floor([torch.ones(4, 6)] * 2, 5, k)()
    assert made == 2 * [*["mm"] * (2 + 2 * k), "addmm"]
