"""What the decorator adds to a plain function, on two assets that hold one number each."""

import contextlib
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import dagster as dg
import pytest

from assets.artifact_asset import artifact_asset
from assets.checks import Check, Verdict
from assets.lineage import Lineage
from assets.recorder import NoRecorder
from assets.refusals import NOT_JUDGED
from assets.workspace import Workspace
from model import partial_folders
from model.artifact import atomic_folder, read_json, write_json
from model.errors import InputError
from model.params import Params

ROOT = Path(__file__).parents[2]
DOCUMENT = """
    stages:
      one:
        deps: [model/one.py]
        params: [seed]
      two:
        deps: [data/one, model/two.py]
      parts:
        foreach: ${modality_embeddings.modalities}
        do:
          deps: [model/one.py]
      whole:
        deps: [data/parts]
"""


@dataclass(frozen=True)
class Number:
    value: int

    def save(self, folder):
        with atomic_folder(folder) as out:
            write_json(out / "value.json", self.value)

    @classmethod
    def load(cls, folder):
        return cls(read_json(Path(folder) / "value.json"))


class Calls:
    made: ClassVar[list[str]] = []
    limit: ClassVar[int] = 1000


def _is_small(number: Number, workspace: Workspace) -> Verdict:
    small = number.value < Calls.limit
    return Verdict(small, "small" if small else f"{number.value} is too large", {})


@artifact_asset(group="test", kinds=set())
def one(params: Params) -> Number:
    """The seed."""
    Calls.made.append("one")
    return Number(params.seed)


@artifact_asset(
    group="test",
    kinds=set(),
    backend=lambda: "an abacus",
    describe=lambda made: {"value": made.value},
    checks=[Check(name="is_small", description="It is small.", judge=_is_small)],
)
def two(one: Number) -> Number:
    """Twice the other."""
    Calls.made.append("two")
    return Number(2 * one.value)


@artifact_asset(group="test", kinds=set(), deps=["parts"])
def whole(workspace: Workspace) -> Number:
    """How many partitions lie in the folder."""
    return Number(len([*workspace.folder("parts").iterdir()]))


class Notes(NoRecorder):
    def __init__(self):
        self.targets = []

    def record(self, target, edited):
        self.targets.append(target)


@pytest.fixture
def workspace(tmp_path):
    Calls.made, Calls.limit = [], 1000
    (tmp_path / "model").mkdir()
    for name in ("one", "two"):
        (tmp_path / "model" / f"{name}.py").write_text("")
    (tmp_path / "dvc.yaml").write_text(textwrap.dedent(DOCUMENT))
    return _workspace(tmp_path)


def _workspace(root, **changes):
    params = Params.load(ROOT / "params.yaml").model_copy(update=changes)
    return Workspace(
        root=root, params_file=root, params=params, data=root / "data", recorder=Notes()
    )


def _run(workspace, *assets):
    job = dg.Definitions(
        assets=[one, two, whole], resources={"workspace": workspace}
    ).resolve_implicit_global_asset_job_def()
    names = [dg.AssetKey(name) for name in assets or ("one", "two")]
    return job.execute_in_process(asset_selection=names, raise_on_error=False)


def test_the_functions_parameters_are_the_graph(workspace):
    assert two.asset_deps[dg.AssetKey("two")] == {dg.AssetKey("one")}
    assert two.descriptions_by_key[dg.AssetKey("two")] == "Twice the other."


def test_values_are_passed_saved_and_recorded(workspace):
    outcome = _run(workspace)
    assert outcome.success
    assert Number.load(workspace.folder("two")) == Number(84)
    assert workspace.recorder.targets == ["one", "two"]
    (event,) = [
        e for e in outcome.get_asset_materialization_events() if e.asset_key.path == ["two"]
    ]
    assert event.materialization.metadata["value"].value == 84
    assert event.materialization.tags["dagster/data_version"] == workspace.version("two")


def test_what_computed_it_is_shown_where_that_has_just_been_done(workspace):
    shown = [
        event.materialization.metadata
        for _ in range(2)
        for event in _run(workspace).get_asset_materialization_events()
        if event.asset_key.path == ["two"]
    ]
    made, reused = shown
    assert made["backend"].value == "an abacus"
    assert "backend" not in reused  # another machine may have made it


def test_the_wait_for_the_device_is_no_part_of_what_it_took(workspace, monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)

    @contextlib.contextmanager
    def free_after_an_hour(*_):
        clock.now += 3600
        yield

    def save_for_two_seconds(*given):
        clock.now += 2
        save(*given)

    save = Number.save
    monkeypatch.setattr("assets.artifact_asset.time", clock)
    monkeypatch.setattr(Workspace, "device", free_after_an_hour)
    monkeypatch.setattr(Number, "save", save_for_two_seconds)
    events = [e for _ in range(2) for e in _run(workspace).get_asset_materialization_events()]
    noted = [(e.asset_key.path[0], e.materialization.metadata["seconds"].value) for e in events]
    assert noted == [("one", 2), ("two", 2), ("one", 0), ("two", 0)]


def test_lineage_names_the_parents_as_they_are(workspace):
    _run(workspace)
    recipe = Lineage.read(workspace.folder("two")).recipe
    assert recipe.parents == {"one": workspace.version("one")}
    assert recipe == workspace.recipe("two")


def test_what_is_unchanged_is_not_made_again(workspace):
    _run(workspace)
    _run(workspace)
    assert Calls.made == ["one", "two"]


