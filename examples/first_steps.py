"""From somebody's texts to an answer in their manner, on an embedded model.

Run it with: python examples/first_steps.py examples/people/ada.jsonl ada "Decline the invitation."
The first run fetches the model, about 1.1 GB; a smaller one can be named as the last argument.
"""

from __future__ import annotations

import sys

import hyperalign as ha


def first_steps(
    folder: str, user: str, prompt: str, model: str = "local:qwen2.5-coder-1.5b-instruct"
) -> tuple[ha.Profile, str]:
    """Fit one person and answer one prompt for them.

    Args:
        folder: their texts, as a file or a folder of text, Markdown or JSONL; of fewer than six hardly anything can be
            tested, eight or more say most.
        user: what to call them.
        prompt: what to answer.
        model: also ``anthropic/…``, ``vllm:http://127.0.0.1:8000`` or any other name ``connect`` knows.

    Returns:
        The tested profile, and the answer.
    """
    lm = ha.connect(model)
    # A hosted model gives no log-probabilities of text, and is asked to choose; scorer=ha.open_scorer("local:…") tests
    # its hypotheses by a small model here.
    person = ha.Personalizer(lm=lm)
    samples = ha.read_records([folder], user=user).records
    profile = person.fit(samples)
    answer = person(prompt=prompt, profile=profile).answer
    return profile, answer


if __name__ == "__main__":
    fitted, text = first_steps(*sys.argv[1:])
    for hypothesis in fitted.hypotheses:
        print(f"{hypothesis.weight:.2f}  {hypothesis.statement}")
    print(f"{len(fitted.dropped)} hypotheses were dropped.\n\n{text}")
