"""Texts in any language come apart into words, and nothing is said of them that was measured in English."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.style import build_reference, find_claims, find_shifts, measure
from hyperalign.style.features import FEATURES, MARKS
from hyperalign.style.parsed import languages_of, tell_language, words_of
from hyperalign.style.reference import measure_style
from hyperalign.text import find_quote, longest_copied_run

FAULTS = Path(__file__).resolve().parents[4] / "shared" / "data" / "faults"

TEXTS = {
    "fr": "Elle a encore perdu son parapluie ; j'en ai trois. Le chien du voisin dort chez nous, et cela lui plaît.",
    "de": "Sie hat schon wieder den Schirm vergessen. Der Hund des Nachbarn schläft jetzt bei uns, das gefällt ihm.",
    "nl": "We hebben het hek voor de lunch gerepareerd. Tomas zong de hele tijd vals, en niemand zei er iets van.",
    "fi": "Korjasimme aidan ennen lounasta. Tomas lauloi koko ajan väärin, eikä kukaan sanonut hänelle mitään siitä.",
    "ru": "Она опять забыла зонт, у меня их уже три. Соседская собака теперь спит у нас, и ей это очень нравится.",
    "hi": "मैंने सुबह चाय पी और बरामदे में बैठकर बारिश देखी। पड़ोसी का कुत्ता अब हमारे घर में सोता है।",
    "zh": "她又忘了雨伞，我这里已经有三把了。邻居家的狗住到我们门口来了，谁也不在意。",
    "ja": "彼女はまた傘を忘れました。隣の犬は今うちで寝ていて、とても気に入っているようです。",
    "th": "เมื่อเช้าฉันดื่มชาที่ระเบียงและนั่งดูฝน หมาข้างบ้านมานอนที่บ้านเราแล้ว",
    "ko": "그녀는 또 우산을 잊어버렸다. 이웃집 개는 이제 우리 집에서 자고 아주 좋아한다.",
    "ar": "نسيت مظلتها مرة أخرى، وعندي الآن ثلاث مظلات. كلب الجيران ينام الآن عند باب بيتنا.",
}
ENGLISH = "She has left her umbrella again; I have three of them. The dog from next door sleeps at ours, and likes it."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("मैंने सुबह", ["मैंने", "सुबह"]),
        ("می‌خواهم بروم", ["می‌خواهم", "بروم"]),
        ("안녕하세요 여러분", ["안녕하세요", "여러분"]),
        ("cafe\u0301 naïve", ["cafe\u0301", "naïve"]),
        ("我有iPhone手机", ["我", "有", "iPhone", "手", "机"]),
        ("ง่าย", ["ง่", "า", "ย"]),
        ("a_b ❤️ 1️⃣ x--y", ["a", "b", "1", "x", "y"]),
        ("U.S. 8,200 don't", ["U.S.", "8,200", "don't"]),
    ],
)
def test_words_have_the_boundaries_of_their_script(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_quotes_and_copies_are_found_in_words_with_vowel_signs() -> None:
    said = TEXTS["hi"]
    assert find_quote("सुबह चाय", said) == "सुबह चाय"
    assert find_quote("सबह चाय", said) is None, "another word, with the same letters"
    assert longest_copied_run("मैंने सुबह चाय पी", [said]) == 4


@pytest.mark.parametrize("language", TEXTS)
def test_a_language_is_told(language: str) -> None:
    assert tell_language(TEXTS[language]) == language
    assert tell_language(TEXTS[language] * 200) == language
    assert tell_language(ENGLISH) == "en"


@pytest.mark.parametrize(
    "text", ["", "Merci !", "def f(x): return x + 1", "Aspirin 500mg, ibuprofen 200mg", "123 456 789"]
)
def test_what_tells_no_language_is_left_open(text: str) -> None:
    assert tell_language(text) is None


def test_short_texts_are_in_the_language_of_the_others() -> None:
    assert languages_of(["Merci !", TEXTS["fr"], "Ciao"]) == ["fr", "fr", "fr"]
    assert languages_of(["Thanks!", ENGLISH]) == ["en", "en"]
    assert languages_of(["Merci beaucoup", "À demain, mon ami", "Je suis là"]) == ["fr"] * 3
    assert languages_of(["ok", "42"]) == ["en", "en"]
    assert languages_of([]) == []


@pytest.mark.parametrize("language", TEXTS)
def test_nothing_is_claimed_of_a_language_without_a_reference(language: str) -> None:
    texts = [TEXTS[language]] * 8
    assert find_claims(texts, threshold=0.0) == []
    found = find_shifts([(text, f"{text} ! 😀") for text in texts])
    assert {claim.feature for claim in found} <= MARKS
    assert any(claim.feature == "emoji" and claim.holds(f"{texts[0]} 😀") > 0 for claim in found)
    shown = measure(texts[0])
    assert {name for name in shown if FEATURES[name].is_english and shown[name] is not None} == set()
    assert measure(ENGLISH)["function_words"]


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the rebuilt faults are no part of the project, and are not here")
@pytest.mark.parametrize("name", ["fr", "zh"])
def test_letters_in_french_and_chinese_are_not_held_against_english_ones(name: str) -> None:
    texts = [json.loads(line)["text"] for line in (FAULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(texts) == 8
    assert find_claims(texts) == []


def test_of_a_person_with_two_languages_only_the_english_texts_are_measured() -> None:
    from hyperalign.records import Sample

    alone = [ENGLISH, "I would not say so; it rained, and they were out with the dog, as they are on any other day."]
    mixed = [*alone, TEXTS["fr"], TEXTS["zh"]]
    measured = [measure_style([Sample(user="ada", text=text) for text in texts]) for texts in (alone, mixed)]
    assert measured[0] == measured[1]
    assert measured[0]
    claim = next(each for each in find_claims(alone, threshold=0.0))
    assert claim.is_about(ENGLISH)
    assert claim.holds(TEXTS["fr"]) == 0.0


def test_a_reference_of_another_language_is_used_for_it() -> None:
    people = {f"p{at}": [f"{TEXTS['fr']} {'Bien sûr. ' * at}"] * 3 for at in range(3)}
    reference = build_reference({"letters": people}, language="fr")
    assert not {name for name in reference.features if FEATURES[name].is_english}
    calm = TEXTS["fr"].replace(",", "").replace(";", "")
    shouted = [f"{calm} Quelle journée ! Quel chien ! Quel temps !"] * 6
    assert "exclamations" in {claim.feature for claim in find_claims(shouted, reference)}
    assert find_claims([ENGLISH] * 6, reference, threshold=0.0) == []
