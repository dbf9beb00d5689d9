"""The benchmark of the whole tokenizer draws time against items."""

import sys

import numpy as np
import pytest

from tests.benchmarks import bench_tokenizer_scale as bench


def test_several_numbers_of_items_are_drawn_and_their_slope_told(monkeypatch, capsys, tmp_path):
    small = f"--items 300 600 --size 32 --iterations 1 --plot {tmp_path / 'scale.png'}"
    monkeypatch.setattr(sys, "argv", ["bench_tokenizer_scale", *small.split()])
    bench.main()
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in printed[::2]][:2] == ["300 items x 64", "600 items x 64"]
    assert printed[-1].startswith("seconds grow with items to the power of ")
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


def test_the_slope_of_a_power_is_the_power():
    items = np.array([10**4, 10**5, 10**6])
    assert bench.slope(items, 3e-6 * items**1.5) == pytest.approx(1.5)
