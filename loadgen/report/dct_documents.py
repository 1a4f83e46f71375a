"""Flash dumps and what differs between them, as JSON documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from loadgen.fleet.dct import Dct
from loadgen.fleet.dct_diff import Change, Comparison
from loadgen.fleet.dct_troubles import Trouble
from loadgen.fleet.dct_values import FieldValue, section_values, system_values
from loadgen.fleet.flash import Copy, FlashImage
from loadgen.fleet.flash_modules import Module, release_of


def dump_document(name: str, dct: Dct, troubles: Sequence[Trouble], *, secrets: bool = False) -> bytes:
    """A dump, schema ``loadgen/dct/1``. Offsets are in bytes; secrets are left out unless asked for."""
    image = dct.image
    document = {
        "schema": "loadgen/dct/1",
        "file": name,
        "kind": image.kind.name.lower(),
        "size": image.size,
        "trusted": image.is_trusted,
        "choice": image.choice,
        "current": None if image.current is None else image.current.number,
        "copies": [_copy(copy, image) for copy in image.copies],
        "modules": [_module(module) for module in image.modules],
        "firmware": _firmware(dct),
        "device": _device(dct),
        "server": _server(dct),
        "claimed": dct.claimed,
        "has_claim_code": bool(dct.claim_code),
        "troubles": [_trouble(trouble, image) for trouble in troubles],
        "fields": [_field(value, secrets=secrets) for value in section_values(image)],
        "system_fields": [_field(value, secrets=secrets) for value in system_values(image)],
    }
    return msgspec.json.encode(document)


def comparison_document(good: str, bad: str, comparison: Comparison) -> bytes:
    """What differs, schema ``loadgen/dct-diff/1``."""
    document = {
        "schema": "loadgen/dct-diff/1",
        "good": good,
        "bad": bad,
        "can_break": comparison.can_break,
        "changes": [_change(change) for change in comparison.changes],
        "missing": list(comparison.missing),
        "without_dfu": list(comparison.without_dfu),
    }
    return msgspec.json.encode(document)


def _copy(copy: Copy, image: FlashImage) -> dict[str, Any]:
    version = copy.version
    return {
        "number": copy.number,
        "offset": copy.offset,
        "address": copy.address,
        "state": copy.state.name.lower(),
        "is_current": copy is image.current,
        "is_shown": copy is image.shown,
        "version": None
        if version is None
        else {
            "sdk_version": version.sdk_version,
            "usage_flags": version.usage_flags,
            "sequence": version.sequence,
            "initial_write": version.initial_write,
            "crc32": version.crc,
            "checksum": version.checksum.name.lower(),
        },
    }


def _module(module: Module) -> dict[str, Any]:
    return {
        "name": module.name,
        "address": module.address,
        "end": module.end,
        "version": module.version,
        "release": module.release,
        "platform": module.platform,
        "platform_name": module.platform_name,
        "is_intact": module.is_intact,
        "is_installed": module.is_installed,
    }


def _firmware(dct: Dct) -> dict[str, Any]:
    version = dct.system_version
    return {
        "system_version": version,
        "release": None if version is None else release_of(version),
        "uses_built_in_key": dct.uses_built_in_key,
    }


def _device(dct: Dct) -> dict[str, Any]:
    slot = dct.slot
    return {
        "id": None if dct.device_id is None else dct.device_id.hex(),
        "key": None
        if slot is None
        else {
            "encoding": slot.kind.name.lower(),
            "size": slot.size,
            "bits": slot.bits,
            "exponent": slot.exponent,
            "is_usable": slot.is_usable,
            "misread": [reading.name for reading in slot.misreads],
        },
        "presented_public_key": None if dct.device_fingerprint is None or slot is None else slot.presented.hex(),
        "fingerprint": dct.device_fingerprint,
        "stored_public_key": None if dct.stored_public_key is None else dct.stored_public_key.hex(),
    }


def _server(dct: Dct) -> dict[str, Any]:
    address = dct.address
    return {
        "public_key": None if dct.server_key is None else dct.server_key.hex(),
        "fingerprint": dct.server_fingerprint,
        "host": None if address is None else address.host,
        "port": None if address is None else address.effective_port,
        "address_type": dct.address_record[0] if dct.address_record else None,
    }


def _trouble(trouble: Trouble, image: FlashImage) -> dict[str, Any]:
    offset, section = trouble.offset, image.section
    return {
        "code": trouble.code,
        "level": trouble.level,
        "what": trouble.what,
        "why": trouble.why,
        "remedy": trouble.remedy,
        "offset": offset,
        "size": trouble.size,
        "file_offset": None if offset is None else section.offset + offset,
        "address": None if offset is None or section.address is None else section.address + offset,
    }


def _field(value: FieldValue, *, secrets: bool) -> dict[str, Any]:
    hidden = value.field.secret and not secrets
    return {
        "name": value.field.name,
        "offset": value.field.offset,
        "size": value.field.size,
        "file_offset": value.file_offset,
        "address": value.address,
        "presence": value.presence,
        "value": value.text(secrets=secrets),
        "hex": None if hidden else value.data.hex(),
        "since": value.field.since or None,
        "meaning": value.field.meaning or None,
    }


def _change(change: Change) -> dict[str, Any]:
    mend = change.mend
    return {
        "name": change.name,
        "offset": change.offset,
        "good": change.before,
        "bad": change.after,
        "can_break": change.can_break,
        "why": change.why,
        "mend": None
        if mend is None
        else {
            "offset": mend.offset,
            "size": mend.size,
            "address": mend.address,
            "with_dfu": list(mend.with_dfu),
            "otherwise": mend.otherwise or None,
        },
    }
