"""Choices in the shapes in which preference sets are published.

Pairs are those of HH-RLHF (Bai et al. 2022), UltraFeedback (Cui et al. 2024) and TRL: answers as texts or as dialogs.
PRISM (Kirk et al. 2024) has several rated answers a turn, of which one was chosen. Battles are those of Chatbot Arena
(Chiang et al. 2024) and MT-Bench (Zheng et al. 2023).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hyperalign.errors import RecordError

from .dialogs import MODEL_NAMES, Turn, as_turns, render, split_choice, to_text
from .interface import Columns, Entry, Format, PassedOver
from .rows import RowReader, first_rows, place
from .source import Source
from .turns import listed, string

__all__ = ["FORMATS", "Arena", "Pairs", "Prism"]

_TIES = "ties"
_SIDES = {"model_a": 0, "a": 0, "left": 0, "model_b": 1, "b": 1, "right": 1}


def _checked_rows(source: Source, reader: RowReader) -> Iterator[tuple[int, Mapping[str, Any] | Entry]]:
    """The rows of a set with their numbers, and in the place of one that is none what it gives instead."""
    rows = list(source.rows())
    if (problem := reader.check_columns(rows)) is not None:
        yield 0, problem
        return
    for number, row in rows:
        if isinstance(row, Mapping | RecordError):
            yield number, row
        else:
            yield number, reader.read(number, row)


def _has(source: Source, *names: str) -> bool:
    """Whether one of the first rows has all columns of these names."""
    return any(isinstance(row, Mapping) and set(names) <= row.keys() for row in first_rows(source))


class Pairs:
    """A prompt with a chosen and a rejected answer, or with one answer and whether it was liked."""

    name = "preferences"
    title = "preference pairs"

    def match(self, source: Source) -> int:
        """By the columns ``chosen`` and ``rejected``, or ``completion`` and ``label``."""
        if _has(source, "chosen", "rejected"):
            is_dialog = any(
                isinstance(row, Mapping) and (as_turns(row.get("chosen")) or "score_chosen" in row)
                for row in first_rows(source)
            )
            return 3 if is_dialog else 0
        return 3 if _has(source, "completion", "label") else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """Each row as a pair, or as a rating of its answer."""
        reader = RowReader(source, columns)
        for number, row in _checked_rows(source, reader):
            if not isinstance(row, Mapping):
                yield row
                continue
            score = row.get("score_chosen")
            if score is not None and score == row.get("score_rejected"):
                yield PassedOver(_TIES, number)
                continue
            for value in (row.get("prompt"), row.get("chosen")):
                for turn in as_turns(value) or ():
                    if turn.role == "system" and turn.text:
                        yield PassedOver("system turns", number)
            yield reader.read(number, _as_rating(row) if "completion" in row and "label" in row else row)


def _as_rating(row: Mapping[str, Any]) -> dict[str, Any]:
    """KTO's rows: an answer, and whether it was liked."""
    turns, begins = as_turns(row["completion"]), as_turns(row.get("prompt"))
    text = turns[-1].text if turns else to_text(row["completion"])
    label = row["label"]
    liked = label.strip().lower() in ("true", "1") if isinstance(label, str) else bool(label)
    shown = render(begins) if begins else row.get("prompt")
    rest = {name: value for name, value in row.items() if name not in ("completion", "label", "messages")}
    return {**rest, "prompt": shown, "text": text, "rating": float(liked)}


class Prism:
    """PRISM's utterances or conversations."""

    name = "prism"
    title = "PRISM"

    def match(self, source: Source) -> int:
        """By its columns; its survey is told as well, to say what to give instead."""
        if _has(source, "user_prompt", "model_response") or _has(source, "conversation_history", "user_id"):
            return 3
        return 3 if _has(source, "user_id", "stated_prefs") or _has(source, "user_id", "system_string") else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """At each turn the chosen answer against each other one, under the dialog so far."""
        del columns  # PRISM's own are known.
        reader = RowReader(source, Columns())
        talks: dict[Any, list[tuple[int, Mapping[str, Any]]]] = {}
        for number, row in source.rows():
            if isinstance(row, RecordError):
                yield row
            elif not isinstance(row, Mapping) or not {"user_prompt", "conversation_history"} & row.keys():
                yield RecordError(
                    "this is PRISM's survey or nothing of PRISM's: there are no answers to choose from.",
                    **place(source, number),
                    remedy="Give utterances.jsonl or conversations.jsonl of the same data set.",
                )
                return
            elif "conversation_history" in row:
                talks[number] = [(number, each) for each in _as_utterances(row)]
            else:
                talks.setdefault((row.get("user_id"), row.get("conversation_id")), []).append((number, row))
        for talk in talks.values():
            yield from _read_talk(talk, reader)


