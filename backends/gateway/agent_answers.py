"""What the tools for agents return, and the ratings that they take; each field says to the agent what it means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

__all__ = [
    "Forgot",
    "Known",
    "Message",
    "Predicted",
    "Quote",
    "RatedText",
    "Reason",
    "Remembered",
    "Rewritten",
    "Statement",
    "Who",
]


class Quote(BaseModel):
    """A short quote from a record."""

    record: Annotated[str, Field(description="the record's id")]
    quote: str
    supports: Annotated[bool, Field(description="whether it speaks for the statement; else against it")] = True


class Statement(BaseModel):
    """A statement about a person, with what it rests on."""

    id: str
    statement: str
    support: Annotated[str, Field(description="what it rests on, in words to the person")]
    weight: Annotated[float, Field(description="how much it counts, 0 to 1")]
    quotes: list[Quote]


class Known(BaseModel):
    """What is known of a person."""

    user: str
    records: int
    versions: int
    predicts: Annotated[str, Field(description="how well their held-out choices were predicted; empty: not known")] = ""
    stated: Annotated[list[str], Field(description="what they said of themselves")] = []
    statements: list[Statement] = []


class Who(BaseModel):
    """People of the store."""

    people: list[Known]
    note: str = ""


class Reason(BaseModel):
    """What decided between the two best answers."""

    what: str
    nats: Annotated[float, Field(description="log-odds for the best answer")]


class Predicted(BaseModel):
    """Which answer a person would choose."""

    user: str
    best: Annotated[int, Field(description="number of the answer, from 0")]
    probabilities: list[float]
    is_sure: Annotated[bool, Field(description="whether the interval is on one side of one half")]
    low: Annotated[float | None, Field(description="90 % interval: that the best is chosen over the next best")] = None
    high: float | None = None
    decided: list[Reason]
    evidence: list[Quote]
    note: str = ""


class Message(BaseModel):
    """One turn of a conversation."""

    role: str
    content: str


class Rewritten(BaseModel):
    """A text as a person would have it."""

    user: str
    text: Annotated[str, Field(description="the rewritten text; empty where no model is configured")] = ""
    messages: Annotated[
        list[Message], Field(description="send these to your own model to get the text, where it is empty")
    ] = []
    evidence: list[Quote]


class Remembered(BaseModel):
    """What was kept."""

    user: str
    records: Annotated[list[str], Field(description="ids of the records")]
    is_new: Annotated[bool, Field(description="whether any of them was not known before")]
    version: Annotated[int | None, Field(description="the version of the profile that has learned from it")] = None
    note: str = ""
    evidence: list[Quote]


class Forgot(BaseModel):
    """What was forgotten."""

    user: str
    what: Literal["record", "statement"]
    id: str
    versions: Annotated[list[int], Field(description="the versions that were changed")]
    statements: Annotated[list[str], Field(description="what none of them says any more")]
    note: str = ""


class RatedText(BaseModel):
    """A text with a rating."""

    text: str
    rating: Annotated[float, Field(description="higher is better")]
