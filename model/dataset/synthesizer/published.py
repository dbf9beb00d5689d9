"""What was published about TencentGR-10M, as far as the synthesiser imitates it.

Sources: the tables and figures of the OnePiece authors' README and technical report (10M round),
the data set paper (arXiv 2604.04976), and counts of the public 1M release and its demo.
"""

import numpy as np

MAX_LENGTH = 100  # item events per user
CUTOFF = 1_748_620_800  # 2025-05-31 00:00 UTC; every later event is an exposure

# The k-th event from the end (1 = newest): share of users that have one, and of these events the
# clicks and the conversions.
_BY_POSITION = np.array(
    [
        [1, 1.0000, 0.0038, 0.0018],
        [2, 0.9988, 0.0067, 0.0033],
        [3, 0.9970, 0.0094, 0.0046],
        [5, 0.9960, 0.0137, 0.0068],
        [7, 0.9940, 0.0176, 0.0088],
        [10, 0.9910, 0.0210, 0.0111],
        [15, 0.9880, 0.0245, 0.0134],
        [20, 0.9830, 0.0274, 0.0161],
        [30, 0.9770, 0.0299, 0.0197],
        [40, 0.9710, 0.0315, 0.0236],
        [50, 0.9650, 0.0315, 0.0267],
        [60, 0.9590, 0.0314, 0.0299],
        [70, 0.9530, 0.0312, 0.0328],
        [80, 0.9460, 0.0310, 0.0351],
        [90, 0.9380, 0.0306, 0.0370],
        [99, 0.9310, 0.0306, 0.0383],
    ]
)
POSITIONS, LENGTH_AT_LEAST, CLICK_SHARE, CONVERSION_SHARE = _BY_POSITION.T

# Millions of events between these times (UTC): October 2024 to 30 May 2025, then from 31 May on.
BEFORE_CUTOFF_BOUNDS = np.arange("2024-10", "2025-06", dtype="datetime64[M]")
BEFORE_CUTOFF_BOUNDS = np.append(
    BEFORE_CUTOFF_BOUNDS.astype("datetime64[s]").astype(np.int64), CUTOFF
)
BEFORE_CUTOFF_VOLUMES = np.array([1.1, 2.2, 4.4, 8.8, 16.5, 40.5, 153.1, 492.0])
AFTER_CUTOFF_BOUNDS = np.array(
    ["2025-05-31", "2025-06-01", "2025-07-01", "2025-08-01", "2025-08-11"], "datetime64[s]"
).astype(np.int64)
AFTER_CUTOFF_VOLUMES = np.array([18.0, 217.0, 23.0, 0.084])

SESSION_STARTS = 0.86  # of all events: 77 sessions in 96 events

# Item features: values among the demo's items, values in the 1M release, share of items with one.
DEMO_ITEMS, RELEASE_ITEMS = 58_734, 4_783_154
ITEM_FEATURES = {
    "100": (6, 6, 0.9988),
    "101": (49, 51, 0.9988),
    "102": (11_136, 90_709, 0.9872),
    "112": (30, 30, 0.9923),
    "114": (20, 20, 0.9986),
    "115": (187, 691, 0.2963),
    "116": (18, 18, 0.9986),
    "117": (285, 497, 0.992),
    "118": (745, 1_426, 0.992),
    "119": (1_745, 4_191, 0.992),
    "120": (1_343, 3_392, 0.992),
    "121": (49_079, 2_135_891, 0.992),
    "122": (11_151, 90_919, 0.9954),
}

# User features: values, share of users with one; the second group holds lists.
USER_SCALARS = {"103": (86, 0.9991), "104": (2, 0.9962), "105": (7, 0.8580), "109": (3, 0.9996)}
USER_LISTS = {"106": (14, 0.8791), "107": (19, 0.3870), "108": (4, 0.1704), "110": (2, 0.4298)}

# Modality 81 of the demo: share of the variance by principal component, squared norm of the mean
# vector, share of items whose vector another item has too, and the exponent of group sizes that
# leaves 90.9 % distinct vectors.
SPECTRUM = np.repeat([0.138, 0.133, 0.097, 0.058, 0.0238, 0.0104, 0.0038], [1, 1, 2, 4, 8, 8, 8])
MEAN_COSINE = 0.115
SHARED_VECTORS = 0.148
SHARED_GROUP_EXPONENT = 2.08
LARGEST_SHARED_GROUP = 83
NULL_VECTORS = 0.002  # rows without a vector / rows with one

# Popularity of the 1M release: by quantile of items, occurrences; share of the top 1 %.
COUNT_AT_90_PERCENT = 23
TOP_PERCENT_SHARE = 0.5


def at_position(shares: np.ndarray) -> np.ndarray:
    """(MAX_LENGTH,) a column of the table above for k = 1..MAX_LENGTH."""
    return np.interp(np.arange(1, MAX_LENGTH + 1), POSITIONS, shares)


def vocabulary_size(feature: str, num_items: int) -> int:
    """Values of an item feature among ``num_items`` items: a power law through demo and 1M."""
    demo, release, _ = ITEM_FEATURES[feature]
    exponent = np.log(release / demo) / np.log(RELEASE_ITEMS / DEMO_ITEMS)
    size = demo * (num_items / DEMO_ITEMS) ** exponent
    return int(np.clip(round(size), 2, max(2, num_items)))
