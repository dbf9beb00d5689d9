"""The assets: one per artefact, each a plain function in the module of the same name.

Upstream first: ``raw_data``, ``interactions``, ``item_statistics``, ``modality_embeddings``,
``coverage_report``, ``encoder_checkpoint``, ``fused_embeddings``, ``codebook``,
``recommender_checkpoint``, ``evaluation_report``, ``champion`` and ``submission``. Off that
line: ``scaling_points``, ``scaling_study``, ``tuning_study``. All other modules support them:

Every asset:  ``artifact_asset`` (begin here), ``maker``, ``checks``, ``stages``, ``workspace``
Its page:     ``report_metadata``, ``report_pictures``, ``training_metadata``
Identity:     ``hashing``, ``raw_source``, ``lineage``, ``staleness``; of a submission
              ``manifest``, ``manifest_file``, ``ledger``, ``lineage_text``, ``lineage_page``
Concurrency:  ``locks``, ``recorder``, ``refusals``, ``aside``, ``transient``
The machine:  ``device``, ``machine``, ``peak_memory``, ``training_worker``
One asset:    ``coverage_checks``, ``expectations`` (coverage report); ``frozen_codebook``,
              ``published_ids`` (codebook); ``promotion``, ``rollbacks``, ``measurement``
              (champion); ``tuning`` (tuning study)
"""
