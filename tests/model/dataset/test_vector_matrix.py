"""A matrix on disk whose rows come in any order."""

import numpy as np

from model.dataset.vector_matrix import VectorMatrix


def test_its_room_on_the_disk_is_taken_before_anything_is_written(tmp_path):
    path = tmp_path / "matrix.npy"
    VectorMatrix(path, np.arange(1, 10_001), 64)
    assert path.stat().st_blocks * 512 >= 10_000 * 64 * 2


def test_rows_come_in_any_order_and_some_are_dropped(tmp_path):
    path, items = tmp_path / "matrix.npy", np.array([2, 5, 7])
    matrix = VectorMatrix(path, items, 2)
    matrix.write(np.array([7, 2]), np.array([[7.0, 0.5], [2.0, 0.5]]))
    assert matrix.read(np.array([2, 7])).tolist() == [[2.0, 0.5], [7.0, 0.5]]
    matrix.keep(np.isin(np.arange(8), [2, 7]))
    assert np.load(path).tolist() == [[2.0, 0.5], [7.0, 0.5]]
