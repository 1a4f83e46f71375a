"""What the parent refuses before anything is bound or started."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.errors import UsageError
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.settings import CloudMode, CloudSettings, RegistryPolicy
from tests.mockcloud.peer import DEVICE_ID, device_spki, server_key

TWO_KEYS = [(DEVICE_ID, device_spki(0)), (bytes(12), device_spki(1))]


@pytest.mark.parametrize(
    ("changes", "devices", "what"),
    [
        ({"server_key": b"no key"}, [], "server key cannot be used"),
        ({"crypto": "opensll"}, [], "opensll"),
        ({"registry": RegistryPolicy.STRICT}, [], "nobody would be let in"),
        ({"registry": RegistryPolicy.STORED}, [], "nobody would be let in"),
        ({"registry_keys": "/nowhere/at/all"}, [], "fleet"),
        ({"mode": CloudMode.REPLAY}, [], "0 are registered"),
        ({"mode": CloudMode.REPLAY}, TWO_KEYS, "2 are registered"),
        ({"host": "x" * 70}, [], "address is unknown"),
        ({"host": "192.0.2.1"}, [], "cannot listen"),
    ],
)
def test_refused(changes: dict[str, Any], devices: list[tuple[bytes, bytes]], what: str) -> None:
    cloud = MockCloud(CloudSettings(**{"server_key": server_key(), "port": 0, **changes}), devices)
    with pytest.raises(UsageError, match=what) as caught:
        cloud.start()
    assert caught.value.remedy
    assert cloud.pids == []
