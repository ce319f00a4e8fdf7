"""Writes a page about runs: settings, versions, curves, tables, pictures, samples, and where the time went.

    python -m ssl_jax.report runs/bert-tiny                      # runs/bert-tiny/report.html
    python -m ssl_jax.report runs/simclr runs/byol --output views.html    # side by side
    python -m ssl_jax.report runs/bart_noises-tiny               # a study and all of its runs

The page is one HTML file with everything in it: it can be sent as it is, opens without a network, and holds no script.
It shows what the folders record. Nothing is computed again, so that it takes seconds, also of a run that is still
training, has crashed, or came from somebody else. What a folder lacks, or what cannot be read, is told in the page.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from etils import epath

from ssl_jax.cli import read_arguments
from ssl_jax.domains import NonEmptyText, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.files import check_writable, write_whole
from ssl_jax.guard import guarded
from ssl_jax.runs.records import RunRecord, read_records

PAGE = "report.html"


@dataclass(frozen=True)
class Arguments(Settings):
    """Which runs the page is about, and where it goes."""

    runs: Annotated[tuple[NonEmptyText, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folders of runs or of studies."""
    output: Text = ""
    """The HTML file to write; empty for report.html in the first of the folders."""

    def check_relations(self) -> None:
        if not self.runs:
            raise UserError("no run to report: name one or several run folders, such as runs/bert-tiny.")
        if self.output and not self.output.endswith(".html"):
            raise UserError(
                f"--output {self.output}: expected the name of an .html file, such as report.html."
            )


def named(records: Sequence[RunRecord]) -> dict[str, RunRecord]:
    """The records by the shortest ends of their paths that tell them apart.

    A folder that is given twice is there once.
    """
    unique = {str(record.folder): record for record in records}
    parts = [folder.split("/") for folder in unique]
    length = next(
        (
            n
            for n in range(1, max(map(len, parts)))
            if len({*(tuple(path[-n:]) for path in parts)}) == len(parts)
        ),
        max(map(len, parts)),
    )
    return {"/".join(path[-length:]): record for path, record in zip(parts, unique.values(), strict=True)}


def main(arguments: list[str]) -> int:
    """Writes the page that the command line asks for. Returns the exit code."""
    chosen = read_arguments(Arguments, arguments, prog="python -m ssl_jax.report", description=__doc__)
    folders = [epath.Path(run).expanduser() for run in chosen.runs]
    output = epath.Path(chosen.output).expanduser() if chosen.output else folders[0] / PAGE
    records = named([record for folder in folders for record in read_records(folder)])
    check_writable(output)
    # Imported here: matplotlib takes half a second, which a mistake need not wait for.
    from ssl_jax.reports.page import render_page

    page = render_page(" and ".join(folder.name for folder in folders), records)
    write_whole(output, page)
    print(f"{len(records)} run(s), {len(page) / 1e6:.1f} MB: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
