"""Semantic IDs that will not suffice are no reason to train first."""

import yaml


def test_more_items_than_semantic_ids_are_refused_before_the_encoder_is_trained(copied):
    values = yaml.safe_load(copied.params_file.read_text())
    values["codebook"]["sizes"] = [4, 4]
    values["encoder_checkpoint"]["epochs"] += 1  # so that it is due
    copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
    done = copied.onepiece("materialize", "--only", "encoder_checkpoint")
    assert done.returncode != 0
    assert "codebook.capacity: the catalogue has 434 items and sizes [4, 4] spell 16" in done.stderr
    assert "epoch" not in done.stderr
