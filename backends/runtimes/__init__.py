"""Where models run: the catalogue of model files, the servers, and ``connect``.

Importing this package loads nothing heavy: take what you need from its modules.
"""
