"""What the parts of the gateway share: its settings, the database, the people, and the writer."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from hyperalign.errors import HyperalignError, InputError
from hyperalign.programs.strategies import Strategy
from hyperalign.programs.strategies import strategy as find_strategy

from .assignment import check_holdout
from .outcomes import Outcomes
from .people import PROFILE_TOKENS, USER_HEADERS, People
from .tables import Exchange, Said

__all__ = ["BOUND_TO", "GatewaySettings", "OutcomeWriter", "Service", "check_binding"]

BOUND_TO = "hyperalign_user"
"""In the metadata of a proxy's key: the one person that the key may speak for."""
_GATHER = 512
_GATHER_SECONDS = 0.2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GatewaySettings:
    """How the gateway personalizes.

    Attributes:
        store: the place of the store, or None for the one in the data folder: ``HYPERALIGN_STORE``.
        holdout: the share of conversations without the profile: ``HYPERALIGN_HOLDOUT``.
        max_tokens: the most tokens to spend on a profile: ``HYPERALIGN_PROFILE_TOKENS``.
        strategy: how a profile is put before the model: ``HYPERALIGN_STRATEGY``.
        user_headers: headers that may name the person, separated by commas: ``HYPERALIGN_USER_HEADERS``.
        keep_days: days to keep prompts and answers, which corrections by id need; 0 keeps none:
            ``HYPERALIGN_KEEP_DAYS``.
    """

    store: str | None = None
    holdout: float = 0.0
    max_tokens: int = PROFILE_TOKENS
    strategy: str = "verified"
    user_headers: tuple[str, ...] = USER_HEADERS
    keep_days: float = 7.0

    def __post_init__(self) -> None:
        check_holdout(self.holdout)
        find_strategy(self.strategy)
        if self.max_tokens < 1 or self.keep_days < 0:
            raise InputError(
                "The limit of tokens is at least 1, and days to keep texts are no negative number.",
                remedy="Set HYPERALIGN_PROFILE_TOKENS and HYPERALIGN_KEEP_DAYS anew.",
            )

    @classmethod
    def from_environment(cls) -> GatewaySettings:
        """The settings that are set.

        Raises:
            InputError: one is no number where it should be, or out of range.
        """
        found = os.environ
        headers = tuple(name.strip().lower() for name in found.get("HYPERALIGN_USER_HEADERS", "").split(",") if name)
        try:
            return cls(
                store=found.get("HYPERALIGN_STORE") or None,
                holdout=float(found.get("HYPERALIGN_HOLDOUT") or 0.0),
                max_tokens=int(found.get("HYPERALIGN_PROFILE_TOKENS") or PROFILE_TOKENS),
                strategy=found.get("HYPERALIGN_STRATEGY") or "verified",
                user_headers=headers or USER_HEADERS,
                keep_days=float(found.get("HYPERALIGN_KEEP_DAYS") or 7.0),
            )
        except ValueError as error:
            if isinstance(error, HyperalignError):
                raise
            raise InputError(
                f"A setting of the gateway is no number: {error}.",
                remedy="Set HYPERALIGN_HOLDOUT, HYPERALIGN_PROFILE_TOKENS and HYPERALIGN_KEEP_DAYS to numbers.",
            ) from error

    def to_environment(self) -> dict[str, str]:
        """The variables that say the same to another process."""
        return {
            **({"HYPERALIGN_STORE": self.store} if self.store else {}),
            "HYPERALIGN_HOLDOUT": f"{self.holdout:g}",
            "HYPERALIGN_PROFILE_TOKENS": str(self.max_tokens),
            "HYPERALIGN_STRATEGY": self.strategy,
            "HYPERALIGN_USER_HEADERS": ",".join(self.user_headers),
            "HYPERALIGN_KEEP_DAYS": f"{self.keep_days:g}",
        }


class OutcomeWriter:
    """Writes requests and feedback of one process in a thread, many in one transaction.

    Args:
        outcomes: where to.
    """

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self._queue: SimpleQueue[tuple[Exchange | Said, Future[None] | None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="hyperalign-outcomes", daemon=True)
        self._thread.start()

    def note(self, exchange: Exchange) -> None:
        """Keep a request soon."""
        self._queue.put((exchange, None))

    def keep(self, said: Said) -> Future[None]:
        """Keep feedback; the result is there once it is on the disk, or the error that kept it from there."""
        done: Future[None] = Future()
        self._queue.put((said, done))
        return done

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _gather(self) -> list[tuple[Exchange | Said, Future[None] | None] | None]:
        """What waits. Requests wait a moment for others, since nobody waits for them; feedback is written at once."""
        batch = [self._queue.get()]
        until = time.monotonic() + _GATHER_SECONDS
        while len(batch) < _GATHER and batch[-1] is not None:
            is_awaited = any(each is not None and each[1] is not None for each in batch)
            try:
                left = 0.0 if is_awaited else until - time.monotonic()
                batch.append(self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait())
            except Empty:
                break
        return batch

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch = self._gather()
            is_open = None not in batch
            items = [each for each in batch if each is not None]
            self._write(items)

    def _write(self, items: list[tuple[Exchange | Said, Future[None] | None]]) -> None:
        try:
            self._outcomes.keep(
                [each for each, _ in items if isinstance(each, Exchange)],
                [each for each, _ in items if isinstance(each, Said)],
            )
        except Exception as error:
            if len(items) > 1:
                # One that can't be written must not keep the others out.
                for item in items:
                    self._write([item])
                return
            kept, failed = items[0]
            if failed is None:
                _log.warning("A request of %r was not noted: %s", kept.user, error)
            else:
                failed.set_exception(error)
        else:
            for _, done in items:
                if done is not None:
                    done.set_result(None)


class Service:
    """What the hook and the pages beside it share: the database, the people, and the writer.

    Args:
        settings: how to personalize.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.strategy: Strategy = find_strategy(settings.strategy)
        self.outcomes = Outcomes(settings.store)
        self.key = self.outcomes.assignment_key()
        self.people = People(self.outcomes, on_damage=_log.warning)
        self.writer = OutcomeWriter(self.outcomes)


def check_binding(key: Any, user: str | None) -> str | None:
    """The person that a request is from, where its key may be bound to one.

    Raises:
        HTTPException: the request names somebody else than its key (403).
    """
    metadata = getattr(key, "metadata", None)
    bound = metadata.get(BOUND_TO) if isinstance(metadata, Mapping) else None
    if not isinstance(bound, str) or user == bound:
        return user
    if user is None:
        return bound
    from fastapi import HTTPException

    raise HTTPException(403, f"This key speaks for {bound!r} alone.")
