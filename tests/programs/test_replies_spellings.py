"""Answers in the spellings that models and tokenizers have for them: letters, places, tokens, numbers and markup."""

from __future__ import annotations

import math
import time

import pytest

from hyperalign.programs.answer_parsing import parse_sentence
from hyperalign.programs.replies import read_probabilities, read_probability


@pytest.mark.parametrize(
    ("said", "share"),
    [("Ａ", 1.0), ("Ｂ。", 0.0), ("１：Ｂ", 0.0), ("А", 1.0), ("В", 0.0)],
)
def test_letters_that_look_alike(said: str, share: float) -> None:
    assert read_probability(said) == share


@pytest.mark.parametrize("spelled", ["A", " A", "ĠA", "▁A", "ĊA", "Ａ"])
def test_tokens_are_read_however_a_tokenizer_spells_them(spelled: str) -> None:
    tops = [
        {"token": spelled, "logprob": math.log(0.75)},
        {"token": spelled.replace("A", "B").replace("Ａ", "Ｂ"), "logprob": math.log(0.25)},
    ]
    told = {"content": [{"token": spelled, "logprob": math.log(0.75), "top_logprobs": tops}]}
    assert read_probability("A", told) == pytest.approx(0.75)


@pytest.mark.parametrize("said", ["0: A\n1: B\n2: B\n3: A", '{"0": "A", "1": "B", "2": "B", "3": "A"}'])
def test_some_models_count_from_zero(said: str) -> None:
    assert read_probabilities(said, 4) == [1.0, 0.0, 0.0, 1.0]


