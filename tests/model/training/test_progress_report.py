"""What a log says of a training that is under way."""

import io
import logging

import pytest
import torch

from model.network.moe import SparseMoE
from model.training import progress_report
from model.training.progress_report import ProgressReport, is_in_bar


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
    shown = ProgressReport("encoder", 0, 1, [], silent=True)._shown()
    assert shown == {"GPU": "3.0 GiB"}


def test_another_process_says_nothing(caplog, monkeypatch):
    monkeypatch.setattr(progress_report, "LOG_EVERY_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        report = ProgressReport("encoder", 0, 10, [], silent=True)
        for step in (1, 2):
            report.advance(step, 1, {})
        report.validated(2, {"ndcg@10": 0.5})
        report.close()
    assert not caplog.text


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_last_step_has_a_line_however_short_the_training_was(caplog, experts, steps):
    report = ProgressReport("encoder", 0, 5, [experts], silent=False)
    with caplog.at_level(logging.INFO):
        for step in range(1, steps + 1):
            report.advance(step, 50, {"infonce": 2.5 / step})
        report.close()
    line = caplog.messages[-1]
    assert line.startswith(f"encoder: step {steps} of 5 (")
    for part in ("steps/s", "tokens/s, after 0 s", f"infonce {2.5 / steps:.4g}", "gini 0.75"):
        assert part in line, part


def test_a_line_of_the_last_step_is_not_said_twice(caplog, monkeypatch):
    monkeypatch.setattr(progress_report, "LOG_EVERY_SECONDS", 0.0)
    report = ProgressReport("encoder", 0, 2, [], silent=False)
    with caplog.at_level(logging.INFO):
        report.advance(1, 50, {})
        report.advance(2, 50, {})
        report.close()
    assert len([line for line in caplog.messages if is_in_bar(line)]) == 1


def test_figures_of_a_validation_are_told(caplog):
    report = ProgressReport("encoder", 0, 5000, [], silent=False)
    with caplog.at_level(logging.INFO):
        report.validated(1200, {"hr@10": 0.25, "ndcg@10": 0.125})
    line = caplog.messages[-1]
    assert line == "encoder: validation after step 1,200: hr@10 0.2500, ndcg@10 0.1250"
    assert not is_in_bar(line)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("log_is_elsewhere", [True, False])
def test_beside_a_bar_the_log_has_its_lines_too(caplog, monkeypatch, experts, log_is_elsewhere):
    """As a worker of `onepiece materialize` in a terminal has it: its lines go into a pipe."""
    monkeypatch.setattr(progress_report, "LOG_EVERY_SECONDS", 0.0)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setattr("sys.stdout", io.StringIO() if log_is_elsewhere else Terminal())
    with caplog.at_level(logging.INFO):
        report = ProgressReport("encoder", 0, 3, [experts], silent=False)
        for step in (1, 2, 3):
            report.advance(step, 100, {"infonce": 1.25})
        report.validated(3, {"ndcg@10": 0.5})
        report.close()
    assert "3/3" in terminal.getvalue()
    assert "infonce=1.25, gini=0.75" in terminal.getvalue()
    in_bar = [line for line in caplog.messages if is_in_bar(line)]
    assert len(in_bar) == (2 if log_is_elsewhere else 0)
    assert "validation after step 3" in caplog.text
