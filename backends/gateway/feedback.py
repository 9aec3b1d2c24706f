"""Feedback on answers: a thumb, a correction, or a choice between two; kept first, then learned from.

``POST /v1/feedback`` acknowledges what is on the disk. ``teach`` makes records of it, and ``hyperalign update`` reads
them. Doing so twice changes nothing, since a record's id comes from the feedback's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from hyperalign.errors import HyperalignError, InputError, NotFoundError, RecordError, UserIdError
from hyperalign.evals.sequential import Comparison, Observed, compare, should_switch_off
from hyperalign.records import Edit, Pair, Rating, Record, check_user, make_pairs
from hyperalign.text import describe_invalid_field

from .outcomes import RECORD_PREFIX, Outcomes
from .people import find_user
from .service import Service, check_binding
from .tables import Outcome, Said, Taught

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse

    from hyperalign.store import Store


__all__ = [
    "Feedback",
    "add_routes",
    "compare_arms",
    "keep_feedback",
    "read_open_webui",
    "switch_where_useless",
    "teach",
]

_MOST_BYTES = 2_000_000
_WAIT_SECONDS = 2.0
_log = logging.getLogger(__name__)

_Text = Annotated[str, StringConstraints(min_length=1, max_length=200_000, pattern=r"\S")]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Request = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Feedback(BaseModel):
    """One piece of feedback, as it is sent: one of ``thumb``, ``edited`` and ``chosen``.

    Attributes:
        user: the person; the header of the proxy goes before it.
        id: to send it again without being counted twice; from its content by default.
        request: ``id`` of the answer, or ``x-litellm-call-id`` of its headers; of a choice, of the chosen one.
        rejected_request: of a choice, that of the other answer.
        thumb: up or down.
        draft: what was corrected; the answer itself if left out.
        edited: what the person made of it, or sent.
        chosen: the answer that the person chose.
        rejected: the other one.
        prompt: what was answered.
        time: when, if not now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str | None = None
    id: _Name | None = None
    request: _Request = ""
    rejected_request: _Request = ""
    thumb: Literal["up", "down"] | None = None
    draft: _Text | None = None
    edited: _Text | None = None
    chosen: _Text | None = None
    rejected: _Text | None = None
    prompt: Annotated[str, StringConstraints(max_length=200_000)] = ""
    answer: Annotated[
        str, Field(max_length=200_000, description="what a thumb is about, where no request is named")
    ] = ""
    time: datetime | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _whole_characters(cls, value: object) -> object:
        # Half an emoji, which JSON may hold, can't be written as UTF-8.
        return value.encode(errors="replace").decode() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_one_thing(self) -> Feedback:
        said = [self.thumb is not None, self.edited is not None, self._is_choice]
        if sum(said) != 1:
            raise ValueError("give one of: thumb; edited; chosen and rejected")
        if self._is_choice and not (self.chosen and self.rejected) and not (self.request and self.rejected_request):
            raise ValueError("a choice names two texts, or two requests")
        if self.edited is not None and self.draft is None and not self.request:
            raise ValueError("a correction names its draft, or the request")
        if self.thumb is not None and not (self.request or self.answer):
            raise ValueError("a thumb names a request, or an answer")
        return self

    @property
    def _is_choice(self) -> bool:
        return bool(self.chosen or self.rejected or self.rejected_request)

    def to_said(self, user: str) -> Said:
        """The feedback as it is kept."""
        content = self.model_dump(exclude={"user", "id", "request", "time"}, exclude_defaults=True)
        stamp = (self.time or datetime.now(UTC)).astimezone(UTC).isoformat()
        named = json.dumps([user, self.request, content, self.time and stamp], sort_keys=True)
        known = self.id or hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        kind: Any = "thumb" if self.thumb else "edit" if self.edited else "choice"
        return Said(known, user, kind, content, self.request, stamp)


async def keep_feedback(service: Service, given: Feedback, user: str) -> Said:
    """Keep feedback; it is on the disk when this returns.

    Args:
        service: the gateway's.
        given: what was sent.
        user: the person.

    Raises:
        NotFoundError: the texts of a request are needed, and there is no such request of this person.
        StorageError: the disk or the database failed; nothing was kept.
    """
    said = given.to_said(user)
    needed = [given.request] if said.kind == "edit" and given.draft is None else []
    if said.kind == "choice" and not (given.chosen and given.rejected):
        needed = [given.request, given.rejected_request]
    answers = [await _find_answer(service, user, name) for name in needed]
    if said.kind == "edit" and answers:
        said.content.update(draft=answers[0][1], prompt=given.prompt or answers[0][0])
    elif answers:
        said.content.update(chosen=answers[0][1], rejected=answers[1][1], prompt=given.prompt or answers[0][0])
    await asyncio.wrap_future(service.writer.keep(said))
    return said


