"""What is compiled is what the files say, all of them."""

import os
import subprocess
import sys
from pathlib import Path

from model import compiled
from model.compiled import ROOT, cache_folder, made_of

HELPER = "from numba import njit\n\n@njit\ndef number():\n    return {number}\n"
KERNEL = """
from model import compiled
from pathlib import Path
compiled.ROOT = Path(__file__).parent
from helper import number

@compiled.compiled()
def asked():
    return number()

print(asked(), sum(asked.stats.cache_hits.values()))
"""


def run(folder: Path, **environment: str) -> str:
    return _finished(folder, environment).stdout.strip()


def run_for_errors(folder: Path) -> str:
    return _finished(folder, {}).stderr


def _finished(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    ours = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, str(folder / "kernel.py")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ours, **environment},
    )


def test_a_change_in_another_file_compiles_again_and_no_change_does_not(tmp_path):
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "helper.py").write_text(HELPER.format(number=1))
    assert run(tmp_path) == "1 0"
    assert run(tmp_path) == "1 1"
    (tmp_path / "helper.py").write_text(HELPER.format(number=2))
    assert run(tmp_path) == "2 0"


def test_who_waits_for_the_compiler_is_told_once(tmp_path):
    (tmp_path / "kernel.py").write_text(f"import logging\nlogging.basicConfig(level=20)\n{KERNEL}")
    (tmp_path / "helper.py").write_text(HELPER.format(number=1))
    assert run_for_errors(tmp_path).count("compiling CPU kernels") == 1
    assert "compiling" not in run_for_errors(tmp_path)


def test_the_users_cache_folder_is_used(tmp_path):
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "helper.py").write_text(HELPER.format(number=1))
    run(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "chosen"))
    assert list((tmp_path / "chosen").glob("kernel-*/*/*.nbi"))
    assert not list((tmp_path / "__pycache__").glob("kernel-*"))


def test_an_installation_that_cannot_be_written_to_uses_the_users_cache(tmp_path, monkeypatch):
    file = tmp_path / "kernel.py"
    file.write_text(KERNEL)
    monkeypatch.setattr(compiled.os, "access", lambda *_: False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder(file, tmp_path, None).parent == Path("/home/somebody/.cache/onepiece")
    assert cache_folder(file, tmp_path, tmp_path / "chosen").parent == tmp_path / "chosen"


def test_a_kernel_is_made_of_all_files_that_it_imports_kernels_or_their_numbers_from():
    network = ROOT / "model" / "network"
    names = {path.name for path in made_of(network / "beam_attention_cpu.py", ROOT)}
    assert {"beam_attention_cpu.py", "tile_product.py", "vector_math.py"} <= names
    dataset = ROOT / "model" / "dataset"
    assert dataset / "packing.py" in made_of(dataset / "packing_kernels.py", ROOT)
    assert dataset / "interactions.py" not in made_of(dataset / "packing_kernels.py", ROOT)


def test_kernels_of_others_stay_where_they_are():
    import model.tokenizer.limits  # noqa: F401 - decorates kernels of ours

    given = compiled.SETTINGS.CACHE_DIR
    assert given == os.environ.get("NUMBA_CACHE_DIR", "")
