"""``loadgen dct``: flash dumps of real devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from loadgen.cli.dct_sources import DeviceParts, chosen_address, chosen_base, chosen_device, chosen_server
from loadgen.cli.groups import CommandGroup
from loadgen.cli.messages import show_warning
from loadgen.cli.options import json_option
from loadgen.cli.output import results, write_json, write_lines
from loadgen.config.values import read_path
from loadgen.errors import ExitCode, UsageError
from loadgen.fleet.dct import Dct, find_troubles, read_dct, read_dump
from loadgen.fleet.dct_diff import compare_dumps
from loadgen.fleet.dct_extract import ITEMS, USUAL_ITEMS, extract, write_new_file
from loadgen.fleet.dct_make import MAX_CLAIM_CODE, Layout, Maker, Part, as_pkcs8
from loadgen.fleet.flash import examine
from loadgen.fleet.identity import firmware_misreads
from loadgen.report.dct import write_differences, write_dump
from loadgen.report.dct_documents import comparison_document, dump_document

_COPIES: Final = ("1", "2")
_LAYOUTS: Final = tuple(layout.value for layout in Layout)
_PARTS: Final = tuple(part.value for part in Part)
_KEY_FORMATS: Final = ("pkcs1", "pkcs8")

copy_option = click.option(
    "--copy", type=click.Choice(_COPIES), help="Look at DCT1 or DCT2, whichever the device uses. [the one it uses]"
)
secrets_option = click.option("--secrets", is_flag=True, help="Show private keys, passphrases and claim codes.")


@click.group("dct", cls=CommandGroup)
def command() -> None:
    """Read, compare and make flash dumps of a P1 or Photon.

    A dump is the whole flash (1 MB), both copies of the device configuration table (32 KB), one of them (16 KB), or
    what DFU gives of it. docs/flash-dumps.md says how to take one, with and without USB.
    """


@command.command("show")
@click.argument("file", metavar="FILE")
@copy_option
@secrets_option
@click.option("--all", "everything", is_flag=True, help="Show the erased fields of WICED too.")
@json_option
def show_command(file: str, copy: str | None, secrets: bool, everything: bool, as_json: bool) -> None:
    """Show every field of a dump, and what in it keeps the device from connecting."""
    dct = _read(file, copy)
    troubles = find_troubles(dct)
    if as_json:
        write_json(dump_document(file, dct, troubles, secrets=secrets))
        return
    with results() as stream:
        write_dump(file, dct, troubles, stream, secrets=secrets, everything=everything)


@command.command("extract")
@click.argument("file", metavar="FILE")
@click.argument("directory", metavar="DIR")
@click.option(
    "--only",
    metavar="ITEM",
    multiple=True,
    type=click.Choice(tuple(ITEMS)),
    help=f"One of {', '.join(ITEMS)}; repeatable. [{', '.join(USUAL_ITEMS)}]",
)
@copy_option
@json_option
def extract_command(file: str, directory: str, only: tuple[str, ...], copy: str | None, as_json: bool) -> ExitCode:
    """Write keys and areas of a dump to DIR, private ones with mode 0600.

    A file that is there already with another content is never overwritten. The areas (device-slot, server-slot,
    address-record) are the bytes as they stand, to be written back by DFU.
    """
    target = Path(read_path(directory, "DIR"))
    done = extract(_read(file, copy), target, only or USUAL_ITEMS)
    if as_json:
        document = {
            "written": [str(path) for path in done.written],
            "unchanged": [str(path) for path in done.unchanged],
            "absent": list(done.absent),
        }
        write_json(msgspec.json.encode(document))
    else:
        write_lines([*map(str, done.written), *(f"{path} (was there already)" for path in done.unchanged)])
    for text in done.absent:
        show_warning(text)
    return ExitCode.OK if done.written or done.unchanged else ExitCode.INCONCLUSIVE


@command.command("diff")
@click.argument("good", metavar="GOOD")
@click.argument("bad", metavar="BAD")
@secrets_option
@json_option
def diff_command(good: str, bad: str, secrets: bool, as_json: bool) -> ExitCode:
    """Say what changed between two dumps, what of it can break the handshake, and how to mend it.

    GOOD is of the device when it connected, or of one that does; BAD of the one that does not. Exit code 3 if a
    difference can break the handshake, 0 if none can, 5 if one of them is cut off before keys or address.
    """
    comparison = compare_dumps(_read(good), _read(bad), good, bad, secrets=secrets)
    if as_json:
        write_json(comparison_document(good, bad, comparison))
    else:
        with results() as stream:
            write_differences(good, bad, comparison, stream)
    if comparison.can_break:
        return ExitCode.THRESHOLD_FAILED
    return ExitCode.INCONCLUSIVE if comparison.undecided else ExitCode.OK


@command.command("make")
@click.option("--output", "-o", metavar="FILE", required=True, help="The image; never overwrites another content.")
@click.option("--layout", type=click.Choice(_LAYOUTS), default=Layout.COPY.value, show_default=True,
              help="One copy (16 KB), both (32 KB), as DFU gives it, or the whole flash (1 MB).")  # fmt: skip
@click.option("--base", metavar="DUMP", help="Begin with the table of this dump. [a blank one]")
@click.option("--fleet", metavar="FILE", help="Take device, cloud's key and id from a fleet.")
@click.option("--device", metavar="N|ID", help="Which device of the fleet, by number or id. [0]")
@click.option("--device-key", metavar="FILE", help="The device's private key, PEM or DER.")
@click.option("--device-from", metavar="DUMP", help="Take the device's key area and id from a dump, byte for byte.")
@click.option("--id", "device_id", metavar="ID", help="The device's id, 24 hexadecimal digits.")
@click.option("--server-key", metavar="FILE", help="The cloud's public key, PEM or DER.")
@click.option("--server-from", metavar="DUMP", help="Take the cloud's key and address from a dump, byte for byte.")
@click.option("--address", metavar="HOST[:PORT]|none", help="Where the device finds its cloud.")
@click.option("--address-from", metavar="DUMP", help="Take the address record from a dump, byte for byte.")
@click.option("--claimed/--unclaimed", default=None, help="Claim state. [as in the base]")
@click.option("--claim-code", metavar="CODE", help="Up to 63 characters.")
@click.option("--key-format", type=click.Choice(_KEY_FORMATS), default="pkcs1", show_default=True,
              help="pkcs8 stores the key as no device can read it.")  # fmt: skip
@click.option(
    "--erase",
    type=click.Choice([part.value for part in Part]),
    multiple=True,
    help="Erase a part at the end; repeatable.",
)
@click.option("--keep-old", is_flag=True, help="With two copies: keep the base's table in DCT1, superseded.")
@json_option
def make_command(output: str, as_json: bool, **values: Any) -> None:
    """Make an image from an identity: to reproduce what happened to a device, or to mend one without DFU.

    Wi-Fi stays empty unless the base has it. The record that firmware from 0.7.0 on keeps at the end of a copy is left
    out; such firmware takes the table for an older one and writes its record itself.
    """
    data = make_image(values)
    written = write_new_file(Path(read_path(output, "--output")), data, is_private=True)
    dct = read_dct(examine(data, output))
    if as_json:
        write_json(dump_document(output, dct, find_troubles(dct)))
        return
    key = dct.device_fingerprint or "none"
    there = "" if written else " (was there already)"
    write_lines([f"{output}: {dct.image.kind}, {len(data):,} bytes, device key SHA-256 {key}{there}"])


def make_image(values: dict[str, Any]) -> bytes:
    """The bytes that the options of ``dct make`` ask for.

    Raises:
        UsageError: options that contradict each other, or files that cannot be used.
    """
    layout = Layout(values["layout"])
    if values["keep_old"] and layout in (Layout.COPY, Layout.DFU):
        raise UsageError("there is no second copy in this layout", where="--keep-old", remedy="Add --layout both.")
    maker = Maker(chosen_base(values["base"]))
    device = chosen_device(values)
    if device is not None:
        maker.device(_slot(device, values["key_format"]), device.public_key, device.device_id)
    area = chosen_server(values)
    if area is not None:
        maker.server_key(area.key)
        if area.address_record is not None:
            maker.address(area.address_record)
    record = chosen_address(values)
    if record is not None:
        maker.address(record)
    code = values["claim_code"]
    if code is not None and (len(code.encode()) > MAX_CLAIM_CODE or not code.isascii()):
        raise UsageError("a claim code has up to 63 ASCII characters", where="--claim-code")
    maker.claim(claimed=values["claimed"], code=None if code is None else code.encode())
    for part in values["erase"]:
        maker.erase(Part(part))
    return maker.image(layout, keep_old=values["keep_old"])


def _slot(device: DeviceParts, key_format: str) -> bytes:
    """What is to stand in the key slot."""
    if device.private_der is None:
        if key_format != "pkcs1":
            raise UsageError(
                "an area that is taken byte for byte has no other format", where="--key-format",
                remedy="Name the key with --device-key or --fleet.",
            )  # fmt: skip
        return device.area
    misread = firmware_misreads(device.private_der)
    if misread:
        show_warning(f"A real device misreads this key ({', '.join(misread)}); it could never connect.")
    return as_pkcs8(device.private_der) if key_format == "pkcs8" else device.private_der


def _read(file: str, copy: str | None = None) -> Dct:
    """A dump, looked at in the copy that is asked for."""
    image = examine(read_dump(Path(read_path(file, "FILE"))), file)
    return read_dct(image if copy is None else image.with_copy(int(copy)))
