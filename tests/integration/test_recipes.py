"""The CI recipes of ``docs/ci-gate.md``, run as they stand.

The script is run with a ``loadgen`` that is this program, but its runs are made up instead of measured, so that the
outcome is known. The test marked ``long`` runs it with real runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "ci-gate.md").read_text(encoding="utf-8")

REAL = """\
import sys
from loadgen import cli
"""
MADE = f"""\
{REAL}
import os
from loadgen.cli import measurement
from tests.cli.made_runs import MadeRuns
measurement.measure = MadeRuns(lambda scenario: float(os.environ["FACTOR"]))
"""


def block(language: str, index: int = 0) -> str:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return found[index]


def prepare(folder: Path, program: str = MADE) -> dict[str, str]:
    """Save the script as the page says, put a ``loadgen`` on the path, and give the environment."""
    (folder / "ci").mkdir()
    (folder / "ci" / "gate.sh").write_text(block("bash"), encoding="utf-8")
    commands = folder / "bin"
    commands.mkdir()
    (commands / "loadgen").write_text(f"#!{sys.executable}\n{program}sys.exit(cli.main())\n", encoding="utf-8")
    (commands / "loadgen").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "LOADGEN_"))}
    path = f"{commands}:{os.environ['PATH']}"
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "RUNS": "5", "FACTOR": "1"}


def run_command(folder: Path, environment: dict[str, str], command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def commands_of(text: str) -> list[str]:
    """The commands that call the script."""
    found = re.findall(r"^.*?(PATH=.*bash ci/gate\.sh)", text, re.MULTILINE)
    return [command.replace("$PWD/.venv/bin:", "") for command in found]


GITHUB, GITLAB = (commands_of(block("yaml", index))[0] for index in (0, 1))
JENKINS = commands_of(block("groovy"))[0]


def test_recipe_of_github_passes_then_finds_a_regression(tmp_path: Path) -> None:
    environment = prepare(tmp_path) | {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1", "GITHUB_RUN_ATTEMPT": "1"}
    summary = tmp_path / "summary.md"
    environment["GITHUB_STEP_SUMMARY"] = str(summary)
    first = run_command(tmp_path, environment, GITHUB)
    assert first.returncode == 0, first.stderr
    assert "No baseline yet" in first.stderr
    done = run_command(tmp_path, environment, "loadgen baseline set --label ci-1-1 --note 'release 1.4'")
    assert done.returncode == 0, done.stderr

    environment |= {"FACTOR": "1.3", "GITHUB_RUN_ID": "2"}
    second = run_command(tmp_path, environment, GITHUB)
    assert second.returncode == 4, second.stdout + second.stderr
    suites = {path.name: ET.parse(path).getroot()[0] for path in (tmp_path / "reports").glob("*.xml")}
    assert suites["gate.xml"].get("failures") == "0"
    assert suites["compare.xml"].get("failures") == "2"
    assert "::error title=Regression::handshake p99" in second.stdout
    assert "## Gate: PASS" in summary.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [GITLAB, JENKINS], ids=["gitlab", "jenkins"])
def test_recipes_of_gitlab_and_jenkins_leave_their_reports(command: str, tmp_path: Path) -> None:
    environment = prepare(tmp_path) | {"CI_JOB_ID": "7", "BUILD_NUMBER": "7", "RUNS": "1"}
    done = run_command(tmp_path, environment, command)
    assert done.returncode == 0, done.stderr
    assert next((tmp_path / "results").iterdir()).name.startswith("20260102T0304")
    assert ET.parse(tmp_path / "reports" / "gate.xml").getroot()[0].get("failures") == "0"


def test_script_ends_with_the_failed_threshold(tmp_path: Path) -> None:
    environment = prepare(tmp_path) | {"FACTOR": "30", "RUNS": "1"}
    assert run_command(tmp_path, environment, "bash ci/gate.sh").returncode == 3


def test_commands_of_the_page_are_commands(tmp_path: Path) -> None:
    environment = prepare(tmp_path) | {"RUNS": "2"}
    run_command(tmp_path, environment, "bash ci/gate.sh")
    record = next((tmp_path / "results").glob("*-candidate-*"))
    lines = re.findall(r"^    ((?:LOADGEN_\w+='[^']*' )?loadgen .*?)(?:   .*)?$", TEXT, re.MULTILINE)
    assert len(lines) >= 12
    for line in lines:
        shown = line.replace("RECORD...", str(record)).replace("RECORD", str(record))
        done = run_command(tmp_path, environment, shown)
        no_histograms = "hgrm" in line and "no histograms" in done.stderr  # a made record has none
        assert done.returncode == 0 or no_histograms, f"{shown}\n{done.stderr}"


@pytest.mark.long
def test_script_with_real_runs(tmp_path: Path) -> None:
    environment = prepare(tmp_path, REAL) | {
        "RUNS": "2",
        "LOADGEN_RUN_DURATION": "6s",
        "LOADGEN_RUN_RATE": "200/s",
    }
    done = run_command(tmp_path, environment, "bash ci/gate.sh")
    assert done.returncode in (0, 5), done.stdout + done.stderr  # 5: a busy machine, an honest answer
    assert (tmp_path / "reports" / "gate.xml").exists()
