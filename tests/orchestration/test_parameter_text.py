"""Single values change; comments, order and the rest of the text stay."""

from textwrap import dedent

import pytest
import yaml

from model.errors import InputError
from orchestration.parameter_text import with_values

TEXT = dedent("""\
    # first
    a:
      rate: 0.1      # of learning
      kind: "old"    # old | new
      sizes: [1, 2]
      blocks:        # one a line
        - 3
        - 4
      # between
      last: null     # nothing
    b: {c: 1, d: 2}
    """)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT)
    return tmp_path / "params.yaml"


def test_only_the_values_change(file):
    changes = {"a.rate": 1e-07, "a.kind": "new", "a.sizes": [5], "a.last": True, "b.d": 7}
    text = with_values(file, changes)
    assert text == (
        TEXT.replace("0.1 ", "1.0e-07 ")
        .replace('"old"', "new", 1)
        .replace("[1, 2]", "[5]")
        .replace("null", "true")
        .replace("d: 2", "d: 7")
    )
    assert yaml.safe_load(text)["a"]["rate"] == 1e-07  # and not the text "1e-07"


def test_a_list_of_lines_gives_way_whole_and_the_comment_after_it_stays(file):
    text = with_values(file, {"a.blocks": [5, 6, 7]})
    assert yaml.safe_load(text)["a"]["blocks"] == [5, 6, 7]
    assert "  # between\n" in text
    assert "# one a line" in text


@pytest.mark.parametrize("key", ["a.none", "b.c.deeper", "none"])
def test_a_key_that_is_not_there_is_named(file, key):
    with pytest.raises(InputError, match=rf"params\.yaml: has no key {key}"):
        with_values(file, {key: 1})


def test_line_ends_stay_as_they_are(tmp_path):
    (tmp_path / "params.yaml").write_bytes(TEXT.replace("\n", "\r\n").encode())
    text = with_values(tmp_path / "params.yaml", {"a.rate": 0.2, "a.blocks": [5]})
    assert text.count("\n") == text.count("\r\n") == TEXT.count("\n") - 1
    assert yaml.safe_load(text)["a"] == yaml.safe_load(TEXT)["a"] | {"rate": 0.2, "blocks": [5]}


@pytest.mark.parametrize("content", [b"a: [1\n", "a: 1 # \u00fc\n".encode("latin-1")])
def test_a_file_that_is_no_yaml_is_named(tmp_path, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.yaml: not valid YAML"):
        with_values(tmp_path / "bad.yaml", {"a": 1})


def test_a_list_whose_marks_stand_below_its_key_is_replaced_too(tmp_path):
    """As `yaml.safe_dump` writes it."""
    file = tmp_path / "params.yaml"
    file.write_text("a:\n  sizes:\n  - 1\n  - 2\n  deep:\n    b: 1\nc: 3\n")
    text = with_values(file, {"a.sizes": [5, 6], "a.deep": {"b": 2}})
    assert yaml.safe_load(text) == {"a": {"sizes": [5, 6], "deep": {"b": 2}}, "c": 3}


@pytest.mark.parametrize("key", ["a.rate", "b.rate", "c.rate"])
def test_a_value_that_several_keys_share_is_refused(tmp_path, key):
    file = tmp_path / "params.yaml"
    file.write_text("a: {rate: &r 1}\nb: {rate: *r}\nc: &c {rate: 2}\nd: *c\n")
    with pytest.raises(InputError, match=rf"{key} shares its value .* by an anchor; write it out"):
        with_values(file, {key: 5})
