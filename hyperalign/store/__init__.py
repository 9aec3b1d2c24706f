"""Profiles and records of many people, kept in SQLite or PostgreSQL.

``__init__.pyi`` lists the public names. SQLAlchemy is imported when ``Store`` is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
