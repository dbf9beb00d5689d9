"""The ledger of submissions, lost and damaged."""

import json
import shutil
import subprocess
import sys
import time

import duckdb
import pytest

from assets.ledger import read_ledger, update_ledger
from assets.manifest_file import manifest_hash
from assets.workspace import Workspace
from model.errors import InputError
from model.params import Params
from orchestration.submissions import find_submission
from orchestration.workspace import ROOT
from tests.orchestration.command import run
from tests.orchestration.small_manifest import small_manifest


@pytest.fixture
def workspace(tmp_path):
    params = Params.load(ROOT / "params.yaml")
    made = Workspace(root=ROOT, params_file=tmp_path, params=params, data=tmp_path / "data")
    for name, created in (("b", "2026-01-02T00:00:00+00:00"), ("a", "2026-01-03T00:00:00+00:00")):
        _submit(made, id=name, created=created)
    return made


def _submit(workspace, **changes):
    manifest = small_manifest(**changes)
    folder = workspace.folder("submission") / manifest["id"]
    folder.mkdir(parents=True)
    manifest["hash"] = manifest_hash(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_every_submission_is_entered_once_in_order_of_time(workspace):
    first = read_ledger(workspace)
    assert [row["id"] for row in first] == ["b", "a"]
    assert first[0]["hr_10"] == 0.25
    assert read_ledger(workspace) == first


def test_times_are_those_of_the_manifests_wherever_the_machine_stands(workspace, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        created = [row["created"].isoformat() for row in read_ledger(workspace)]
    time.tzset()
    assert created == ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"]


def test_every_submission_says_what_its_figures_are_of(workspace):
    other = {"measured_with": {"num_sids": 16}, "measured_on": {"interactions": "0123456789.dir"}}
    _submit(workspace, id="c", created="2026-01-04T00:00:00+00:00", **other)
    assert [row["measured"] for row in read_ledger(workspace)] == [
        "as submitted",
        "as submitted",
        "with cascade.num_sids 16, on other interactions (01234567)",
    ]


def test_the_table_of_an_earlier_version_learns_what_its_figures_are_of(workspace):
    before = read_ledger(workspace)
    with duckdb.connect(str(update_ledger(workspace))) as ledger:
        ledger.execute("ALTER TABLE submissions DROP COLUMN measured")
    assert read_ledger(workspace) == before


def test_a_folder_that_must_not_be_written_to_is_listed_all_the_same(workspace, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert [row["id"] for row in read_ledger(workspace)] == ["b", "a"]
    assert [path.name for path in workspace.data.iterdir()] == ["submission"]


def test_a_later_submission_is_added(workspace):
    read_ledger(workspace)
    _submit(workspace, id="c", created="2026-01-04T00:00:00+00:00")
    assert [row["id"] for row in read_ledger(workspace)] == ["b", "a", "c"]


def test_what_is_gone_is_not_listed_and_what_was_made_again_is_listed_as_it_is(workspace):
    read_ledger(workspace)
    home = workspace.folder("submission")
    for name in ("a", "b"):
        shutil.rmtree(home / name)
    _submit(workspace, id="b", created="2026-02-01T00:00:00+00:00", device="another")
    (row,) = read_ledger(workspace)
    assert (row["id"], row["created"].month) == ("b", 2)


@pytest.mark.parametrize(
    "spoil", [lambda file: file.unlink(), lambda file: file.write_bytes(b"x" * 99)]
)
def test_a_lost_or_damaged_ledger_is_rebuilt_from_the_manifests(workspace, spoil):
    before = read_ledger(workspace)
    spoil(update_ledger(workspace))
    assert read_ledger(workspace) == before


@pytest.mark.parametrize("entered_before", [False, True])
def test_an_edited_manifest_does_not_get_in(workspace, entered_before):
    if entered_before:
        read_ledger(workspace)
    file = workspace.folder("submission") / "a" / "manifest.json"
    file.write_text(file.read_text().replace("0.25", "0.95"))
    assert [row["id"] for row in read_ledger(workspace)] == ["b"]


def test_a_copy_of_a_submissions_folder_is_left_out(workspace, caplog):
    home = workspace.folder("submission")
    shutil.copytree(home / "a", home / "a copy")
    assert [row["id"] for row in read_ledger(workspace)] == ["b", "a"]
    assert "a copy: a copy of submission a, not listed" in caplog.text


def test_an_id_given_whole_is_found_though_a_longer_name_begins_with_it(workspace):
    home = workspace.folder("submission")
    shutil.copytree(home / "a", home / "a copy")
    assert find_submission(workspace, "a") == home / "a"
    with pytest.raises(InputError, match="no submission has this id"):
        find_submission(workspace, "x")


def test_a_file_that_another_process_holds_stops_nobody(workspace, caplog):
    """Not the run that has finished a submission, and not who asks for the list."""
    file = update_ledger(workspace)
    code = f"import duckdb; x = duckdb.connect({str(file)!r}); print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        _submit(workspace, id="c", created="2026-01-04T00:00:00+00:00")
        assert update_ledger(workspace) is None
        assert "in use by another process, brought up to date later" in caplog.text
        assert [row["id"] for row in read_ledger(workspace)] == ["b", "a", "c"]
        holder.communicate(b"\n")
    assert update_ledger(workspace) == file


def test_a_process_that_may_enter_submissions_ends_in_silence():
    """Whatever of ours still holds a type of DuckDB's in the end makes it list all that is left."""
    done = run(sys.executable, "-c", "import assets.submission", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
