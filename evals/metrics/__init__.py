"""One metric a file: each says how to read it, and what would fool it."""
