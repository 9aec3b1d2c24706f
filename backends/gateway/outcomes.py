"""What the gateway keeps beside the store's records: answered requests, feedback on them, and who is switched off.

The tables lie in the store's database. Feedback is acknowledged after its transaction is on the disk.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, delete, func, inspect, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from hyperalign.store.database import WRITES, open_engine, parse_place, translate_errors
from hyperalign.store.interface import describe_place
from hyperalign.store.tables import VersionRow

from .tables import (
    Base,
    Exchange,
    ExchangeRow,
    FeedbackIdRow,
    FeedbackRow,
    Outcome,
    Said,
    SettingRow,
    State,
    SwitchRow,
    Taught,
)

__all__ = ["RECORD_PREFIX", "Outcomes", "forget_in", "is_used", "kept_share"]

# Asked often: built once.
_earlier = aliased(VersionRow)
_newest = select(func.max(_earlier.number)).where(_earlier.user_id == VersionRow.user_id).scalar_subquery()
_NEWEST = (
    select(VersionRow.user_id, VersionRow.content, VersionRow.number, SwitchRow.reason)
    .outerjoin(SwitchRow, SwitchRow.user_id == VersionRow.user_id)
    .where(VersionRow.user_id.in_(bindparam("users", expanding=True)), VersionRow.number == _newest)
)
RECORD_PREFIX: Final = "feedback-"
"""Begins the ids of records that were made from feedback; the feedback's own id follows."""
_SETTING_KEY = "assignment_key"
_ADVISORY_LOCK = 0x68796777
_ATTEMPTS = 20
_Result = TypeVar("_Result")


