"""What the doctor says of a machine that is not as it should be."""

import os

import pytest
import torch

from orchestration import doctor
from orchestration.doctor import examine


@pytest.mark.parametrize("driver", [True, False])
def test_a_gpu_that_cannot_be_used_gets_a_remedy(tmp_path, monkeypatch, driver):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(
        doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if driver else None
    )
    text, _ = examine(tmp_path)
    assert "no device is usable (torch is built for C" in text
    assert ("-> make install GPU=1" in text) == driver


def test_a_missing_package_is_named_and_makes_it_unhealthy(tmp_path, monkeypatch):
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "duckdb" else known(name))
    text, healthy = examine(tmp_path)
    assert not healthy
    assert text.endswith("Something is missing (!!).")
    line, remedy = text.splitlines()[(at := _line_of(text, "!! duckdb")) : at + 2]
    assert line.endswith("missing")
    assert remedy.strip() == "-> make install"


def test_little_disk_is_told_of_but_stops_nothing(tmp_path, monkeypatch):
    usage = doctor.shutil._ntuple_diskusage(10**9, 0, 10**9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    text, healthy = examine(tmp_path / "not" / "yet")
    assert healthy
    assert f"1.0 GB at {tmp_path}" in text
    assert "-> the demo needs about" in text


def test_a_folder_that_cannot_be_written_is_fatal(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    text, healthy = examine(tmp_path)
    assert not healthy
    assert "choose another --data folder" in text


def _line_of(text: str, start: str) -> int:
    return next(n for n, line in enumerate(text.splitlines()) if line.startswith(start))