def _as_utterances(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A conversation with its history as rows of one answer each."""
    asked: dict[Any, str] = {}
    history = row["conversation_history"]
    history = json.loads(history) if isinstance(history, str) and history.startswith("[") else history
    for each in listed(history):
        if not isinstance(each, Mapping):
            continue
        if each.get("role") == "user":
            asked[each.get("turn")] = string(each.get("content"))
        else:
            yield {
                "user_id": row.get("user_id"),
                "turn": each.get("turn"),
                "user_prompt": asked.get(each.get("turn"), ""),
                "model_response": each.get("content"),
                "score": each.get("score"),
                "if_chosen": each.get("if_chosen"),
                "time": row.get("generated_datetime"),
            }


def _read_talk(talk: list[tuple[int, Mapping[str, Any]]], reader: RowReader) -> Iterator[Entry]:
    history: list[Turn] = []
    turns: dict[Any, list[tuple[int, Mapping[str, Any]]]] = {}
    for number, row in talk:
        turns.setdefault(row.get("turn"), []).append((number, row))
    for turn in sorted(turns, key=lambda each: (str(type(each)), each if isinstance(each, int | float) else 0)):
        answers = turns[turn]
        first = answers[0][1]
        history.append(Turn("user", string(first.get("user_prompt")).strip()))
        chosen = [(number, row) for number, row in answers if _is_true(row.get("if_chosen"))]
        if len(chosen) != 1:
            yield PassedOver("turns without one choice", answers[0][0])
            continue
        (at, best), prompt = chosen[0], render(history)
        for number, row in answers:
            if row is best:
                continue
            if not string(row.get("model_response")).strip() or not string(best.get("model_response")).strip():
                yield PassedOver("empty answers", number)
                continue
            pair = {"prompt": prompt, "chosen": best["model_response"], "rejected": row["model_response"]}
            whose = {"user": row.get("user_id"), "time": row.get("time") or row.get("generated_datetime")}
            yield reader.read(max(at, number), {**whose, **pair})
        history.append(Turn("assistant", string(best.get("model_response")).strip()))


def _is_true(value: Any) -> bool:
    # Tables of text have numbers as text, too.
    return value is True or value == 1 or (isinstance(value, str) and value.strip().lower() in ("true", "1", "1.0"))


class Arena:
    """Battles of two models: what both answered, and who won."""

    name = "arena"
    title = "arena battles"

    def match(self, source: Source) -> int:
        """By two conversations or responses, and a winner."""
        sides = _has(source, "conversation_a", "conversation_b") or _has(source, "response_a", "response_b")
        winners = any(_has(source, name) for name in ("winner", "winner_model_a", "preference"))
        return 3 if sides and winners else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """Each battle that somebody won as a pair of the judge."""
        reader = RowReader(source, columns)
        for number, row in _checked_rows(source, reader):
            if not isinstance(row, Mapping):
                yield row
                continue
            side = _winner(row)
            if _is_model(row.get("judge")):
                yield PassedOver("judgments of a model", number)
            elif side is None:
                yield PassedOver(_TIES, number)
            else:
                answers = _sides(row)
                pair = split_choice(answers[2], answers[side], answers[1 - side])
                whose = {} if "user" in columns.names else _judge(row)
                rest = {name: value for name, value in row.items() if not name.endswith(("_a", "_b", "prompt"))}
                yield reader.read(number, {**rest, **whose, **pair})


def _is_model(judge: Any) -> bool:
    """Whether a judge is a model, as MT-Bench writes it: ``["gpt-4", "pair"]`` or ``gpt4_pair``."""
    name = string(judge).lower()
    return isinstance(judge, list | tuple) or name.startswith("gpt") or re.split(r"[-_]", name)[0] in MODEL_NAMES


def _winner(row: Mapping[str, Any]) -> int | None:
    if "winner_model_a" in row:
        won = [_is_true(row.get("winner_model_a")), _is_true(row.get("winner_model_b"))]
        return won.index(True) if sum(won) == 1 else None
    winner = string(row.get("winner") or row.get("preference")).strip().lower()
    names = {string(row.get("model_a")).lower(): 0, string(row.get("model_b")).lower(): 1}
    return _SIDES.get(winner, names.get(winner) if winner and len(names) > 1 else None)


def _sides(row: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Both answers and the prompt, as texts or dialogs; what tables keep as JSON is read as such."""
    if "conversation_a" in row:
        sides = [_parsed(row.get(name)) for name in ("conversation_a", "conversation_b")]
        turn = row.get("turn")
        # MT-Bench judges the first of two turns, too.
        if isinstance(turn, int) and not isinstance(turn, bool) and turn > 0:
            sides = [side[: 2 * turn] if isinstance(side, list) else side for side in sides]
        return sides[0], sides[1], None
    prompt, *answers = (_parsed(row.get(name)) for name in ("prompt", "response_a", "response_b"))
    if isinstance(prompt, list) and all(isinstance(each, list) for each in answers):
        dialogs = [
            [
                {"role": role, "content": string(text)}
                for asked, answered in zip(prompt, answer, strict=False)
                for role, text in (("user", asked), ("assistant", answered))
            ]
            for answer in answers
        ]
        return dialogs[0], dialogs[1], None
    return answers[0], answers[1], prompt


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _judge(row: Mapping[str, Any]) -> dict[str, Any]:
    """Who judged, and when."""
    names = ("user", "user_id", "judge", "judge_id", "judge_hash", "annotator", "annotator_id", "worker_id", "username")
    who = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    return {"user": who, "time": row.get("tstamp") or row.get("timestamp") or row.get("time")}


FORMATS: list[Format] = [Prism(), Arena(), Pairs()]
