"""Where models come from and where they run: runtimes, and later the training of adapters."""
