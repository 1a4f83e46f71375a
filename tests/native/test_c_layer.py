"""The C layer on its own: overlapping buffers and wrong output lengths, plain and under the sanitizers."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.native import keys
from tests.native.test_steps import SERVER, UNWRAP_FAULTS, Fixed, block, private, public, signed

ROOT = Path(__file__).parent.parent.parent
SOURCES = [source for source in sorted((ROOT / "native").glob("*.c")) if not source.name.startswith("module")]
STATUS = {"OK": 0, "BAD_KEY": 1, "BAD_SIGNATURE": 2, "BAD_CIPHERTEXT": 3, "BAD_INPUT": 4, "FAULTY_RESULT": 5}


def line(operation: str, status: str, *fields: bytes) -> str:
    return " ".join([operation, str(STATUS[status]), *(field.hex() or "-" for field in fields)])


def vectors() -> str:
    """Vectors in the driver's format: each operation, good lanes and bad, in batches that fill no last group."""
    rng = random.Random(4)
    n = keys.magnitude(SERVER.n)
    fixed = Fixed(None, 23)
    lines = []
    for length in (214, 52, 0, 245, 1, 100, 214, 214, 33):
        plain, padding = rng.randbytes(length), bytes(rng.randrange(1, 256) for _ in range(253 - length))
        cipher = public(SERVER, block(256, 2, padding, plain))
        lines.append(line("encrypt", "OK", n, plain, padding, cipher))
        lines.append(line("decrypt", "OK", SERVER.pkcs1(), cipher, plain))
    lines.append(line("encrypt", "BAD_INPUT", n, bytes(246), b"\1" * 7, b""))
    lines.append(line("decrypt", "BAD_INPUT", SERVER.pkcs1(), cipher[1:], b""))
    lines.append(line("decrypt", "BAD_CIPHERTEXT", SERVER.pkcs1(), n, b""))
    for lane, (_, fault, status) in enumerate(UNWRAP_FAULTS):
        good = line("unwrap", "OK", fixed.devices[lane].pkcs1(1), n, fixed.replies[lane], fixed.materials[lane])
        lines += [good] if lane < 8 else []
        lines.append(line("unwrap", status, fixed.devices[lane].pkcs1(), n, fault(fixed, lane), b""))
    for device, material in zip(fixed.devices[:9], fixed.materials, strict=False):
        padding = bytes(rng.randrange(1, 256) for _ in range(85))
        wrapped = signed(SERVER, material, public(device, block(128, 2, padding, material)))
        lines.append(line("wrap", "OK", SERVER.pkcs8(), keys.magnitude(device.n), material, padding, wrapped))
    for value in (0, 1, 2, fixed.devices[0].p, fixed.devices[0].n - 1):
        data = value.to_bytes(128, "big")
        lines.append(line("private", "OK", fixed.devices[0].pkcs1(), data, private(fixed.devices[0], data)))
    lines.append(line("seal", "OK", bytes(range(16)), bytes(16), FIPS_197, FIPS_197_SEALED))
    return "\n".join(lines) + "\n"


FIPS_197 = bytes.fromhex("00112233445566778899aabbccddeeff")
FIPS_197_SEALED = bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a")


def run_driver(folder: Path, *flags: str) -> None:
    compiler = shutil.which(os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc").split()[0])
    if compiler is None:
        pytest.skip("no C compiler")
    program = folder / "driver"
    sources = [str(source) for source in [*SOURCES, Path(__file__).parent / "driver.c"]]
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    command = [compiler, *warnings, *flags, "-I", str(ROOT / "native"), *sources, "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0 and any(word in built.stderr for word in ("libasan", "libubsan")):
        pytest.skip("the compiler has no sanitizer libraries")
    assert built.returncode == 0, built.stderr
    (folder / "vectors").write_text(vectors())
    ran = subprocess.run([str(program), str(folder / "vectors")], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.strip() == f"{len(vectors().splitlines())} vectors"


def test_the_c_layer_refuses_aliasing_and_wrong_lengths(tmp_path: Path) -> None:
    run_driver(tmp_path, "-O1")


@pytest.mark.long
@pytest.mark.parametrize("optimisation", ["-O1", "-O2"])
def test_address_and_undefined_behaviour_sanitizers(tmp_path: Path, optimisation: str) -> None:
    run_driver(tmp_path, "-g", optimisation, "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.long
def test_without_a_128_bit_type(tmp_path: Path) -> None:
    run_driver(tmp_path, "-O2", "-U__SIZEOF_INT128__")
