"""A manifest of four artefacts, as small as one can be."""

from typing import Any


def small_manifest(**changes: Any) -> dict[str, Any]:
    def entry(digest, *parents):
        return {
            "hash": digest,
            "parents": {name: f"{name}-hash" for name in parents},
            "params": {},
            "code": "c0de",
            "seed": 1,
        }

    manifest = {
        "id": "0123456789ab",
        "created": "2026-01-02T03:04:05+00:00",
        "content": "feed.dir",
        "lineage": "beef",
        "artifacts": {
            "codebook": entry("codebook-hash", "raw_data"),
            "raw_data": entry("raw_data-hash"),
            "modality_embeddings/81": entry("modality_embeddings/81-hash", "raw_data"),
        },
        "raw_files": {"format": "recbole", "files": [{"path": "a.inter", "md5": "1"}]},
        "params": {"seed": 1, "codebook": {"sizes": [4, 4]}},
        "seed": 1,
        "git": {"revision": "abc", "dirty": False},
        "packages": {"torch": "2.13.0"},
        "python": "3.11.7",
        "platform": "Linux",
        "device": "cpu",
        "dagster_run": "r1",
        "metrics": {"cascade": {"hr@10": 0.25, "users": 3}, "users": 3},
    }
    return {**manifest, **changes}