def test_another_parameter_makes_all_of_it_again(workspace):
    _run(workspace)
    _run(_workspace(workspace.root, seed=7))
    assert Calls.made == ["one", "two", "one", "two"]
    assert Number.load(workspace.folder("two")) == Number(14)


def test_a_flipped_byte_makes_that_one_again_and_nothing_below_it(workspace):
    _run(workspace)
    file = workspace.folder("one") / "value.json"
    file.write_text(file.read_text().replace("4", "5"))
    _run(workspace)
    assert Calls.made == ["one", "two", "one"]
    assert Number.load(workspace.folder("one")) == Number(42)


def test_what_a_killed_writer_had_moved_away_is_reused(workspace):
    _run(workspace)
    folder = workspace.folder("two")
    folder.rename(folder.with_name(f".two.partial-old-{partial_folders._writer()}"))
    _run(workspace)
    assert Calls.made == ["one", "two"]
    assert Number.load(folder) == Number(84)


def test_force_makes_it_again(workspace):
    _run(workspace)
    forced = Workspace(**{**_fields(workspace), "force": True})
    _run(forced, "two")
    assert Calls.made == ["one", "two", "two"]


def test_a_failed_blocking_check_is_remembered_and_nothing_is_recorded_or_built_on_it(workspace):
    Calls.limit = 50
    assert not _run(workspace).success
    assert workspace.recorder.targets == ["one"]
    assert workspace.refusal("two") == "84 is too large"
    assert not _run(workspace).success  # the same artefact, judged again
    Calls.limit = 100
    assert _run(workspace).success
    assert workspace.refusal("two") is None
    assert Calls.made == ["one", "two"]


@pytest.mark.parametrize("death", [RuntimeError, SystemExit], ids=["exception", "kill"])
def test_what_nobody_came_to_judge_is_judged_by_the_same_command(workspace, monkeypatch, death):
    Calls.limit = 50
    with monkeypatch.context() as dying:
        dying.setattr("assets.checks.Check.run", _raiser(death))
        with contextlib.suppress(SystemExit):
            assert not _run(workspace).success
    assert Number.load(workspace.folder("two")) == Number(84)
    assert workspace.refusal("two") == NOT_JUDGED
    assert not _run(workspace).success
    assert workspace.refusal("two") == "84 is too large"
    Calls.limit = 100
    assert _run(workspace).success
    assert workspace.refusal("two") is None
    assert Calls.made == ["one", "two"]


def _raiser(error):
    def raise_it(*arguments):
        raise error

    return raise_it


def test_nothing_is_built_on_what_was_refused(workspace):
    _run(workspace)
    workspace.refusals.note("one", Lineage.read(workspace.folder("one")), "it is odd")
    with pytest.raises(InputError, match="one: a blocking check failed: it is odd"):
        workspace.recipe("two")


def test_what_was_put_in_place_of_a_refused_one_is_not_refused(workspace, tmp_path):
    _run(workspace)
    folder = workspace.folder("two")
    passed = folder.rename(tmp_path / "in_the_cache_of_dvc")
    limit, Calls.limit = Calls.limit, 50
    other = _workspace(workspace.root, seed=43)
    assert not _run(other).success
    assert workspace.refusal("two") == "86 is too large"
    refused, Calls.limit = folder.rename(tmp_path / "refused"), limit
    passed.rename(folder)
    assert workspace.refusal("two") is None
    folder.rename(passed)
    refused.rename(folder)
    assert workspace.refusal("two") == "86 is too large"


def test_a_missing_parent_is_named(workspace):
    with pytest.raises(InputError, match=r"data/one/lineage\.json: not found"):
        workspace.recipe("two")


def test_of_partitions_those_that_are_named_lie_there_when_they_are_read(workspace):
    recorder = Notes()
    recorder.counts_folders = True
    workspace = replace(workspace, params_file=ROOT / "params.yaml", recorder=recorder)
    named = workspace.params.modality_embeddings.modalities
    folder, aside = workspace.folder("parts"), workspace.data / ".aside"
    for name in (*named, "dropped"):
        (folder / name).mkdir(parents=True)
        recipe = replace(workspace.recipe("one"), asset="parts", partition=name)
        Lineage.of(recipe, folder / name, workspace.hashes).write(folder / name)
    aside.mkdir()
    (folder / named[0]).rename(aside / f"parts@{named[0]}")
    assert _run(workspace, "whole").success
    assert Number.load(workspace.folder("whole")) == Number(len(named))
    assert [path.name for path in aside.iterdir()] == ["parts@dropped"]


def _fields(workspace):
    return {name: getattr(workspace, name) for name in workspace.__dataclass_fields__}


def test_refused_input_is_not_tried_again(workspace, monkeypatch):
    monkeypatch.setattr(Number, "save", _refuse)
    outcome = _run(workspace)
    assert Calls.made == ["one"]
    (event,) = [event for event in outcome.all_events if event.is_step_failure]
    assert event.step_failure_data.error.cause.cls_name == "InputError"


def test_a_file_system_that_hiccups_is_tried_again(workspace, monkeypatch):
    monkeypatch.setattr("assets.artifact_asset.FIRST_RETRY_SECONDS", 0.0)
    save, failures = Number.save, [OSError("stale handle"), OSError("stale handle")]

    def hiccup(number, folder):
        if failures:
            raise failures.pop()
        save(number, folder)

    monkeypatch.setattr(Number, "save", hiccup)
    assert _run(workspace).success
    assert Calls.made == ["one", "one", "one", "two"]


def _refuse(number, folder):
    raise InputError("no")
