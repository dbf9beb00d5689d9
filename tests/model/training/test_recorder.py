"""What a training's history says of its steps, against the steps themselves."""

import numpy as np
import pytest
import torch

from model.training.order import Order
from model.training.recorder import Recorder
from tests.model.small_network import pipeline_params

LOSS = pipeline_params().recommender_checkpoint.loss.model_copy(
    update={"infonce_weight": 0.5, "sid_weights": [2.0]}
)


def _recorded(num_steps: int) -> tuple[Recorder, np.ndarray]:
    """A recorder after some random steps, a row after every other one; (steps, 3) their terms."""
    terms = torch.rand(num_steps, 3, generator=torch.Generator().manual_seed(0))
    recorder = Recorder(LOSS, [], Order(np.arange(40), 1, 100.0, 0))
    for step, row in enumerate(terms, 1):
        recorder.add(row, torch.tensor(float(step)))
        if recorder.is_due(step):
            recorder.record(step, 0.25)
    return recorder, terms.double().numpy()


def test_a_row_holds_the_means_of_the_steps_since_the_row_before():
    recorder, terms = _recorded(6)
    assert [row["step"] for row in recorder.rows] == [2, 4, 6]
    infonce, sid, balance = terms[2:4].mean(axis=0)
    row = recorder.rows[1]
    assert [row["infonce"], row["sid1"]] == pytest.approx([infonce, sid], rel=1e-5)
    assert row["loss"] == pytest.approx(0.5 * infonce + 2 * sid + balance, rel=1e-5)
    assert row["gradient_norm"] == 3.5
    assert (row["epoch"], row["learning_rate"], row["ndcg@10"]) == (0.1, 0.25, None)


@pytest.mark.parametrize(("num_steps", "newest"), [(2, 1), (50, 10), (800, 100)])
def test_final_losses_are_those_of_the_last_fifth_and_of_a_hundred_steps_at_most(num_steps, newest):
    recorder, terms = _recorded(num_steps)
    found = recorder.final_losses()
    assert list(found) == ["infonce", "sid1", "balance"]
    for of_term, (name, said) in zip(terms.T, found.items(), strict=True):
        last = of_term[-newest:]
        assert said["steps"] == newest, name
        assert [said["mean"], said["std"]] == pytest.approx([last.mean(), last.std()], rel=1e-5)
