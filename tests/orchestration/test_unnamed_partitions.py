"""A modality that the parameters no longer name leaves nothing that DVC would go on counting."""

import shutil

import yaml


def test_a_partition_that_is_no_longer_named_goes_before_others_read_the_folder(copied):
    modalities = copied.data / "modality_embeddings"
    named = sorted(folder.name for folder in modalities.iterdir())
    shutil.copytree(modalities / named[0], modalities / "dropped")
    (modalities / "notes").mkdir()  # somebody's own, without a lineage
    values = yaml.safe_load(copied.params_file.read_text())
    values["coverage_report"]["thresholds"]["default"]["min_rate"] = 0.01  # so that it is due
    copied.params_file.write_text(yaml.safe_dump(values, sort_keys=False))
    done = copied.onepiece("materialize", "--only", "coverage_report")
    assert done.returncode == 0, done.stderr
    assert "dropped: no longer named by" in done.stderr
    assert sorted(folder.name for folder in modalities.iterdir()) == sorted([*named, "notes"])
