"""Metrics of choices, of writing, and of helpfulness."""
