"""The ablation's rows and its picture, of trainings that are made up."""

import sys
from pathlib import Path

import pytest

from tests.benchmarks import bench_ablation as bench

ROOT = Path(__file__).parents[2]
FIGURES = dict.fromkeys([*bench.SCORES, "lowest gini", "highest gini", "seconds"], 0.2)


def _history(layers: int) -> list[dict[str, float | None]]:
    """Four rows; only the last one is of a validation."""
    return [
        {"step": step, "loss": 1.0 / step, "ndcg@10": 0.1 if step == 4 else None}
        | {f"gini{layer}": 0.1 * layer for layer in range(1, layers + 1)}
        for step in range(1, 5)
    ]


def _rows(monkeypatch, capsys, *options):
    """What the command prints and the networks that it trains."""
    trained = []

    def measure(params, data):
        trained.append(params.network)
        moe = params.network.feed_forward.kind == "moe"
        return FIGURES, _history(params.network.num_layers if moe else 0)

    monkeypatch.setattr(bench, "measure", measure)
    given = ["--params", str(ROOT / "params.yaml"), "--data", "none", *options]
    monkeypatch.setattr(sys, "argv", ["bench_ablation", *given])
    bench.main()
    names = [line.split(" | ")[0][2:] for line in capsys.readouterr().out.splitlines()[2:]]
    return names, trained


def test_parts_and_depths_are_chosen_and_the_full_network_is_always_there(monkeypatch, capsys):
    names, trained = _rows(monkeypatch, capsys, "--only", "history skip", "--layers", "4", "8")
    assert names == ["nothing", "history skip", "nothing, 4 layers", "nothing, 8 layers"]
    assert [network.num_layers for network in trained] == [2, 2, 4, 8]
    assert [network.history_skip for network in trained] == [8, 0, 8, 8]
    assert _rows(monkeypatch, capsys)[0] == list(bench.WITHOUT)


@pytest.mark.parametrize("only", [(), (bench.DENSE,)])
def test_a_picture_brings_the_network_without_experts(monkeypatch, capsys, tmp_path, only):
    file = tmp_path / "curves.png"
    names, _ = _rows(monkeypatch, capsys, "--only", *only, "--plot", str(file))
    assert names == [bench.FULL, bench.DENSE]
    assert file.read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_each_layers_gini_and_both_courses(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(bench, "write_png", lambda figure, file: drawn.append(figure))
    bench.plot({bench.FULL: _history(2), bench.DENSE: _history(0)}, tmp_path / "curves.png")
    ginis, losses, qualities = (axes.get_lines() for axes in drawn[0].axes)
    assert [line.get_ydata()[-1] for line in ginis] == pytest.approx([0.1, 0.2])
    assert [line.get_label() for line in ginis] == ["layer 1", "layer 2"]
    assert [list(line.get_xdata()) for line in losses] == [[1, 2, 3, 4]] * 2
    assert [list(line.get_xdata()) for line in qualities] == [[4]] * 2
