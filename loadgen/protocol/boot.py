"""What a device sends by itself after the cloud's Hello: version by version, in order.

Every event of it is private, not confirmable and lives 60 s. Source: particle-iot/device-os
``system/src/system_cloud_internal.cpp`` (``Spark_Handshake``) at the tags from v0.4.0 to v3.3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from loadgen.protocol import coap
from loadgen.protocol.answers import APPLICATION, SYSTEM, describe_document
from loadgen.protocol.coap import Message
from loadgen.protocol.profile import OTA_CHUNK_SIZE, BootStep, FirmwareProfile

_SUBSYSTEM_VERSION: Final = "wl0: Nov  7 2014 16:03:45 version 5.90.230.12 FWID 01-150b4d54"
"""How the Wi-Fi chip of a P1 names its firmware."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What the conditional messages depend on. The default is a claimed device that was just plugged in."""

    first: bool = True
    """The first connection since the device started."""
    reset_reason: str = "power_down"
    """Why it started; told once."""
    claim_code: bytes = b""
    """Of a device that is being set up, at most 63 bytes."""
    safe_mode: bool = False
    key_errors: int = 0
    """Bit mask: 1 the server's key was blank, 4 its address was; told with every connection (from 0.7.0)."""


FIRST_BOOT: Final = Boot()
RECONNECT: Final = Boot(first=False)


def boot_messages(firmware: FirmwareProfile, boot: Boot, next_token: Callable[[], bytes]) -> Iterator[Message]:
    """The messages in the order in which they are sent.

    Args:
        firmware: what the device runs.
        boot: how it came up.
        next_token: of the session; called once, for the time request.
    """
    for step in boot_steps(firmware, boot):
        if step is BootStep.TIME:
            yield coap.time_request(next_token())
        elif step is BootStep.SUBSCRIPTIONS:
            for prefix in firmware.subscriptions:
                yield coap.subscribe(prefix, own_devices=firmware.subscribes_own)
        elif step is BootStep.DESCRIBE_SYSTEM:
            yield coap.describe_post(SYSTEM, describe_document(firmware, SYSTEM))
        elif step is BootStep.DESCRIBE_APPLICATION:
            yield coap.describe_post(APPLICATION, describe_document(firmware, APPLICATION))
        else:
            for name, data in _events(step, firmware, boot):
                yield coap.event(name, data, private=True)


def boot_steps(firmware: FirmwareProfile, boot: Boot) -> Iterator[BootStep]:
    """The steps of this boot in their order: those whose condition holds."""
    conditions = {
        BootStep.CLAIM_CODE: bool(boot.claim_code),
        BootStep.SAFE_MODE: boot.safe_mode,
        BootStep.LAST_RESET: boot.first,
        BootStep.KEY_ERROR: boot.key_errors > 0,
    }
    return (step for step in firmware.boot if conditions.get(step, True))


def _events(step: BootStep, firmware: FirmwareProfile, boot: Boot) -> tuple[tuple[str, bytes], ...]:
    """Names and data of the events of one step."""
    if step is BootStep.UPDATE_FLAGS:
        return ("particle/device/updates/enabled", b"true"), ("particle/device/updates/forced", b"false")
    if step is BootStep.SUBSYSTEM:
        return ((firmware.subsystem_event, _SUBSYSTEM_VERSION.encode()[: firmware.event_data]),)
    event = {
        BootStep.CLAIM_CODE: ("spark/device/claim/code", boot.claim_code),
        BootStep.MAX_BINARY: ("spark/hardware/max_binary", str(firmware.max_binary).encode()),
        BootStep.OTA_CHUNK_SIZE: ("spark/hardware/ota_chunk_size", str(OTA_CHUNK_SIZE).encode()),
        BootStep.SAFE_MODE: ("spark/device/safemode", b""),
        BootStep.LAST_RESET: ("spark/device/last_reset", boot.reset_reason.encode()),
        BootStep.KEY_ERROR: ("spark/device/key/error", str(boot.key_errors).encode()),
    }[step]
    return (event,)
