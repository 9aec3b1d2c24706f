"""Distills a teacher's answers into a LoRA adapter for a small local model: traces, rows, training, adapter folders."""
