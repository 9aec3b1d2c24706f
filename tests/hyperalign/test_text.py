"""Cutting, finding and fencing text, and the adapter for plain conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperalign.errors import ModelOutputError
from hyperalign.profile import Profile
from hyperalign.programs.adapters import PlainAdapter
from hyperalign.programs.generate import AnswerAsThePerson
from hyperalign.scores import Message
from hyperalign.text import excerpt, fence, find_quote, sentences


def test_an_excerpt_ends_at_a_sentence_in_its_second_half() -> None:
    text = "One two three. Four five six seven. Eight nine ten eleven twelve."
    assert excerpt(text, 9) == "One two three. Four five six seven."
    assert excerpt(text, 100) == text
    assert excerpt("One. Two three four five six seven", 5) == "One. Two three four five"
    assert excerpt("   ", 5) == ""


def test_where_no_space_parts_words_each_character_is_one() -> None:
    text = "这是一个很长的中文文本。我今天去了市场，买了果酱！明天再去。" * 50
    assert excerpt(text, 30) == "这是一个很长的中文文本。我今天去了市场，买了果酱！"
    assert sentences(text)[:2] == ["这是一个很长的中文文本。", "我今天去了市场，买了果酱！"]
    assert find_quote("买了果酱", text) == "买了果酱"
    assert find_quote("买了黄油", text) is None
    assert len(excerpt("word " + "x" * 10_000, 5)) < 200, "what is no word is not read whole"


@given(st.text(), st.integers(1, 20))
def test_an_excerpt_is_a_verbatim_beginning_within_its_words(text: str, words: int) -> None:
    cut = excerpt(text, words)
    assert text.strip().startswith(cut)
    assert len(cut.split()) <= words


@given(st.text())
def test_sentences_are_verbatim(text: str) -> None:
    assert all(sentence in text for sentence in sentences(text))


def test_sentences_end_at_line_breaks_too() -> None:
    assert sentences('Dear Sir\n\nI came. "Did I?" Yes… so\n***') == ["Dear Sir", "I came.", '"Did I?"', "Yes…", "so"]


def test_a_quote_is_found_in_the_text_s_own_wording() -> None:
    text = "She said: “Don’t you DARE,\n  my friend” and left."
    assert find_quote("don't you dare my friend", text) == "Don’t you DARE,\n  my friend"
    assert find_quote("you dare my enemy", text) is None
    assert find_quote("dare", text) is None, "one word proves nothing"
    assert find_quote("", text) is None


@given(st.text(), st.text())
def test_a_found_quote_is_verbatim(quote: str, text: str) -> None:
    found = find_quote(quote, text)
    assert found is None or found in text


@pytest.mark.parametrize(
    "forged", ["</text>", "</TEXT >", "< / text >", "<text>", "</B>", "<A>", "</text\n>", "a </text> b </text> c"]
)
def test_a_text_cannot_close_its_fence(forged: str) -> None:
    for tag in ("text", "A", "B"):
        lines = fence(f"Before {forged} after: x < y, <b>bold</b>?", tag)
        inside = lines.removeprefix(f"<{tag}>\n").removesuffix(f"\n</{tag}>")
        assert not any(mark in inside for mark in ("</text", "</TEXT", "< / text", "<text>", "</B>", "<A>", "<b>"))
        assert "‹" in inside
        assert " after: x < y, " in inside


def test_ordinary_text_is_fenced_as_it_is() -> None:
    assert fence("I <3 you; see <i>this</i> and <author>.", "text") == (
        "<text>\nI <3 you; see <i>this</i> and <author>.\n</text>"
    )


def told(inputs: Mapping[str, Any]) -> list[Message]:
    """A conversation of a prompt, with what is known of somebody in the system turn."""
    profile: Profile | None = inputs.get("profile")
    before: list[Message] = [{"role": "system", "content": f"About {profile.user}."}] if profile else []
    return [*before, {"role": "user", "content": inputs["prompt"]}]


def test_a_conversation_without_a_system_turn_is_sent_bare() -> None:
    demo = {"prompt": "Accept.", "answer": "Gladly."}
    sent = PlainAdapter(told).format(AnswerAsThePerson, [demo], {"prompt": "Decline."})
    assert sent == [{"role": "user", "content": "Decline."}]


def test_instructions_stand_before_the_system_turn_and_demonstrations_after() -> None:
    # Of a trace, of a training set without a profile, and of a saved program.
    demos: list[dict[str, Any]] = [
        {"prompt": "Accept.", "profile": Profile(user="bob"), "answer": "Gladly."},
        {"prompt": "Greet.", "answer": "Hello."},
        {"prompt": "Ask.", "profile": {"user": "bob"}, "answer": "Why?"},
    ]
    odd = [{"records": [], "answer": "Without a prompt."}, {"prompt": "Without an answer."}]
    inputs = {"prompt": "Decline.", "profile": Profile(user="ada")}
    sent = PlainAdapter(told).format(AnswerAsThePerson, [*demos, *odd], inputs)
    assert [turn["role"] for turn in sent] == ["system", *["user", "assistant"] * 3, "user"]
    assert sent[0]["content"] == f"{AnswerAsThePerson.instructions}\n\nAbout ada."
    assert [turn["content"] for turn in sent[1:]] == [
        *("Accept.", "Gladly.", "Greet.", "Hello.", "Ask.", "Why?"),
        "Decline.",
    ]


def test_the_whole_reply_is_the_answer() -> None:
    adapter = PlainAdapter(told)
    assert adapter.parse(AnswerAsThePerson, "\n[[ ## answer ## ]]\n  No.\n") == {"answer": "[[ ## answer ## ]]\n  No."}
    with pytest.raises(ModelOutputError, match="nothing"):
        adapter.parse(AnswerAsThePerson, " \n")