def test_a_zero_beside_all_the_others_is_none_of_them() -> None:
    assert read_probabilities("0: B\n1: A\n2: A", 2) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("[B]", 0.0),
        ("`A`", 1.0),
        ("```\nA\n```", 1.0),
        ("```text\nB\n```", 0.0),
        ('```json\n{"answer": "B"}\n```', 0.0),
        ("A<|im_end|>", 1.0),
        ("A<|eot_id|>", 1.0),
        ("B<eos>", 0.0),
        ("B<｜end▁of▁sentence｜>", 0.0),
        ("A</s></s>", 1.0),
        ("A[/INST]", 1.0),
        ("B[EOS]", 0.0),
        ("A<end_of_turn>\n", 1.0),
        ("A<|end|>", 1.0),
        ("A <|return|>", 1.0),
        ("<answer>B</answer>", 0.0),
        ("<final_answer>B</final_answer>", 0.0),
        ("<choice>A", 1.0),
        ("<result>\nA\n</result>", 1.0),
        ("<A>", 1.0),
        ("<B>", 0.0),
        ("[[A]]", 1.0),
        ("[[B]]", 0.0),
        ("<<B>>", 0.0),
        ("\\boxed{A}", 1.0),
        ("$\\boxed{B}$", 0.0),
        ("\\boxed{\\text{Text A}}", 1.0),
        ("\\(\\boxed{A}\\)", 1.0),
        ("\\[\\boxed{\\mathrm{B}}\\]", 0.0),
        ("\\boxed{\\textbf{B}}", 0.0),
        ("The final answer is $\\boxed{A}$.", 1.0),
        ("**Answer:** A", 1.0),
        ("### Answer\nB", 0.0),
        ("**Final Answer: B**", 0.0),
        ("_B_", 0.0),
        ("* A", 1.0),
        ("<reasoning>B is cold</reasoning><answer>A</answer>", 1.0),
        ("<scratchpad>B</scratchpad>A", 1.0),
        ("<thinking>maybe B</thinking>A", 1.0),
        ("<analysis>maybe B</analysis>\nA", 1.0),
        ("<|channel|>analysis<|message|>maybe B<|end|><|start|>assistant<|channel|>final<|message|>A", 1.0),
        ("[THINK]maybe B[/THINK]A", 1.0),
        ("◁think▷maybe B◁/think▷A", 1.0),
        ("<reflection>B</reflection> A", 1.0),
        ("<think>\nB?\n</think>\n\n**A**", 1.0),
        ('{"choice": "B", "reason": "A is cold"}', 0.0),
        ('{"answer": "Text A"}', 1.0),
        ("{'answer': 'B'}", 0.0),
        ("{answer: B}", 0.0),
        ('{"A": true, "B": false}', 1.0),
        ('{"A": 0.9, "B": 0.1}', 1.0),
        ('["B"]', 0.0),
        ("<A>x</A><B>y</B>", 0.5),
    ],
)
def test_markup_tags_and_thoughts_are_no_part_of_an_answer(said: str, share: float) -> None:
    assert read_probability(said) == share


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("Ⓐ", 1.0),
        ("Ⓑ", 0.0),
        ("𝐀", 1.0),
        ("𝗕", 0.0),
        ("🅰️", 1.0),
        ("🅱️", 0.0),
        ("🅱", 0.0),
        ("Ａ", 1.0),
        ("（Ｂ）", 0.0),
        ("【A】", 1.0),
        ("「B」", 0.0),
        ("Α", 1.0),
        ("Β", 0.0),
        ("А", 1.0),
        ("答案：B", 0.0),
        ("答案是A。", 1.0),
        ("选择B", 0.0),
        ("选B", 0.0),
        ("文本A更符合。", 1.0),
        ("文本B更符合这个陈述。", 0.0),
        ("答えはBです。", 0.0),
        ("정답: A", 1.0),
        ("정답은 B입니다.", 0.0),
        ("الإجابة: B", 0.0),
        ("उत्तर: A", 1.0),
        ("Ответ: А", 1.0),
        ("Ответ: Б", 0.0),
        ("Ответ: B", 0.0),
        ("Odpowiedź: B", 0.0),
        ("Đáp án: B", 0.0),
        ("คำตอบ: B", 0.0),
        ("“B”", 0.0),
        ("«B»", 0.0),
        ("‘A’", 1.0),
        ("B不符合", 0.5),
        ("不是A", 0.5),
        ("A和B都不符合", 0.5),
        ("文本A不符合。", 0.5),
        ("A或B", 0.5),
        ("選項B比較好", 0.0),
        ("Aです", 1.0),
        ("我选择A，因为它更短", 1.0),
        ("我不选A", 0.5),
        ("答案不是B", 0.5),
    ],
)
def test_letters_are_read_in_any_script(said: str, share: float) -> None:
    assert read_probability(said) == share


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("the second", 0.0),
        ("The second one.", 0.0),
        ("The first text fits better.", 1.0),
        ("first", 1.0),
        ("the former", 1.0),
        ("the latter", 0.0),
        ("The second text is a better fit.", 0.0),
        ("The second is warmer, so the second.", 0.0),
        ("Text 1", 1.0),
        ("Text 2 fits better.", 0.0),
        ("Option 2", 0.0),
        ("B (the second text)", 0.0),
        ("Not the second", 0.5),
        ("The first text is formal. The second is warm.", 0.5),
        ("The first is worse", 0.5),
        ("The second thing to note is that A is better", 1.0),
        ("the first, not the second", 1.0),
        ("The second text fits better than the first.", 0.0),
        ("Neither the first nor the second", 0.5),
        ("It's the second.", 0.0),
        ("I'd go with the second text.", 0.0),
        ("I choose the first", 1.0),
        ("Der zweite Text", 0.0),
        ("le premier", 1.0),
        ("Le second texte correspond mieux", 0.0),
        ("第二个", 0.0),
        ("第一篇", 1.0),
        ("2番目", 0.0),
        ("The second person is used in both.", 0.5),
        ("The writer uses the first person in text A", 0.5),
        ("The first time I read it", 0.5),
        ("Text 1 is formal; text 2 is warm", 0.5),
        ("Neither text 1 nor text 2", 0.5),
        ("Text 1 or text 2", 0.5),
        ("text 2, not text 1", 0.0),
        ("Text 1 does not fit", 0.5),
        ("The second does not fit", 0.5),
        ("I can't tell the first from the second", 0.5),
        ("The first, but the second is better", 0.5),
        ("Version 1.2 is", 0.5),
        ("Answer 2", 0.0),
        ("B (the first one is too long)", 0.0),
        ("A (first)", 1.0),
    ],
)
def test_a_place_stands_for_its_letter(said: str, share: float) -> None:
    assert read_probability(said) == share


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ("Second.", 0.0),
        ("Answer: (A)", 1.0),
        ("(A)", 1.0),
        ("A\nUser:", 1.0),
        ("A\n\nHuman: What", 1.0),
        ("Antwoord: B", 0.0),
        ("Svar: A", 1.0),
        ("Cevap: A", 1.0),
        ("Jawaban: A", 1.0),
        ("Text B fits the statement better, since the", 0.0),
        ("Text B is a better fit for the statement", 0.0),
        ("B is the better fit.", 0.0),
        ("Text A would be the better match", 1.0),
        ("I believe text A better fits the statement.", 1.0),
        ("Text A better matches the statement because it is", 1.0),
        ("The statement better fits Text B.", 0.0),
        ("Statement fits B better than A", 0.0),
        ("Based on the texts, A.", 1.0),
        ("Based on the tone, the statement fits text B better.", 0.0),
        ("Given the informal tone, text A.", 1.0),
        ("A (Text A)", 1.0),
        ("A - Text A", 1.0),
        ("Letter B", 0.0),
        ("Choice: Text B", 0.0),
        ("The answer would be Text A.", 1.0),
        ("Thus, the correct answer is option B", 0.0),
        ("A!", 1.0),
        ("'A'", 1.0),
        ("b.", 0.0),
        ("text b", 0.0),
        ("TEXT B", 0.0),
        ("OPTION A", 1.0),
        ("ANSWER: B", 0.0),
        ("answer=A", 1.0),
        ("answer is b", 0.0),
        ("final answer: a", 1.0),
        ("Yes, A", 1.0),
        ("Certainly! B", 0.0),
        ("Sure! The answer is A.", 1.0),
        ("Sure, here is my answer: B", 0.0),
        ("Okay, so text B.", 0.0),
        ("Let me think. The statement says warm. Text B is warm. B", 0.0),
        ("A\n\nExplanation: Text A is warm while B is cold.", 1.0),
        ("B\nReason: text B is formal.", 0.0),
        ("B. Explanation: A is formal but the statement is about slang", 0.0),
        ("A. Text B is more formal.", 1.0),
        ("Thought: A is warm. Answer: B", 0.0),
        ("Reasoning: Text A is formal.\nAnswer: A", 1.0),
        ("answer:\n  A", 1.0),
        ("I can't help with that.", 0.5),
        ("As an AI, I", 0.5),
        ("A and B are both fine", 0.5),
        ("Both texts", 0.5),
        ("Neither fits", 0.5),
        ("Text A and text B are", 0.5),
        ("The text", 0.5),
        ("A bit of both", 0.5),
        ("I am sorry, B is not something", 0.5),
        ("Unlike A, B", 0.0),
        ("First, text A is formal", 0.5),
        ("First of all, both are formal. The answer is B", 0.0),
        ("A is 2 times better", 1.0),
        ("First, I look at tone.", 0.5),
        ("Second, the tone.", 0.5),
        ("Text A is formal and polite, with longer", 0.5),
        ("Text A is a short email with", 0.5),
        ("In text A,", 0.5),
        ("A is my choice", 1.0),
        ("B is the answer", 0.0),
        ("Text A's", 0.5),
        ("The statement says 'writes warmly'. Text A is", 0.5),
        ("the two texts are similar", 0.5),
        ("A\n\nB", 0.5),
        ("(A) or (B)", 0.5),
        ("Vitamin A", 0.5),
        ("type B personality", 0.5),
        ("Grade A work", 0.5),
        ("Plan B is", 0.5),
        ("Both A", 0.5),
    ],
)
def test_more_prose_is_read_as_it_is_meant(said: str, share: float) -> None:
    assert read_probability(said) == share


