"""`onepiece quotas` tries what it is told to, beside the run's own setting."""

import csv

from orchestration.commands.results import quotas


def test_a_users_own_beams_and_proposals_stand_beside_the_runs(finished, tmp_path):
    own = finished.workspace.params.cascade
    chosen = "--beam-width", 3, "--num-sids", 7, "--num-sids", 9
    done = finished.onepiece("quotas", "--out", tmp_path / "study", *chosen)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "study" / "quota.csv").open()))
    tried = {
        (int(row["beam_width"]), int(row["num_items"])) for row in rows if row["path"] == "cascade"
    }
    widths, numbers = {3, own.beam_width}, {7, 9, own.num_sids}
    assert tried == {(width, number) for width in widths for number in numbers}
    assert (tmp_path / "study" / "quota.png").stat().st_size > 1000
    assert "cascade" in done.stdout


def test_it_waits_for_the_device(finished, tmp_path, taken_device):
    where = {"params": finished.params_file, "data": finished.data}
    with taken_device(finished.data):
        quotas(tmp_path / "study", None, None, **where)


def test_a_width_below_one_is_refused(finished):
    assert finished.onepiece("quotas", "--beam-width", 0).returncode == 2
