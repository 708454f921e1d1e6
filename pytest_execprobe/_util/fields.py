"""Plain data of foreign origin, read field by field: JSON from another machine, or from another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")
C = TypeVar("C", bound=str)


class Fields:
    """A JSON object, of which each field is read with its type.

    ``where`` is its place in all that was read, as messages name it, and empty for the whole, which they call
    ``whole``. Whatever is not as it must be raises an ``error``.
    """

    def __init__(self, data: object, where: str, error: type[Exception], whole: str = "the report") -> None:
        self._error, self._whole = error, whole
        self._prefix = where and f"{where}."
        self.where = where or whole
        if not isinstance(data, dict):
            raise error(f"{self.where}: is no object")
        self._data: dict[str, Any] = data

    def get(self, name: str) -> Any:
        if name not in self._data:
            raise self._error(f"{self.where}: has no {name!r}")
        return self._data[name]

    def _checked(self, name: str, what: str, right: Callable[[Any], bool]) -> Any:
        value = self.get(name)
        if not right(value):
            raise self._error(f"{self.where}.{name}: is no {what}")
        return value

    def text(self, name: str) -> str:
        return str(self._checked(name, "text", lambda value: isinstance(value, str)))

    def flag(self, name: str) -> bool:
        return bool(self._checked(name, "true or false", lambda value: isinstance(value, bool)))

    def number(self, name: str) -> int:
        return int(self._checked(name, "whole number", _is_int))

    def real(self, name: str) -> float:
        return float(self._checked(name, "number", lambda value: type(value) in (int, float)))

    def whole(self, name: str) -> int:
        return int(self._checked(name, "whole number from 0 on", is_whole))

    def choice(self, name: str, choices: tuple[C, ...]) -> C:
        value = self.text(name)
        for choice in choices:
            if choice == value:
                return choice
        raise self._error(f"{self.where}.{name}: is none of {', '.join(choices)}")

    def mapping(self, name: str) -> dict[str, Any]:
        return dict(self._checked(name, "object", lambda value: isinstance(value, dict)))

    def counts(self, name: str) -> dict[str, int]:
        def right(value: object) -> bool:
            return isinstance(value, dict) and all(map(is_whole, value.values()))

        return dict(self._checked(name, "object of whole numbers", right))

    def _listed(self, name: str, what: str, types: set[type]) -> list[Any]:
        return list(self._checked(name, what, lambda value: isinstance(value, list) and set(map(type, value)) <= types))

    def texts(self, name: str) -> list[str]:
        return self._listed(name, "list of texts", {str})

    def maybe_texts(self, name: str) -> list[str | None]:
        return self._listed(name, "list of texts or nulls", {str, type(None)})

    def object(self, name: str) -> Fields:
        return self._inner(self.get(name), f"{self._prefix}{name}")

    def _inner(self, data: Any, where: str) -> Fields:
        return Fields(data, where, self._error, self._whole)

    def items(self, name: str) -> list[Any]:
        return cast("list[Any]", self._checked(name, "list", lambda value: isinstance(value, list)))

    def place(self, name: str, index: int) -> str:
        return f"{self._prefix}{name}[{index}]"

    def objects(self, name: str) -> list[Fields]:
        return [self._inner(value, self.place(name, index)) for index, value in enumerate(self.items(name))]

    def maybe(self, read: Callable[[str], T], name: str) -> T | None:
        return None if self.get(name) is None else read(name)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def is_whole(value: Any) -> bool:
    return _is_int(value) and value >= 0
