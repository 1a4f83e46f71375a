"""docs/firmware.md says what the profiles do."""

from __future__ import annotations

from pathlib import Path

from loadgen.protocol.firmware import ALIASES, PROFILES, FirmwareProfile
from loadgen.protocol.profile import BootStep
from loadgen.protocol.stages import Stage

PAGE = (Path(__file__).parents[2] / "docs" / "firmware.md").read_text(encoding="utf-8")


def _boot(profile: FirmwareProfile) -> str:
    parts = ["describe"] if BootStep.DESCRIBE_SYSTEM in profile.boot else []
    parts.append("events")
    if profile.subsystem_event:
        parts.append(f"`{profile.subsystem_event}`")
    parts += ["last reset"] * (BootStep.LAST_RESET in profile.boot)
    parts += ["update flags"] * (BootStep.UPDATE_FLAGS in profile.boot)
    return ", ".join(parts)


def _row(profile: FirmwareProfile) -> str:
    wait_s = profile.timeouts_ns[Stage.HELLO] // 1_000_000_000
    unknown = "session closed" if profile.closes_on_unknown_code else "ignored"
    cells = (
        f"`{profile.name}`",
        profile.generation,
        f"{profile.hello_flags:02x}",
        f"{wait_s} s",
        _boot(profile),
        profile.describes,
        unknown,
    )
    return f"| {' | '.join(cells)} |"


def test_every_version_has_its_row() -> None:
    rows = [_row(profile) for profile in PROFILES.values() if profile.platform != "photon"]
    written = [line for line in PAGE.splitlines() if line.startswith(("| `p1@", "| `core@")) and line.count("|") == 8]
    assert written == rows


def test_what_is_inferred_stands_there() -> None:
    for profile in PROFILES.values():
        if profile.platform != "photon":
            assert f"| `{profile.name}` | {'; '.join(profile.inferred)} |" in PAGE.splitlines()


def test_other_names_stand_there() -> None:
    assert all(f"`{alias}`" in PAGE for alias in ALIASES if alias.startswith("p1@"))
