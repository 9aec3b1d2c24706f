"""Benchmarks, one published format a file."""
