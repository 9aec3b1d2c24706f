"""An adapter for the process that asks it: served on loopback from a thread, for as long as the process lives.

``connect("adapter:FOLDER")`` comes here. It asks for no verdict of the gate: who names a folder has chosen it.
"""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from ..runtimes.vllm_server import Served
from ..training.adapters import check_tokenizer, open_adapter, open_base
from .voices import Voices
from .wire import listen

__all__ = ["serve_at_home"]

_served: dict[str, Served] = {}
_guard = threading.Lock()


def serve_at_home(folder: Path) -> Served:
    """Where the adapter of a folder listens; loaded and served if it is not yet.

    Args:
        folder: of a whole adapter.

    Raises:
        NotFoundError: there is no adapter.
        TrainingError: it is not whole, fits no layer of its base, or changes nothing.
        ModelError: its base does not load.
        MissingExtraError: the 'train' extra is not installed.
    """
    adapter = open_adapter(folder)
    with _guard:
        if adapter.served_name not in _served:
            base = open_base(adapter.card)
            check_tokenizer(adapter, base.path)
            voices = Voices(base, "base", [adapter])
            key = secrets.token_urlsafe(24)
            server = listen(voices, port=0, key=key)
            threading.Thread(target=server.serve_forever, name=adapter.served_name, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_address[1]}/v1"
            _served[adapter.served_name] = Served(address, adapter.served_name, key)
        return _served[adapter.served_name]
