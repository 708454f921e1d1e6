"""What a user asks of a log: patterns, checks, assertions and their texts."""
