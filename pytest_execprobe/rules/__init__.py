"""Rules for whole tests: what they say, which of them decide, and what they find."""
