"""Fit a language model to one person: infer hypotheses, test each on evidence, answer as they would want.

``__init__.pyi`` lists the public names. Each is imported when it is first used, so that ``import hyperalign``
stays light::

    import hyperalign as ha

    lm = ha.connect("local:qwen2.5-coder-1.5b-instruct")
    person = ha.Personalizer(lm=lm)
    profile = person.fit(ha.read_records(["letters"], user="ada").records)
    print(person(prompt="Decline the invitation.", profile=profile).answer)
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
