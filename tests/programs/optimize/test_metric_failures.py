"""Models that can't be used end a search with what is wrong with them."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError

from hyperalign.errors import MissingKeyError, ModelError, ModelOutputError, ModelServerError, UnknownModelError
from hyperalign.programs.optimize.metric import FailureCallback, SearchEnded, find_fatal_error, in_metric
from hyperalign.programs.optimize.search import search
from tests.fixtures.scripted_server import ScriptedServer, error
from tests.programs.optimize.polite_task import (
    answer_otherwise,
    asks_for_instruction,
    examples,
    model,
    program,
    search_options,
)


def test_a_model_that_cannot_reflect_is_no_null(scripted_server: ScriptedServer) -> None:
    for instead, kind in ((error(401, "No such key."), MissingKeyError), (error(404), UnknownModelError)):
        lm = model(scripted_server)
        answer_otherwise(scripted_server, asks_for_instruction, instead)
        del scripted_server.requests[:]
        with pytest.raises(kind):
            search(program(), **search_options(lm=lm, max_steps=8))
        assert sum(map(asks_for_instruction, scripted_server.requests)) == 1, "it is asked no more"


@pytest.mark.parametrize("optimizer", ["gepa", "bootstrap", "mipro"])
def test_a_server_that_dies_in_a_search_ends_it(optimizer: str, scripted_server: ScriptedServer) -> None:
    lm = model(scripted_server)
    answer_otherwise(scripted_server, lambda request: len(scripted_server.requests) > 13, error(503, "Down."))
    shown = [example.copy(user="example", cares=False) for example in examples(4, 1)]
    with pytest.raises(ModelServerError, match=r"Down\."):
        search(program(), **search_options(lm=lm, optimizer=optimizer, demos=shown))
    assert len(scripted_server.requests) == 14, "it is asked no more"


def test_what_a_program_or_a_metric_catches_is_no_fault() -> None:
    class Broken(dspy.Module):
        def forward(self) -> Any:
            raise ModelServerError("Down.")

    class Careful(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Broken()

        def forward(self) -> Any:
            try:
                return self.part()
            except ModelServerError:
                return "fine"

    told: list[Any] = []
    with dspy.context(callbacks=[FailureCallback(told.append)]):
        assert Careful()() == "fine"
        with in_metric(), pytest.raises(ModelServerError):
            Broken()()
        assert not told
        with pytest.raises(SearchEnded):
            Broken()()
    assert [str(fault) for fault in told] == ["Down."]
    plain = find_fatal_error(LMAuthError("No key.", model="any"))
    assert isinstance(plain, ModelError)
    assert find_fatal_error(ModelOutputError("Nothing.")) is None
    assert find_fatal_error(ValueError()) is None
