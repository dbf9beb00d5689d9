"""Command lines that are printed for the user to go on with."""

import shlex
from pathlib import Path

from assets.workspace import Workspace
from orchestration.defaults import DEFAULT_DATA, DEFAULT_PARAMS


def follow_up(workspace: Workspace, command: str, *arguments: str) -> str:
    """A command of `onepiece` that acts on the same parameters and data, as a shell takes it.

    Args:
        workspace: that it shall act on.
        command: its name.
        arguments: no options; one that begins with "-" is not taken for any.
    """
    options = _options(workspace)
    if any(argument.startswith("-") for argument in arguments):
        return shlex.join(["onepiece", command, *options, "--", *arguments])
    return shlex.join(["onepiece", command, *arguments, *options])


def has_defaults(workspace: Workspace) -> bool:
    """Whether commands act on this parameter file and data folder without being told to."""
    return not _options(workspace)


def _options(workspace: Workspace) -> list[str]:
    found = []
    for option, path, default in (
        ("--params", workspace.params_file, DEFAULT_PARAMS),
        ("--data", workspace.data, DEFAULT_DATA),
    ):
        if path != default.resolve():
            here = Path.cwd()
            shown = path.relative_to(here) if path.is_relative_to(here) else path
            found += [option, str(shown)]
    return found
