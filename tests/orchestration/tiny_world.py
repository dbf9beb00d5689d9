"""Parameters of a world so small that the whole pipeline takes seconds."""

from pathlib import Path
from typing import Any

import yaml

from orchestration.workspace import ROOT

MODALITIES = ("81", "82")


def tiny_params(**changes: dict[str, Any]) -> dict[str, Any]:
    """The repository's parameters, shrunk; a keyword per section updates it further."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    world = values["raw_data"]["synthetic_world"]
    world.update(
        num_users=300,
        num_items=400,
        num_candidates=150,
        num_clusters=16,
        modality_widths={"81": 8, "82": 12},
        modality_coverage={"81": 0.87, "82": 0.6},
        users_per_shard=200,
    )
    values["item_statistics"].update(num_time_buckets=16, memory_limit_gib=1)
    values["modality_embeddings"].update(modalities=list(MODALITIES))
    values["network"].update(dim=16, num_layers=1, num_heads=2, max_length=12, sid_dim=8)
    values["network"]["feed_forward"].update(hidden_dim=16, num_experts=2, top_k=1)
    values["network"]["features"].update(
        item_id_dim=8, hash_sizes=[53, 71], hash_dim=8, feature_dim=4, modalities=list(MODALITIES)
    )
    values["codebook"].update(sizes=[32, 32], iterations=3, neighbors=8)
    for name in ("encoder_checkpoint", "recommender_checkpoint"):
        values[name].update(batch_size=64, max_validation_users=50)
    values["cascade"].update(beam_width=8, num_sids=32, batch_size=128)
    values["evaluation_report"].update(bootstrap_samples=50, max_users=200)
    for section, update in changes.items():
        values[section].update(update)
    return values


def write_tiny_params(file: Path, **changes: dict[str, Any]) -> Path:
    """Write them as a parameter file."""
    file.write_text(yaml.safe_dump(tiny_params(**changes), sort_keys=False))
    return file
