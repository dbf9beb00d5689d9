"""Command lines that are printed as next steps for the user."""

import shlex
from pathlib import Path

from assets.workspace import Workspace
from orchestration.defaults import DEFAULT_DATA, DEFAULT_PARAMS


def follow_up(workspace: Workspace, command: str, *arguments: str) -> str:
    """A command of `onepiece` on the same parameters and data, quoted for a shell.

    Args:
        workspace: that it acts on.
        command: its name.
        arguments: positional; one that begins with "-" is kept from being read as an option.
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