async def _find_answer(service: Service, user: str, request: str) -> tuple[str, str]:
    """Prompt and answer of a request, which may be written a moment after the answer was sent."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        found = await asyncio.to_thread(service.outcomes.find, user, request)
        if found is not None and found.answer:
            return found.prompt, found.answer
        if found is not None or time.monotonic() > until:
            raise NotFoundError(
                f"There is no answer {request!r} to {user!r} here, or its text is kept no longer.",
                remedy="Send the texts themselves: draft and edited, or chosen and rejected.",
            )
        await asyncio.sleep(0.05)


def read_open_webui(export: Any, *, name: str = "email") -> list[Feedback]:
    """Feedback from the export of Open WebUI's evaluations: thumbs, and choices between answers to one message.

    Args:
        export: the parsed JSON, a list.
        name: what is a person's id here: ``email``, ``name`` or ``id``.

    Raises:
        InputError: it is no such export, or has no such name.
    """
    if name not in ("email", "name", "id"):
        raise InputError(f"{name!r} names no user there.", remedy="Choose one of: email, name, id.")
    if not isinstance(export, list) or not all(isinstance(each, Mapping) for each in export):
        raise InputError("This is no export of Open WebUI's feedback.", remedy="Export it under Admin, Evaluations.")
    found: list[Feedback] = []
    for each in export:
        data, meta = _mapping(each.get("data")), _mapping(each.get("meta"))
        who = each.get("user_id") if name == "id" else _mapping(each.get("user")).get(name)
        rating = data.get("rating")
        if not isinstance(who, str) or str(rating) not in ("1", "-1"):
            continue
        chat = _mapping(_mapping(_mapping(each.get("snapshot")).get("chat")).get("chat"))
        turns = _mapping(_mapping(chat.get("history")).get("messages"))
        turn = _mapping(turns.get(str(meta.get("message_id"))))
        answer, prompt = _said(turn), _said(_mapping(turns.get(str(turn.get("parentId")))))
        stamp = each.get("created_at")
        moment = datetime.fromtimestamp(stamp, UTC) if isinstance(stamp, int | float) else None
        common: dict[str, Any] = {"user": who, "prompt": prompt, "time": moment}
        others = [
            _said(_mapping(other))
            for key, other in turns.items()
            if key != str(meta.get("message_id"))
            and _mapping(other).get("role") == "assistant"
            and _mapping(other).get("parentId") == turn.get("parentId")
        ]
        known = f"open-webui-{each.get('id')}"
        if answer:
            found.append(Feedback(id=known, thumb="up" if str(rating) == "1" else "down", answer=answer, **common))
        for number, other in enumerate(filter(None, others)):
            if answer and other != answer:
                pair = (answer, other) if str(rating) == "1" else (other, answer)
                found.append(Feedback(id=f"{known}-{number}", chosen=pair[0], rejected=pair[1], **common))
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _said(turn: Mapping[str, Any]) -> str:
    content = turn.get("content")
    return content if isinstance(content, str) and content.strip() else ""


def to_records(said: Sequence[Said]) -> list[Record]:
    """The records of one person's feedback.

    Corrections and choices are records. Thumbs are ratings: one up and one down for answers to one prompt make a pair.
    """
    records: list[Record] = []
    ratings: list[Rating] = []
    for each in said:
        content, stamp = each.content, datetime.fromisoformat(each.time)
        common: dict[str, Any] = {"user": each.user, "prompt": content.get("prompt", ""), "time": stamp}
        known = f"{RECORD_PREFIX}{each.id}"
        if each.kind == "edit" and content.get("draft") and content["draft"] != content["edited"]:
            records.append(Edit(id=known, draft=content["draft"], edited=content["edited"], **common))
        elif each.kind == "choice" and content.get("chosen") and content.get("rejected"):
            records.append(Pair(id=known, chosen=content["chosen"], rejected=content["rejected"], **common))
        elif each.kind == "thumb" and content.get("answer") and content.get("prompt"):
            rating = 1.0 if content["thumb"] == "up" else 0.0
            ratings.append(Rating(text=content["answer"], rating=rating, **common))
    return [*records, *make_pairs(ratings)]


def teach(
    store: Store,
    outcomes: Outcomes,
    user: str,
    *,
    clean: Callable[[Sequence[Record]], list[Record]] = list,
) -> int:
    """Make records of a person's feedback that waits; returns how many are new. Safe to repeat after a kill.

    Args:
        store: the person's records.
        outcomes: the feedback, in the same database.
        user: the person.
        clean: returns records without what is not to be kept, such as names.
    """
    outcomes.resolve()
    waiting = outcomes.feedback(user, before=Taught.RECORDED)
    if not waiting:
        return 0
    fresh = {f"{RECORD_PREFIX}{each.id}" for each in waiting}
    # A thumb may make a pair with one that came long before.
    made = to_records(outcomes.feedback(user))
    new = 0
    for record in clean([each for each in made if each.id in fresh or not each.id.startswith(RECORD_PREFIX)]):
        try:
            new += store.add_records([record])
        except (RecordError, UserIdError) as error:
            # Kept as feedback, for whoever reads the log to mend.
            _log.warning("Feedback of %r teaches nothing: %s", user, error.message)
    outcomes.mark_taught(user, [each.id for each in waiting], Taught.RECORDED)
    return new


def compare_arms(outcomes: Iterable[Outcome]) -> dict[str, Comparison]:
    """The profile on against off by kind of feedback, and by all of them together.

    Args:
        outcomes: in the order in which they came.
    """
    given = list(outcomes)
    kinds = [each.kind for each in given]
    # A choice is between both arms.
    seen: list[Observed] = [(None if each.kind == "choice" else each.arm == "on", each.value) for each in given]
    found = {
        kind: compare([each for each, its in zip(seen, kinds, strict=True) if its == kind])
        for kind in ("thumb", "edit", "choice")
    }
    return {**found, "all": compare(seen, kinds)}


def switch_where_useless(outcomes: Outcomes, user: str) -> str:
    """Switch a person's profile off if their own outcomes show that it does not help; returns why, or nothing."""
    if user in outcomes.switched_off():
        return ""
    why = should_switch_off(compare_arms(outcomes.outcomes(user))["all"])
    if why:
        outcomes.switch(user, why)
    return why


