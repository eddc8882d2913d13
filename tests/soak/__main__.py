"""`python -m tests.soak --minutes 20 --seed 7`: a market of its own under haste, and a verdict at the end.

Exit code 1 when anything was found. The data directory stays where it is then, as evidence.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from config.settings import Settings
from tests.soak.run import Soak
from tests.support.market import Market, free_offset

SHOWN = 12
"""Of each kind of fault."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="length of the load (default: 3)")
    parser.add_argument("--seed", type=int, default=None, help="of what the clients choose (default: new)")
    asked = parser.parse_args()
    # Told to stop, it takes its market down with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    directory = Path(tempfile.mkdtemp(prefix="hundi-soak-"))
    settings = Settings(data_dir=directory, port_offset=free_offset())
    seed = asked.seed if asked.seed is not None else time.time_ns() % 1_000_000
    with Market.opened(settings, directory) as market:
        soak = Soak(market, asked.minutes * 60, seed, lambda line: print(line, flush=True))
        found = asyncio.run(soak.run())
    _say(soak, found)
    if found:
        sys.exit(f"{len(found)} faults; the evidence is in {directory}")
    shutil.rmtree(directory, ignore_errors=True)


def _say(soak: Soak, found: list[str]) -> None:
    kept = soak.journal
    cancels = Counter(f"{one.status} {one.code}".strip() for one in kept.cancels)
    for name, answers in (("refused", kept.refusals), ("changes", kept.changes), ("cancels", cancels)):
        print(f"{name}: {dict(answers.most_common())}")
    print(f"not answered by the API: {kept.unreachable}; orders not heard of in time: {len(kept.silences)}")
    shown: Counter[str] = Counter()
    for fault in found:
        kind = fault.partition(":")[0]
        shown[kind] += 1
        if shown[kind] <= SHOWN:
            print(f"  {fault}")
    for kind, number in shown.items():
        print(f"{number} faults of {kind}")
    if not found:
        print("nothing found: every rule holds, against the exchange's own files")


if __name__ == "__main__":
    main()
