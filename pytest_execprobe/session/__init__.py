"""pytest's side: its hooks, and all that needs a pytest session."""
