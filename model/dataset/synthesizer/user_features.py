"""User features: what a profile may reveal of a user's temper, style and tastes, with gaps."""

import numpy as np
import pyarrow as pa

from model.dataset.csr import offsets_of
from model.dataset.synthesizer.behavior import NUM_TASTES, NUM_TEMPERS, Users
from model.dataset.synthesizer.published import USER_LISTS, USER_SCALARS

_GUESSED = 0.2  # profile values drawn at random


def profile_columns(users: Users, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Feature name -> (n,) int64 or list<int64>, null where the profile lacks it.

    Codes are 1..size. Call it before the users act: a profile is older than their events.
    """
    size = len(users.temper)
    temper = (users.temper + rng.random(size)) / NUM_TEMPERS
    shown = {
        "103": np.mod(temper + 0.03 * rng.standard_normal(size), 1.0),
        "104": users.style,
        "105": np.mod(temper + users.style, 1.0),
        "109": rng.random(size) ** 3,
    }
    columns = {}
    for name, (values, coverage) in USER_SCALARS.items():
        place = np.where(rng.random(size) < _GUESSED, rng.random(size), shown[name])
        codes = 1 + np.minimum((place * values).astype(np.int64), values - 1)
        columns[name] = pa.array(codes, mask=rng.random(size) >= coverage)
    for name, (values, coverage) in USER_LISTS.items():
        known = rng.random(size) < coverage
        columns[name] = _interests(users.tastes, values, known, rng)
    return columns


def _interests(
    tastes: np.ndarray, values: int, known: np.ndarray, rng: np.random.Generator
) -> pa.ListArray:
    """Where the first one to three tastes lie, coarsely; ascending, each value once."""
    size = len(tastes)
    told = np.arange(NUM_TASTES) < rng.integers(1, NUM_TASTES, (size, 1))
    guessed = rng.random(tastes.shape) < _GUESSED
    place = np.where(guessed, rng.random(tastes.shape), tastes)
    code = np.minimum((place * values).astype(np.int64), values - 1)
    member = np.zeros((size, values), bool)
    rows = np.broadcast_to(np.arange(size)[:, None], code.shape)
    member[rows[told], code[told]] = True
    member &= known[:, None]
    offsets = offsets_of(member.sum(axis=1)).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(1 + np.nonzero(member)[1]), mask=pa.array(~known)
    )
