"""A clone of the working tree with a tiny world's parameters, in git: for what goes through DVC."""

import shutil
import sys
from pathlib import Path

from numba.core.caching import UserProvidedCacheLocator

from orchestration.workspace import ROOT
from tests.orchestration.command import run
from tests.orchestration.tiny_world import write_tiny_params

DVC = Path(sys.executable).with_name("dvc")


def make_tiny_repository(root: Path) -> Path:
    """Copy every file that git knows or would add; nothing in it has been made yet."""
    listed = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":  # of what was made here, not there
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    _carry_compiled(root)
    write_tiny_params(root / "params.yaml")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "tiny"]):
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        assert run("git", *identity, *command, cwd=root).returncode == 0
    return root


def _carry_compiled(root: Path) -> None:
    """Take along what numba compiled for us, a minute's work.

    It counts as compiled where a source has its date, in a folder named after the source's.
    """
    for compiled in ROOT.glob("model/**/__pycache__/*/*_*/*.nb?"):
        kept = compiled.parents[1].relative_to(ROOT)
        source = root / kept.parents[1] / compiled.name
        named = UserProvidedCacheLocator.get_suitable_cache_subpath(str(source))
        (root / kept / named).mkdir(parents=True, exist_ok=True)
        shutil.copy2(compiled, root / kept / named)
