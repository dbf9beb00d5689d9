"""Whether the IDs that an earlier run has given out still hold in the codebook of the next one."""

from dataclasses import dataclass

import numpy as np

from model.dataset.arrow import compute as pc
from model.tokenizer.codebook import Codebook
from model.tokenizer.growth import codes_of


@dataclass(frozen=True)
class Change:
    """What becomes of published IDs when one codebook takes the place of another.

    Attributes:
        moved: items that would get another ID.
        lost: items whose ID would no longer be known as theirs.
        added: items that would get their first ID.
    """

    moved: int
    lost: int
    added: int

    @property
    def keeps_all(self) -> bool:
        return not self.moved and not self.lost


def change_of_ids(before: Codebook, after: Codebook) -> Change:
    """Compare all that two revisions of one generation have published, by raw ids."""
    known = after.published["raw_id"].combine_chunks()
    rows = pc.index_in(before.published["raw_id"].combine_chunks(), value_set=known)
    places = pc.fill_null(rows, -1).to_numpy().astype(np.int64)
    held = places >= 0
    old, new = codes_of(before.published)[held], codes_of(after.published)[places[held]]
    return Change(
        moved=int((old != new).any(axis=1).sum()),
        lost=int((~held).sum()),
        added=len(known) - int(held.sum()),
    )