@pytest.mark.parametrize(
    ("said", "shares"),
    [
        ("1: the second\n2: the first", [0.0, 1.0]),
        ("1: Text 2\n2: Text 1", [0.0, 1.0]),
        ("1. 文本B\n2. 文本A", [0.0, 1.0]),
        ("1: A</s>\n2: <answer>B</answer>", [1.0, 0.0]),
        ("1: \\boxed{A}\n2: \\boxed{B}", [1.0, 0.0]),
        ("① A\n② B", [1.0, 0.0]),
        ("1: A mentions her kids\n2: B uses dashes", [1.0, 0.0]),
        ("1: A\n2: Text", [1.0, None]),
        ("1: A\n2:", [1.0, None]),
    ],
)
def test_each_of_several_is_read_alike(said: str, shares: list[float | None]) -> None:
    assert read_probabilities(said, 2) == shares


def test_the_token_of_a_letter_is_found_behind_a_thought_with_the_same_letter() -> None:
    sure = {"token": "B", "top_logprobs": [{"token": "A", "logprob": -2.0}, {"token": "B", "logprob": -0.2}]}
    thought = [{"token": token, "top_logprobs": []} for token in ("<think>", "B", "</think>", "\n")]
    found = read_probability("<think>B</think>\nB", {"content": [*thought, sure]})
    assert found == pytest.approx(1 / (1 + math.exp(1.8)))


@pytest.mark.parametrize("unit", ["A ", "is it the ", ":", "1: ", "A, but B. ", "the second ", "\n", "<", "[think]"])
def test_an_endless_answer_is_unreadable_and_read_in_a_second(unit: str) -> None:
    began = time.perf_counter()
    assert read_probabilities(unit * (200_000 // len(unit)) + "Hm?", 2) == [None, None]
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("User prefers long answers.", "User prefers long answers."),
        ("Here is the opposite statement:\nUser prefers long answers.", "User prefers long answers."),
        ("Sure! The opposite statement would be: User prefers long answers.", "User prefers long answers."),
        ("**Opposite:** User prefers long answers.", "User prefers long answers."),
        ('"User prefers long answers."', "User prefers long answers."),
        ("```\nUser prefers long answers.\n```", "User prefers long answers."),
        ("<think>hm</think>User prefers long answers.</s>", "User prefers long answers."),
        ("<answer>User prefers long answers.</answer>", "User prefers long answers."),
        ("Wears 'odd' socks", "Wears 'odd' socks"),
        ("Prefers statements: bold ones", "Prefers statements: bold ones"),
        ("User prefers answers that are " + "very " * 10, ""),
        ("<think>User prefers", ""),
        ("", ""),
    ],
)
def test_one_sentence_is_read_whole_or_not_at_all(said: str, sentence: str) -> None:
    assert parse_sentence(said, 80) == sentence
