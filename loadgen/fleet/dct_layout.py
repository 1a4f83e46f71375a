"""Where every field of a P1's or Photon's device configuration table (DCT) stands. Data only.

A copy of the table fills one flash sector of 16 KB: the header and sections of WICED (the Wi-Fi library's maker), then
from 7548 on the application section with the fields of the vendor's firmware. No field has ever moved; newer firmware
uses reserved space. From firmware 0.7.0 (WICED 3.7) two more areas stand at the end of the sector.

Sources: ``platform_dct.h``, ``wwd_structures.h``, ``dct.h``, ``platform_system_flags.h`` and
``platform_flash_modules.h`` of particle-iot/device-os, with the sizes that its compiler gives them (enumerations are
as short as they can be, access-point entries are packed).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

COPY_SIZE: Final = 0x4000
"""Bytes of one copy: a sector."""
FLASH_BASE: Final = 0x08000000
"""Address of the first byte of internal flash."""
COPY_ADDRESSES: Final = (0x08004000, 0x08008000)
"""Addresses of the two copies, DCT1 and DCT2."""
MAGIC: Final = b"BRCM"
MAGIC_AT: Final = 12
SECTION_AT: Final = 7548
"""Offset of the application section in a copy (0x1D7C)."""
SECTION_SIZE: Final = COPY_SIZE - SECTION_AT
"""Bytes from there to the end of the copy, both areas of WICED 3.7 included."""
VERSION_AT: Final = 16368
"""Offset of the version record of WICED 3.7 in a copy."""
VERSION_SIZE: Final = 16
VERSION_MAGIC: Final = 0xDC0200CD
HEADER_SIZE: Final = 388
"""Bytes of the header at the begin of a copy."""

PRIVATE_KEY_AT: Final = 34
PUBLIC_KEY_AT: Final = 1250
CLAIM_CODE_AT: Final = 1762
CLAIMED_AT: Final = 1825
SERVER_KEY_AT: Final = 2082
ADDRESS_AT: Final = 2466
DEVICE_ID_AT: Final = 3618
ALT_PRIVATE_KEY_AT: Final = 3106
ALT_SERVER_KEY_AT: Final = 3298
PRIVATE_KEY_AREA: Final = 1216
SERVER_KEY_AREA: Final = 768

CLAIMED: Final = 0x31
"""What firmware writes into ``claimed`` and compares with: the digit 1."""
OTA_PENDING: Final = 0xA5


class Kind(StrEnum):
    """How a field is read."""

    UNSIGNED = "unsigned"
    """Little-endian."""
    BYTES = "bytes"
    TEXT = "text"
    """Up to a zero byte or FF."""
    COUNTED = "counted text"
    """The first byte is the length."""
    PRIVATE_KEY = "private key"
    PUBLIC_KEY = "public key"
    SERVER_KEY = "server key"
    CURVE_KEY = "elliptic-curve key"
    ADDRESS = "server address"
    IP_CONFIG = "static IP configuration"
    COUNTRY = "country"
    MODULE = "flash module"
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name, place and reading."""

    name: str
    offset: int
    """From the begin of its table: the application section, or the copy."""
    size: int
    kind: Kind = Kind.BYTES
    secret: bool = False
    """Hidden unless somebody asks for it."""
    since: str = ""
    """Release of the firmware that began to use it; empty for all."""
    meaning: str = ""
    """A few words where the name is not enough."""

    @property
    def end(self) -> int:
        """Offset behind the last byte."""
        return self.offset + self.size


def _modules() -> tuple[Field, ...]:
    return tuple(Field(f"flash_modules[{slot}]", 2852 + 20 * slot, 20, Kind.MODULE) for slot in range(5))


