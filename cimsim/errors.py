"""The one base class of every error a user can cause."""


class CimsimError(ValueError):
    """Bad input, told in one clear sentence: what is wrong, where, and what to do.

    The command line prints the message and exits with code 2; it never shows a traceback for it.
    """
