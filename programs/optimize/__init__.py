"""Better prompts for the steps of the loop: ``optimize`` searches, and keeps what helps people it was not found on."""

from __future__ import annotations

from .search import optimize, search

__all__ = ["optimize", "search"]
