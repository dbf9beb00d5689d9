"""docs/internals.md names every private module of Dagster and DVC that is used, and tests of it."""

import ast
import re

import pytest

from orchestration.workspace import ROOT

PAGE = (ROOT / "docs" / "internals.md").read_text()
PRIVATE = re.compile(r"(dagster\._|dagster_webserver|dvc(_\w+)?\b)[\w.]*")  # neither documents any
IN_A_STRING = re.compile(r"dagster(\._|_webserver)[\w.]*")
TESTS = ROOT / "tests" / "orchestration"


def read_items():
    """By file of ours, everything that its item of the last list sets as code."""
    section = PAGE.partition("\n## Private names of Dagster and DVC")[2]
    items = re.findall(r"^- `([\w/]+\.py)`:(.*(?:\n  .*)*)", section, re.M)
    return {file: re.findall(r"`([^`]+)`", text) for file, text in items}


ITEMS = read_items()


def imported(file):
    """Private modules that a file of ours imports or names, and what it uses of them."""
    tree = ast.parse(file.read_text())
    modules, names = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and PRIVATE.fullmatch(node.module or ""):
            for alias in node.names:
                used = attributes(tree, alias.name)
                is_module = alias.name.islower() and bool(used)
                modules.add(f"{node.module}.{alias.name}" if is_module else node.module)
                names |= used if is_module else {alias.name}
        elif isinstance(node, ast.Import):
            modules |= {one.name for one in node.names if PRIVATE.fullmatch(one.name)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            modules |= {node.value} if IN_A_STRING.fullmatch(node.value) else set()
    return modules, names


def attributes(tree, name):
    """What is asked of a name."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    }


def test_the_page_names_every_file_that_uses_a_private_name():
    files = [
        path for top in ("model", "assets", "orchestration") for path in ROOT.glob(f"{top}/**/*.py")
    ]
    using = {path.relative_to(ROOT).as_posix() for path in files if imported(path)[0]}
    assert set(ITEMS) == using


@pytest.mark.parametrize("file", ITEMS)
def test_the_names_are_those_of_the_code(file):
    modules, names = imported(ROOT / file)
    assert {one for one in ITEMS[file] if PRIVATE.fullmatch(one)} == modules
    said = {one for one in ITEMS[file] if one.isidentifier()} - modules
    assert names <= said
    source = (ROOT / file).read_text()
    assert [one for one in said if not re.search(rf"\b{one}\b", source)] == []


@pytest.mark.parametrize("file", ITEMS)
def test_the_tests_are_there(file):
    named = [one.split("::") for one in ITEMS[file] if "::" in one]
    assert named
    for where, name in named:
        assert f"def {name}(" in (TESTS / where).read_text()


def test_every_file_of_the_page_exists():
    found = re.findall(r"`((?:model|assets|orchestration|tests)/[\w/]+\.py)`", PAGE)
    assert found
    assert [one for one in found if not (ROOT / one).is_file()] == []
