"""A tiny world, materialised once, for every test that needs a finished pipeline."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from assets.workspace import Workspace
from orchestration.workspace import open_workspace
from tests.orchestration.command import onepiece, run
from tests.orchestration.tiny_repository import DVC, make_tiny_repository
from tests.orchestration.tiny_world import write_tiny_params


@dataclass(frozen=True)
class World:
    """A parameter file and its data folder."""

    params_file: Path
    data: Path

    @property
    def workspace(self) -> Workspace:
        return open_workspace(self.params_file, self.data)

    def onepiece(self, command, *arguments, **options):
        where = ("--params", self.params_file, "--data", self.data)
        return onepiece(command, *arguments, *where, **options)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> World:
    """Everything from raw files to a submission; read it, and change only copies."""
    folder = tmp_path_factory.mktemp("finished")
    world = World(write_tiny_params(folder / "params.yaml"), folder / "data")
    done = world.onepiece("materialize")
    assert done.returncode == 0, done.stderr
    return world


@pytest.fixture
def copied(finished, tmp_path) -> World:
    """A finished world that a test may spoil."""
    shutil.copytree(finished.data, tmp_path / "data")
    shutil.copy(finished.params_file, tmp_path / "params.yaml")
    return World(tmp_path / "params.yaml", tmp_path / "data")


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory) -> Path:
    """A tiny repository in which `dvc repro` has made everything once.

    A test may change a parameter of it and make everything again, but leaves nothing undone.
    """
    root = make_tiny_repository(tmp_path_factory.mktemp("repository"))
    done = run(DVC, "repro", cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root
