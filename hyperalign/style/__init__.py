"""Measured style, without a model: features of texts, reference statistics, and claims about a writer.

``__init__.pyi`` lists the public names. ``find_claims`` says where a writer differs from most people, and ``distance``
how far a text is from their style.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
