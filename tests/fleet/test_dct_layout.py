from __future__ import annotations

import pytest

from loadgen.fleet.dct_layout import (
    SECTION_AT,
    SECTION_FIELDS,
    SECTION_SIZE,
    SYSTEM_FIELDS,
    Field,
)


@pytest.mark.parametrize(("fields", "size"), [(SECTION_FIELDS, SECTION_SIZE), (SYSTEM_FIELDS, SECTION_AT)])
def test_every_byte_belongs_to_one_field(fields: tuple[Field, ...], size: int) -> None:
    position = 0
    for field in fields:
        assert field.offset == position, field.name
        position = field.end
    assert position == size


@pytest.mark.parametrize(
    ("name", "offset"),
    [  # STATIC_ASSERT_DCT_OFFSET and STATIC_ASSERT_FLAGS_OFFSET of dct.h
        ("version", 32), ("device_private_key", 34), ("device_public_key", 1250), ("ip_config", 1634),
        ("ota_update_flag", 1753), ("feature_flags", 1754), ("country_code", 1758), ("claim_code", 1762),
        ("claimed", 1825), ("ssid_prefix", 1826), ("device_code", 1852), ("version_string", 1858),
        ("dns_resolve", 1890), ("reserved1", 2018), ("server_public_key", 2082), ("padding", 2850),
        ("flash_modules[0]", 2852), ("product_store", 2952), ("antenna_selection", 2976), ("cloud_transport", 2977),
        ("alt_device_public_key", 2978), ("alt_device_private_key", 3106), ("alt_server_public_key", 3298),
        ("alt_server_address", 3490), ("device_id", 3618), ("radio_flags", 3630), ("mode_button_mirror", 3631),
        ("led_mirror[0]", 3663), ("led_theme", 3759), ("eap_config.type", 3823), ("device_secret", 8119),
        ("system_flags.bootloader_version", 4), ("system_flags.ota_flashed_status", 10),
        ("system_flags.factory_reset_done", 17), ("system_flags.rcc_csr", 20),
    ],
)  # fmt: skip
def test_stands_where_the_firmware_asserts(name: str, offset: int) -> None:
    assert {field.name: field.offset for field in SECTION_FIELDS}[name] == offset


def test_wiced_sections_begin_where_the_sizes_of_the_structures_put_them() -> None:
    places = {field.name: field.offset for field in SYSTEM_FIELDS}
    assert places["mfg_info.manufacturer"] == 388
    assert places["security.private_key"] == 544
    assert places["security.certificate"] == 2592
    assert places["security.cooee_key"] == 6688
    assert places["wifi.device_configured"] == 6704


def test_secrets_are_marked() -> None:
    secret = {field.name for field in (*SECTION_FIELDS, *SYSTEM_FIELDS) if field.secret}
    assert {"device_private_key", "claim_code", "alt_device_private_key", "eap_config.security_key"} <= secret
    assert {"device_secret", "security.private_key", "wifi.soft_ap.security_key"} <= secret
    assert {f"wifi.stored_ap[{number}].security_key" for number in range(5)} <= secret
