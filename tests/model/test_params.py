"""Parameter files: those that are delivered load; every mistake is named with its key."""

from pathlib import Path

import pytest
import yaml

from model.errors import InputError
from model.params import Params

ROOT = Path(__file__).parents[2]
DELIVERED = [ROOT / "params.yaml", *sorted((ROOT / "params").glob("*.yaml"))]


@pytest.mark.parametrize("file", DELIVERED, ids=lambda file: file.name)
def test_delivered_files_load(file):
    Params.load(file)


def _studies(name):
    """The delivered files of one of the paper's studies."""
    files = [file for file in DELIVERED if file.name.startswith(f"paper_{name}_")]
    assert len(files) == 5
    return [Params.load(file) for file in files]


def test_the_semantic_id_study_is_the_papers():
    """Section 4.3: AdamW at 0.001 for everything, and no InfoNCE, inherited or trained."""
    for params in _studies("sid"):
        optimizer, training = params.optimizer, params.recommender_checkpoint
        assert (optimizer.hidden_matrices, optimizer.routed_experts) == ("adamw", "adamw")
        assert (optimizer.adamw_lr, optimizer.embedding_lr) == (0.001, 0.001)
        assert training.loss.infonce_weight == 0.0
        assert not training.initialize_from_encoder


def test_the_infonce_study_is_the_papers():
    """Section 4.2: Muon at 0.08."""
    for params in _studies("infonce"):
        optimizer, training = params.optimizer, params.encoder_checkpoint
        assert optimizer.hidden_matrices == "muon"
        assert (optimizer.muon_lr, optimizer.muon_momentum) == (0.08, 0.95)
        assert training.loss.infonce_weight == 1.0


def _changed(tmp_path, change):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    change(values)
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def _blocked(written):
    text = (ROOT / "params.yaml").read_text()
    assert "blocked_items: []" in text
    text = text.replace("blocked_items: []", f"blocked_items: [{written}]")
    return Params.parse(text, Path("params.yaml")).cascade.blocked_items