def add_routes(app: FastAPI, opened: Callable[[], Awaitable[Service]]) -> None:
    """Give a proxy ``POST /v1/feedback``; whoever may ask its models may send it.

    Args:
        app: the proxy's.
        opened: returns what the hook of the proxy works with.
    """
    from fastapi import Depends, Request
    from fastapi.responses import JSONResponse
    from litellm.proxy.auth.user_api_key_auth import user_api_key_auth

    async def read(request: Request) -> bytes:
        return await request.body()

    # The body first: the proxy's check of the key would leave nothing of it.
    async def feedback(
        request: Request,
        body: bytes = Depends(read),
        key: Any = Depends(user_api_key_auth),  # noqa: B008
    ) -> JSONResponse:
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            return JSONResponse(await _receive(await opened(), body, headers, key))
        except ValidationError as error:
            return _refusal(422, describe_invalid_field(error))
        except HyperalignError as error:
            status = 404 if isinstance(error, NotFoundError) else 422 if isinstance(error, InputError) else 503
            return _refusal(status, f"{error.message} {error.remedy}".strip())

    # FastAPI reads annotations as text, where these names are not known.
    read.__annotations__ = {"request": Request, "return": bytes}
    feedback.__annotations__ = {"request": Request, "body": bytes, "key": Any, "return": JSONResponse}
    app.add_api_route("/v1/feedback", feedback, methods=["POST"], tags=["hyperalign"])
    # First, so that no pattern of the proxy's own takes it.
    app.router.routes.insert(0, app.router.routes.pop())


async def _receive(service: Service, body: bytes, headers: Mapping[str, str], key: Any) -> dict[str, Any]:
    if len(body) > _MOST_BYTES:
        raise InputError("Feedback of more than two megabytes.", remedy="Send one answer's at a time.")
    try:
        parsed = json.loads(body)
    except ValueError as error:
        raise InputError(
            "The body is no JSON.", remedy='Send for example {"user": "mira", "thumb": "up", …}.'
        ) from error
    given = Feedback.model_validate(parsed)
    named = check_binding(key, find_user({"user": given.user}, headers, service.settings.user_headers))
    user = check_user(named or given.user or "")
    said = await keep_feedback(service, given, user)
    return {"id": said.id, "user": user, "kind": said.kind, "kept": True}


def _refusal(status: int, message: str) -> JSONResponse:
    from fastapi.responses import JSONResponse

    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status_code=status)
