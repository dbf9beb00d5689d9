"""The one error that a user's input can cause, and how a process of its own tells it."""

INPUT_ERROR_EXIT = 2
REFUSED = "refused: "  # begins the line that carries the sentence, whoever else prints after it


class InputError(ValueError):
    """Bad input: the message names the file, the row or key, and the remedy.

    Command line and assets print the message alone, without a traceback.
    """
