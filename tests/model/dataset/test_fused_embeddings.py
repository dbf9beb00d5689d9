"""Saved and opened again."""

import numpy as np

from model.dataset.fused_embeddings import FusedEmbeddings


def test_saved_and_opened(tmp_path):
    matrix = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    FusedEmbeddings(item_ids=np.arange(1, 6), matrix=matrix).save(tmp_path / "fused")
    opened = FusedEmbeddings.load(tmp_path / "fused")
    assert isinstance(opened.matrix, np.memmap)
    np.testing.assert_array_equal(opened.matrix, matrix)
    assert opened.item_ids.tolist() == [1, 2, 3, 4, 5]
