"""What is known of each firmware, as data: one profile a version.

Only numbers and rules that change between versions stand here; the cores are the same for all of them. Names are
written ``platform@version``. The profiles of one generation follow from each other: each names what it does otherwise
than the one before it. Sources: particle-iot/device-os at the tags named, ``communication/src/spark_protocol.cpp``,
``protocol.cpp``, ``messages.cpp``, ``lightssl_message_channel.cpp``, ``system/src/system_cloud_internal.cpp``,
``system/system-versions.md``. What no source says is listed in a profile's ``inferred``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from hashlib import sha256
from typing import Any, Final

from loadgen.protocol.application import FUNCTIONS, VARIABLES
from loadgen.protocol.coap import Code, system_facts
from loadgen.protocol.device_codes import (
    EARLY_CODES,
    LIGHTSSL_CODES,
    LIGHTSSL_SESSION_CODES,
    SPARK_CODES,
    SPARK_SESSION_CODES,
    SYSTEM_CODES,
    TOKEN_CODES,
    TOKEN_SESSION_CODES,
)
from loadgen.protocol.profile import OTA_CHUNK_SIZE, BootStep, Describes, FirmwareProfile
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version

__all__ = ["ALIASES", "P1_0_7_0", "PROFILES", "FirmwareProfile", "firmware"]

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000

# --- modules

_APPLICATION_HASH: Final = sha256(b"loadgen").hexdigest().upper()


def _module(size: int, function: str, index: int, version: int, needs: tuple[object, ...]) -> dict[str, object]:
    """One entry of the module list: slot in main flash, all four checks done and passed."""
    return {
        "s": size, "l": "m", "vc": 30, "vv": 30, "f": function, "n": str(index), "v": version, "d": list(needs)
    }  # fmt: skip


def _user_part(size: int, version: int, needs: tuple[object, ...]) -> dict[str, object]:
    """The application, which alone carries the SHA-256 of its module suffix."""
    module = _module(size, "u", 1, version, needs)
    return {**{key: module[key] for key in ("s", "l", "vc", "vv")}, "u": _APPLICATION_HASH, **module}


def _needs(function: str, index: int, version: int) -> dict[str, object]:
    return {"f": function, "n": str(index), "v": version, "_": ""}


_FACTORY_SLOT: Final = {"s": 131072, "l": "f", "vc": 30, "vv": 0, "d": []}


def _modules(system: int, bootloader: int) -> tuple[dict[str, object], ...]:
    """The module list of a P1 or Photon; ``system`` and ``bootloader`` are module versions."""
    return (
        _module(16384, "b", 0, bootloader, ()),
        _module(262144, "s", 1, system, (_needs("s", 2, system),)),
        _module(262144, "s", 2, system, (_needs("s", 1, system), _needs("b", 0, bootloader))),
        _user_part(131072, 5, (_needs("s", 2, system),)),
        _FACTORY_SLOT,
    )


def _old_modules(system: int, bootloader: int) -> tuple[dict[str, object], ...]:
    """The same to 0.6.x, whose first system part needs nothing."""
    return (
        _module(16384, "b", 0, bootloader, ()),
        _module(262144, "s", 1, system, ()),
        _module(262144, "s", 2, system, (_needs("s", 1, system),)),
        _user_part(131072, 3, (_needs("s", 2, system),)),
        _FACTORY_SLOT,
    )


# --- SparkProtocol

_S = BootStep
_CODE_OF_CONNECT: Final = "device codes of a failed connect"
_OTA: Final = "answers to updates"
_BOOT_0_4_0: Final = (
    _S.CLAIM_CODE, _S.MAX_BINARY, _S.OTA_CHUNK_SIZE, _S.SUBSYSTEM, _S.SUBSCRIPTIONS, _S.TIME,
)  # fmt: skip
_BOOT_0_4_9: Final = (
    _S.CLAIM_CODE, _S.MAX_BINARY, _S.OTA_CHUNK_SIZE, _S.SAFE_MODE, _S.SUBSCRIPTIONS, _S.TIME,
)  # fmt: skip
_BOOT_0_6_0: Final = (
    _S.CLAIM_CODE, _S.MAX_BINARY, _S.OTA_CHUNK_SIZE, _S.SAFE_MODE, _S.LAST_RESET, _S.SUBSCRIPTIONS, _S.TIME,
)  # fmt: skip
_BOOT_0_7_0: Final = (*_BOOT_0_6_0, _S.KEY_ERROR)

P1_0_7_0: Final = FirmwareProfile(
    name="p1@0.7.0",
    platform_id=8,
    generation="sparkprotocol",
    message_id_byteorder="big",
    token_from_salt=True,
    hello_flags=0x00,
    timeouts_ns={
        Stage.CONNECT: 5 * _NS_PER_S,
        Stage.NONCE: 20 * _NS_PER_S,
        Stage.KEY: 20 * _NS_PER_S,
        Stage.HELLO: 2 * _NS_PER_S,
    },
    ping_after_ns=15 * _NS_PER_S,
    ping_timeout_ns=10 * _NS_PER_S,
    back_off_unit_ns=_NS_PER_S,
    back_off_failures=5,
    back_off_doublings=7,
    events_per_s=4,
    event_data=255,
    boot=_BOOT_0_7_0,
    max_binary=262144,
    subscriptions=("spark",),
    subscribes_own=False,
    describes=Describes.PARTS,
    separate_values=False,
    needs_token=False,
    own_ack_ids=False,
    function_name=12,
    function_argument=63,
    bad_request=Code.BAD_REQUEST,
    update_refusal=Code.BAD_REQUEST,
    update_refusal_token=False,
    acks_stray_chunks=False,
    says_goodbye=False,
    closes_on_unknown_code=True,
    acks_confirmable_hello=False,
    max_frame=800,
    default_product_version=0xFFFF,
    device_codes=SPARK_CODES,
    session_codes=SPARK_SESSION_CODES,
    functions=tuple(FUNCTIONS),
    variables={name: kind for name, (kind, _value) in VARIABLES.items()},
    modules=_modules(207, 101),
    inferred=(_CODE_OF_CONNECT, _OTA),
)
"""Device OS 0.7.0 on a P1: the last version of the ``SparkProtocol`` implementation."""

_P1_0_6_4: Final = replace(
    P1_0_7_0,
    name="p1@0.6.4",
    boot=_BOOT_0_6_0,
    modules=_old_modules(110, 11),
    inferred=(_CODE_OF_CONNECT, _OTA, "dependencies of the modules"),
)
_P1_0_5_5: Final = replace(
    _P1_0_6_4,
    name="p1@0.5.5",
    boot=_BOOT_0_4_9,
    describes=Describes.TWICE,
    acks_stray_chunks=True,
    modules=_old_modules(23, 7),
    inferred=(_CODE_OF_CONNECT, "dependencies of the modules", "version of the bootloader"),
)
_P1_0_4_9: Final = replace(
    _P1_0_5_5,
    name="p1@0.4.9",
    session_codes={},
    modules=_old_modules(11, 7),
    inferred=(_CODE_OF_CONNECT, "dependencies of the modules"),
)
_MISTYPED_BAD_REQUEST: Final = 0x01
"""4.00 put together with a logical "or" instead of a bitwise one."""
_HELLO_WAIT: Final = "wait for Hello: this firmware looks once and does without; the virtual device waits 20 s"
_P1_0_4_0: Final = replace(
    _P1_0_4_9,
    name="p1@0.4.0",
    timeouts_ns={**P1_0_7_0.timeouts_ns, Stage.HELLO: 20 * _NS_PER_S},
    boot=_BOOT_0_4_0,
    subsystem_event="spark/cc3000-patch-version",
    describes=Describes.ONCE,
    back_off_unit_ns=500 * _NS_PER_MS,
    back_off_failures=1,
    back_off_doublings=9,
    back_off_less_one=True,
    event_data=63,
    bad_request=_MISTYPED_BAD_REQUEST,
    update_refusal=_MISTYPED_BAD_REQUEST,
    closes_on_unknown_code=False,
    device_codes=EARLY_CODES,
    modules=_old_modules(0, 0),
    inferred=(_CODE_OF_CONNECT, "dependencies of the modules", "version of the bootloader", _HELLO_WAIT),
)

# --- LightSSLProtocol

_TOKEN: Final = "first token (1 here; uninitialised in the firmware)"  # noqa: S105  (no password)
_LIGHT_INFERRED: Final = (_CODE_OF_CONNECT, _OTA, _TOKEN)
_P1_0_8_0_RC_1: Final = replace(
    P1_0_7_0,
    name="p1@0.8.0-rc.1",
    generation="lightssl",
    hello_flags=0x02,
    message_id_byteorder="little",
    token_from_salt=False,
    timeouts_ns={**P1_0_7_0.timeouts_ns, Stage.HELLO: 4 * _NS_PER_S},
    notices_silence=False,
    own_ack_ids=True,
    closes_on_unknown_code=False,
    acks_confirmable_hello=True,
    max_frame=768,
    device_codes=LIGHTSSL_CODES,
    session_codes=LIGHTSSL_SESSION_CODES,
    modules=_modules(300, 101),
    inferred=(*_LIGHT_INFERRED, "how often it pings a cloud that does not answer"),
)
_P1_0_8_0_RC_3: Final = replace(
    _P1_0_8_0_RC_1,
    name="p1@0.8.0-rc.3",
    notices_silence=True,
    modules=_modules(302, 201),
    inferred=_LIGHT_INFERRED,
)
_P1_0_8_0_RC_4: Final = replace(
    _P1_0_8_0_RC_3,
    name="p1@0.8.0-rc.4",
    event_data=622,
    function_name=64,
    function_argument=622,
    modules=_modules(303, 201),
)
_P1_0_8_0_RC_12: Final = replace(_P1_0_8_0_RC_4, name="p1@0.8.0-rc.12", modules=_modules(311, 201))
_P1_1_0_1: Final = replace(_P1_0_8_0_RC_4, name="p1@1.0.1", modules=_modules(1002, 201))
_P1_1_5_2: Final = replace(
    _P1_1_0_1,
    name="p1@1.5.2",
    hello_flags=0x06,
    boot=(
        _S.CLAIM_CODE, _S.MAX_BINARY, _S.OTA_CHUNK_SIZE, _S.SAFE_MODE, _S.LAST_RESET, _S.UPDATE_FLAGS,
        _S.SUBSCRIPTIONS, _S.TIME, _S.KEY_ERROR,
    ),
    subscriptions=("spark", "particle"),
    subscribes_own=True,
    separate_values=True,
    needs_token=True,
    update_refusal=Code.SERVICE_UNAVAILABLE,
    update_refusal_token=True,
    device_codes=TOKEN_CODES,
    session_codes=TOKEN_SESSION_CODES,
    modules=_modules(1512, 502),
    inferred=_LIGHT_INFERRED,
)  # fmt: skip
_P1_2_0_0: Final = replace(
    _P1_1_5_2,
    name="p1@2.0.0",
    hello_flags=0x36,
    boot=(
        _S.DESCRIBE_SYSTEM, _S.CLAIM_CODE, _S.MAX_BINARY, _S.OTA_CHUNK_SIZE, _S.SAFE_MODE, _S.LAST_RESET,
        _S.UPDATE_FLAGS, _S.TIME, _S.DESCRIBE_APPLICATION, _S.SUBSCRIPTIONS, _S.KEY_ERROR,
    ),
    describes=Describes.SEPARATE,
    says_goodbye=True,
    device_codes=SYSTEM_CODES,
    modules=_modules(2008, 1003),
    inferred=(_CODE_OF_CONNECT, _OTA, "first token (1 here; random in the firmware)", "order of the two subscriptions"),
)  # fmt: skip
_P1_2_3_1: Final = replace(
    _P1_2_0_0,
    name="p1@2.3.1",
    modules=_modules(2302, 1006),
    inferred=(*_P1_2_0_0.inferred, "module versions"),
)
_P1_3_3_1: Final = replace(
    _P1_2_3_1,
    name="p1@3.3.1",
    hello_tail=system_facts(version=3302, max_message=942, max_binary=P1_0_7_0.max_binary, chunk_size=OTA_CHUNK_SIZE),
    event_data=864,
    function_argument=864,
    max_frame=928,
    modules=_modules(3302, 1100),
    inferred=(*_P1_2_3_1.inferred, "system version and largest message in Hello"),
)

_P1: Final = (
    _P1_0_4_0, _P1_0_4_9, _P1_0_5_5, _P1_0_6_4, P1_0_7_0, _P1_0_8_0_RC_1, _P1_0_8_0_RC_3, _P1_0_8_0_RC_4,
    _P1_0_8_0_RC_12, _P1_1_0_1, _P1_1_5_2, _P1_2_0_0, _P1_2_3_1, _P1_3_3_1,
)  # fmt: skip


def _on(profile: FirmwareProfile, platform: str, platform_id: int, **otherwise: Any) -> FirmwareProfile:
    """The same version on another platform."""
    return replace(profile, name=f"{platform}@{profile.version}", platform_id=platform_id, **otherwise)


# The Core: one module, a smaller queue.
_CORE_OTHERWISE: Final[dict[str, Any]] = {
    "max_frame": 640,
    "max_binary": 110592,
    "modules": (_module(110592, "m", 0, 0, ()),),
}
_CORE_INFERRED: Final = (_CODE_OF_CONNECT, _OTA, "largest binary", "module list")
_CORE: Final = (
    _on(
        replace(_P1_0_4_0, name="p1@0.3.4"),
        "core",
        0,
        plaintext_has_key=False,
        hello_platform=False,
        **_CORE_OTHERWISE,
        inferred=("everything but the 52 bytes of plaintext and the 13 of Hello: as p1@0.4.0",),
    ),
    _on(_P1_0_4_9, "core", 0, **_CORE_OTHERWISE, inferred=_CORE_INFERRED),
    _on(P1_0_7_0, "core", 0, **_CORE_OTHERWISE, inferred=_CORE_INFERRED),
)

# --- looking one up

PROFILES: Final[dict[str, FirmwareProfile]] = {
    profile.name: profile for profile in (*_P1, *(_on(p1, "photon", 6) for p1 in _P1), *_CORE)
}
"""Every firmware that can be simulated, by name, in the order of platform and version."""

ALIASES: Final[dict[str, str]] = {
    f"{platform}@{alias}": f"{platform}@{version}"
    for platform in ("p1", "photon")
    for alias, version in {"0.8.0-rc": "0.8.0-rc.12", "0.8.0-rc.2": "0.8.0-rc.1"}.items()
}
"""Other names → names: a series of candidates for its last one, and one that behaves as another."""

_NAME: Final = re.compile(r"([a-z0-9]*?)[@\-_ ]*v?(\d{1,5}(?:\.\d{1,5})*)(?:-?rc\.?(\d{1,5})?)?")


def firmware(name: str) -> FirmwareProfile:
    """The profile called ``name``. Raises :class:`ValueError`, naming the nearest one, where there is none."""
    profile = PROFILES.get(ALIASES.get(name, name))
    if profile is not None:
        return profile
    near = _nearest(name.strip().lower())
    hint = f"did you mean {near}?" if near else f"known are {', '.join(PROFILES)}"
    raise ValueError(f"unknown firmware {name!r}; {hint}")


def _nearest(name: str) -> str | None:
    """The known name that is meant: of the same platform the nearest version, else the one most alike."""
    match = _NAME.fullmatch(name)
    platforms = {profile.platform for profile in PROFILES.values()}
    if match is None or match[1] not in {"", *platforms}:
        near = get_close_matches(name, PROFILES, n=1, cutoff=0.5)
        return near[0] if near else None
    numbers = [int(part) for part in match[2].split(".")][:3]
    wanted = Version(*numbers, *(0,) * (3 - len(numbers)), *([int(match[3])] if match[3] else []))
    of_platform = [profile for profile in PROFILES.values() if profile.platform == (match[1] or "p1")]
    return min(of_platform, key=lambda profile: _distance(profile.version, wanted)).name


def _distance(version: Version, wanted: Version) -> tuple[int, int]:
    """How far two versions are apart: in minor versions above all, then in candidates."""
    apart = 10_000 * (version.major - wanted.major) + 100 * (version.minor - wanted.minor)
    return abs(apart + version.patch - wanted.patch), abs(version.candidate - wanted.candidate)
