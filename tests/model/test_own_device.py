"""Which device a process of a training, or of inference, gets."""

import pytest
import torch

from model.errors import INPUT_ERROR_EXIT, InputError
from model.inference.__main__ import main
from model.training.distributed import World, join_world


@pytest.fixture
def gpus(monkeypatch):
    """Pretends that the machine has so many, of which this process shall take the second."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    chosen = []

    def pretend(count: int) -> list[torch.device]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        return chosen

    return pretend


def test_every_process_takes_its_own_gpu(gpus):
    chosen = gpus(2)
    assert join_world().device == torch.device("cuda", 1)
    assert chosen == [torch.device("cuda", 1)]


def test_a_machine_whose_gpus_are_hidden_trains_on_its_processors(gpus):
    chosen = gpus(0)
    assert join_world() == World(0, 1, torch.device("cpu"))
    assert chosen == []


def test_more_processes_than_gpus_are_refused(gpus):
    gpus(1)
    with pytest.raises(InputError, match=r"process 1 .* 1 GPU.*--nproc-per-node 1"):
        join_world()


def test_inference_refuses_them_too(gpus, tmp_path, caplog):
    gpus(1)
    where = ["--params", "params.yaml", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["shards", *where]) == INPUT_ERROR_EXIT
    assert "process 1 of this machine has no GPU of its own" in caplog.text