def test_ids_are_read_as_they_are_written():
    assert _blocked("7, 007, 0000013714, 12:30, 1_000, '8', item") == (
        *(7, "007", "0000013714", "12:30", "1_000"),
        *("8", "item"),
    )
    for wrong in ("true", "1.0"):
        with pytest.raises(InputError, match=r"cascade\.blocked_items\.0"):
            _blocked(wrong)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v.update(sed=1), r"sed: there is no such key; correct or remove it"),
        (lambda v: v.pop("seed"), r"seed: is missing, and every key is required"),
        (lambda v: v["raw_data"].update(format="csv"), r"raw_data\.format: .*'recbole'"),
        (lambda v: v["raw_data"]["synthetic_world"].update(num_items=1), r"num_items: .*100"),
        (
            lambda v: v["raw_data"]["synthetic_world"]["modality_widths"].pop("86"),
            "must name the same modalities",
        ),
        (
            lambda v: v["interactions"]["split"].update(validation_fraction=0),
            r"interactions\.split\.validation_fraction: .*greater than 0",
        ),
        (lambda v: v["coverage_report"]["thresholds"].pop("default"), "entry named default"),
        (
            lambda v: v["coverage_report"]["thresholds"]["81"].update(min_rate=1.5),
            r"thresholds\.81\.min_rate: .*less than or equal to 1",
        ),
        (
            lambda v: v["coverage_report"]["thresholds"].update(
                {"8l": v["coverage_report"]["thresholds"]["81"]}
            ),
            r"coverage_report\.thresholds names \['8l'\]",
        ),
        (
            lambda v: v["network"]["features"].update(modalities=["99"]),
            r"network\.features\.modalities names \['99'\]",
        ),
        (
            lambda v: v["modality_embeddings"].update(modalities=[]),
            r"modality_embeddings\.modalities: names none, .*; name those of the raw files",
        ),
        *(
            (
                lambda v, name=name: v["modality_embeddings"]["modalities"].append(name),
                rf"modality_embeddings\.modalities\.6: .*{name} {taken}.*another name",
            )
            for name, taken in (
                ("collaborative", "names the encoder's vectors"),
                ("combinations", "names a picture"),
                ("default", "stands for all modalities"),
            )
        ),
        (
            lambda v: v["modality_embeddings"]["modalities"].append("81"),
            r"modality_embeddings\.modalities: .*81 is listed more than once",
        ),
        *(
            (
                lambda v, name=name: v["modality_embeddings"]["modalities"].append(name),
                r"modality_embeddings\.modalities\.6: String should match pattern",
            )
            for name in ("", "..", "../x", "a/b", "a@b", "a b")
        ),
        *(
            (lambda v, wrong=wrong: v.update(seed=wrong), "seed: Input should be")
            for wrong in ("42", 42.0, True, None, 2**31, 10**30, -1)
        ),
        *(
            (
                lambda v, wrong=wrong: v["optimizer"].update(clip_norm=wrong),
                r"optimizer\.clip_norm: Input should be a finite number",
            )
            for wrong in (float("inf"), float("-inf"), float("nan"))
        ),
        *(
            (
                lambda v, key=key: v["cascade"].update({key: 1e38}),
                rf"cascade\.{key}: Input should be less than or equal to 1000000",
            )
            for key in ("logq_weight", "beam_weight")
        ),
        (
            lambda v: v["cascade"].update(beam_weight="tune"),
            r"cascade\.beam_weight: Input should be a valid number.*, or .* 'validation'$",
        ),
        (
            lambda v: v["cascade"].update(blocked_items=["1", 2.5]),
            r"cascade\.blocked_items\.1: Input should be a valid integer, or .* valid string$",
        ),
        (
            lambda v: v["evaluation_report"].update(action_weights=[0.0, 1.0, 1e308]),
            r"evaluation_report\.action_weights\.2: Input should be less than or equal to 1000000",
        ),
        (
            lambda v: v["evaluation_report"].update(action_weights=[0.0, 0.0, 0.0]),
            r"evaluation_report\.action_weights: all are 0: no user would count; give",
        ),
        (
            lambda v: v["evaluation_report"].update(action_weights=[1.0, 0.0, 0.0]),
            r"evaluation_report\.action_weights \[1\.0, 0\.0, 0\.0\] gives no weight to a click or "
            r"a conversion, and interactions\.split\.strategy last_positive holds out nothing else",
        ),
        *(
            (lambda v, wrong=wrong: v["network"].update(max_length=wrong), r"max_length: Input sh")
            for wrong in ("5", True, 2**40)
        ),
        *(
            (
                lambda v, section=section, wrong=wrong: v[section].update(memory_limit_gib=wrong),
                rf"{section}\.memory_limit_gib: ",
            )
            for section in ("item_statistics", "coverage_report")
            for wrong in (1e-9, 1e30, True)
        ),
        *(
            (
                lambda v, name=name, wrong=wrong: v["raw_data"]["synthetic_world"].update(
                    {name: wrong}
                ),
                rf"raw_data\.synthetic_world\.{name}: Input should be",
            )
            for name in ("num_items", "num_clusters")
            for wrong in ("500", True, 2**40)
        ),
        (lambda v: v["item_statistics"].update(num_time_buckets="5"), "num_time_buckets: Input"),
        (lambda v: v["codebook"].update(sizes=[256, 2**40]), r"codebook\.sizes\.1: Input should"),
        (lambda v: v["codebook"].update(sizes=[2**20] * 4), r"codebook\.sizes: .*below 2\^63"),
        *(
            (
                lambda v, section=section, key=key: v[section].update({key: True}),
                rf"{section}\.{key}: .*true and false are not numbers",
            )
            for section, key in (
                ("optimizer", "clip_norm"),
                ("optimizer", "warmup_share"),
                ("network", "dropout"),
                ("cascade", "beam_weight"),
                ("automation", "settled_seconds"),
            )
        ),
        *(
            (
                lambda v, section=section, key=key: v[section].update({key: 1e308}),
                rf"{section}\.{key}: Input should be less than or equal to 1000000",
            )
            for section in ("encoder_checkpoint", "recommender_checkpoint", "tuning_study")
            for key in ("epochs", "validate_every_epochs")
        ),
        (lambda v: v["optimizer"].update(adamw_lr=-0.0), r"adamw_lr: .*greater than 0"),
        (lambda v: v["optimizer"].update(betas=[0.9, 1.0]), r"betas\.1: .*less than 1"),
        (lambda v: v["cascade"].update(beam_weight=float("inf")), r"cascade\.beam_weight: "),
        (lambda v: v["raw_data"].update(source=""), r"raw_data\.source: .*at least 1"),
        *(
            (
                lambda v, wrong=wrong: v["evaluation_report"].update(cutoffs=wrong),
                r"evaluation_report\.cutoffs: .*10 must be among them",
            )
            for wrong in ([], [1, 5], [100])
        ),
        (lambda v: v["automation"].update(retrain_cron="daily"), r"automation\.retrain_cron: "),
        (
            lambda v: v["encoder_checkpoint"]["loss"].update(sid_weights=[0.5, 0.5]),
            r"encoder_checkpoint\.loss\.sid_weights must be \[\]",
        ),
        (
            lambda v: v["encoder_checkpoint"].update(initialize_from_encoder=True),
            r"initialize_from_encoder false: the encoder comes first",
        ),
        (
            lambda v: (
                v["recommender_checkpoint"].update(patience=3),
                v["recommender_checkpoint"]["loss"].update(infonce_weight=0.0),
            ),
            r"recommender_checkpoint: .*patience is 3 and loss\.infonce_weight 0: early stopping",
        ),
        (
            lambda v: v["encoder_checkpoint"]["loss"].update(infonce_weight=0.0),
            r"encoder_checkpoint\.loss: .*nothing would be trained",
        ),
        (
            lambda v: v["encoder_checkpoint"]["loss"].update(action_weights=[0.0, 0.0, 0.0]),
            r"encoder_checkpoint\.loss: .*no event would be a target",
        ),
        (
            lambda v: v["network"]["features"].update(
                item_id_dim=0, hash_sizes=[], modalities=[], item_features=False, life_cycle=False
            ),
            r"network\.features: .*nothing is left to tell items apart",
        ),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path, change, told):
    file = _changed(tmp_path, change)
    with pytest.raises(InputError, match=told) as refused:
        Params.load(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_does_not_go_together_is_said_without_a_word_of_the_machinery(tmp_path):
    file = _changed(tmp_path, lambda v: v["codebook"].update(sizes=[8, 8, 8]))
    with pytest.raises(InputError) as refused:
        Params.load(file)
    assert str(refused.value).startswith(f"{file}: recommender_checkpoint.loss.sid_weights has 2 ")


def test_an_exposure_may_be_all_that_weighs_where_it_may_be_a_target(tmp_path):
    def change(values):
        values["interactions"]["split"].update(strategy="leave_one_out")
        values["evaluation_report"].update(action_weights=[1.0, 0.0, 0.0])

    Params.load(_changed(tmp_path, change))


def test_no_file_and_no_yaml(tmp_path):
    with pytest.raises(InputError, match="no such parameter file"):
        Params.load(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("seed: [1\n")
    with pytest.raises(InputError, match=r"broken\.yaml: not valid YAML.*column 1") as refused:
        Params.load(tmp_path / "broken.yaml")
    assert "\n" not in str(refused.value)
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(InputError, match=r"empty\.yaml: "):
        Params.load(tmp_path / "empty.yaml")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seed: 42", "seed: 42\nseed: 43", r"key seed is given twice; keep one in .*line 3"),
        ("  dim: 64", "  dim: 64\n  dim: 128", "key dim is given twice"),
        ('"81": 32,', '"81": 32, "81": 64,', "key 81 is given twice"),
        ("  format", "\tformat", r"not valid YAML: .*'\\t' that cannot start any token.*line 5"),
        ("seed: 42", "seed: 2020-13-45", "not valid YAML: month must be in 1..12"),
        ("seed: 42", f"seed: {'9' * 5000}", "not valid YAML: Exceeds the limit"),
        ("seed: 42", f"seed: {'[' * 5000}", "not valid YAML: maximum recursion depth"),
        ("seed: 42", "seed: !!timestamp soon", "not valid YAML: "),
        ("seed: 42", "seed: !!bool perhaps", "not valid YAML: "),
        ("seed: 42", "? [1, 2]\n: 3\nseed: 42", "unhashable key"),
        ("seed: 42", "seed: !!python/object/apply:os.getcwd []", "could not determine a constr"),
    ],
)
def test_text_that_would_be_misread(tmp_path, old, new, told):
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    (tmp_path / "changed.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=told) as refused:
        Params.load(tmp_path / "changed.yaml")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")],
    ids=["byte order mark", "carriage returns"],
)
def test_text_as_other_systems_write_it(tmp_path, change):
    file = tmp_path / "changed.yaml"
    file.write_bytes(change((ROOT / "params.yaml").read_text()).encode())
    assert Params.load(file) == Params.load(ROOT / "params.yaml")


def test_what_is_no_text_or_no_file(tmp_path):
    file = tmp_path / "changed.yaml"
    file.write_bytes((ROOT / "params.yaml").read_text().encode("utf-16"))
    with pytest.raises(InputError, match=r"changed\.yaml: not text in UTF-8"):
        Params.load(file)
    with pytest.raises(InputError, match="Is a directory; --params must name a file"):
        Params.load(tmp_path)
    with pytest.raises(InputError, match="Not a directory; --params must name a file"):
        Params.load(file / "below")
