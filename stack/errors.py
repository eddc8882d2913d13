"""The one exception of the stack: a reason, in one sentence, why it cannot start or go on.

Raised by the checks and probes of `stack/`; `cli/` prints it and leaves with exit code 1.
"""


class StackError(Exception):
    """`str(error)` is the sentence that the person at the terminal reads."""
