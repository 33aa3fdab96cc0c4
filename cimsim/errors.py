"""Base classes of errors and warnings."""


class CimsimError(ValueError):
    """Invalid input, described in one sentence: what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class CimsimWarning(UserWarning):
    """A condition that does not stop the computation, described in one sentence.

    The command line prints it as a note.
    """
