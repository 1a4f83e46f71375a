"""``loadgen fleet import``, ``export`` and ``verify``: fleets from and for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from loadgen.cli.messages import show_note, show_warning
from loadgen.cli.options import fleet_option, json_option, quiet_option
from loadgen.cli.output import write_json, write_lines
from loadgen.cli.progress import fleet_progress
from loadgen.config.resolve import DEFAULT_FLEET
from loadgen.config.values import read_choice, read_path, read_server_address
from loadgen.errors import ExitCode, UsageError
from loadgen.fleet.address import ServerAddress
from loadgen.fleet.collection import Collection, SourceFormat
from loadgen.fleet.exporting import ExportFormat, export_fleet
from loadgen.fleet.findings import MAX_KEPT, Finding, Findings, Level
from loadgen.fleet.importing import ImportReport, import_fleet
from loadgen.fleet.keystore import FleetStore
from loadgen.fleet.verify import verify_store
from loadgen.units import format_count

IMPORT_SCHEMA: Final = "loadgen/fleet-import/1"
VERIFY_SCHEMA: Final = "loadgen/fleet-verify/1"

_SHOWN: Final = {Level.ERROR: 10, Level.WARNING: 10, Level.NOTE: 3}
_SOURCE_FORMATS: Final = tuple(SourceFormat)
_EXPORT_FORMATS: Final = tuple(ExportFormat)
_SQLITE_MAGIC: Final = b"SQLite format 3\0"

_source_format_option = click.option(
    "--format",
    metavar="|".join(_SOURCE_FORMATS),
    help="Take only the files of this format. [all, and the format is said]",
)


@click.command("import")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@_source_format_option
@fleet_option
@json_option
@quiet_option
def import_command(**values: Any) -> ExitCode:
    """Make a fleet from key files and folders of them.

    Reads what particle-cli, spark-server and Brewskey's server keep, PEM or DER, PKCS#1 or PKCS#8, by the device ids
    in the files' names, and flash dumps (.bin, with the id in the name or within). Devices with a public key only can
    be registered with `loadgen cloud` and not be played. An existing fleet is never overwritten. Exits 3 if the files
    have errors; what can be used is imported all the same.
    """
    path, sources, quiet, as_json = fleet_path(values["fleet"]), values["sources"], values["quiet"], values["as_json"]
    found = Findings(MAX_KEPT if as_json else max(_SHOWN.values()))
    with (
        interruption("Interrupted: nothing was written, the same command begins again.", quiet=quiet),
        _collected(sources, values["format"], found, quiet=quiet) as collection,
    ):
        try:
            report = import_fleet(collection, path)
        except UsageError:
            _show_on_stderr(found)
            raise
        if as_json:
            write_json(msgspec.json.encode(_import_document(collection, report, path)))
        else:
            _show_on_stderr(found)
            write_lines(_import_lines(collection, report, path, sources))
    return ExitCode.THRESHOLD_FAILED if found.counts[Level.ERROR] else ExitCode.OK


@click.command("export")
@click.argument("directory", metavar="DIR")
@click.option("--format", metavar="|".join(_EXPORT_FORMATS), help="What to write. [public]")
@click.option("--address", metavar="HOST[:PORT]", help="particle-cli: also a server key file that sends devices there.")
@fleet_option
@quiet_option
def export_command(**values: Any) -> None:
    """Write a fleet for other programs.

    \b
    public        <device id>.pub.pem, to teach a server the fleet
    spark-server  core_keys/ and the server's own pair, for the folder of the vendor's server
    brewskey      data/deviceKeys/ and the pair in data/, for Brewskey's server with files
    brewskey-db   data/db/deviceKeys.db and the pair in data/, for Brewskey's server with its database
    particle-cli  <device id>.pem, .pub.pem, .der, and the server's public key for devices
    der           <device id>.der, as particle keys load wants it

    A file that is there already with another content is never overwritten.
    """
    directory, quiet = read_path(values["directory"], "DIR"), values["quiet"]
    wanted = ExportFormat(read_choice(values["format"] or ExportFormat.PUBLIC, "--format", _EXPORT_FORMATS))
    target = None if values["address"] is None else _address(values["address"], wanted)
    with (
        FleetStore.open(fleet_path(values["fleet"])) as store,
        interruption("Interrupted: what is written stays, the same command goes on.", quiet=quiet),
        fleet_progress("Exporting", quiet=quiet) as progress,
    ):
        report = export_fleet(store, Path(directory), wanted, address=target, progress=progress)
    there = f", {format_count(report.unchanged)} were there already" if report.unchanged else ""
    secret = ", the server's private key among them" if report.has_server_key else ""
    files = f"{format_count(report.written)} files written{there}{secret}"
    write_lines([f"{directory}: {wanted}, devices: {format_count(report.devices)}, {files}"])


@click.command("verify")
@click.argument("sources", nargs=-1, metavar="[FLEET|FOLDER|FILE]...")
@_source_format_option
@json_option
@quiet_option
def verify_command(**values: Any) -> ExitCode:
    """Say which keys a real P1 would misread, and what else keeps devices from connecting.

    Every key is read by the firmware's own rules, which nearly one in a hundred ordinary keys does not fit. Takes
    fleets, folders and files; without any, .loadgen/fleet.sqlite. Exits 3 if a key would fail.
    """
    names, quiet = values["sources"] or (DEFAULT_FLEET,), values["quiet"]
    found = Findings(MAX_KEPT if values["as_json"] else max(_SHOWN.values()))
    document: dict[str, Any] = {"schema": VERIFY_SCHEMA, "sources": names}
    fleets = [name for name in names if _is_fleet(name)]
    files = [name for name in names if name not in fleets]
    lines = [_verified_fleet(name, found, document, quiet=quiet) for name in fleets]
    if files:
        with _collected(files, values["format"], found, quiet=quiet) as collection:
            facts = _collection_facts(collection)
            document |= facts
            devices = facts["devices"]
            if not sum(devices.values()) and not found.counts[Level.ERROR]:
                _show_on_stderr(found)
                raise UsageError("there is no key", where=" ".join(files), remedy="Name key files, or folders of them.")
            lines += _collection_lines(collection, files)
    document["verdict"] = "would_fail" if found.counts[Level.ERROR] else "good"
    if values["as_json"]:
        write_json(msgspec.json.encode(document | _findings_document(found)))
    else:
        write_lines([*_finding_lines(found), *lines, _verdict(found, document)])
    return ExitCode.THRESHOLD_FAILED if found.counts[Level.ERROR] else ExitCode.OK


def fleet_path(fleet: str | None) -> Path:
    """The fleet's file, of the option or the default."""
    return Path(DEFAULT_FLEET if fleet is None else read_path(fleet, "--fleet"))


