"""A baseline: a committed file of exec budgets.

It says for each test, each fixture of wider scope and the collection which programs may run and how often at most; what
has no row may not run. A pytest run is judged by it test by test, ``execprobe gate`` holds stored reports against it,
and a run with ``--execprobe-update`` rewrites it.
"""
