"""A machine is named by what it has."""

import os

import pytest
import torch

from assets.machine import machine_name

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("threads", "named"),
    [
        (None, f"{CORES} CPU cores"),
        (str(CORES), f"{CORES} CPU cores"),
        (str(CORES + 1), f"{CORES} CPU cores"),
        ("2,1", f"{CORES} CPU cores"),
    ],
)
def test_processors_and_how_many_of_them_count(monkeypatch, threads, named):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert machine_name(with_gpus=True) == named


def test_fewer_threads_than_processors_are_told(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    assert machine_name(with_gpus=False) == "3 of 16 CPU cores"


def test_gpus_where_they_are_asked_for(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Device {number}")
    assert machine_name(with_gpus=True) == f"8 x Device 0, {CORES} CPU cores"
    assert machine_name(with_gpus=False) == f"{CORES} CPU cores"
