"""Functions of the C library that Python has none for, and that no test can replace."""

from __future__ import annotations

from typing import Any

CHAR: Any = None
LONG: Any = None
ADDRESS: Any = None
address: Any = None  # of an array

# The C module that ctypes is made of: importing that itself would ask functions that a test may have replaced by then.
try:
    import _ctypes
except ImportError:  # this Python was built without it
    _library: Any = None
else:
    CHAR = type("_Char", (_ctypes._SimpleCData,), {"_type_": "c"})
    LONG = type("_Long", (_ctypes._SimpleCData,), {"_type_": "L"})
    address = _ctypes.addressof
    ADDRESS = type("_Address", (_ctypes._SimpleCData,), {"_type_": "P"})
    _own: Any = None  # this process, libc in it
    _library = _ctypes.dlopen(_own, 0)


def function(name: str, *arguments: Any, returns: Any) -> Any:
    """None where this Python can call none."""
    if _library is None:
        return None
    kind: Any = type("_Function", (_ctypes.CFuncPtr,), {"_flags_": _ctypes.FUNCFLAG_CDECL, "_restype_": returns})
    made = kind(_ctypes.dlsym(_library, name))
    made.argtypes = list(arguments)
    return made
