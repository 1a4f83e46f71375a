"""The HTML page: what it says, that it is whole, and that nothing in it asks for anything outside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadgen.recording.record import FailureCount, RunRecord
from loadgen.report.html import CryptoData, page
from loadgen.report.plots import RunData
from loadgen.report.verdicts import GateRow
from tests.report.crypto_samples import full_record
from tests.report.samples import bad_record, calibrated_record, empty_record, good_record
from tests.report.test_markup import HOSTILE, Seen
from tests.report.test_plots import FIXTURE, GATES, data_of

ASSETS = Path(__file__).parents[2] / "loadgen" / "report" / "assets" / "echarts"


def plain(record: RunRecord) -> RunData:
    """A run without logs."""
    return RunData(record, "results/run", GATES)


def plots_of(text: str) -> dict[str, Any]:
    """The page's JSON document."""
    found = re.search(r'<script type="application/json" id="plots">(.*?)</script>', text, re.S)
    assert found is not None
    document: dict[str, Any] = json.loads(found[1])
    return document


@pytest.mark.parametrize(
    ("record", "verdict", "sentence"),
    [
        (good_record(), "VALID", "These numbers may be believed"),
        (bad_record(), "INVALID", "Do not use these numbers"),
        (msgspec.structs.replace(good_record(), status="interrupted"), "INTERRUPTED", "ended before its time"),
        (empty_record(), "NO DATA", "No handshake was completed"),
    ],
)
def test_the_verdict_comes_first_in_words(record: RunRecord, verdict: str, sentence: str) -> None:
    text = Seen(page([plain(record)])).text.split("Percentiles Over time")[0]
    body = text[text.index("Skip to the report") :]
    assert verdict in body
    assert body.index(verdict) < body.index(sentence) < body.index("handshake", body.index(sentence))


def test_every_block_of_a_run() -> None:
    row = GateRow("pass", "p(99) of handshake < 250ms", "12 ms", "", "< 250 ms", "600", "")
    run = msgspec.structs.replace(data_of(FIXTURE).record, calibration=calibrated_record().calibration)
    data = data_of(FIXTURE)
    gates = replace(GATES, rows=(row,))
    text = page([RunData(run, data.path, gates, data.seconds, data.intervals)])
    heads = re.findall(r"<h2>(.*?)</h2>", text)
    assert heads == [
        "Thresholds",
        "Percentiles",
        "Over time",
        "Stages",
        "Failures",
        "Firmware",
        "Calibration",
        "Generator and cloud",
        "How it was made",
    ]
    kinds = [plot["kind"] for plot in plots_of(text).values()]
    assert sorted(kinds) == ["heat", *["spectrum"] * 2, *["time"] * 4, "waterfall"]
    assert text.count("<figure") == text.count('role="img"') == len(kinds)
    assert "the cloud closed the connection" in text
    assert "loadgen explain" in text


