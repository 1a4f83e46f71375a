"""Attribute files and databases of servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadgen.fleet.spark_server import attributes_problem, database_line, read_database

ID = "0123456789abcdef01234567"


def line(**document: Any) -> bytes:
    return json.dumps(document).encode()


def test_a_line_reads_back() -> None:
    (found,) = read_database(iter([database_line(ID, b"PEM\n")]))
    assert (found.device_id, found.pem, found.problem, found.document_id) == (bytes.fromhex(ID), b"PEM\n", None, ID)


def test_lines_about_indexes_and_empty_ones_are_left_out() -> None:
    lines = [line(**{"$$indexCreated": {"fieldName": "deviceID"}}), b"\n", line(**{"$$indexRemoved": "deviceID"})]
    assert list(read_database(iter(lines))) == []


def test_a_document_of_its_own_id_is_ended_by_that() -> None:
    lines = [line(_id="x7fk", deviceID=ID.upper(), algorithm="rsa", key="PEM"), line(_id="x7fk", **{"$$deleted": True})]
    first, second = read_database(iter(lines))
    assert (first.document_id, first.device_id, first.is_deleted) == ("x7fk", bytes.fromhex(ID), False)
    assert (second.document_id, second.is_deleted, second.problem) == ("x7fk", True, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "no JSON document"),
        (b"\xff\xfe", "no JSON document"),
        (b"[" * 100_000, "no JSON document"),
        (b"[]", "no JSON object"),
        (line(deviceID="none", key="PEM"), "'none' is no device id"),
        (line(deviceID=7, key="PEM"), "'7' is no device id"),
        (line(deviceID=ID, algorithm="ecc", key="PEM"), "algorithm 'ecc'"),
        (line(deviceID=ID), "no key in this line"),
        (line(deviceID=ID, key=["PEM"]), "no key in this line"),
    ],
)
def test_says_what_is_wrong_with_a_line(text: bytes, words: str) -> None:
    (found,) = read_database(iter([text]))
    assert found.problem is not None
    assert words in found.problem
    assert (found.number, found.pem) == (1, None)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"coreID": ID, "name": "lamp"},
        {"deviceID": ID.upper(), "ownerID": "x", "timestamp": "2016-01-01"},
        {"name": "ü"},
    ],
)
def test_attributes_of_this_device_or_of_none(content: dict[str, str]) -> None:
    assert attributes_problem(json.dumps(content).encode(), ID) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "no JSON document"),
        (b"\xff", "no JSON document"),
        (b"[" * 100_000, "no JSON document"),
        (b'"text"', "no JSON object"),
        (b'{"coreID": "ffff"}', "coreID is 'ffff'"),
        (b'{"deviceID": 12}', "deviceID is '12'"),
    ],
)
def test_says_what_is_wrong_with_attributes(data: bytes, words: str) -> None:
    problem = attributes_problem(data, ID)
    assert problem is not None
    assert words in problem
