"""The table of goals as Markdown, from what `oms bench --json` wrote.

    python -m bench.markdown OUT.json              prints it
    python -m bench.markdown OUT.json README.md    puts it between the lines <!-- bench --> and <!-- /bench --> there
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.svg import number

BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->\n"


def markdown(found: dict[str, Any]) -> str:
    """The goals that were measured, and what on and how. `found`: a document of `bench.report`."""
    host = found["host"]
    begin = (
        f"Measured {found['when'][:10]}, {host['cpus']} × {host['cpu']}, Linux {host['kernel']}, {host['python']}, "
        f"SQLite {host['sqlite']}, fdatasync {number(host['fdatasync_us'])} µs, commit {host['commit'] or '?'}; other "
        f"programs used {100 * host['busy_elsewhere']:.0f} % of the machine just before.\n"
    )
    for each in found["benches"]:
        if each["name"] == "machine":
            begin += f"\nThe machine itself, between the benches (min – median – max): {_spreads(each['metrics'])}.\n"
    rows = ["| what | measured | floor | aim | unit | verdict |", "| --- | ---: | ---: | ---: | --- | --- |"]
    for row in found["goals"]:
        if row["measured"] is not None:
            figures = " | ".join(number(row[key]) for key in ("measured", "floor", "aim"))
            verdict = f"**{row['verdict']}**" if row["verdict"] == "below" else row["verdict"]
            rows.append(f"| {row['what']} | {figures} | {row['unit']} | {verdict} |")
    failed = [f"- {name}: {why}" for name, why in found.get("failed", {}).items()]
    return "\n".join([begin, *rows, *(["", *failed] if failed else [])]) + "\n"


def _spreads(metrics: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{metric['name']} {' – '.join(number(metric[key]) for key in ('min', 'median', 'max'))} {metric['unit']}"
        for metric in metrics
    )


def replaced(text: str, table: str) -> str:
    """The text with the table between its two lines. ValueError where they are not."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN.strip()} … {END.strip()}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def main(arguments: list[str]) -> None:
    """OUT.json, and where the table goes."""
    found = json.loads(Path(arguments[0]).read_text().strip().splitlines()[-1])
    if len(arguments) > 1:
        target = Path(arguments[1])
        target.write_text(replaced(target.read_text(), markdown(found)))
    else:
        sys.stdout.write(markdown(found))


if __name__ == "__main__":
    main(sys.argv[1:])
