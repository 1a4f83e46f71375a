"""The order of versions."""

from __future__ import annotations

import pytest

from loadgen.protocol.versions import Version


def test_the_order_of_publication() -> None:
    texts = ["0.4.9", "0.5.5", "0.8.0-rc.1", "0.8.0-rc.3", "0.8.0-rc.12", "0.8.0", "1.0.1", "1.5.2", "2.0.0", "3.3.1"]
    versions = [Version.parse(text) for text in texts]
    assert sorted(set(versions)) == versions
    assert [str(version) for version in versions] == texts


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "v1.2.3", "1.2.3-rc", "1.2.3-beta.1", "1.2.3-rc.x", " 1.2.3"]
)
def test_anything_else_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="is no version such as"):
        Version.parse(text)
