"""LiteLLM's handlers take CPU from calls side by side: they run only for callbacks that somebody has registered."""

from __future__ import annotations

import os
import subprocess
import sys

from litellm._internal_context import is_internal_call

from hyperalign.backends.models.exchange import without_handlers
from tests.fixtures.scripted_server import ScriptedServer


def test_handlers_are_left_out_for_the_time_of_a_call() -> None:
    with without_handlers():
        assert is_internal_call.get()
    assert not is_internal_call.get()


# In a process of its own: LiteLLM keeps what it knows of callbacks for the whole of one.
HEARS = """
import sys, threading
import litellm
from hyperalign.backends.models.connect import connect
heard = threading.Event()
litellm.success_callback = [lambda *_: heard.set()]
assert connect("openai/any", api_base=sys.argv[1], api_key="k")("Hi") == ["ok"]
assert heard.wait(20)
"""


def test_a_callback_of_the_users_hears_of_calls(scripted_server: ScriptedServer) -> None:
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [sys.executable, "-c", HEARS, scripted_server.base],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
