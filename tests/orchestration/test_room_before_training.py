"""Semantic IDs that will not suffice are no reason to train first."""

import shutil

import pytest
import yaml


@pytest.fixture
def refusal(copied):
    """What an encoder that is due says with other parameters of the codebook."""

    def refuse(**codebook):
        values = yaml.safe_load(copied.params_file.read_text())
        values["codebook"] |= codebook
        values["encoder_checkpoint"]["epochs"] += 1  # so that it is due
        copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
        done = copied.onepiece("materialize", "--only", "encoder_checkpoint")
        assert done.returncode != 0
        assert "epoch" not in done.stderr  # no step was made
        return done.stderr

    return refuse


def test_more_items_than_semantic_ids_are_refused_before_the_encoder_is_trained(refusal):
    message = "codebook.capacity: the catalogue has 434 items and sizes [4, 4] spell 16"
    assert message in refusal(sizes=[4, 4])


def test_a_codebook_that_cannot_be_extended_is_refused_before_too(copied, refusal, tmp_path):
    published = shutil.copytree(copied.data / "codebook", tmp_path / "published")
    message = refusal(sizes=[64, 64], frozen_from=str(published))
    assert "codebook.frozen_from: that generation has sizes" in message
