"""What the gateway has acknowledged is kept when it is killed under load."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx

from hyperalign.backends.gateway.feedback import teach
from hyperalign.backends.gateway.outcomes import Outcomes
from hyperalign.store import Store

from .conftest import Start, profile_of

USERS = ("ada", "bob", "eve")


def test_a_kill_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "store.sqlite"
    with Store(place) as store:
        for user in USERS:
            store.save(profile_of(user, "clarity"))
    gateway = start(place, "--no-learn")
    kept: list[tuple[str, str]] = []
    is_over = threading.Event()

    def send(thread: int) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            user, name = USERS[number % 3], f"{thread}-{number}"
            body = {"user": user, "id": name, "draft": f"It is {name}, perhaps.", "edited": f"{name}."}
            try:
                if gateway.post("feedback", body).is_success:
                    kept.append((user, name))
            except httpx.HTTPError:
                return

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 30
    while len(kept) < 60 and time.monotonic() < until:
        time.sleep(0.01)
    gateway.process.send_signal(signal.SIGKILL)
    gateway.process.wait()
    is_over.set()
    for thread in threads:
        thread.join()
    assert len(kept) >= 60
    outcomes = Outcomes(place)
    there = [(user, said.id) for user in USERS for said in outcomes.feedback(user)]
    assert len(there) == len(set(there))
    assert set(kept) <= set(there)
    with Store(place) as store:
        for user in USERS:
            teach(store, outcomes, user)
            teach(store, outcomes, user)
            records = [record.id for record in store.records(user)]
            assert sorted(records) == sorted(f"feedback-{name}" for who, name in there if who == user)
    outcomes.close()
