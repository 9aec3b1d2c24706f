"""The longest copied run, by hand and by brute force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hyperalign.text import longest_copied_run

WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=8)


def test_case_and_punctuation_do_not_hide_a_copy() -> None:
    assert longest_copied_run("Well, the DOG’s bone is mine!", ["He said: the dog's bone is... his."]) == 4
    assert longest_copied_run("Nothing alike here.", ["Quite other words."]) == 0
    assert longest_copied_run("", ["a b"]) == longest_copied_run("a b", []) == 0


@given(WORDS, st.lists(WORDS, max_size=3))
def test_it_is_the_longest_run_of_any_text(answer: list[str], texts: list[list[str]]) -> None:
    runs = [
        j - i
        for i in range(len(answer))
        for j in range(i + 1, len(answer) + 1)
        for text in texts
        if any(text[k : k + j - i] == answer[i:j] for k in range(len(text)))
    ]
    assert longest_copied_run(" ".join(answer), [" ".join(text) for text in texts]) == max(runs, default=0)
