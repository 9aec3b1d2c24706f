"""Kills, Ctrl-C and SIGTERM at random moments, many calls at once: the same result, and nothing is paid for twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fixtures.scripted_server import ScriptedServer

from .forked import context
from .killing import SCENARIOS, kill_and_go_on

KILLS = {"fit": 8, "update": 3, "eval": 4, "optimize": 3, "distill": 4}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_kills_lose_nothing(tmp_path: Path, scripted_server: ScriptedServer, name: str) -> None:
    seed = random.randrange(10**6)
    found = kill_and_go_on(context(), name, scripted_server, tmp_path, kills=KILLS[name], seed=seed)
    assert found.kills, f"seed {seed}"
    assert found.again == found.lost == 0, f"seed {seed}: {found}"
    assert found.is_same, f"seed {seed}: {found}"
    assert found.booked >= found.calls, f"seed {seed}: {found}"
    # A kill may cut a request off before it reaches the server; nothing else is booked that was not answered.
    assert found.booked <= found.calls + 16 * found.kills["SIGKILL"], f"seed {seed}: {found}"
