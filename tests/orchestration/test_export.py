"""`onepiece export`: a folder that needs nothing of this project, and says where it came from."""

import json
import re
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from assets.workspace import CHAMPION, SUBMISSION, Workspace
from model.inference.submission_files import TABLE
from model.network.checkpoint import Checkpoint
from model.tokenizer.codebook import Codebook
from orchestration.export import export


def test_the_snippet_of_its_readme_runs_alone_and_ranks_as_the_scores_do(finished, tmp_path):
    out = tmp_path / "exported"
    done = finished.onepiece("export", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: champion ")
    readme = (out / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    alone = subprocess.run(
        [sys.executable, "-I", "-c", code + "print(float(scores.max()))"],
        cwd=out,
        capture_output=True,
        text=True,
        check=True,
    )
    submitted = pq.read_table(finished.workspace.current_folder(SUBMISSION) / TABLE)
    user, _, best = alone.stdout.partition(" ")
    assert user == submitted["user_id"][0].as_py()
    # what a submission recommends is filtered: it cannot score above the best of all
    assert float(best.splitlines()[-1]) >= submitted["score"][0].as_py() - 1e-5


def test_the_model_opens_and_its_origin_is_the_submissions(finished, tmp_path):
    out = tmp_path / "exported"
    assert finished.onepiece("export", out).returncode == 0
    Checkpoint.load(out / "recommender_checkpoint").build()
    codebook = Codebook.load(out / "codebook")
    facts = json.loads((out / "export.json").read_text())
    assert facts["levels"] == codebook.codes.shape[1]
    folder = finished.workspace.current_folder(SUBMISSION)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("artifacts", "params", "raw_files", "seed"):
        assert facts["origin"][name] == manifest[name], name


def test_what_a_link_leads_to_is_replaced_and_the_champion_is_the_one_under_the_lock(
    finished, tmp_path, monkeypatch
):
    (tmp_path / "large_disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "large_disk")
    usual, found = Workspace.input_folder, []

    def promoted_meanwhile(self, asset, partition=None):
        folder = usual(self, asset, partition)
        if asset == CHAMPION:
            found.append(folder)
            return folder if len(found) > 1 else folder.with_name("superseded")
        return folder

    monkeypatch.setattr(Workspace, "input_folder", promoted_meanwhile)
    told = export(finished.workspace, tmp_path / "link")
    assert told.startswith(f"{tmp_path / 'large_disk'}: champion {found[0].name}, ")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "large_disk" / "items.parquet").exists()


def test_it_waits_for_the_device(finished, tmp_path, taken_device):
    with taken_device(finished.data):
        export(finished.workspace, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize("asset", ["champion", "interactions"])
def test_what_is_damaged_is_not_handed_on(copied, tmp_path, asset):
    workspace = copied.workspace
    folder, name = {
        "champion": (workspace.input_folder(CHAMPION), "codebook/codes.npy"),
        "interactions": (workspace.folder("interactions"), "item_ids.npy"),
    }[asset]
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).unlink()  # other folders may share its bytes
    (folder / name).write_bytes(content)
    refused = copied.onepiece("export", tmp_path / "exported")
    assert refused.returncode == 2
    assert f"{folder}: damaged: {name}" in refused.stderr
    assert not (tmp_path / "exported").exists()


def test_a_folder_of_something_else_is_refused_in_one_sentence(finished, tmp_path):
    (tmp_path / "mine").write_text("")
    done = finished.onepiece("export", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"onepiece: {tmp_path}: holds something that is no export; ")
    assert len(done.stderr.splitlines()) == 1
