"""Solvers: each answers and scores one case under all conditions."""
