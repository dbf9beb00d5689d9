"""A clone of the working tree with a tiny world's parameters, in git: for what goes through DVC."""

import shutil
import sys
from pathlib import Path

from orchestration.workspace import ROOT
from tests.orchestration.command import run
from tests.orchestration.tiny_world import write_tiny_params

DVC = Path(sys.executable).with_name("dvc")


def make_tiny_repository(root: Path) -> Path:
    """Copy every file that git knows or would add; nothing in it has been made yet.

    What numba compiled for us comes along: it counts as compiled where a source has its date.
    """
    listed = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT)
    compiled = [path.relative_to(ROOT) for path in ROOT.glob("model/**/__pycache__/*.nb?")]
    for name in [*listed.stdout.splitlines(), *compiled]:
        if (ROOT / name).is_file() and name != "dvc.lock":  # of what was made here, not there
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    write_tiny_params(root / "params.yaml")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "tiny"]):
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        assert run("git", *identity, *command, cwd=root).returncode == 0
    return root
