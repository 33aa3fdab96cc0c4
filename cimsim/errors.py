"""The one base class of every error a user can cause, and that of warnings."""


class CimsimError(ValueError):
    """Bad input, told in one clear sentence: what is wrong, where, and what to do.

    The command line prints the message and exits with code 2; it never shows a traceback for it.
    """


class CimsimWarning(UserWarning):
    """Something that a user should know and that stops nothing, in one clear sentence.

    The command line prints it as a note.
    """
