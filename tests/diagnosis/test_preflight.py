"""Findings about a machine and a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadgen.diagnosis.preflight import Machine, Wanted, judge, read_machine, time_wait_s


def machine(**changes: Any) -> Machine:
    """A machine without a fault."""
    values: dict[str, Any] = {
        "cores": 8,
        "load": 0.1,
        "descriptors": 20_064,
        "ports": 28_000,
        "time_wait_reuse": 2,
        "time_wait": 0,
        "somaxconn": 4096,
        "conntrack_free": 200_000,
        "governor": "performance",
        "clock_source": "tsc",
        "ifma": True,
        "openssl": "OpenSSL 3.5.0",
    }
    return Machine(**(values | changes))


def wanted(**changes: Any) -> Wanted:
    values: dict[str, Any] = {"connections": 10_000, "workers": 2, "cloud_workers": 2, "peak_per_s": 400.0}
    return Wanted(**(values | changes))


def test_nothing_in_the_way() -> None:
    assert judge(machine(), wanted()) == []
    unknown = machine(
        time_wait_reuse=None, time_wait=None, somaxconn=None, conntrack_free=None, governor=None, clock_source=None
    )
    assert judge(unknown, wanted()) == []


@pytest.mark.parametrize(
    ("on", "plan", "expected"),
    [
        ({"descriptors": 1_064}, {}, [("descriptors", "invalid"), ("cloud_descriptors", "warn")]),
        ({"descriptors": 1_064}, {"negotiable": True}, [("descriptors", "note"), ("cloud_descriptors", "note")]),
        ({"descriptors": 1_064}, {"cloud_workers": 0, "connections": 2_000}, []),
        ({"ports": 5_000}, {}, [("ports", "invalid")]),
        ({"ports": 5_000}, {"sources": 2}, []),
        ({}, {"closes_with_fin": True, "peak_per_s": 5_000.0}, []),
        ({}, {"closes_with_fin": True, "peak_per_s": 500.0, "loopback": False}, [("time_wait", "invalid")]),
        ({"time_wait_reuse": 1}, {"closes_with_fin": True, "peak_per_s": 500.0, "loopback": False}, []),
        ({}, {"closes_with_fin": True, "peak_per_s": 500.0, "loopback": False, "sources": 2}, []),
        ({"somaxconn": 128}, {"at_once": 1_000}, [("somaxconn", "warn")]),
        ({"somaxconn": 128}, {"at_once": 1_000, "loopback": False}, []),
        ({"conntrack_free": 500}, {"loopback": False}, [("conntrack", "warn")]),
        ({"conntrack_free": 500}, {}, []),
        ({"cores": 3}, {}, [("cores", "warn")]),
        ({"load": 3.0}, {}, [("busy", "warn")]),
        ({"kernel_stamps": False}, {}, [("kernel_stamps", "warn")]),
        ({"kernel_stamps": False}, {"wants_kernel_stamps": False}, []),
        ({"governor": "powersave"}, {}, [("governor", "note")]),
        ({"clock_source": "hpet"}, {}, [("clock_source", "warn")]),
        ({"ifma": False}, {}, [("isa", "note")]),
        ({"backend_warnings": ("Slow.",)}, {}, [("crypto_backend", "note")]),
    ],
)
def test_findings(on: dict[str, Any], plan: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = judge(machine(**on), wanted(**plan))
    assert [(finding.code, finding.level) for finding in found] == expected
    assert all(finding.text.endswith(".") and finding.remedy for finding in found)


def test_the_worst_comes_first() -> None:
    found = judge(machine(ifma=False, load=4.0, ports=10), wanted())
    assert [finding.level for finding in found] == ["invalid", "warn", "note"]
    assert msgspec.json.encode(found)


def test_how_long_ports_are_kept() -> None:
    assert [time_wait_s(reuse, loopback=True) for reuse in (None, 0, 1, 2)] == [60, 60, 1, 1]
    assert [time_wait_s(reuse, loopback=False) for reuse in (None, 0, 1, 2)] == [60, 60, 1, 60]


def test_reading_a_machine(tmp_path: Path) -> None:
    known: dict[str, Any] = {
        "cores": 2, "descriptors": 1024, "ports": 5, "kernel_stamps": True, "isa": ["avx512ifma"], "openssl": "x",
        "backend": "y", "root": tmp_path,
    }  # fmt: skip
    bare = read_machine(**known)
    assert (bare.somaxconn, bare.governor, bare.conntrack_free, bare.time_wait) == (None, None, None, None)
    for name, text in {
        "proc/sys/net/netfilter/nf_conntrack_max": "1000\n",
        "proc/sys/net/netfilter/nf_conntrack_count": "300\n",
        "proc/sys/net/core/somaxconn": "128\n",
        "proc/net/sockstat": "sockets: used 9\nTCP: inuse 5 orphan 0 tw 3 alloc 7 mem 1\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    full = read_machine(**known)
    assert (full.somaxconn, full.governor, full.conntrack_free, full.time_wait) == (128, "powersave", 700, 3)
    assert (full.clock_source, full.ifma) == ("hpet", True)
