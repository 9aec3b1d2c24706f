"""Serves adapters: one base model with many LoRA adapters behind an OpenAI-compatible API."""