class Outcomes:
    """The gateway's tables in a store's database.

    Args:
        place: of the store, as ``Store`` takes it.

    Raises:
        StorageError: the database could not be opened.
        InputError: ``place`` is not a valid address.
    """

    def __init__(self, place: str | Path | None = None) -> None:
        url = parse_place(place)
        self.name = describe_place(url)
        with translate_errors(self.name):
            self._engine = open_engine(url)
            self._writer = self._engine.execution_options(**{WRITES: True})
            try:
                with self._writer.begin() as connection:
                    if connection.dialect.name == "postgresql":
                        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
                    Base.metadata.create_all(connection)
            except BaseException:
                self._engine.dispose()
                raise

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def assignment_key(self) -> bytes:
        """The key by which requests are dealt, made once for each store."""

        def work(session: Session) -> bytes:
            found = session.get(SettingRow, _SETTING_KEY)
            if found is None:
                found = SettingRow(name=_SETTING_KEY, value=secrets.token_hex(32))
                session.add(found)
                session.flush()
            return bytes.fromhex(found.value)

        return self._write(work)

    def states(self, users: Sequence[str]) -> dict[str, State]:
        """The newest version of each of some people's profiles, unparsed; those without a profile are left out."""
        with translate_errors(self.name), self._engine.connect() as connection:
            rows = connection.execute(_NEWEST, {"users": list(users)}).all()
        return {user: State(content, number, reason or "") for user, content, number, reason in rows}

    def keep(self, exchanges: Sequence[Exchange] = (), said: Sequence[Said] = ()) -> None:
        """Keep requests and feedback; they are on the disk when this returns. What is known is left as it is."""
        now = _now()

        def work(session: Session) -> None:
            known = _known_requests(session, [each.id for each in exchanges])
            for each in {each.id: each for each in exchanges if each.id not in known}.values():
                session.add(_exchange_row(each, now))
            for given in said:
                if session.get(FeedbackIdRow, (given.user, given.id)) is None:
                    session.add(FeedbackIdRow(user_id=given.user, feedback_id=given.id))
                    session.add(_feedback_row(given, now))
            session.flush()
            if said:
                _resolve(session, {given.user for given in said})

        self._write(work)

    def find(self, user: str, request: str) -> Exchange | None:
        """A person's request, by its own id or that of the answer; the newest of that id."""
        return self._read(lambda session: _to_exchange(_find_request(session, user, request)))

    def resolve(self) -> None:
        """Give feedback the arm of its request, where that was kept after the feedback."""
        self._write(lambda session: _resolve(session, None))

    def waiting(self) -> dict[str, datetime]:
        """People with feedback that nothing has learned from yet, the longest waiting first, and when the last came."""
        query = (
            select(FeedbackRow.user_id, FeedbackRow.kept)
            .where(FeedbackRow.taught < int(Taught.LEARNED))
            .order_by(FeedbackRow.number)
        )
        return {
            row[0]: datetime.fromisoformat(row[1]) for row in self._read(lambda session: session.execute(query).all())
        }

    def feedback(self, user: str, *, before: Taught | None = None) -> list[Said]:
        """A person's feedback, the oldest first; only what has not come so far if a step is given."""
        query = select(FeedbackRow).where(FeedbackRow.user_id == user).order_by(FeedbackRow.number)
        if before is not None:
            query = query.where(FeedbackRow.taught < int(before))
        return self._read(lambda session: [_to_said(row) for row in session.scalars(query)])

    def mark_taught(self, user: str, ids: Iterable[str], step: Taught) -> None:
        """Note how far feedback has come on its way into the person's profile."""
        names = list(ids)
        self._write(
            lambda session: session.execute(
                update(FeedbackRow)
                .where(FeedbackRow.user_id == user, FeedbackRow.feedback_id.in_(names))
                .values(taught=int(step))
            )
        )

    def outcomes(self, user: str | None = None) -> list[Outcome]:
        """Outcomes of requests that were dealt at random, of one person or all, in the order in which they came.

        A conversation counts once for each kind, by its first outcome: its requests share one arm.
        """
        self.resolve()
        query = select(FeedbackRow).where(FeedbackRow.value.is_not(None)).order_by(FeedbackRow.number)
        if user is not None:
            query = query.where(FeedbackRow.user_id == user)
        rows = self._read(lambda session: session.scalars(query).all())
        found: dict[tuple[str, str, str], Outcome] = {}
        for row in rows:
            kind: Any = row.kind
            place = row.user_id, row.conversation if kind != "choice" else row.feedback_id, kind
            found.setdefault(place, Outcome(row.user_id, row.conversation, kind, row.arm, float(row.value or 0.0)))
        return list(found.values())

    def switch(self, user: str, reason: str) -> None:
        """Switch a person's profile off for a reason, or on again if the reason is empty."""

        def work(session: Session) -> None:
            if reason:
                session.merge(SwitchRow(user_id=user, reason=reason, time=_now()))
            else:
                session.execute(delete(SwitchRow).where(SwitchRow.user_id == user))

        self._write(work)

    def switched_off(self) -> dict[str, str]:
        """Whose profile is switched off, and why."""
        return self._read(lambda session: {row.user_id: row.reason for row in session.scalars(select(SwitchRow)).all()})

    def forget(self, user: str, *, record: str | None = None) -> None:
        """Delete what is kept here of a person, or the feedback that a record was made from.

        Args:
            user: the person.
            record: the record's id; texts of the request that the feedback is about go, too.
        """

        def everything(session: Session) -> None:
            for table in (ExchangeRow, FeedbackRow, FeedbackIdRow, SwitchRow):
                session.execute(delete(table).where(table.user_id == user))

        def one(session: Session) -> None:
            name = (record or "").removeprefix(RECORD_PREFIX)
            mine = (FeedbackRow.user_id == user, FeedbackRow.feedback_id == name)
            for request in session.scalars(select(FeedbackRow.request).where(*mine)).all():
                about = or_(ExchangeRow.request_id == request, ExchangeRow.response_id == request)
                emptied = update(ExchangeRow).where(ExchangeRow.user_id == user, about).values(prompt="", answer="")
                session.execute(emptied)
            # Its id stays, so that the same is not taken in again; so does its outcome, which has no text.
            session.execute(update(FeedbackRow).where(*mine).values(content="{}", taught=int(Taught.LEARNED)))

        self._write(everything if record is None else one)

    def forget_texts(self, days: float) -> None:
        """Delete prompts and answers of requests that are older than some days; their arms stay."""
        before = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        self._write(
            lambda session: session.execute(
                update(ExchangeRow)
                .where(ExchangeRow.time < before, or_(ExchangeRow.prompt != "", ExchangeRow.answer != ""))
                .values(prompt="", answer="")
            )
        )

    def _read(self, work: Callable[[Session], _Result]) -> _Result:
        with translate_errors(self.name), Session(self._engine, expire_on_commit=False) as session, session.begin():
            return work(session)

    def _write(self, work: Callable[[Session], _Result]) -> _Result:
        again = Retrying(
            retry=retry_if_exception_type(IntegrityError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random(0, 0.05),
            reraise=True,
        )

        def once() -> _Result:
            with Session(self._writer, expire_on_commit=False) as session, session.begin():
                return work(session)

        with translate_errors(self.name):
            return again(once)


def forget_in(place: str | Path | None, user: str, *, record: str | None = None) -> None:
    """Delete what a gateway keeps of a person in a store, or of one record; see ``Outcomes.forget``.

    ``Store.scrub`` wipes it from the database's files. A store that no gateway has used stays as it is.
    """
    if is_used(place):
        with closing(Outcomes(place)) as outcomes:
            outcomes.forget(user, record=record)


def is_used(place: str | Path | None) -> bool:
    """Whether a gateway has used a store; asking leaves the store as it is."""
    url = parse_place(place)
    with translate_errors(describe_place(url)):
        engine = open_engine(url)
        try:
            return inspect(engine).has_table(FeedbackRow.__tablename__)
        finally:
            engine.dispose()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _known_requests(session: Session, ids: Sequence[str]) -> set[str]:
    query = select(ExchangeRow.request_id).where(ExchangeRow.request_id.in_(ids))
    return set(session.scalars(query)) if ids else set()


def _exchange_row(each: Exchange, now: str) -> ExchangeRow:
    return ExchangeRow(
        request_id=_storable(each.id)[:128],
        response_id=_storable(each.response)[:256],
        user_id=each.user,
        conversation=each.conversation,
        arm=each.arm,
        version=each.version,
        time=now,
        prompt=_storable(each.prompt),
        answer=_storable(each.answer),
    )


def _storable(text: str) -> str:
    """A text without what no database takes: NUL, and half an emoji."""
    return text.encode(errors="replace").decode().replace("\0", "")


def _feedback_row(given: Said, now: str) -> FeedbackRow:
    return FeedbackRow(
        feedback_id=given.id,
        user_id=given.user,
        time=given.time or now,
        kept=now,
        kind=given.kind,
        content=json.dumps(given.content),
        request=given.request,
        value=None,
    )


def _find_request(session: Session, user: str, request: str) -> ExchangeRow | None:
    query = (
        select(ExchangeRow)
        .where(
            ExchangeRow.user_id == user,
            or_(ExchangeRow.request_id == request, ExchangeRow.response_id == request),
        )
        .order_by(ExchangeRow.time.desc())
        .limit(1)
    )
    return session.scalars(query).first()


def _to_exchange(row: ExchangeRow | None) -> Exchange | None:
    if row is None:
        return None
    arm: Any = row.arm
    return Exchange(
        row.request_id, row.response_id, row.user_id, row.conversation, arm, row.version, row.prompt, row.answer
    )


def _to_said(row: FeedbackRow) -> Said:
    kind: Any = row.kind
    return Said(row.feedback_id, row.user_id, kind, json.loads(row.content), row.request, row.time, row.arm, row.value)


def _resolve(session: Session, users: set[str] | None) -> None:
    """Look up the requests of feedback without an arm, and say what it says of the arms."""
    query = select(FeedbackRow).where(FeedbackRow.request != "", FeedbackRow.arm == "")
    if users is not None:
        query = query.where(FeedbackRow.user_id.in_(users))
    for row in session.scalars(query):
        exchange = _find_request(session, row.user_id, row.request)
        content = json.loads(row.content)
        if exchange is None or not content:  # forgotten
            continue
        row.conversation, row.arm = exchange.conversation, exchange.arm
        if row.kind == "choice":
            other = _find_request(session, row.user_id, content.get("rejected_request", ""))
            row.value = _preference(exchange.arm, other.arm) if other is not None else None
            continue
        if exchange.arm in ("on", "off"):
            row.value = _value(row.kind, content, exchange.answer)
        if row.kind == "edit" and not content.get("draft"):
            row.content = json.dumps({**content, "draft": exchange.answer, "prompt": exchange.prompt})
        elif not content.get("prompt") and exchange.prompt:
            row.content = json.dumps({**content, "prompt": exchange.prompt, "answer": exchange.answer})


def _preference(chosen: str, rejected: str) -> float | None:
    arms = {"on": 1, "forced_on": 1, "off": 0, "forced_off": 0}
    if chosen not in arms or rejected not in arms or arms[chosen] == arms[rejected]:
        return None
    return 1.0 if arms[chosen] else -1.0


def _value(kind: str, content: dict[str, Any], answer: str) -> float | None:
    """How good an answer was: a thumb up 1 and down 0; of an edit, the share of words that stayed."""
    if kind == "thumb":
        return 1.0 if content.get("thumb") == "up" else 0.0
    draft, edited = content.get("draft") or answer, content.get("edited", "")
    return kept_share(draft, edited) if draft else None


def kept_share(draft: str, edited: str) -> float:
    """The share of words that two texts have in common, in order: twice their matches over all words."""
    from difflib import SequenceMatcher

    return SequenceMatcher(None, draft.split(), edited.split(), autojunk=False).ratio()
