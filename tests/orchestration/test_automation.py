"""The sensor and the schedule ask for what has arrived, once; light assets follow.

What has arrived: test_delivery.py. How the schedule's runs wait for each other: test_retraining.py.
"""

from datetime import UTC, datetime

import dagster as dg
import pytest

from assets.hashing import HashCache
from assets.lineage import Lineage, Recipe
from assets.workspace import SOURCE
from model.errors import InputError
from orchestration.automation import RETRAIN_TAG, build_schedule
from orchestration.definitions import build_definitions
from orchestration.workspace import open_workspace
from tests.orchestration.tiny_world import write_tiny_params

SETTLED = 60.0


def _reading(source, tmp_path, settled_seconds):
    raw = {"format": "recbole", "source": str(source)}
    automation = {"settled_seconds": settled_seconds}
    file = write_tiny_params(tmp_path / "params.yaml", raw_data=raw, automation=automation)
    return open_workspace(file, tmp_path / "data")


@pytest.fixture
def delivered(source, tmp_path):
    """A workspace that reads the folder; deliveries come to rest at once."""
    return _reading(source, tmp_path, 0)


@pytest.fixture
def sensor(delivered):
    """Looks again, with the memory of the look before; what the sensor asks for."""
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = build_definitions(delivered)
        repository = definitions.get_repository_def()
        memory = {}

        def evaluate():
            context = dg.build_sensor_context(
                instance=instance, cursor=memory.get("cursor"), repository_def=repository
            )
            outcome = repository.get_sensor_def("new_raw_data").evaluate_tick(context)
            memory["cursor"] = outcome.cursor
            return outcome

        evaluate.instance = instance
        yield evaluate


def test_the_sensor_asks_once_for_a_delivery(sensor, source):
    assert sensor().run_requests == []
    (request,) = sensor().run_requests
    assert request.run_key.startswith("raw data ")
    assert sensor().run_requests == []
    (source / "events.parquet").write_bytes(b"two")
    sensor()
    (second,) = sensor().run_requests
    assert second.run_key != request.run_key


def test_what_the_artefacts_were_made_from_is_no_delivery(sensor, delivered, source):
    folder = delivered.folder("raw_data")
    folder.mkdir(parents=True)
    parents = {SOURCE: HashCache(None).hash_path(source)}
    recipe = Recipe("raw_data", None, parents, {}, "code", 1)
    Lineage.of(recipe, folder, HashCache(None)).write(folder)
    for _ in range(3):
        assert sensor().run_requests == []
    (source / "events.parquet").write_bytes(b"two")
    sensor()
    assert len(sensor().run_requests) == 1


def test_a_retraining_that_waits_will_read_the_delivery(sensor):
    run = dg.DagsterRun(
        "full_retrain", status=dg.DagsterRunStatus.NOT_STARTED, tags={RETRAIN_TAG: "full"}
    )
    sensor.instance.add_run(run)
    sensor()
    outcome = sensor()
    assert outcome.run_requests == []
    assert "already waiting to retrain" in outcome.skip_message


def _at_three(workspace):
    """What the schedule asks for, or why it asks for nothing."""
    repository = build_definitions(workspace).get_repository_def()
    with (
        dg.DagsterInstance.local_temp() as instance,
        dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2026, 3, 2, 3, tzinfo=UTC),
            repository_def=repository,
        ) as context,
    ):
        return repository.get_schedule_def("scheduled_retrain").evaluate_tick(context)


def test_the_clock_starts_nothing_while_a_copy_is_in_progress(delivered, source):
    assert len(_at_three(delivered).run_requests) == 1
    (source / "more.parquet.part").write_bytes(b"half")
    outcome = _at_three(delivered)
    assert outcome.run_requests == []
    assert outcome.skip_message == (
        "more.parquet.part is being copied; start full_retrain when all has arrived, unless "
        "new_raw_data is on: the next tick is on 2026-03-09 at 03:00 (UTC)"
    )


def test_the_clock_starts_nothing_on_files_that_have_just_come(source, tmp_path):
    outcome = _at_three(_reading(source, tmp_path, SETTLED))
    assert outcome.run_requests == []
    assert "events.parquet has been still for less than" in outcome.skip_message


def test_a_cron_schedule_that_is_none_is_refused_in_one_sentence(tmp_path):
    file = write_tiny_params(tmp_path / "params.yaml", automation={"retrain_cron": "61 3 * * 1"})
    with pytest.raises(InputError, match=r"params\.yaml: automation\.retrain_cron is '61 3"):
        build_schedule(open_workspace(file, tmp_path / "data"), None)


@pytest.fixture
def conditions(delivered):
    """Evaluates the automation conditions; the assets that they want made."""
    definitions = build_definitions(delivered)
    keys = delivered.params.modality_embeddings.modalities
    with dg.DagsterInstance.ephemeral() as instance:
        memory = {"cursor": None}

        def evaluate():
            result = dg.evaluate_automation_conditions(
                defs=definitions, instance=instance, cursor=memory["cursor"]
            )
            memory["cursor"] = result.cursor
            wanted = [
                entry.key.to_user_string() for entry in result.results if entry.true_subset.size
            ]
            return sorted(wanted)

        def made(*names):
            for name in names:
                partitions = keys if name == "modality_embeddings" else [None]
                for key in partitions:
                    event = dg.AssetMaterialization(name, partition=key)
                    instance.report_runless_asset_event(event)

        evaluate.made = made
        yield evaluate


def test_light_assets_follow_what_they_are_made_from_and_nothing_is_trained(conditions):
    assert conditions() == []  # nothing is there to make them from
    conditions.made("raw_data", "interactions", "modality_embeddings")
    assert conditions() == ["coverage_report", "item_statistics"]
    conditions.made("item_statistics", "coverage_report", "encoder_checkpoint")
    assert conditions() == []
    conditions.made("interactions")
    assert conditions() == ["coverage_report", "item_statistics"]
    conditions.made("item_statistics", "coverage_report")
    assert conditions() == []


def test_a_job_leaves_out_nothing_between_two_of_its_assets(tmp_path):
    """Else a submission would be made by the judgement of an evaluation that is gone."""
    workspace = open_workspace(write_tiny_params(tmp_path / "params.yaml"), tmp_path / "data")
    definitions = build_definitions(workspace)
    stages = {name: workspace.stages[name] for name in workspace.main_line}

    def upstream(name):
        inputs = set(stages[name].inputs)
        return inputs.union(*map(upstream, inputs))

    for name in ("full_retrain", "refresh_submission", "tokenizer_only"):
        layer = definitions.resolve_job_def(name).asset_layer
        chosen = {key.to_user_string() for key in layer.selected_asset_keys}
        for middle in set(stages) - chosen:
            above = upstream(middle) & chosen
            below = {asset for asset in chosen if middle in upstream(asset)}
            assert not (above and below), (name, middle)
