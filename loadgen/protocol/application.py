"""The application that every virtual device runs: its functions and variables, and what they answer.

It is Tinker, the application that devices leave the factory with, on a board whose inputs are at ground and whose
outputs work, and four variables, one of each type.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

BOOLEAN: Final = 1
INTEGER: Final = 2
STRING: Final = 4
DOUBLE: Final = 9

VARIABLES: Final[dict[str, tuple[int, bool | int | float | str]]] = {
    "answer": (INTEGER, 42),
    "ratio": (DOUBLE, 0.5),
    "label": (STRING, "loadgen"),
    "flag": (BOOLEAN, True),
}
"""Name → type and value."""

_NO_SUCH_PIN: Final = -1
_SECOND_CHECK_FAILED: Final = -2
_THIRD_CHECK_FAILED: Final = -3
_LOW: Final = 0
_DONE: Final = 1


def _has_pin(argument: bytes) -> bool:
    """Whether the second character is a pin's number; ports have eight."""
    return argument[1:2] != b"" and argument[1:2] in b"01234567"


def _digital_read(argument: bytes) -> int:
    if not _has_pin(argument):
        return _NO_SUCH_PIN
    return _LOW if argument[:1] in {b"D", b"A"} else _SECOND_CHECK_FAILED


def _digital_write(argument: bytes) -> int:
    if not _has_pin(argument):
        return _NO_SUCH_PIN
    if argument[3:7] != b"HIGH" and argument[3:6] != b"LOW":
        return _SECOND_CHECK_FAILED
    return _DONE if argument[:1] in {b"D", b"A"} else _THIRD_CHECK_FAILED


def _analog_read(argument: bytes) -> int:
    if not _has_pin(argument):
        return _NO_SUCH_PIN
    if argument[:1] == b"D":
        return _THIRD_CHECK_FAILED
    return _LOW if argument[:1] == b"A" else _SECOND_CHECK_FAILED


def _analog_write(argument: bytes) -> int:
    if not _has_pin(argument):
        return _NO_SUCH_PIN
    return _DONE if argument[:1] in {b"D", b"A"} else _SECOND_CHECK_FAILED


FUNCTIONS: Final[dict[str, Callable[[bytes], int]]] = {
    "digitalread": _digital_read,
    "digitalwrite": _digital_write,
    "analogread": _analog_read,
    "analogwrite": _analog_write,
}
"""Name → what it returns for an argument, 32 bits signed."""

_AT_ADDRESS_0: Final = (0x20020000).to_bytes(4, "big")


def variable_bytes(name: str) -> bytes | None:
    """The value of a variable as it is sent: booleans one byte, integers big-endian, doubles little-endian, text raw.

    None for a variable that there is not.
    """
    found = VARIABLES.get(name)
    if found is None:
        return None
    kind, value = found
    if kind == STRING:
        return str(value).encode()
    return struct.pack({BOOLEAN: "?", INTEGER: ">i", DOUBLE: "<d"}[kind], value)


def missing_variable_bytes() -> bytes:
    """What firmware to 1.4 sends for a variable that there is not: the word at address 0.

    It takes the variable for an integer and reads through a null pointer, where this CPU has the initial stack pointer,
    the end of its 128 KB of memory.
    """
    return _AT_ADDRESS_0
