"""The world can be learned: what users did before says what they do next."""

import numpy as np
from scipy import sparse

from model.dataset.interactions import CLICK, CONVERSION, EXPOSURE

K = 10
MAX_TARGETS = 800


def _held_out(world):
    """Index of each user's newest click or conversion that has ten events before it."""
    positives = np.flatnonzero(world.actions != EXPOSURE)
    newest = positives[np.diff(world.users[positives], append=-1) != 0]
    starts = np.cumsum(world.lengths) - world.lengths
    return newest[newest - starts[world.users[newest]] >= 10]


def _hit_rate(scores, targets):
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    return (best == targets[:, None]).any(axis=1).mean()


def test_cooccurrence_beats_popularity(world):
    every = _held_out(world)
    targets = every[:MAX_TARGETS]
    bounds = np.full(len(world.lengths), np.iinfo(np.int64).max)
    bounds[world.users[every]] = every
    index = np.arange(len(world.items))
    train = index < bounds[world.users]
    items, size = world.items, world.params.num_items + 1
    pairs = sparse.csr_matrix((size, size))
    for distance in range(1, 4):
        first, second = index[:-distance], index[distance:]
        together = (world.users[first] == world.users[second]) & train[second]
        cells = (items[first[together]], items[second[together]])
        pairs += sparse.csr_matrix((np.full(len(cells[0]), 1 / distance), cells), (size, size))
    counts = np.bincount(items[train], minlength=size)
    popularity = np.broadcast_to(counts.astype(float), (len(targets), size))
    scaled = pairs @ sparse.diags(1 / np.sqrt(counts + 3))
    recent = sum(scaled[items[targets - back]] * 0.8**back for back in range(1, 6))
    hits = {
        "popularity": _hit_rate(popularity, items[targets]),
        "cooccurrence": _hit_rate(recent.toarray(), items[targets]),
    }
    assert hits["cooccurrence"] > 1.5 * hits["popularity"], hits
    assert hits["cooccurrence"] > 0.03, hits


def vectors_of_81(world):
    """(num_items + 1, 32), and which items have one."""
    table = world.table("mm_emb/emb_81_32_parquet").drop_null()
    re_ids = np.array(
        [world.indexer["i"].get(int(one), 0) for one in table["anonymous_cid"].to_pylist()]
    )
    vectors = np.zeros((world.params.num_items + 1, 32))
    vectors[re_ids] = table["emb"].combine_chunks().flatten().to_numpy().reshape(-1, 32)
    vectors[0] = 0
    return vectors, np.abs(vectors).any(axis=1)


def test_modalities_see_the_clusters_that_users_walk_through(world):
    """Neighbouring events of a user look more alike than events of different users."""
    vectors, covered = vectors_of_81(world)
    first, second = world.items[:-1], world.items[1:]
    both = covered[first] & covered[second] & (np.diff(world.users) == 0)
    near = (vectors[first[both]] * vectors[second[both]]).sum(axis=1).mean()
    shuffled = np.random.default_rng(0).permutation(second[both])
    far = (vectors[first[both]] * vectors[shuffled]).sum(axis=1).mean()
    assert near > far + 0.01  # a hundred times its standard error


def test_modalities_see_whether_an_item_is_clicked_or_converted(world):
    """A linear rule of one half of the items holds for the other; the item feature knows less."""
    vectors, covered = vectors_of_81(world)
    clicks, conversions = (
        np.bincount(world.items[world.actions == action], minlength=len(vectors))
        for action in (CLICK, CONVERSION)
    )
    known = np.flatnonzero(covered & (clicks + conversions >= 20))
    converted = np.where(conversions[known] > clicks[known], 1.0, -1.0)
    given = np.column_stack([vectors[known], np.ones(len(known))])
    half = np.random.default_rng(0).random(len(known)) < 0.5
    rule = np.linalg.lstsq(given[half], converted[half], rcond=None)[0]
    by_vector = (np.sign(given[~half] @ rule) == converted[~half]).mean()
    items = world.table("item_feat")
    code = np.zeros(len(vectors), np.int64)
    code[items["item_id"].to_numpy()] = items["100"].fill_null(0).to_numpy()
    mean = np.bincount(code[known[half]], converted[half], minlength=code.max() + 1)
    by_feature = (np.sign(mean[code[known[~half]]]) == converted[~half]).mean()
    assert by_vector > 0.8 and by_vector > by_feature + 0.1


def test_positives_are_more_predictable_than_exposures(world):
    """A click's item was more often near an earlier item of the same user, by coarse category."""
    items = world.table("item_feat")
    category = np.zeros(world.params.num_items + 1, np.int64)
    category[items["item_id"].to_numpy()] = items["117"].fill_null(0).to_numpy()
    before = np.zeros(len(world.items), bool)
    for back in range(1, 11):
        same = world.users[back:] == world.users[:-back]
        equal = category[world.items[back:]] == category[world.items[:-back]]
        before[back:] |= same & equal
    old_enough = world.positions <= 80
    positive = world.actions != EXPOSURE
    clicked = before[positive & old_enough].mean()
    shown = before[~positive & old_enough].mean()
    assert clicked > shown
