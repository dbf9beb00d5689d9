"""A copy of a RecBole data set in which the order within ties of one user is drawn anew.

Events of one user at one time have no order; a preparation that sorts them (by item number, say)
puts something learnable into a leave-one-out split that no user did. Where the file has equal times
those are the ties. Where it has none because a preparation replaced the times by positions, ties
have to be assumed: neighbours share a day with a probability of each user's own. This also shuffles
neighbours that had an order, so that figures on such a copy are rather too low.
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.csv as csv

ASSUMED_TIES = (0.15, 0.3)
"""Parameters of the beta distribution that each user's probability comes from: its mean is a third,
most users have few ties and some hardly anything else. In Amazon Beauty 69.4 % of neighbours ascend
by catalogue number, and 53.4 % once the real ties are shuffled, which takes half of them away: a
third of the neighbours are tied. That shuffle leaves 71 % of the users their last item, this 75 %.
"""


def shuffle_ties(source: Path, folder: Path, seed: int) -> None:
    """Write the copy.

    Args:
        source: folder with one ``.inter`` file; what else it holds is copied.
        folder: to be made.
        seed: of the order within ties, and of the ties where they have to be assumed.
    """
    shutil.copytree(source, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
    (path,) = folder.glob("*.inter")
    events = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter="\t"))
    users = events["user_id:token"].combine_chunks().dictionary_encode().indices.to_numpy()
    times = events["timestamp:float"].to_numpy()
    in_time = np.lexsort([times, users])
    order = in_time[_shuffled(users[in_time], times[in_time], np.random.default_rng(seed))]
    place = events.schema.get_field_index("item_id:token")
    items = events["item_id:token"].take(order)
    events = events.take(in_time).set_column(place, "item_id:token", items)
    options = csv.WriteOptions(delimiter="\t", quoting_style="none", include_header=False)
    with path.open("wb") as file:
        file.write("\t".join(events.column_names).encode() + b"\n")  # pyarrow would quote it
        csv.write_csv(events, file, options)


def _shuffled(users: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(E,) an order that moves events within ties only."""
    same_user = users[1:] == users[:-1]
    tied = same_user & (times[1:] == times[:-1])
    if not tied.any():
        own = rng.beta(*ASSUMED_TIES, users.max() + 1)[users[1:]]
        tied = same_user & (rng.random(len(tied)) < own)
    group = np.cumsum(np.concatenate([[0], ~tied]))
    return np.lexsort([rng.random(len(users)), group])
