"""Whose exec is it: events become records, each in its test, phase and process tree."""
