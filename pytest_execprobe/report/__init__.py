"""Reports: what runs have recorded, as data, and the forms in which it is shown."""
