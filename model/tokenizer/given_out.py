"""Whether the IDs that an earlier run published still hold in the codebook of the next one."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.tokenizer.codebook import Codebook
from model.tokenizer.published import codes_of


@dataclass(frozen=True)
class Change:
    """What happens to published IDs when one codebook replaces another.

    Attributes:
        moved: items that would get another ID; None where that is not known yet.
        lost: items that would disappear from the published IDs.
        added: items that would get their first ID.
    """

    moved: int | None
    lost: int
    added: int

    @property
    def keeps_all(self) -> bool:
        return not self.moved and not self.lost

    def __str__(self) -> str:
        moved = "" if self.moved is None else f"move {self.moved:,} of its IDs, "
        return f"{moved}lose {self.lost:,} and add {self.added:,}"


def change_of_ids(before: Codebook, after: Codebook) -> Change:
    """Compare everything that two revisions of one generation have published, by raw id."""
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


def foreseen_change(before: Codebook, extended: Codebook, raw_item_ids: pa.Array) -> Change:
    """The part of a change that raw ids alone tell, when an older revision is extended again.

    Args:
        before: the revision that would be replaced.
        extended: the older one, all of whose items stay published.
        raw_item_ids: (I,) string, the items of today, all of which get an ID.
    """
    published = before.published["raw_id"].combine_chunks()
    older = extended.published["raw_id"].combine_chunks()
    known = pa.concat_arrays([older, raw_item_ids.cast(older.type)])
    added = pc.invert(pc.is_in(known, value_set=published))
    return Change(
        moved=None,
        lost=pc.sum(pc.invert(pc.is_in(published, value_set=known))).as_py() or 0,
        added=len(pc.unique(known.filter(added))),
    )
