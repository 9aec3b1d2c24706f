"""Adapters for others to ask: one base with many adapters behind an OpenAI-compatible address."""
