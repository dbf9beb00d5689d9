"""`onepiece costs`: what Dagster noted when the artefacts that stand were made."""

import json
import os
import shutil

import dagster as dg
import pytest
from dagster._core.utils import make_new_run_id

from model.errors import InputError
from orchestration.costs import as_text, measured_costs, size_of_data
from orchestration.instance import open_unchanged
from orchestration.running import hold
from orchestration.targets import Target, targets_of


def test_every_artefact_has_a_row_with_its_run_and_machine(finished):
    workspace = finished.workspace
    costs, unknown = measured_costs(workspace)
    targets = [str(target) for target in targets_of(workspace, [], only=True)]
    assert [cost.target for cost in costs] == targets
    assert unknown == []
    for cost in costs:
        assert cost.seconds > 0, cost
        assert cost.memory_mib > 50, cost
        assert cost.bytes > 0, cost
        assert cost.machine.endswith("CPU cores"), cost
    assert len({cost.run for cost in costs}) == 1


def test_the_table_sums_up_time_and_disk_and_has_the_size_of_the_data(finished):
    workspace = finished.workspace
    done = finished.onepiece("costs")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("300 users, ")
    assert lines[0].endswith(" events, 150 candidates")
    costs, _ = measured_costs(workspace)
    assert [line.split()[0] for line in lines[3:-1]] == [cost.target for cost in costs]
    _, _, _, peak, disk = lines[-1].split()
    assert peak == f"{max(cost.memory_mib for cost in costs):,.0f}"
    assert disk == f"{sum(cost.bytes for cost in costs) / 2**20:,.1f}"
    told = json.loads(finished.onepiece("costs", "--json").stdout)
    assert told["costs"] == [cost.to_json() for cost in costs]
    assert told["data"] == size_of_data(workspace)
    assert told["trial_seconds"] == told["not_noted"] == []


def test_another_look_at_an_artefact_leaves_its_cost_and_another_making_does_not(copied):
    def cost():
        return next(c for c in measured_costs(copied.workspace)[0] if c.target == "item_statistics")

    before = cost()
    assert copied.onepiece("materialize", "item_statistics", "--only").returncode == 0
    assert cost() == before
    assert copied.onepiece("materialize", "item_statistics", "--only", "--force").returncode == 0
    assert cost().run != before.run
    assert cost().made > before.made


def test_what_no_run_of_this_folder_made_is_not_given_a_figure(copied):
    workspace = copied.workspace
    shutil.rmtree(workspace.folder("evaluation_report"))
    shutil.rmtree(workspace.home)
    costs, unknown = measured_costs(workspace)
    assert costs == []
    assert str(Target("modality_embeddings", "81")) in unknown
    assert "evaluation_report" not in unknown
    told = as_text(size_of_data(workspace), costs, unknown, [3600.0, 61.0])
    assert "The 2 trials of tuning_study took 1:01:01 together, wherever they ran" in told
    assert told.splitlines()[-1].startswith("No run here noted what these took: raw_data, ")
    assert not workspace.home.exists()


def test_records_that_may_not_be_written_are_refused_in_one_sentence(finished, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=f"^{finished.workspace.home}: not writable"):
        measured_costs(finished.workspace)


def test_a_look_leaves_runs_and_configuration_as_they_are(copied):
    workspace = copied.workspace
    with open_unchanged(workspace) as instance:
        run_id = make_new_run_id()
        under_way = dg.DagsterRunStatus.STARTED
        instance.add_run(dg.DagsterRun("a job", run_id, status=under_way))
    hold(workspace.home, run_id).close()  # its process has been killed
    configuration = workspace.home / "dagster.yaml"
    earlier = configuration.read_text() + "# of an earlier version\n"
    configuration.write_text(earlier)
    assert measured_costs(workspace)[1] == []
    assert configuration.read_text() == earlier
    with open_unchanged(workspace) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status == under_way
