"""How a command can fail without its input being bad."""


class RunFailedError(Exception):
    """A run did not finish; the message says which step and why."""