@contextmanager
def interruption(text: str, *, quiet: bool) -> Iterator[None]:
    """Say what an interruption of the block leaves behind."""
    try:
        yield
    except KeyboardInterrupt:
        if not quiet:
            show_note(text)
        raise


@contextmanager
def _collected(sources: Iterable[str], form: str | None, found: Findings, *, quiet: bool) -> Iterator[Collection]:
    chosen = None if form is None else SourceFormat(read_choice(form, "--format", _SOURCE_FORMATS))
    paths = [Path(read_path(source, "SOURCE")) for source in sources]
    with Collection(found, chosen) as collection:
        with fleet_progress("Reading key files", quiet=quiet) as progress:
            collection.add(paths, progress)
        yield collection


def _address(text: str, form: ExportFormat) -> ServerAddress:
    if form is not ExportFormat.PARTICLE_CLI:
        raise UsageError("only particle-cli's server key file has an address", where="--address")
    return read_server_address(text, "--address")


def _is_fleet(name: str) -> bool:
    path = Path(read_path(name, "FLEET"))
    if not path.exists() and name == DEFAULT_FLEET:
        return True  # whose absence the store explains best
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError:
        return False


def _verified_fleet(name: str, found: Findings, document: dict[str, Any], *, quiet: bool) -> str:
    with (
        FleetStore.open(Path(name), allow_unfinished=True) as store,
        fleet_progress(f"Verifying {name}", quiet=quiet) as progress,
    ):
        verify_store(store, found, progress)
        facts = {
            "devices": store.devices,
            "distinct_keys": store.distinct_keys,
            "public_only": store.public_only_devices,
        }
    document.setdefault("fleets", []).append({"fleet": name, **facts})
    public = f", with a public key only: {format_count(facts['public_only'])}" if facts["public_only"] else ""
    keys = f"distinct keys: {format_count(facts['distinct_keys'])}"
    return f"{name}: fleet, devices: {format_count(facts['devices'])}, {keys}{public}"


