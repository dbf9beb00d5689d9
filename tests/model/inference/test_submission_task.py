"""Another statistic, vector or line of code is another task; the same inputs are the same one."""

from dataclasses import replace

import numpy as np
import pytest

from model import sources
from model.dataset.features import ScalarColumns
from model.inference.inputs import InferenceInputs
from model.inference.submission_task import submission_task
from model.network.checkpoint import Checkpoint
from model.tokenizer.codebook import Codebook
from tests.model.inference.fakes import cascade_params
from tests.model.small_network import SmallData, network_params, small_data


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SmallData:
    return small_data(tmp_path_factory.mktemp("small"))


def _task(small: SmallData) -> str:
    params = network_params(features={"modalities": ["81"]})
    weights = small.network(params).state_dict()
    inputs = InferenceInputs(
        Checkpoint(weights, params.model_dump(), small.schema(), {}),
        Codebook.of(small.codes, [np.zeros((8, 2), np.float32)] * 2, []),
        small.interactions,
        small.statistics,
        small.embeddings,
    )
    return submission_task(inputs, cascade_params(), 0.1)


def _raised(values: np.ndarray) -> np.ndarray:
    changed = np.array(values)
    changed[-1] += 1
    return changed


def _with_vectors(small: SmallData, name: str) -> SmallData:
    one = small.embeddings[name]
    changed = replace(one, matrix=_raised(one.matrix))
    return replace(small, embeddings=small.embeddings | {name: changed})


@pytest.mark.parametrize("name", ["log_q", "counts", "last_timestamp", "pop_slots"])
def test_another_statistic_is_another_task(small, name):
    changed = replace(small.statistics, **{name: _raised(getattr(small.statistics, name))})
    assert _task(replace(small, statistics=changed)) != _task(small)


def test_vectors_that_the_network_looks_at_decide_and_others_do_not(small):
    assert _task(_with_vectors(small, "81")) != _task(small)
    assert _task(_with_vectors(small, "82")) == _task(small)


@pytest.mark.parametrize("kind", ["items", "users"])
def test_features_and_the_end_of_training_decide(small, kind):
    table = getattr(small.interactions, kind)
    name = next(iter(table.scalars))
    columns = dict(table.scalars) | {name: _raised(table.scalars[name])}
    features = replace(table, scalars=ScalarColumns.side_by_side(columns, table.num_rows))
    for change in ({kind: features}, {"train_end": _raised(small.interactions.train_end)}):
        changed = replace(small.interactions, **change)
        assert _task(replace(small, interactions=changed)) != _task(small)


def test_other_code_is_another_task(small, tmp_path, monkeypatch):
    before = _task(small)
    (tmp_path / "one.py").write_text("one = 1\n")
    monkeypatch.setattr(sources, "LIBRARY", tmp_path)
    assert _task(small) != before