def test_scripts_are_those_of_the_policy_and_nothing_is_requested() -> None:
    text = page([data_of(FIXTURE)])
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(scripts) == 2
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert policy is not None
    allowed = policy[1].replace("&#x27;", "'")
    for script in scripts:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in allowed
    assert allowed.startswith("default-src 'none'; ")
    for name, attributes in Seen(re.sub(r"<script.*?</script>", "", text, flags=re.S)).elements:
        assert name not in {"link", "img", "iframe", "object"}
        assert not {"src", "srcset", "action"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")  # type: ignore[union-attr]


def test_hostile_names_stay_names_everywhere() -> None:
    run = data_of(FIXTURE)
    record = msgspec.structs.replace(
        run.record,
        label=HOSTILE,
        scenario={"name": HOSTILE, HOSTILE: [HOSTILE]},
        target=msgspec.structs.replace(run.record.target, address=HOSTILE, kind="remote"),
        firmware=[msgspec.structs.replace(facts, name=f"{facts.name}{HOSTILE}") for facts in run.record.firmware],
    )
    data = RunData(record, f"results/{HOSTILE}", GATES, run.seconds, run.intervals, [HOSTILE])
    text = page([data, data])
    assert text.count("<script") == text.count("</script") == 3
    assert "<!--" not in text
    assert "alert(1)" in Seen(text).text
    for character in "\u2028\u2029\u202e":
        assert character not in text
    assert len(plots_of(text)) > 10


def test_a_thousand_kinds_of_failures_all_stand_there() -> None:
    record = good_record()
    record.failures = [
        FailureCount(
            stage="key", reason=f"kind_{number}", device_code=None, firmware="p1@0.7.0", count=1, explanation="so"
        )
        for number in range(1_000)
    ]
    text = page([plain(record)])
    assert all(f">key/kind_{number}<" in text for number in range(1_000))
    assert "970 more kinds" in text


def test_each_explanation_stands_once_below_the_first_kind_that_has_it() -> None:
    record = good_record()
    record.failures = [
        FailureCount(
            stage="key", reason=reason, device_code=-19, firmware=firmware, count=1, explanation=f"why {reason}"
        )
        for firmware in ("p1@0.6.4", "p1@0.7.0")
        for reason in ("closed", "reset")
    ]
    text = page([plain(record)])
    assert text.count(">why closed<") == text.count(">why reset<") == 1
    first, other = text.index(">key/closed"), text.index(">key/reset")
    assert first < text.index(">why closed<") < other < text.index(">why reset<")


def judged_run() -> RunData:
    """A valid run, a threshold of which has failed."""
    row = GateRow("fail", "rate of failures < 1%", "5.24 %", "4.05 % … 6.76 %", "< 1 %", "1,050", "")
    gates = replace(GATES, verdict="fail", rows=(row,))
    return replace(data_of(FIXTURE), gates=gates)


def test_a_threshold_that_is_no_pass_stands_out_beside_a_valid_verdict() -> None:
    text = page([judged_run()])
    box = text[text.index('class="verdict good"') : text.index(">Thresholds</h2>")]
    assert '<span class="mark bad">FAIL</span> Of 1 threshold: 1 fail.' in box
    assert '<td><span class="mark bad">fail</span></td>' in text


def test_what_is_read_first_stands_first_in_tables() -> None:
    text = page([judged_run(), plain(good_record())])
    heads = [re.findall(r"<th[^>]*>([^<]*)</th>", head) for head in re.findall(r"<thead>.*?</thead>", text)]
    assert ["run", "verdict", "p50", "p99", "completed", "outcome", "thresholds", "record"] in heads
    assert any(head[:4] == ["stage", "side", "unit", "p50"] and head[-1] == "count" for head in heads)
    assert any(head[:4] == ["threshold", "outcome", "observed", "limit"] for head in heads)


def test_several_runs_are_laid_over_each_other_and_named() -> None:
    labelled = msgspec.structs.replace(good_record(), label="base", id="0000beef")
    text = page([plain(labelled), data_of(FIXTURE), plain(bad_record())])
    assert re.search(r"<h1>3 runs</h1>", text)
    assert "1 invalid" in Seen(text).text
    first = plots_of(text)["plot-0"]
    assert [line["name"] for line in first["data"]["lines"]] == [
        "base (0000beef)",
        "base (1a2b3c4d)",
        "invalid: 1a2b3c4d",
    ]
    assert text.count("<article") == 3


def test_crypto_benchmarks_have_plots_and_tables() -> None:
    text = page([], [CryptoData(full_record(), "results/crypto")])
    assert [plot["kind"] for plot in plots_of(text).values()] == ["steps", "steps"]
    assert "Handshakes per second and core, by batch size" in text
    both = page([plain(good_record())], [CryptoData(full_record(), "results/crypto")])
    assert "<h1>1 run and 1 crypto benchmark</h1>" in both


def test_problems_of_the_logs_are_said_beside_the_verdict() -> None:
    text = page([RunData(good_record(), "results/run", GATES, problems=["line 3 is damaged"])])
    assert "Something is missing. </strong>line 3 is damaged" in text


def test_ids_are_unique_and_links_lead_somewhere() -> None:
    elements = Seen(re.sub(r"<script>.*?</script>", "", page([data_of(FIXTURE)] * 2), flags=re.S)).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(attributes["href"])[1:] for name, attributes in elements if name == "a"}
    assert links <= set(ids)
    labels = {attributes["aria-labelledby"] for _, attributes in elements if "aria-labelledby" in attributes}
    assert labels <= set(ids)


def test_the_library_is_the_one_that_its_readme_names() -> None:
    checksum = hashlib.sha256((ASSETS / "echarts.min.js").read_bytes()).hexdigest()
    assert checksum in (ASSETS / "README.md").read_text(encoding="utf-8")
    assert {"LICENSE", "NOTICE", "LICENSE-d3"} <= {path.name for path in ASSETS.iterdir()}


def test_a_page_is_below_6_mb() -> None:
    assert len(page([data_of(FIXTURE)] * 10).encode()) < 6_000_000
