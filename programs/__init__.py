"""What is done for a person: fit, judge, generate, deliberate and update, and optimizing the steps of these."""
