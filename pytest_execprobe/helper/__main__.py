"""Runs the helper: ``python3 -I -B .../helper --connect NAME --bpf DIR``.

It connects to the waiting client's abstract unix socket. No inherited descriptor would do, for sudo closes those;
standard input, which it may replace by a pipe of its own, brings what the two know each other by.

``python3 -I -B .../helper top`` is what ``execprobe top`` runs: another program, that serves no client. A sudo rule
for the one does not let through the other.
"""

import gc
import importlib.util
import os
import sys


def _import_siblings() -> None:
    # This folder is a package of the plugin too, but importing it as that would import the plugin and with it pytest,
    # which the system's Python need not have. So it is a package of its own here.
    folder = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location(
        "execprobe_helper", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["execprobe_helper"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _import_siblings()
    from importlib import import_module

    others = {"top": "top.main", "serve": "serve"}
    other = others.get(sys.argv[1]) if sys.argv[1:] else None
    gc.disable()  # modules are no garbage, and to find that out takes a tenth of the time to import them
    main = import_module("execprobe_helper." + (other or "main")).main
    gc.enable()
    main(sys.argv[2:] if other else sys.argv[1:])
