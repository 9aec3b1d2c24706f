"""Profiles and records of many people, kept in a database.

``Store`` is the front of it; the rest of the package stays behind it. The database library
is loaded with the first use of ``Store``, not with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .interface import Bundle, Person, Removed, StoreLike, Version

if TYPE_CHECKING:
    from .store import Store

__all__ = ["Bundle", "Person", "Removed", "Store", "StoreLike", "Version"]


def __getattr__(name: str) -> Any:
    if name == "Store":
        from .store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
