"""What a log says of a training that is under way."""

import logging

import pytest
import torch

from model.network.moe import SparseMoE
from model.training import progress_report
from model.training.progress_report import ProgressReport


@pytest.fixture
def experts():
    made = SparseMoE(4, 4, 4, 1, 0, "softmax", balance_loss_weight=0.0, bias_step=0.0)
    made.last_load = torch.tensor([8, 0, 0, 0])
    return made


def test_a_line_has_rate_time_left_losses_and_the_balance_of_experts(caplog, monkeypatch, experts):
    monkeypatch.setattr(progress_report, "LOG_EVERY_SECONDS", 0.0)
    report = ProgressReport("encoder", 2, 10, [experts], silent=False)
    with caplog.at_level(logging.INFO):
        report.advance(3, 100, {"infonce": 2.5})
        report.advance(4, 100, {"infonce": 1.25})
    assert "step 4 of 10" in caplog.text
    assert "step 3" not in caplog.text
    for part in ("steps/s", "tokens/s", "s left", "infonce 1.25", "gini 0.75"):
        assert part in caplog.text, part


def test_the_first_step_which_waits_for_compilers_tells_nothing_of_the_others(caplog, monkeypatch):
    monkeypatch.setattr(progress_report, "LOG_EVERY_SECONDS", 0.0)
    times = iter([0.0, 80.0, 81.0, 82.0])
    monkeypatch.setattr(progress_report.time, "monotonic", lambda: next(times))
    report = ProgressReport("encoder", 0, 10, [], silent=False)
    with caplog.at_level(logging.INFO):
        for step in (1, 2, 3):
            report.advance(step, 50, {})
    assert "step 3 of 10 (1.0 steps/s, 50 tokens/s, 7 s left)" in caplog.text


def test_memory_of_a_gpu_is_named(monkeypatch, experts):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**30)
    shown = ProgressReport("encoder", 0, 1, [], silent=True)._shown({})
    assert shown == {"GPU": "3.0 GiB"}


def test_another_process_says_nothing(caplog, monkeypatch):
    monkeypatch.setattr(progress_report, "LOG_EVERY_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        ProgressReport("encoder", 0, 10, [], silent=True).advance(1, 1, {})
    assert not caplog.text
