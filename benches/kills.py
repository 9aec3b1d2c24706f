"""Kills commands at random moments, many calls at once, and prints what was lost, paid for twice, or different.

Run it with: python -m benches.kills --kills 20
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from pathlib import Path

from tests.fixtures.scripted_server import serving
from tests.hyperalign.cli.forked import context
from tests.hyperalign.cli.killing import SCENARIOS, kill_and_go_on


def main() -> None:
    """Print one line a command."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=20, help="of each command")
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments.add_argument("commands", nargs="*", default=list(SCENARIOS))
    asked = arguments.parse_args()
    print(f"seed {asked.seed}; booked: calls in cost.json, answered: requests that the server answered")
    print(
        "| command | rounds | kills | lost | paid twice | booked / answered | result | slowest stop | calls after it |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in asked.commands:
        kills = rounds = lost = again = booked = calls = late = different = 0
        slowest = 0.0
        while kills < asked.kills:
            with tempfile.TemporaryDirectory() as folder, serving() as server:
                home = Path(folder)
                os.environ |= {
                    "HYPERALIGN_DATA": str(home / "data"),
                    "HYPERALIGN_CACHE": str(home / "cache"),
                    "HYPERALIGN_CONFIG": str(home / "config.toml"),
                    "HYPERALIGN_REDACT": "0",
                    "HYPERALIGN_ENCODER": "none",
                }
                left = min(8, asked.kills - kills)
                found = kill_and_go_on(context(), name, server, home, kills=left, seed=asked.seed + rounds)
            rounds += 1
            kills += sum(found.kills.values())
            lost, again, different = lost + found.lost, again + found.again, different + (not found.is_same)
            booked, calls = booked + found.booked, calls + found.calls
            slowest, late = max(slowest, found.slowest_stop), max(late, found.late)
        result = "the same" if not different else f"{different} differ"
        print(
            f"| {name} | {rounds} | {kills} | {lost} | {again} | {booked} / {calls} | {result} | {slowest:.1f} s "
            f"| {late} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
