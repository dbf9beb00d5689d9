"""Raw files to submission from each input format: the same facts make the same bytes."""

import pytest

from tests.orchestration.command import onepiece
from tests.orchestration.tiny_world import tiny_params, write_tiny_params
from tests.tiny import FORMATS, MODALITY_WIDTHS, write_tiny_world


@pytest.mark.long
def test_every_format_makes_the_same_submission(tmp_path):
    world = write_tiny_world(tmp_path / "raw")
    made = {layout: _materialize(world, layout, tmp_path) for layout in FORMATS}
    assert len(made[FORMATS[0]]) == 2
    assert made["tencent_jsonl"] == made["tencent_parquet"]
    assert made["recbole"] == made["tencent_parquet"]


def _materialize(world, layout, folder) -> list[bytes]:
    """The trained weights and the submission."""
    thresholds = tiny_params()["coverage_report"]["thresholds"]["default"]
    lenient = {**thresholds, "max_zero_rate": 0.1, "min_candidate_rate": 0.0}
    params = write_tiny_params(
        folder / f"{layout}.yaml",
        raw_data={"format": layout, "source": str(world.root(layout))},
        modality_embeddings={"modalities": list(MODALITY_WIDTHS)},
        coverage_report={"thresholds": {"default": lenient}},
        codebook={"sizes": [16, 16]},
    )
    data = folder / layout / "data"
    done = onepiece("materialize", "--params", params, "--data", data)
    assert done.returncode == 0, done.stderr
    files = [*data.glob("recommender_checkpoint/weights.safetensors")]
    files += data.glob("submission/*/result.json")
    return [file.read_bytes() for file in files]