SECTION_FIELDS: Final = (
    Field("system_flags.header", 0, 4, Kind.UNSIGNED),
    Field("system_flags.bootloader_version", 4, 2, Kind.UNSIGNED),
    Field("system_flags.nvmem_reset", 6, 2, Kind.UNSIGNED),
    Field("system_flags.flash_ota_update", 8, 2, Kind.UNSIGNED),
    Field("system_flags.ota_flashed_status", 10, 2, Kind.UNSIGNED, meaning="not FFFF: flag 01 in the Hello"),
    Field("system_flags.factory_reset", 12, 2, Kind.UNSIGNED),
    Field("system_flags.iwdg_enable", 14, 2, Kind.UNSIGNED),
    Field("system_flags.dfu_on_no_firmware", 16, 1, Kind.UNSIGNED),
    Field("system_flags.factory_reset_done", 17, 1, Kind.UNSIGNED),
    Field("system_flags.startup_mode", 18, 1, Kind.UNSIGNED),
    Field("system_flags.features_enabled", 19, 1, Kind.UNSIGNED),
    Field("system_flags.rcc_csr", 20, 4, Kind.UNSIGNED),
    Field("system_flags.reserved", 24, 8, Kind.UNUSED),
    Field("version", 32, 2, Kind.UNSIGNED),
    Field("device_private_key", PRIVATE_KEY_AT, PRIVATE_KEY_AREA, Kind.PRIVATE_KEY, secret=True),
    Field("device_public_key", PUBLIC_KEY_AT, 384, Kind.PUBLIC_KEY),
    Field("ip_config", 1634, 24, Kind.IP_CONFIG, since="0.4.6"),
    Field("unused", 1658, 95, Kind.UNUSED),
    Field("ota_update_flag", 1753, 1, Kind.UNSIGNED, since="1.2.1", meaning="A5: an update is pending"),
    Field("feature_flags", 1754, 4, Kind.UNSIGNED, since="0.6.0"),
    Field("country_code", 1758, 4, Kind.COUNTRY, since="0.5.1"),
    Field("claim_code", CLAIM_CODE_AT, 63, Kind.TEXT, secret=True),
    Field("claimed", CLAIMED_AT, 1, Kind.UNSIGNED, meaning="31: claimed; anything else: not"),
    Field("ssid_prefix", 1826, 26, Kind.COUNTED),
    Field("device_code", 1852, 6, Kind.TEXT),
    Field("version_string", 1858, 32, Kind.TEXT),
    Field("dns_resolve", 1890, 128, Kind.TEXT, since="0.4.6"),
    Field("reserved1", 2018, 64, Kind.UNUSED),
    Field("server_public_key", SERVER_KEY_AT, ADDRESS_AT - SERVER_KEY_AT, Kind.SERVER_KEY),
    Field("server_address", ADDRESS_AT, 128, Kind.ADDRESS),
    Field("server_public_key.rest", 2594, 256, Kind.UNUSED),
    Field("padding", 2850, 2, Kind.UNUSED),
    *_modules(),
    Field("product_store", 2952, 24, meaning="12 numbers of 16 bits"),
    Field("antenna_selection", 2976, 1, Kind.UNSIGNED, since="0.4.6"),
    Field("cloud_transport", 2977, 1, Kind.UNSIGNED, since="0.4.9", meaning="FF: the default, TCP"),
    Field("alt_device_public_key", 2978, 128, Kind.CURVE_KEY, since="0.4.9"),
    Field("alt_device_private_key", ALT_PRIVATE_KEY_AT, 192, Kind.CURVE_KEY, secret=True, since="0.4.9"),
    Field("alt_server_public_key", ALT_SERVER_KEY_AT, 192, Kind.CURVE_KEY, since="0.4.9"),
    Field("alt_server_address", 3490, 128, Kind.ADDRESS, since="0.4.9"),
    Field("device_id", DEVICE_ID_AT, 12, since="0.6.0", meaning="copy of the chip's number"),
    Field("radio_flags", 3630, 1, Kind.UNSIGNED, since="0.6.1"),
    Field("mode_button_mirror", 3631, 32, since="0.6.1"),
    *(Field(f"led_mirror[{led}]", 3663 + 24 * led, 24, since="0.6.1") for led in range(4)),
    Field("led_theme", 3759, 64, since="0.6.1"),
    Field("eap_config.type", 3823, 1, Kind.UNSIGNED, since="0.7.0"),
    Field("eap_config.inner_identity", 3824, 64, Kind.TEXT, secret=True, since="0.7.0"),
    Field("eap_config.inner_identity_len", 3888, 1, Kind.UNSIGNED, since="0.7.0"),
    Field("eap_config.outer_identity", 3889, 64, Kind.TEXT, since="0.7.0"),
    Field("eap_config.outer_identity_len", 3953, 1, Kind.UNSIGNED, since="0.7.0"),
    Field("eap_config.security_key", 3954, 64, Kind.TEXT, secret=True, since="0.7.0"),
    Field("eap_config.security_key_len", 4018, 1, Kind.UNSIGNED, since="0.7.0"),
    Field("eap_config.ca_certificate", 4019, 4096, since="0.7.0"),
    Field("eap_config.ca_certificate_len", 8115, 2, Kind.UNSIGNED, since="0.7.0"),
    Field("eap_config.padding", 8117, 2, Kind.UNUSED, since="0.7.0"),
    Field("device_secret", 8119, 15, secret=True, since="1.4.3"),
    Field("power_config", 8134, 32, since="1.5.0"),
    Field("low_speed_clock_disable", 8166, 4, Kind.UNSIGNED, since="2.3.1"),
    Field("reserved2", 8170, 221, Kind.UNUSED),
    Field("behind the application section", 8391, 393, Kind.UNUSED),
    Field("network_config", 8784, 36, since="0.7.0"),
    Field("dct_version.magic", 8820, 4, Kind.UNSIGNED, since="0.7.0"),
    Field("dct_version.usage_flags", 8824, 2, Kind.UNSIGNED, since="0.7.0"),
    Field("dct_version.sdk_version", 8826, 2, Kind.UNSIGNED, since="0.7.0"),
    Field("dct_version.crc32", 8828, 4, Kind.UNSIGNED, since="0.7.0"),
    Field("dct_version.initial_write", 8832, 1, Kind.UNSIGNED, since="0.7.0"),
    Field("dct_version.sequence", 8833, 1, Kind.UNSIGNED, since="0.7.0"),
    Field("dct_version.padding", 8834, 2, Kind.UNUSED, since="0.7.0"),
)
"""The application section from its first to its last byte, without gaps; offsets count from its begin."""


