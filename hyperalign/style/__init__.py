"""Measured style, without a model: features of texts, reference statistics, claims about a writer, and likelihoods.

``__init__.pyi`` lists the public names. ``find_claims`` says where a writer differs from most people, ``likeness`` how
likely a text is theirs, and ``distance`` how far a text is from their style.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
