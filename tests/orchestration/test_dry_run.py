"""What a run would make is shown before it is made, and nothing is touched."""

import shutil

import pytest
import yaml
from typer.testing import CliRunner

from assets.lineage import Lineage
from model.errors import InputError
from orchestration import __main__
from orchestration.materialization import materialize
from orchestration.workspace import open_workspace
from tests.orchestration.tiny_world import write_tiny_params

PARTITIONS = ["modality_embeddings@81", "modality_embeddings@82"]


class Here:
    """A parameter file, a data folder, and what of it a dry run tells."""

    def __init__(self, folder):
        self.params_file, self.data = write_tiny_params(folder / "params.yaml"), folder / "data"

    def make(self, *names):
        materialize(open_workspace(self.params_file, self.data), names, only=False, tags={})

    def tell(self, *arguments):
        """State and reason by target."""
        where = ["--params", str(self.params_file), "--data", str(self.data)]
        done = CliRunner().invoke(__main__.app, ["materialize", "--dry-run", *arguments, *where])
        assert done.exit_code == 0, done.output
        lines = [line.split(None, 2) for line in done.stdout.splitlines()]
        return {target: (state, reason) for state, target, reason in lines}

    def change(self, section, **values):
        params = yaml.safe_load(self.params_file.read_text())
        params[section].update(values)
        self.params_file.write_text(yaml.safe_dump(params))

    def files(self):
        return {
            path: (path.stat().st_mtime_ns, path.read_bytes())
            for path in self.data.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def here(tmp_path):
    return Here(tmp_path)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """Raw data and events are made; tests put back what they change."""
    here = Here(tmp_path_factory.mktemp("gated"))
    here.make("interactions")
    return here


def test_where_nothing_was_made_all_is_and_no_folder_appears(here):
    told = here.tell()
    assert list(told)[:2] == ["raw_data", "interactions"]
    assert list(told)[-1] == "submission"
    assert told["raw_data"] == ("made", "not there yet")
    assert told["interactions"] == ("made", "downstream of raw_data")
    assert {state for state, _ in told.values()} == {"made"}
    assert not here.data.exists()


def test_a_selection_is_that_of_the_run(here):
    assert list(here.tell(*PARTITIONS[:1])) == ["raw_data", "interactions", PARTITIONS[0]]
    assert list(here.tell("--only", "interactions")) == ["interactions"]


def test_what_stands_is_reused_and_nothing_is_written(gated):
    (gated.data / ".hashes.json").unlink()
    before = gated.files()
    told = gated.tell("modality_embeddings")
    assert told == {
        "raw_data": ("reused", "unchanged"),
        "interactions": ("reused", "unchanged"),
        **dict.fromkeys(PARTITIONS, ("made", "not there yet")),
    }
    assert gated.files() == before


def test_what_was_set_aside_is_brought_back(gated):
    aside = gated.data / ".aside" / PARTITIONS[0]
    aside.mkdir(parents=True)
    told = gated.tell("modality_embeddings")
    shutil.rmtree(aside.parent)
    state, reason = told[PARTITIONS[0]]
    assert state == "reused"
    assert reason.startswith("set aside; brought back")
    assert told[PARTITIONS[1]] == ("made", "not there yet")


def test_what_changed_is_said(gated):
    kept = gated.params_file.read_text()
    gated.change("interactions", split={"strategy": "leave_one_out", "validation_fraction": 0.5})
    told = gated.tell(PARTITIONS[0])
    gated.params_file.write_text(kept)
    state, reason = told["interactions"]
    assert state == "made"
    assert reason.startswith("other parameters (interactions.split.")
    assert told[PARTITIONS[0]] == ("made", "downstream of interactions")


def test_all_is_made_by_force(gated):
    told = gated.tell("--force", "interactions")
    assert told == dict.fromkeys(["raw_data", "interactions"], ("made", "--force"))


def test_what_failed_its_check_is_looked_at_again(gated):
    workspace = open_workspace(gated.params_file, gated.data)
    judged = Lineage.read(workspace.folder("interactions"))
    workspace.refusals.note("interactions", judged, "too few users")
    told = gated.tell(PARTITIONS[0])
    workspace.refusals.note("interactions", judged, None)
    assert told["interactions"] == ("reused", "to be checked again: too few users")
    assert told[PARTITIONS[0]] == ("made", "downstream of interactions")


def test_a_recommender_without_a_decoder_is_refused_before_anything_is_made(here):
    loss = yaml.safe_load(here.params_file.read_text())["recommender_checkpoint"]["loss"]
    here.change("recommender_checkpoint", loss=loss | {"sid_weights": []})
    with pytest.raises(InputError, match=r"recommender_checkpoint\.loss\.sid_weights is \[\]"):
        here.make()
    assert not (here.data / "raw_data").exists()
    here.make("raw_data")  # which needs none


def test_what_would_be_refused_is_told(here):
    here.change("raw_data", format="recbole", source=str(here.data / "none"))
    here.data = here.data.parent / "made"
    told = here.tell("interactions")
    state, reason = told["raw_data"]
    assert state == "refused"
    assert "none: raw_data.source of" in reason
    assert told["interactions"] == ("refused", "downstream of raw_data")
