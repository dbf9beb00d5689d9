"""What the doctor says of a machine that is not as it should be."""

import os
import re
import shutil
import sys

import pytest
import torch

from orchestration import doctor
from orchestration.doctor import examine
from tests.orchestration.command import run


@pytest.mark.parametrize("driver", [True, False])
def test_a_gpu_that_cannot_be_used_gets_a_remedy(tmp_path, monkeypatch, driver):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(
        doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if driver else None
    )
    text, _ = examine(tmp_path)
    assert "no device is usable (torch is built for C" in text
    assert ("-> make install GPU=1" in text) == driver


def test_another_system_than_linux_is_fatal(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.sys, "platform", "darwin")
    text, healthy = examine(tmp_path)
    assert not healthy
    assert text.splitlines()[_line_of(text, "!! system")].endswith("darwin")


def test_a_missing_package_is_named_and_makes_it_unhealthy(tmp_path, monkeypatch):
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "duckdb" else known(name))
    text, healthy = examine(tmp_path)
    assert not healthy
    assert text.endswith("Something is missing (!!).")
    line, remedy = text.splitlines()[(at := _line_of(text, "!! duckdb")) : at + 2]
    assert line.endswith("missing")
    assert remedy.strip() == "-> make install"


def test_every_package_of_the_project_is_looked_for(tmp_path):
    text, _ = examine(tmp_path)
    for name in ("torch", "psutil", "pyyaml", "ruamel.yaml", "hydra-core", "great_expectations"):
        assert re.search(rf"^ok {name} +\S", text, re.M), name


@pytest.mark.parametrize("module", ["faiss", "torch"])
def test_a_package_that_cannot_be_imported_is_told_of(tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    text, healthy = examine(tmp_path)
    assert not healthy
    assert re.search(rf"^!! {module} .*cannot be imported", text, re.M)


def test_the_repository_is_known_from_a_folder_below_it(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "below").mkdir()
    shutil.copy(doctor.ROOT / "pyproject.toml", tmp_path)
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path / "below")
    text, _ = examine(tmp_path)
    assert re.search(r"^ok repository +git$", text, re.M)


def test_it_reports_where_packages_of_other_commands_are_missing():
    code = """
import sys
sys.modules["psutil"] = sys.modules["yaml"] = None
sys.argv = ["onepiece", "doctor"]
from orchestration.__main__ import main
main()
"""
    done = run(sys.executable, "-c", code, cwd=doctor.ROOT)
    assert done.returncode == 0, done.stderr
    assert "Everything that is needed is here." in done.stdout


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
