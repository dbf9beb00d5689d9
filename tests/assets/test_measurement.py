"""What the champion's figures are said to be of."""

import pytest

from assets.hashing import HashCache
from assets.lineage import Lineage, Recipe, folder_hash
from assets.measurement import Measurement, measure_of_champion
from assets.workspace import Workspace
from model.artifact import write_json
from model.params import Params
from orchestration.workspace import ROOT


@pytest.fixture
def workspace(tmp_path):
    """A champion that a challenger did not replace; both were measured on the interactions."""
    params = Params.load(ROOT / "params.yaml")
    made = Workspace(root=ROOT, params_file=tmp_path, params=params, data=tmp_path)
    _deliver(made, "events")
    _judge(made, "earlier", score=0.1)
    _judge(made, "newest", score=0.2, incumbent="earlier", incumbent_score=0.15)
    (tmp_path / "champion" / "champion").write_text("earlier\n")
    (tmp_path / "champion" / "latest").write_text("newest\n")
    return made


def _deliver(workspace, events):
    folder = workspace.folder("interactions")
    folder.mkdir(exist_ok=True)
    (folder / "events").write_text(events)
    _describe(folder, Recipe("interactions", None, {}, {}, "code", 1))


def _judge(workspace, name, *, score, incumbent=None, incumbent_score=None):
    folder = workspace.folder("champion") / name
    folder.mkdir(parents=True)
    decision = {"promoted": incumbent is None, "reason": "so", "challenger": {}}
    followed = None if incumbent is None else {"id": incumbent}
    write_json(folder / "decision.json", {**decision, "incumbent": followed})
    write_json(folder / "metrics.json", {"score": score})
    if incumbent_score is not None:
        write_json(folder / "incumbent_metrics.json", {"score": incumbent_score})
    parents = {"interactions": folder_hash(workspace.folder("interactions"))}
    params = {"cascade": workspace.values["cascade"]}
    _describe(folder, Recipe("champion", None, parents, params, "code", 1))


def _describe(folder, recipe):
    Lineage.of(recipe, folder, HashCache(None)).write(folder)


def test_figures_of_the_submissions_own_data_and_parameters_need_no_remark(workspace):
    assert measure_of_champion(workspace) == Measurement({"score": 0.15}, {}, {})


def test_a_champion_that_the_newest_judgement_did_not_measure_is_of_the_data_of_its_own(workspace):
    before = folder_hash(workspace.folder("interactions"))
    _deliver(workspace, "other events")
    _judge(workspace, "third", score=0.3, incumbent="newest", incumbent_score=0.2)
    (workspace.folder("champion") / "latest").write_text("third\n")
    measured = measure_of_champion(workspace)
    assert measured == Measurement({"score": 0.1}, {}, {"interactions": before})


def test_parameters_that_have_changed_since_are_named_as_they_were(workspace):
    cascade = workspace.params.cascade
    more = cascade.model_copy(update={"num_sids": cascade.num_sids + 1})
    params = workspace.params.model_copy(update={"cascade": more})
    changed = Workspace(workspace.root, workspace.params_file, params, workspace.data)
    assert measure_of_champion(changed).measured_with == {"num_sids": cascade.num_sids}
