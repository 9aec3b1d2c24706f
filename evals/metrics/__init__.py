"""Metrics of choices and of writing."""
