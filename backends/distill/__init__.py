"""From a teacher's answers to a LoRA adapter for a small local model: traces, rows, training, adapter folders."""
