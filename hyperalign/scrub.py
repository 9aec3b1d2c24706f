"""Takes secrets out of what is shown or written: servers repeat keys and headers in their messages."""

from __future__ import annotations

import os
import re
import threading

__all__ = ["remember_secret", "scrub"]

_SECRET_NAMES = ("API_KEY", "_TOKEN", "_SECRET", "ACCESS_KEY", "ACCESS_KEY_ID", "_PASSWORD")
# Shorter values would take parts of ordinary words out.
_SHORTEST = 6
_known: set[str] = set()
_lock = threading.Lock()


def remember_secret(value: str | None) -> None:
    """Never show a value again."""
    if value is not None and len(value) >= _SHORTEST:
        with _lock:
            _known.add(value)


def scrub(text: str) -> str:
    """A text without the secrets that were remembered, those of the environment, and passwords in addresses.

    Args:
        text: a message, such as a server's.
    """
    named = {value for name, value in os.environ.items() if name.endswith(_SECRET_NAMES) and len(value) >= _SHORTEST}
    with _lock:
        secrets = named | _known
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return re.sub(r"//[^/\s@]+@", "//…@", text)
