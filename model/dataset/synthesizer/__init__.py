"""A synthetic world in TencentGR's public layout, with the statistics that were published of it.

    published.py      the published numbers
    popularity.py     how often each item shall be seen
    catalogue.py      items: hierarchy, popularity, life, ids, candidates
    timeline.py       users: how many events, when, of which action
    behavior.py       users: which item, from tastes, habits and what is alive
    item_features.py  user_features.py  modalities.py  indexer.py  tables.py
                      the files that show the world to others
    world.py          everything together

Items hang in a hierarchy: coarse clusters, clusters, and cells (one per cluster and style). Users
walk over the clusters; which item of a cell they meet depends on the time. Modalities and features
see the hierarchy through noise, so a model that joins all of them with the order of events knows
more than one that counts.
"""

from model.dataset.synthesizer.world import write_synthetic_world

__all__ = ["write_synthetic_world"]