def _access_point(number: int) -> tuple[Field, ...]:
    start, name = 6705 + 121 * number, f"wifi.stored_ap[{number}]"
    return (
        Field(f"{name}.ssid", start, 33, Kind.COUNTED),
        Field(f"{name}.bssid", start + 33, 6),
        Field(f"{name}.signal_strength", start + 39, 2, Kind.UNSIGNED),
        Field(f"{name}.max_data_rate", start + 41, 4, Kind.UNSIGNED),
        Field(f"{name}.bss_type", start + 45, 1, Kind.UNSIGNED),
        Field(f"{name}.security", start + 46, 4, Kind.UNSIGNED),
        Field(f"{name}.channel", start + 50, 1, Kind.UNSIGNED),
        Field(f"{name}.band", start + 51, 1, Kind.UNSIGNED),
        Field(f"{name}.next", start + 52, 4, Kind.UNUSED),
        Field(f"{name}.security_key", start + 56, 65, Kind.COUNTED, secret=True),
    )


def _soft_access_point(name: str, start: int) -> tuple[Field, ...]:
    return (
        Field(f"{name}.ssid", start, 33, Kind.COUNTED),
        Field(f"{name}.alignment", start + 33, 3, Kind.UNUSED),
        Field(f"{name}.security", start + 36, 4, Kind.UNSIGNED),
        Field(f"{name}.channel", start + 40, 1, Kind.UNSIGNED),
        Field(f"{name}.security_key", start + 41, 65, Kind.COUNTED, secret=True),
        Field(f"{name}.alignment2", start + 106, 2, Kind.UNUSED),
        Field(f"{name}.details_valid", start + 108, 4, Kind.UNSIGNED),
    )


SYSTEM_FIELDS: Final = (
    Field("full_size", 0, 4, Kind.UNSIGNED),
    Field("used_size", 4, 4, Kind.UNSIGNED),
    Field("write_incomplete", 8, 1, Kind.UNSIGNED, meaning="0: complete"),
    Field("is_current_dct", 9, 1, Kind.UNSIGNED, meaning="1: current; 0: superseded"),
    Field("app_valid", 10, 1, Kind.UNSIGNED),
    Field("mfg_info_programmed", 11, 1, Kind.UNSIGNED),
    Field("magic", MAGIC_AT, 4, Kind.TEXT),
    Field("boot_detail", 16, 80),
    *(Field(f"apps_locations[{number}]", 96 + 36 * number, 36) for number in range(8)),
    Field("load_app_func", 384, 4, Kind.UNSIGNED),
    Field("mfg_info.manufacturer", 388, 32, Kind.TEXT),
    Field("mfg_info.product_name", 420, 32, Kind.TEXT),
    Field("mfg_info.bom_name", 452, 24, Kind.TEXT),
    Field("mfg_info.bom_rev", 476, 8, Kind.TEXT),
    Field("mfg_info.serial_number", 484, 20, Kind.TEXT),
    Field("mfg_info.manufacture_date_time", 504, 20, Kind.TEXT),
    Field("mfg_info.manufacture_location", 524, 12, Kind.TEXT),
    Field("mfg_info.bootloader_version", 536, 8, Kind.TEXT),
    Field("security.private_key", 544, 2048, secret=True),
    Field("security.certificate", 2592, 4096),
    Field("security.cooee_key", 6688, 16, secret=True),
    Field("wifi.device_configured", 6704, 1, Kind.UNSIGNED),
    *(field for number in range(5) for field in _access_point(number)),
    Field("wifi.alignment", 7310, 2, Kind.UNUSED),
    *_soft_access_point("wifi.soft_ap", 7312),
    *_soft_access_point("wifi.config_ap", 7424),
    Field("wifi.country_code", 7536, 4, Kind.UNSIGNED),
    Field("wifi.mac_address", 7540, 6),
    Field("wifi.padding", 7546, 2, Kind.UNUSED),
)
"""What stands in front of the application section, without gaps; offsets count from the begin of the copy."""

SECURITY_NAMES: Final = {
    0x00000000: "open",
    0x00000001: "WEP",
    0x00008001: "WEP, shared key",
    0x00200002: "WPA, TKIP",
    0x00200004: "WPA, AES",
    0x00200006: "WPA, mixed",
    0x00400002: "WPA2, TKIP",
    0x00400004: "WPA2, AES",
    0x00400006: "WPA2, mixed",
    0x02200002: "WPA Enterprise, TKIP",
    0x02200004: "WPA Enterprise, AES",
    0x02400002: "WPA2 Enterprise, TKIP",
    0x02400004: "WPA2 Enterprise, AES",
    0x02400006: "WPA2 Enterprise, mixed",
}
"""``wiced_security_t``."""
