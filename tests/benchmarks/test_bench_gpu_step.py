"""The GPU's benchmark, on a CPU: both ways compute one loss, and what is asked for is printed."""

import sys

import pytest
import torch

from tests.benchmarks.bench_gpu_step import chunked_cross_entropy, full_cross_entropy, main


def test_the_oracles_loss_is_the_trainers():
    x, weight = torch.randn(9, 4), torch.randn(7, 4)
    labels = torch.arange(9) % 7
    ours, oracle = (loss(x, weight, labels) for loss in (chunked_cross_entropy, full_cross_entropy))
    assert ours.item() == pytest.approx(oracle.item(), rel=1e-5)


def test_it_prints_ratio_share_and_memory(monkeypatch, capsys):
    sizes = {"dim": 32, "heads": 2, "layers": 1, "length": 8, "batch": 2, "codes": 16}
    sizes |= {"positions": 64, "product": 64, "rounds": 1}
    options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["bench_gpu_step", "--device", "cpu", *options])
    main()
    printed = capsys.readouterr().out
    for told in ("InfoNCE, 64 x 64: ", "TFLOP/s", "oracle ", "MFU", "ratio to the oracle "):
        assert told in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_gpu_step"])
    with pytest.raises(SystemExit):
        main()
    assert "there is no GPU; --device cpu" in capsys.readouterr().err
