"""Fits many people in one run: side by side on one machine, or on the workers of a Ray cluster."""
