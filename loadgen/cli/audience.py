"""Who looks at a run while it goes on: Prometheus, and people with a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from loadgen.cli.messages import show_note, show_warning
from loadgen.cli.snapshots import Standing
from loadgen.config.target import HostPort
from loadgen.report.dashboard.feed import Dashboard
from loadgen.report.prometheus import PrometheusEndpoint

Publish: TypeAlias = Callable[[Standing, str], None]
"""Takes how a run stands, and the folder of its record."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Everything that is told how runs stand. Nothing of it makes a run wait."""

    endpoint: PrometheusEndpoint | None = None
    dashboard: Dashboard | None = None

    def of_run(self, number: int = 1, runs: int = 1, name: str = "") -> Publish | None:
        """What takes how one run stands; None where nobody looks.

        Args:
            number: of the run in its series, from 1.
            runs: how many those are.
            name: what tells it from the others.
        """
        if self.endpoint is None and self.dashboard is None:
            return None

        def publish(standing: Standing, path: str) -> None:
            if self.endpoint is not None:
                self.endpoint.publish(standing.snapshot())
            if self.dashboard is not None:
                self.dashboard.publish(standing.update(run=number, runs=runs, name=name, path=path))

        return publish


NOBODY: Final = Audience()
_OPEN: Final = " (open to the network, without a password)"


@contextmanager
def audience(prometheus: HostPort | None, dashboard: HostPort | None, *, quiet: bool) -> Iterator[Audience]:
    """Open what was asked for, until everything is reported.

    Args:
        prometheus: where metrics are served, None: nowhere.
        dashboard: where the live page is.
        quiet: do not say so.

    Raises:
        UsageError: an address cannot be listened on.
        LocalResourceError: the process of the page could not be started.
    """
    with ExitStack() as stack:
        endpoint = page = None
        if prometheus is not None:
            endpoint = stack.enter_context(PrometheusEndpoint(prometheus.host, prometheus.port))
        if dashboard is not None:
            page = Dashboard(dashboard.host, dashboard.port)
            stack.callback(_close, page)
        if not quiet and endpoint is not None:
            show_note(f"Metrics for Prometheus: {endpoint.url}")
        if not quiet and page is not None:
            show_note(f"Live page: {page.url}{_OPEN if page.is_open else ''}")
        yield Audience(endpoint, page)


def _close(page: Dashboard) -> None:
    problem = page.close()
    if problem:
        show_warning(f"The live page was not whole: {problem}. The record is.")
