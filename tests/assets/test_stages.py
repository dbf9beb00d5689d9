"""What is read out of dvc.yaml."""

import textwrap

import pytest

from assets.stages import load_stages, read_code

DOCUMENT = """
    stages:
      last:
        deps: [data/many, model/b.py]
        params: [seed]
      many:
        foreach: ${names}
        do:
          deps: [data/first, model/a]
          params: [many.width]
      first:
        deps: ["${raw.source}", assets/first.py]
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "dvc.yaml").write_text(textwrap.dedent(DOCUMENT))
    (tmp_path / "model" / "a").mkdir(parents=True)
    (tmp_path / "model" / "a" / "x.py").write_text("x = 1\n")
    return tmp_path


def test_stages_come_upstream_first_with_their_inputs_code_and_parameters(root):
    stages = load_stages(root)
    assert list(stages) == ["first", "many", "last"]
    assert stages["first"].inputs == ()
    assert stages["first"].code == ("assets/first.py",)
    assert stages["many"].partitions({"names": ["81", "82"]}) == ["81", "82"]
    assert not stages["first"].partitioned
    assert stages["many"].target("81") == "many@81"
    assert stages["last"].inputs == ("many",)
    assert stages["last"].parameters({"seed": 5, "other": 6}) == {"seed": 5}


def test_the_code_version_changes_with_code_and_with_parameters_and_with_nothing_else(root):
    def version(values):
        load_stages.cache_clear()
        from assets.stages import hash_code

        hash_code.cache_clear()
        return load_stages(root)["many"].version(root, values)

    first = version({"many": {"width": 3, "height": 1}})
    assert version({"many": {"width": 3, "height": 2}}) == first
    assert version({"many": {"width": 4, "height": 1}}) != first
    (root / "model" / "a" / "x.py").write_text("x = 2\n")
    assert version({"many": {"width": 3, "height": 1}}) != first


def test_what_an_editor_leaves_beside_a_file_is_no_code(tmp_path):
    code = ("model/network", "model/other.py")
    (tmp_path / "model" / "network").mkdir(parents=True)
    for name in ("model/network/hstu.py", "model/other.py"):
        (tmp_path / name).write_text("value = 1")
    before = read_code(tmp_path, code)
    (tmp_path / "model" / "network" / ".hstu.py.swp").write_text("an editor has it open")
    assert read_code(tmp_path, code) == before
    (tmp_path / "model" / "network" / "hstu.py").write_text("value = 2")
    assert read_code(tmp_path, code) != before
