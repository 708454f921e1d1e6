"""This side of the wire: finding or starting a helper, and what it sends, as events."""
