"""Every planted corruption of a finished submission or of its ancestors is found."""

import json
import shutil

import pytest

from assets.hashing import HashCache
from assets.manifest_file import manifest_hash
from assets.workspace import SUBMISSION
from orchestration.verification import verify

ARTEFACTS = (
    "raw_data",
    "interactions",
    "item_statistics",
    "modality_embeddings/81",
    "modality_embeddings/82",
    "coverage_report",
    "encoder_checkpoint",
    "fused_embeddings",
    "codebook",
    "recommender_checkpoint",
    "evaluation_report",
)


def _problems(world) -> dict[str, str]:
    findings = verify(world.workspace, None)
    return {found.path: found.problem for found in findings if found.problem is not None}


def _flip_a_byte(folder):
    """In the middle of the largest file that is content."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".html"]
    file = max(
        (path for path in files if path.name != "lineage.json"), key=lambda p: p.stat().st_size
    )
    flipped = bytearray(file.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    file.unlink()  # a champion's copy may share the bytes
    file.write_bytes(bytes(flipped))


def test_a_finished_world_is_as_its_manifest_says(finished):
    assert _problems(finished) == {}
    assert finished.onepiece("verify").returncode == 0


@pytest.mark.parametrize("name", ARTEFACTS)
def test_a_flipped_byte_is_found_where_it_is(copied, name):
    _flip_a_byte(copied.data / name)
    (path,) = _problems(copied)
    assert path == name


def test_a_flipped_byte_in_the_champion_is_found(copied):
    folder = copied.workspace.input_folder("champion")
    _flip_a_byte(folder / "recommender_checkpoint")
    assert list(_problems(copied)) == [f"champion/{folder.name}"]


def test_a_flipped_byte_in_the_submission_is_found_and_told_by_the_exit_code(copied):
    folder = copied.workspace.current_folder(SUBMISSION)
    _flip_a_byte(folder)
    assert list(_problems(copied)) == [f"submission/{folder.name}"]
    assert copied.onepiece("verify").returncode == 1


@pytest.mark.parametrize("name", ["codebook", "recommender_checkpoint"])
def test_an_edited_parameter_in_a_lineage_file_is_found(copied, name):
    file = copied.data / name / "lineage.json"
    document = json.loads(file.read_text())
    document["seed"] += 1
    file.write_text(json.dumps(document))
    assert "damaged or edited" in _problems(copied)[name]


def test_its_findings_for_programs(copied):
    shutil.rmtree(copied.data / "codebook")
    done = copied.onepiece("verify", "--json")
    assert done.returncode == 1
    findings = {found["path"]: found for found in json.loads(done.stdout)}
    assert set(ARTEFACTS) < set(findings)
    assert findings.pop("codebook")["problem"] == "it is missing"
    assert {found["problem"] for found in findings.values()} == {None}


def test_an_edited_manifest_is_found(copied):
    folder = copied.workspace.current_folder(SUBMISSION)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["params"]["cascade"]["beam_width"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "edited" in _problems(copied)[f"submission/{folder.name}"]


def test_an_edited_page_is_found(copied):
    folder = copied.workspace.current_folder(SUBMISSION)
    page = folder / "lineage.html"
    page.write_text(page.read_text().replace("0.", "1.", 1))
    assert "lineage.html is not the page" in _problems(copied)[f"submission/{folder.name}"]


@pytest.mark.parametrize("name", ["fused_embeddings", "raw_data", "champion"])
def test_a_missing_parent_is_found(copied, name):
    shutil.rmtree(copied.data / name)
    problems = _problems(copied)
    assert [path.split("/")[0] for path in problems] == [name]
    assert set(problems.values()) == {"it is missing"}


def test_a_missing_file_and_one_too_many_are_found(copied):
    (copied.data / "codebook" / "report.json").unlink()
    (copied.data / "interactions" / "stray.npy").write_bytes(b"0")
    assert _problems(copied) == {
        "codebook": "report.json is missing",
        "interactions": "stray.npy is not in the lineage",
    }


def test_a_flipped_byte_in_a_raw_file_is_found(copied, tmp_path):
    """As if the files that the synthesiser wrote had been delivered by somebody else."""
    source = tmp_path / "raw"
    shutil.copytree(copied.data / "raw_data" / "world", source)
    file = copied.workspace.current_folder(SUBMISSION) / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["artifacts"]["raw_data"]["parents"]["source"] = "hash of the delivery"
    manifest["params"]["raw_data"]["source"] = str(source)
    file.write_text(json.dumps({**manifest, "hash": manifest_hash(manifest)}))
    assert _problems(copied) == {}

    _flip_a_byte(source)
    assert "1 of its files are not as they were" in _problems(copied)[str(source)]


def test_a_frozen_codebook_is_looked_at_where_it_lies(copied, tmp_path):
    """As if the submission's own codebook extended the copy of a published one."""
    frozen = tmp_path / "frozen"
    shutil.copytree(copied.data / "codebook", frozen)
    file = copied.workspace.current_folder(SUBMISSION) / "manifest.json"
    manifest = json.loads(file.read_text())
    entry = manifest["artifacts"]["codebook"]
    entry["parents"]["frozen_codebook/g1/revision_0"] = HashCache(None).hash_path(frozen)
    entry["params"]["codebook"]["frozen_from"] = str(frozen)
    file.write_text(json.dumps({**manifest, "hash": manifest_hash(manifest)}))
    assert _problems(copied) == {}

    _flip_a_byte(frozen)
    assert _problems(copied) == {str(frozen): "it is not the codebook that was extended"}
    shutil.rmtree(frozen)
    assert _problems(copied) == {str(frozen): "it is missing"}


def test_a_swapped_checkpoint_is_found(copied):
    """Whole and with a lineage of its own, but not the one that the submission was made from."""
    swapped = copied.data / "recommender_checkpoint"
    shutil.rmtree(swapped)
    shutil.copytree(copied.data / "encoder_checkpoint", swapped)
    assert "the manifest says" in _problems(copied)["recommender_checkpoint"]


def test_a_submission_under_another_id_is_found(copied):
    folder = copied.workspace.current_folder(SUBMISSION)
    other = folder.with_name("0" * 12)
    folder.rename(other)
    (copied.data / SUBMISSION / "latest").write_text(other.name)
    assert "belongs to the id" in _problems(copied)[f"submission/{other.name}"]
