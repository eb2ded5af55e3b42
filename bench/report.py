"""One run as a document, for machines, comparisons and `bench.page`; and its histograms as HDR logs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import goals
from bench.measure import Finding
from bench.svg import number


def document(findings: Mapping[str, Finding], host: dict[str, Any]) -> dict[str, Any]:
    """Everything that was found, by whom and on what."""
    return {
        "version": 1,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": host,
        "benches": [found.document() | {"name": name} for name, found in findings.items()],
        "goals": goals.table(findings),
    }


def facts(found: dict[str, Any]) -> str:
    """When, on what and with what: one line of a document."""
    host = found["host"]
    versions = ", ".join(f"{name} {version}" for name, version in host["versions"].items())
    return (
        f"{found['when']}: {host['cpus']} × {host['cpu']}, {host['memory_gib']} GiB, Linux {host['kernel']}, "
        f"{host['python']}, SQLite {host['sqlite']}, {versions}, fdatasync {number(host['fdatasync_us'])} µs, "
        f"{100 * host['busy_elsewhere']:.0f} % of the machine was busy with other things before it began"
        + (f", commit {host['commit']}" if host["commit"] else "")
    )


def write_hlog(folder: Path, findings: Mapping[str, Finding]) -> list[Path]:
    """One HDR histogram log per distribution (`.hlog`, HdrHistogram's format, ns); the files."""
    from hdrh.log import HistogramLogWriter

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, found in findings.items():
        for label, latencies in found.latencies.items():
            path = folder / f"{name}-{_file_name(label)}.hlog"
            with open(path, "w") as file:
                log = HistogramLogWriter(file)
                log.output_comment(f"[{found.title}: {label}, ns]")
                log.output_log_format_version()
                log.output_legend()
                log.output_interval_histogram(latencies.histogram, time.time(), time.time() + 1, 1e6)
            written.append(path)
    return written


def _file_name(label: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in label.lower().replace("→", "to")).strip("-")
