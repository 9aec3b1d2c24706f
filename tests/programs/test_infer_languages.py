"""Hypotheses are asked for, parsed and shown in the language of the person's texts."""

from __future__ import annotations

import json

import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.programs.extract import ExtractPreferences
from hyperalign.programs.infer import InferHypotheses, normalize_statement
from hyperalign.records import Pair, Sample
from tests.fixtures.scripted_server import ScriptedServer, reply
from tests.programs.toys import OTHERS, jam_sample

ADA = [jam_sample(at) for at in range(8)]
PAIRS = [Pair(user="ada", prompt=f"Thing {n}?", chosen=f"Toast {n}.", rejected=f"Oil {n}.") for n in range(4)]


FRENCH = [
    Sample(user="ada", id=f"f{at}", text=f"{text} Nous avons bien ri ce jour-là.")
    for at, text in enumerate(
        ["Elle a encore perdu son parapluie, et j'en ai trois.", "Le chien du voisin dort chez nous, cela lui plaît."]
    )
]


def test_hypotheses_are_asked_for_in_the_language_of_the_texts(scripted_server: ScriptedServer) -> None:
    told = {"quote": "perdu son parapluie", "statement": "Raconte les petits ennuis.", "opposite": "Se plaint de tout."}
    scripted_server.default = reply(json.dumps({"hypothesis": told}))
    lm = connect(f"vllm:{scripted_server.url}", num_retries=0)
    chosen = [Pair(user="ada", prompt="?", chosen=each.text, rejected="Non.") for each in FRENCH]
    for program, given, own in (
        (InferHypotheses(), {"records": FRENCH, "others": OTHERS}, {"records": ADA, "others": OTHERS}),
        (ExtractPreferences(), {"records": chosen}, {"records": PAIRS}),
    ):
        program.set_lm(lm)
        scripted_server.requests.clear()
        found = program(**given).hypotheses
        assert {each.statement for each in found} == {"Raconte les petits ennuis."}
        for request in scripted_server.requests:
            assert "'fr'. Write the statement and the opposite in that language" in request.messages[0]["content"]
            schema = json.dumps(request.body["response_format"])
            assert "pattern" not in schema, "it would hold the answer to English words"
            assert "The writer blames himself" in request.prompt or "jokes and shares" in request.prompt
        scripted_server.requests.clear()
        program(**own)
        assert scripted_server.requests
        for request in scripted_server.requests:
            assert "language" not in request.messages[0]["content"]
            assert "pattern" in json.dumps(request.body["response_format"])


@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("讲小事情，带着笑。", "讲小事情，带着笑。"),
        ("Raconte les petits ennuis", "Raconte les petits ennuis."),
        ("पड़ोसी की बात।", "पड़ोसी की बात।"),
    ],
)
def test_statements_end_as_their_script_ends_sentences(said: str, short: str) -> None:
    assert normalize_statement(said) == short
