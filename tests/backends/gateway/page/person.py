"""An invented person with a page: records, a profile of every kind of statement, and a client that has opened it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from hyperalign.backends.gateway.page.app import page_app
from hyperalign.backends.gateway.page.links import Links
from hyperalign.profile import Evidence, Hypothesis, Profile, Provenance, TestResult
from hyperalign.programs.reward import Reward
from hyperalign.records import Edit, Pair, Record, Sample
from hyperalign.store import Store

SECRET = b"a secret of thirty-two bytes and more"
BASE = "http://127.0.0.1"
HOSTILE = "<script>alert('pwned')</script> & \u202etxt"

PAIRS = [
    Pair(
        user="mira",
        id=f"choice-{at}",
        prompt=f"Shall we meet on day {at}?",
        chosen=f"Yes! Gladly, on day {at}!" if at else "Yes, gladly, on that day.",
        rejected=f"A meeting on day {at} is possible." if at else "A meeting is possible!!",
    )
    for at in range(6)
]
TEXT = Sample(user="mira", id="text-1", prompt="Decline.", text=f"Not this time, dear Ruth. {HOSTILE}")
EDIT = Edit(user="mira", id="edit-1", prompt="Thank him.", draft="Thx a lot", edited="Thank you ever so much, Tom!")
RECORDS: list[Record] = [*PAIRS, TEXT, EDIT]


def passed(test: str, *records: Record, gain: float = 0.4) -> TestResult:
    names = [each.id for each in records]
    return TestResult(
        test=test, gain=gain, low=gain - 0.3, high=gain + 0.3, p=0.02, q=0.05, records=names, reference_records=12,
        scorer="measured",
    )  # fmt: skip


def profile() -> Profile:
    return Profile(
        user="mira",
        hypotheses=[
            Hypothesis(
                id="chosen-exclamations",
                statement="Uses exclamation marks: 4.0 for each 100 words, where most people use 0.5.",
                opposite="Avoids exclamation marks: none.",
                aspect="style",
                source="measured",
                evidence=[Evidence(quote="Gladly, on day 1!", record="choice-1")],
                test=passed("measurement", *PAIRS),
                weight=0.82,
            ),
            Hypothesis(
                id="i-warm",
                statement="Answers warmly.",
                opposite="Answers coldly.",
                aspect="communication",
                evidence=[
                    Evidence(quote="dear Ruth", record="text-1"),
                    Evidence(quote="A meeting on day 2", record="choice-2", supports=False, turned_down=True),
                ],
                test=passed("likelihood", TEXT),
                weight=0.5,
                scope="letter, note",
            ),
            Hypothesis(id="i-hostile", statement=HOSTILE, aspect="style", test=passed("choice", *PAIRS), weight=0.2),
        ],
        examples=[TEXT],
        stated=["No emoji, please.", "אני מעדיפה תשובות קצרות."],
        dropped=[
            Hypothesis(
                id="d-chance", statement="Is fond of the sea.", aspect="preference", test=passed("likelihood", TEXT),
                dropped_because="may be chance: the interval of its gain includes zero",
            ),
            Hypothesis(
                id="example-choice-3", kind="example", source="example", statement="A long text of hers. " * 20,
                aspect="style", dropped_because="4 surer ones were kept",
            ),
        ],
        reward=Reward.fit(PAIRS).to_profile(),
        provenance=Provenance(records=[each.id for each in RECORDS], choices=7, population="example people"),
    )  # fmt: skip


def fill(path: Path) -> Path:
    """A store with mira, and with Bo, whose page nobody else may see."""
    with Store(path) as store:
        store.add_records(RECORDS)
        store.add_records([Sample(user="bo", id="bo-1", text="What Bo alone may read.")])
        store.save(profile(), "inferred from 8 record(s)")
        store.save(Profile(user="bo", stated=["A secret of Bo's."]), "stated")
    return path


class Visitor:
    """A browser without scripts that has opened a person's page."""

    def __init__(self, path: Path, user: str = "mira", *, opens: bool = True, **given: Any) -> None:
        self.path = path
        self.links = Links(SECRET)
        self.client = TestClient(page_app(path, SECRET, encoder="none", **given), base_url=BASE)
        self.home = f"/u/{self.links.handle(user)}"
        self.user = user
        if opens:
            assert self.client.get(f"/open/{self.links.token(user)}").status_code == 200

    def read(self, screen: str = "") -> str:
        """A screen, as soon as it has no more to wait for."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            answer = self.client.get(f"{self.home}/{screen}")
            assert answer.status_code == 200, answer.text
            if 'http-equiv="refresh"' not in answer.text:
                return answer.text
        raise AssertionError(f"{screen} is still waiting")

    def field(self, name: str, screen: str = "") -> str:
        """The value of the first hidden field of a name."""
        return self.read(screen).split(f'name="{name}" value="', 1)[1].split('"', 1)[0]

    def send(self, action: str, **fields: str) -> str:
        """Send a form of the page, and return the page that it leads to."""
        form = {"csrf": self.field("csrf"), **fields}
        answer = self.client.post(f"{self.home}/do/{action}", data=form)
        assert answer.status_code == 200, answer.text
        assert answer.history[0].status_code == 303
        return answer.text

    def profile(self) -> Profile:
        with Store(self.path) as store:
            return store.load(self.user)
