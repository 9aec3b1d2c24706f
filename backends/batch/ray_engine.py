"""Fits people on the workers of a Ray cluster: Ray Data reads the files into the store, actors fit from the store.

What an actor does for a person is what one process does: see ``people``. An actor that is killed is started again, and
the people it was at work on are given to it again; the store tells who of them was saved already.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError, InputError, MissingExtraError, ModelError
from hyperalign.store import Store

from .people import FitSettings, PeopleFitter
from .run import Engine, PersonResult, add_people

__all__ = ["RayCluster", "Reader", "fit_with_ray", "open_cluster", "read_with_ray"]

# Loopback only where Ray is started here; its own minimum is 75 MB.
_OBJECT_STORE_BYTES = 200_000_000
_POLL_SECONDS = 0.5

Reader = Callable[[str], Iterator[tuple[str, Sequence[Any]]]]
"""Reads one file: each person in it, with their records."""


@dataclass(frozen=True)
class RayCluster:
    """A Ray cluster in use.

    Attributes:
        ray: the module.
        workers: actors that fit, one processor each.
    """

    ray: Any
    workers: int


@contextmanager
def open_cluster(address: str | None = None, workers: int | None = None) -> Iterator[RayCluster]:
    """Connect to a Ray cluster, or start one on this machine for the time of the ``with`` block.

    Args:
        address: of the cluster, as ``ray.init`` takes it; None to start one here, for this machine alone.
        workers: actors to fit with; one for each processor of the cluster if None.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: there are fewer than one worker.
        ModelError: no cluster answers at this address, or none starts here.
    """
    # Before it is imported. Nothing is told to Ray's makers, and a cluster of this machine alone listens on loopback.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Workers are what the machine is to do; by Ray's default they give way to everything else.
        os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("Ray", "ray") from error
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers.", remedy="Give 1 or more.")
    given: dict[str, Any] = {"address": address} if address is not None else _local(workers)
    _connect(ray, address, given)
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
        yield RayCluster(ray, workers or max(1, int(resources.get("CPU", 1))))
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str | None, given: Mapping[str, Any]) -> None:
    # Where a processor is busy, Ray gives up its own start after some seconds: what it had loaded is at hand then.
    for is_last in (address is not None, True):
        try:
            ray.init(**given, log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception as error:  # Ray raises a plain Exception where it does not start in time
            ray.shutdown()
            where = f"answers at {address}" if address is not None else "could be started on this machine"
            if is_last:
                raise ModelError(
                    f"No Ray cluster {where}: {error}",
                    remedy="Check --ray-address, or start one with 'ray start --head' and name its address.",
                ) from error


def _local(workers: int | None) -> dict[str, Any]:
    from hyperalign.concurrency import processor_threads

    return {
        "num_cpus": workers or processor_threads(),
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
    }


def read_with_ray(
    cluster: RayCluster, files: Sequence[Path | str], read: Reader, store: str | None
) -> Iterator[PersonResult]:
    """Read files into the store by Ray Data, one task a file.

    Args:
        cluster: where.
        files: that every machine of the cluster can read.
        read: reads one of them.
        store: the place of the store.

    Yields:
        Each person of each file, done or failed; somebody who is in two files comes twice.
    """
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def load(row: Mapping[str, Any]) -> list[dict[str, Any]]:
        with Store(store) as opened:
            return [{"person": found.to_json()} for found in add_people(opened, read(row["file"]))]

    rows = ray.data.from_items([{"file": str(file)} for file in files], override_num_blocks=len(files))
    for row in rows.flat_map(load).iter_rows():
        yield PersonResult.from_json(row["person"])


class _Worker:
    """An actor: a ``PeopleFitter`` whose threads Ray calls."""

    def __init__(self, side_by_side: int) -> None:
        self._side_by_side = side_by_side
        self._fitter: PeopleFitter | None = None
        self._lock = threading.Lock()

    def fit(self, shared: Sequence[Any], user: str) -> PersonResult:
        """Fit a person.

        Args:
            shared: where Ray holds the settings; they are fetched once.
            user: the person.
        """
        import ray

        with self._lock:
            if self._fitter is None:
                self._fitter = PeopleFitter(ray.get(shared[0]), side_by_side=self._side_by_side)
        return self._fitter.fit(user)


def fit_with_ray(cluster: RayCluster, settings: FitSettings, side_by_side: int, budget: Budget) -> Engine:
    """An engine of many processes, perhaps on many machines.

    Args:
        cluster: where.
        settings: what decides the fits. ``concurrency`` is that of all workers together.
        side_by_side: people at once, of all workers together.
        budget: what people have spent is booked here when they are done; when a cap is reached, nobody else is begun.
    """
    ray, workers = cluster.ray, cluster.workers
    each = -(-side_by_side // workers)
    model = {**settings.model, "concurrency": max(1, settings.concurrency // workers)}

    def engine(users: Iterator[str], keep: Callable[[PersonResult], None]) -> None:
        # Shared memory holds the settings once, with the reference population.
        shared = [ray.put(replace(settings, model=model))]
        # A task that a worker's end cut off is given to its successor.
        made = ray.remote(_Worker).options(num_cpus=1, max_restarts=-1, max_task_retries=-1, max_concurrency=each)
        actors = [made.remote(each) for _ in range(workers)]
        dealer = _Dealer(ray, actors * each, shared, keep, budget)
        try:
            dealer.deal(users)
        except BudgetExceededError:
            while dealer.under_way:
                dealer.wait()
            raise
        finally:
            for actor in actors:
                ray.kill(actor)

    return engine


class _Dealer:
    """Deals people to workers that have a place free, and takes what came of them."""

    def __init__(
        self, ray: Any, places: Sequence[Any], shared: Any, keep: Callable[[PersonResult], None], budget: Budget
    ) -> None:
        self.under_way: dict[Any, tuple[Any, str]] = {}
        self._ray, self._shared, self._keep, self._budget = ray, shared, keep, budget
        self._free = deque(places)

    def deal(self, users: Iterator[str]) -> None:
        """Have everybody fitted."""
        while True:
            while self._free and (user := next(users, None)) is not None:
                self._budget.check()
                actor = self._free.popleft()
                self.under_way[actor.fit.remote(self._shared, user)] = actor, user
            if not self.under_way:
                return
            self.wait()

    def wait(self) -> None:
        """Take the next results, if any come soon."""
        for reference in self._ray.wait(list(self.under_way), num_returns=1, timeout=_POLL_SECONDS)[0]:
            actor, user = self.under_way.pop(reference)
            self._free.append(actor)
            try:
                result: PersonResult = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                # How the person's own fit failed would be in a result: the worker could not be started again, say.
                result = PersonResult.failed(user, ModelError(f"A Ray worker failed: {type(error).__name__}."))
            if result.is_new:
                self._budget.add(result.usage, step="people")
            self._keep(result)
