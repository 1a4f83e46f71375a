"""``loadgen run --dct`` up to the first handshake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadgen.cli import main
from loadgen.cli.dct_run import HANDSHAKES, with_dump
from loadgen.config.bench import load_bench
from loadgen.config.resolve import file_layer, option_layer, resolve_scenario
from loadgen.config.scenario import Scenario, ScenarioTable
from loadgen.errors import UsageError
from loadgen.fleet.dct_make import as_pkcs8
from loadgen.fleet.keystore import FleetStore
from tests.fleet.dumps import DEVICE_ID, copy, section
from tests.fleet.keys import good_keys, odd_keys, server_spki

KEY = good_keys()[0]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


def played(data: bytes, device_id: str | None = None, **options: Any) -> tuple[Scenario, bytes, bytes, bool]:
    """The scenario, and id, key and cloud of its fleet: (…, server's public key, whether it has the private one)."""
    Path("dump.bin").write_bytes(data)
    bench = load_bench(None, Path.cwd())
    layers = [option_layer(ScenarioTable(**options)), file_layer(bench, "quick")]
    values = {"dct": "dump.bin", "id": device_id, "quiet": False}
    with with_dump(values, layers, lambda given: resolve_scenario("quick", "test", given)) as found:
        scenario = resolve_scenario("quick", "test", found)
        with FleetStore.open(Path(scenario.fleet)) as store:
            (identity,) = store.identities()
            assert identity.private_key_der == KEY
            assert store.server_public_key is not None
            return scenario, identity.device_id, store.server_public_key, store.server_key_der is not None


def test_the_device_of_the_dump_is_the_fleet() -> None:
    scenario, device_id, server_key, is_own = played(copy(), target="192.168.1.10")
    assert (scenario.devices, scenario.concurrency, scenario.count) == (1, 1, HANDSHAKES)
    assert device_id == DEVICE_ID
    assert server_key == server_spki()
    assert not is_own
    assert not Path(scenario.fleet).exists()


def test_a_mock_cloud_gets_a_pair_of_its_own() -> None:
    _, _, server_key, is_own = played(copy(section(server=b"\xff")))
    assert is_own
    assert server_key != server_spki()


def test_another_load_can_be_asked_for() -> None:
    scenario, *_ = played(copy(), rate="5/s", duration="1s")
    assert (scenario.mode, scenario.count) == ("open", None)


def test_the_id_can_be_given() -> None:
    wanted = "00112233445566778899aabb"
    assert played(copy(section(device_id=b"\xff" * 12)), wanted)[1].hex() == wanted


def test_says_what_a_real_device_would_fail_with(capsys: pytest.CaptureFixture[str]) -> None:
    played(copy(section(address=b"\x00\x05" + b"\xff" * 126)))
    assert "loadgen plays the device all the same" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (copy(section(device_id=b"\xff" * 12)), {}, "which device"),
        (copy(section(as_pkcs8(KEY))), {}, "PKCS#8"),
        (copy(section(b"\xff")), {}, "no device key"),
        (copy(section(server=b"\xff")), {"target": "192.168.1.10"}, "no server key"),
        (copy(), {"fleet": "other.sqlite"}, "two fleets"),
        (b"hello", {}, "text file"),
    ],
)
def test_refuses_what_cannot_be_played(data: bytes, options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        played(data, **options)


def test_a_dry_run_shows_the_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    Path("dump.bin").write_bytes(copy())
    assert main(["run", "--dct", "dump.bin", "--dry-run", "--json"]) == 0
    shown = msgspec.json.decode(capsys.readouterr().out)
    assert (shown["count"], shown["fleet"]) == (HANDSHAKES, "dump.bin")
    assert main(["run", "--dct", "dump.bin", "--dry-run"]) == 0
    assert 'fleet = "dump.bin"' in capsys.readouterr().out
    assert main(["run", "--id", DEVICE_ID.hex(), "--dry-run"]) == 2
    assert "--dct" in capsys.readouterr().err


@pytest.mark.parametrize("odd", [key for key in odd_keys() if not key["firmware_reads_it"]][:1])
def test_a_misread_key_is_played_with_a_warning(odd: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    Path("dump.bin").write_bytes(copy(section(bytes.fromhex(odd["private_key_der"]))))
    assert main(["run", "--dct", "dump.bin", "--dry-run"]) == 0
    assert "misreads this valid key" in capsys.readouterr().err