# --- results


def _collection_facts(collection: Collection) -> dict[str, Any]:
    playable, public_only = collection.counts()
    server = collection.server
    return {
        "format": collection.format(),
        "files": collection.seen.files,
        "ignored": collection.seen.ignored,
        "devices": {"with_private_key": playable, "public_only": public_only},
        "server_key": None
        if server.public_key is None
        else {
            "path": server.path,
            "private": server.private_der is not None,
            "address": None if server.address is None else str(server.address),
        },
    }


def _import_document(collection: Collection, report: ImportReport, path: Path) -> dict[str, Any]:
    return {
        "schema": IMPORT_SCHEMA,
        "fleet": str(path),
        **_collection_facts(collection),
        "report": report,
        **_findings_document(collection.findings),
    }


def _findings_document(found: Findings) -> dict[str, Any]:
    return {
        "counts": {str(level): found.counts[level] for level in Level},
        "codes": {str(code): number for code, number in sorted(found.codes.items())},
        "findings": list(found),
        "findings_left_out": found.left_out,
    }


def _collection_lines(collection: Collection, sources: Sequence[str]) -> list[str]:
    seen, server = collection.seen, collection.server
    playable, public_only = collection.counts()
    shown = sources[0] if len(sources) == 1 else f"{len(sources)} sources"
    ignored = f" ({format_count(seen.ignored)} ignored)" if seen.ignored else ""
    devices = (
        f"devices with a private key: {format_count(playable)}, with a public key only: {format_count(public_only)}"
    )
    lines = [f"{shown}: {collection.format() or 'no keys'}, files: {format_count(seen.files)}{ignored}, {devices}"]
    if server.public_key is not None:
        kind = "public key" if server.private_der is None else "private key"
        address = "" if server.address is None else f", sends devices to {server.address}"
        lines.append(f"{server.path}: the server's {kind}{address}")
    return lines


def _import_lines(collection: Collection, report: ImportReport, path: Path, sources: Sequence[str]) -> list[str]:
    there = "" if report.is_new else ", there already and the same"
    devices = f"devices: {format_count(report.devices)}, distinct keys: {format_count(report.distinct_keys)}"
    lines = [*_collection_lines(collection, sources), f"{path}: {devices}{there}"]
    if report.public_only:
        count = format_count(report.public_only)
        lines.append(f"{count} devices have a public key only: they can be registered with a cloud, not be played.")
    if report.server_key == "new" and report.is_new:
        lines.append("No server key was among the files: the fleet has a new pair for a cloud of its own.")
    return lines


def _finding_lines(found: Findings) -> list[str]:
    lines = []
    for level in Level:
        shown = found.first(level, _SHOWN[level])
        for finding in shown:
            lines.append(f"{level}: {_sentence(finding)}")
            if finding.remedy:
                lines.append(f"  {finding.remedy}")
        if (more := found.counts[level] - len(shown)) > 0:
            lines.append(f"{level}: {format_count(more)} more; --json has them all")
    return lines


def _show_on_stderr(found: Findings) -> None:
    for level in (Level.ERROR, Level.WARNING):
        shown = found.first(level, _SHOWN[level])
        for finding in shown:
            show_warning(_sentence(finding) + (f"\n{finding.remedy}" if finding.remedy else ""))
        if (more := found.counts[level] - len(shown)) > 0:
            show_warning(f"{format_count(more)} more {level}s; --json has them all.")


def _sentence(finding: Finding) -> str:
    return f"{finding.where}: {finding.what}."


def _verdict(found: Findings, document: dict[str, Any]) -> str:
    errors, warnings = found.counts[Level.ERROR], found.counts[Level.WARNING]
    beside = f" (warnings: {format_count(warnings)}, notes: {format_count(found.counts[Level.NOTE])})"
    if errors:
        return f"Errors: {format_count(errors)}{beside}"
    private = sum(fleet["devices"] for fleet in document.get("fleets", ()))
    private += document.get("devices", {}).get("with_private_key", 0)
    if private:
        return f"Every key works on a real P1{beside}"
    return f"Nothing is wrong with the public keys; whether a P1 can read its private one they do not tell{beside}"
