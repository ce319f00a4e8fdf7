"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """Something the user gave is wrong: bad data, a bad flag, a folder that cannot be written.

    The message is one paragraph that names the thing, what was expected, and the fix. At the command line it is
    printed without a traceback and the process exits with code 2.
    """
