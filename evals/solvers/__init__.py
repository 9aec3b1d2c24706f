"""How each kind of case is met: one solver for choices, writing, requests and any DSPy program."""
