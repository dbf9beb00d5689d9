"""Targets that meet several fates at once: the first in order of precedence is told."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from model.inference.cascade import BACK_FILL, BEAM, Ranked
from model.inference.filters import Seen
from model.inference.loss_funnel import Fate, count_fates, fates

WITH_SID, WITHOUT_SID = 3, 4  # catalogue rows
SIDS = torch.tensor([[1, 1]] * 4 + [[0, 0]])


def _lists(row: int | None, path: int = BEAM) -> Ranked:
    """A list of ten that ends with the row, if any, after padding."""
    rows = torch.full((1, 10), -1)
    if row is not None:
        rows[0, 9] = row
    return Ranked(rows, torch.zeros(1, 10), torch.full((1, 10), path, dtype=torch.int8))


def _fate(
    target: int,
    *,
    listed: int | None = None,
    path: int = BEAM,
    uncapped: int | None = None,
    proposed: int | None = None,
    seen: bool = False,
    candidate: bool = True,
    blocked: bool = False,
    has_beams: bool = True,
) -> Fate:
    owners, rows = (torch.tensor([value] * seen) for value in (0, target))
    proposals = SimpleNamespace(
        rows=torch.tensor([[-1 if proposed is None else proposed]]),
        seen=Seen(owners.long(), rows.long(), len(SIDS)),
    )
    (found,) = fates(
        cast(Any, SimpleNamespace(sids=SIDS)),
        cast(Any, proposals),
        _lists(listed, path),
        torch.tensor([target]),
        torch.tensor([candidate]),
        torch.tensor([blocked]),
        _lists(listed if uncapped is None else uncapped),
        has_beams=has_beams,
    )
    return Fate(found)


@pytest.mark.parametrize(
    ("target", "facts", "expected"),
    [
        (WITH_SID, {"listed": WITH_SID, "proposed": WITH_SID}, Fate.HIT),
        (WITH_SID, {"listed": WITH_SID, "path": BACK_FILL}, Fate.HIT_BY_BACK_FILL),
        (WITHOUT_SID, {"listed": WITHOUT_SID, "path": BACK_FILL}, Fate.HIT_BY_BACK_FILL),
        (WITH_SID, {"uncapped": WITH_SID, "proposed": WITH_SID}, Fate.CAPPED),
        (WITH_SID, {"uncapped": WITH_SID}, Fate.CAPPED),
        (WITHOUT_SID, {"uncapped": WITHOUT_SID}, Fate.CAPPED),
        (WITHOUT_SID, {}, Fate.NO_SEMANTIC_ID),
        (WITH_SID, {}, Fate.NOT_AMONG_BEAMS),
        (WITH_SID, {"proposed": WITH_SID}, Fate.RANKED_BELOW_TEN),
        (WITH_SID, {"has_beams": False}, Fate.RANKED_BELOW_TEN),
        (WITHOUT_SID, {"has_beams": False}, Fate.RANKED_BELOW_TEN),
        (WITH_SID, {"seen": True, "proposed": WITH_SID}, Fate.SEEN_FILTERED),
        (-1, {}, Fate.COLD_FILTERED),
        (-1, {"blocked": True}, Fate.BLOCKED),
        (-1, {"blocked": True, "candidate": False}, Fate.NOT_A_CANDIDATE),
    ],
)
def test_the_first_fate_that_applies_is_told(target, facts, expected):
    assert _fate(target, **facts) == expected


def test_shares_are_of_the_weight():
    found = count_fates(np.array([Fate.HIT, Fate.HIT, Fate.CAPPED]), np.array([1.0, 1.0, 2.0]))
    assert found["hit"] == {"users": 2, "share": 0.5}
    assert found["capped"] == {"users": 1, "share": 0.5}
