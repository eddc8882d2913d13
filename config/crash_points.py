"""Named places where a test may kill the process: the moments between two durable steps.

`HUNDI_CRASH_AT=gateway.after_send` makes that crash point SIGKILL its own process when it is reached;
without the variable a crash point does nothing. `name:3` kills at the third time.
"""

import os
import signal
from itertools import count

_NAME, _, _TIME = os.environ.get("HUNDI_CRASH_AT", "").partition(":")
_passed = count(1)


def crash_point(name: str) -> None:
    """Die here, as kill -9 would have it, if the environment says so."""
    if name == _NAME and next(_passed) == int(_TIME or 1):
        os.kill(os.getpid(), signal.SIGKILL)
