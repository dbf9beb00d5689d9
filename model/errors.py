"""The one error that a user's input can cause."""


class InputError(ValueError):
    """Bad input: the message names the file, the row or key, and the remedy.

    Command line and assets print the message alone, without a traceback.
    """
