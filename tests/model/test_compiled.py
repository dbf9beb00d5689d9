"""What is compiled is what the files say, all of them."""

import os
import subprocess
import sys
from pathlib import Path

import numba

from model.compiled import cache_folder

HELPER = "from numba import njit\n\n@njit\ndef number():\n    return {number}\n"
KERNEL = """
from model import compiled
from pathlib import Path
compiled.PACKAGE = Path(__file__).parent
from helper import number

@compiled.compiled()
def asked():
    return number()

print(asked(), sum(asked.stats.cache_hits.values()))
"""


def run(folder: Path, **environment: str) -> str:
    ours = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, str(folder / "kernel.py")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ours, **environment},
    ).stdout.strip()


def test_a_change_in_another_file_compiles_again_and_no_change_does_not(tmp_path):
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "helper.py").write_text(HELPER.format(number=1))
    assert run(tmp_path) == "1 0"
    assert run(tmp_path) == "1 1"
    (tmp_path / "helper.py").write_text(HELPER.format(number=2))
    assert run(tmp_path) == "2 0"


def test_the_users_cache_folder_is_used(tmp_path):
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "helper.py").write_text(HELPER.format(number=1))
    run(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "chosen"))
    assert list((tmp_path / "chosen").glob("kernels-*/*/*.nbi"))
    assert not (tmp_path / "__pycache__" / cache_folder(tmp_path, None).name).exists()


def test_files_without_kernels_do_not_count(tmp_path):
    (tmp_path / "helper.py").write_text(HELPER.format(number=1))
    before = cache_folder(tmp_path, None)
    cache_folder.cache_clear()
    (tmp_path / "reader.py").write_text("import json\n")
    assert cache_folder(tmp_path, None) == before
    cache_folder.cache_clear()
    (tmp_path / "other.py").write_text(HELPER.format(number=1))
    assert cache_folder(tmp_path, None) != before


def test_kernels_of_others_stay_where_they_are():
    import model.tokenizer.limits  # noqa: F401 - decorates kernels of ours

    given = numba.config.CACHE_DIR  # pyright: ignore[reportAttributeAccessIssue]
    assert given == os.environ.get("NUMBA_CACHE_DIR", "")
