"""A synthetic world in TencentGR's public layout, with its published statistics.

    published.py      the published numbers
    popularity.py     how often each item is expected to be seen
    catalogue.py      items: hierarchy, popularity, life, ids, candidates
    timeline.py       users: how many events, when, of which action
    behavior.py       users: which item, from tastes, habits and active items
    item_features.py  user_features.py  modalities.py  indexer.py  tables.py
                      the files of the layout
    world.py          everything together

Items form a hierarchy: coarse clusters, clusters, and cells (one per cluster and style). Users walk
over the clusters; which item of a cell they meet depends on the time. Modalities and features show
the hierarchy with noise, so a model that combines all of them with the order of events knows more
than one that counts.
"""

from model.dataset.synthesizer.world import write_synthetic_world

__all__ = ["write_synthetic_world"]
