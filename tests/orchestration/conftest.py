"""A tiny world, materialised once, for every test that needs a finished pipeline."""

import fcntl
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import assets.locks
from assets.device import DEVICE
from assets.locks import locked
from assets.workspace import Workspace
from model.errors import InputError
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


def pytest_collection_modifyitems(items):
    """Give pytest's other processes work while one of them makes the finished world.

    One module that needs it comes first; then those of this folder that do not, those that do, and
    all other tests.
    """
    need = {item.path for item in items if {"finished", "reproduced"} & set(item.fixturenames)}
    first = next((item.path for item in items if "finished" in item.fixturenames), None)

    def turn(item):
        if item.path == first:
            return 0
        return 3 if Path(__file__).parent not in item.path.parents else 1 + (item.path in need)

    items.sort(key=turn)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> World:
    """Everything from raw files to a submission; read it, and change only copies.

    Of pytest's processes the first that asks makes it; each has a copy of its own.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    first = shared / "finished_once"
    with locked(first.with_suffix(".lock"), fcntl.LOCK_EX):
        if not first.exists():
            _materialize(shared / "unfinished").rename(first)
    return _copy(first, own / "finished")


def _materialize(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    world = World(write_tiny_params(folder / "params.yaml"), folder / "data")
    done = world.onepiece("materialize")
    assert done.returncode == 0, done.stderr
    return folder


def _copy(source: Path, target: Path) -> World:
    shutil.copytree(source, target, dirs_exist_ok=True)
    return World(target / "params.yaml", target / "data")


@pytest.fixture
def copied(finished, tmp_path) -> World:
    """A finished world that a test may spoil."""
    return _copy(finished.params_file.parent, tmp_path)


@pytest.fixture
def taken_device(monkeypatch):
    """Another process has the device of a data folder; what is called within must wait for it."""

    @contextmanager
    def taken(data):
        device = data / ".locks" / DEVICE
        monkeypatch.setattr(assets.locks, "LOCK_WAIT_SECONDS", 0.1)
        with locked(device, fcntl.LOCK_EX), pytest.raises(InputError, match=r"^gpu: in use"):
            yield

    return taken


@pytest.fixture
def source(tmp_path):
    """A folder of raw files, as a delivery leaves it."""
    source = tmp_path / "raw"
    source.mkdir()
    (source / "events.parquet").write_bytes(b"one")
    return source


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory) -> Path:
    """A tiny repository in which `dvc repro` has made everything once.

    A test may change a parameter of it and make everything again, but leaves nothing undone.
    """
    root = make_tiny_repository(tmp_path_factory.mktemp("repository"))
    done = run(DVC, "repro", cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root
