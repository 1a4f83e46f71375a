"""What the name of a key file says. Pure.

A device's files begin with its id: ``<id>.pem``, ``<id>.der`` and ``<id>.pub.pem`` of particle-cli, which ``keys
doctor`` calls ``<id>_rsa_new.…`` and older versions ``<id>_new.…``, and whose backups of the key before begin with
``backup_rsa_`` or ``pre_``; ``<id>.pub.pem`` and ``<id>.json`` in the key folders of spark-server and its relatives,
with ``<id>_handshake.pub.pem`` for keys of devices that were not admitted. ``.bin`` is taken for a flash dump.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ID_DIGITS: Final = 24
"""Hexadecimal digits of a device id, lower case."""
DEVICE_KEYS_FILE: Final = "deviceKeys.db"
"""Brewskey's NeDB file of device keys."""

_KEY_NAME = re.compile(
    r"(?P<backup>backup_(?:rsa_)?|pre_)?(?P<stem>.*?)(?P<new>_rsa_new|_new)?(?P<candidate>_handshake)?"
    r"(?P<ending>\.pub\.pem|\.pub\.der|\.pem|\.der)",
    re.IGNORECASE | re.DOTALL,
)
_DUMP_ENDING: Final = ".bin"
_ID = re.compile(rf"[0-9a-fA-F]{{{ID_DIGITS}}}")
_NEARLY_ID = re.compile(r"(?:0x)?[0-9a-zA-Z:_ -]{20,40}")
_FIRST_DIGITS = re.compile(r"(?:0x)?(?:[0-9a-fA-F][:_ -]?){12}")


class Role(StrEnum):
    """What a file is for."""

    PRIVATE_PEM = "<id>.pem"
    DER = "<id>.der"
    PUBLIC_PEM = "<id>.pub.pem"
    PUBLIC_DER = "<id>.pub.der"
    ATTRIBUTES = "<id>.json"
    BACKUP = "backup"
    CANDIDATE = "<id>_handshake.pub.pem"
    DATABASE = DEVICE_KEYS_FILE
    DUMP = "<id>.bin"
    """A flash dump; its id stands in the name, or within."""
    NAMED_KEY = "key without an id"
    """A server's key, or a device's whose id is not told."""
    OTHER = "other"


_ROLES: Final = {
    ".pem": Role.PRIVATE_PEM,
    ".der": Role.DER,
    ".pub.pem": Role.PUBLIC_PEM,
    ".pub.der": Role.PUBLIC_DER,
}


@dataclass(frozen=True, slots=True)
class FileName:
    """A file's name, taken apart."""

    role: Role
    device_id: str | None = None
    """24 lower-case hexadecimal digits."""
    spelling: str | None = None
    """What is wrong with the spelling of the id, one sentence; None where it is right or there is none."""


def read_name(name: str) -> FileName:
    """Take the name of a file apart; folders before it are no part of it."""
    if name == DEVICE_KEYS_FILE:
        return FileName(Role.DATABASE)
    if name.lower().endswith(".json"):
        stem = name[: -len(".json")]
        return FileName(Role.ATTRIBUTES, stem.lower(), _spelling(stem)) if _ID.fullmatch(stem) else FileName(Role.OTHER)
    if name.lower().endswith(_DUMP_ENDING):
        stem = name[: -len(_DUMP_ENDING)]
        return FileName(Role.DUMP, stem.lower(), _spelling(stem)) if _ID.fullmatch(stem) else FileName(Role.DUMP)
    match = _KEY_NAME.fullmatch(name)
    if match is None:
        return FileName(Role.OTHER)
    stem = match["stem"]
    if not _ID.fullmatch(stem):
        return FileName(Role.NAMED_KEY, None, _no_id(stem))
    device_id, spelling = stem.lower(), _spelling(stem)
    if match["backup"]:
        return FileName(Role.BACKUP, device_id, spelling)
    if match["candidate"]:
        return FileName(Role.CANDIDATE, device_id, spelling)
    return FileName(_ROLES[match["ending"].lower()], device_id, spelling)


def parse_device_id(text: str) -> bytes | None:
    """The 12 bytes of an id written as 24 hexadecimal digits of either case; None for anything else."""
    return bytes.fromhex(text) if _ID.fullmatch(text) else None


def _spelling(stem: str) -> str | None:
    if stem == stem.lower():
        return None
    return "the device id is written with capitals; servers look for it in lower case"


def _no_id(stem: str) -> str | None:
    """What is wrong with a name that was probably meant to be an id."""
    if not (_NEARLY_ID.fullmatch(stem) and _FIRST_DIGITS.match(stem)):
        return None
    wrong = sorted(set(re.sub(r"[0-9a-fA-F]", "", stem)))
    if wrong:
        shown = ", ".join(repr(letter) for letter in wrong)
        return f"{stem!r} is no device id: {shown} is no hexadecimal digit"
    return f"{stem!r} is no device id: it has {len(stem)} digits instead of {ID_DIGITS}"
