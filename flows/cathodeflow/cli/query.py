"""`query`: MongoDB filters over the project's documents."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cathodeflow.cli.options import ProjectOption, TableFormat

TABLE_LIMIT = 50

FieldsOption = Annotated[
    str | None,
    typer.Option(
        "--fields",
        metavar="a,b.c",
        help="Fields to show, comma-separated dotted paths; `all` for whole documents.",
        show_default="the telling ones; whole documents in JSON",
    ),
]


def query(
    collection: Annotated[
        str,
        typer.Argument(
            help="candidates, predictions, verdicts, labels, models, validations, follow_ups, references, campaigns, "
            "events, attempts, withdrawn, submissions, or FireWorks' own fireworks and launches."
        ),
    ],
    filter_text: Annotated[
        str | None, typer.Argument(metavar="[FILTER]", help="""MongoDB filter as JSON, e.g. '{"level": "Na3"}'.""")
    ] = None,
    project: ProjectOption = Path(),
    campaign: Annotated[
        str | None,
        typer.Option("--campaign", "-c", metavar="NAME", help="Only of this campaign.", show_default="all"),
    ] = None,
    fields: FieldsOption = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="a,-b", help="Fields to sort by; a leading minus descends.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=0, help="Most documents to print; 0 for all.", show_default="50 in a table, else all"
        ),
    ] = None,
    style: Annotated[TableFormat, typer.Option("--format", help="How to print them.")] = TableFormat.TABLE,
    count_only: Annotated[bool, typer.Option("--count", help="Print only how many there are.")] = False,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="a,b.c", help="Count them by the values of these fields, most frequent first."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option("--of", metavar="a.b", help="With --by: sum, mean, min and max of this field too."),
    ] = None,
) -> None:
    """Ask the store in MongoDB's query language.

    Examples: `cflow query verdicts '{"passed": true}' --sort rank`;
    `cflow query labels '{"outcome": "quarantined"}' --by reason`.
    """
    from cathodeflow.campaign import query as questions
    from cathodeflow.cli.output import say
    from cathodeflow.cli.selection import campaign_name, open_existing

    name = questions.check_collection(collection)
    groups = _groups(by, of, fields, sort, count_only=count_only)
    paths = _paths(fields, name, style)
    most = limit if limit is not None else (TABLE_LIMIT if style == TableFormat.TABLE else 0)
    question = questions.ask(name, filter_text, paths, sort, most, campaign)
    opened = open_existing(project)
    if campaign is not None:
        campaign_name(opened, campaign)
    if count_only:
        say(str(questions.count(opened, question)))
        return
    if groups:
        _print_groups(opened, question, groups, of, style)
        return
    documents = questions.answer(opened, question)
    if style == TableFormat.JSONL:
        _print_lines(documents)
    elif style == TableFormat.JSON:
        from cathodeflow.cli.output import print_json

        print_json(list(documents))
    elif style == TableFormat.CSV:
        _print_csv(*questions.rows_of(documents, paths))
    else:
        _print_rows(opened, question, *questions.rows_of(documents, paths))


def _groups(by: str | None, of: str | None, fields: str | None, sort: str | None, *, count_only: bool) -> list[str]:
    """Return the paths to count by, none when not asked; refuse what would have no effect."""
    if by is None:
        if of is not None:
            raise typer.BadParameter("says what to add up: needs --by", param_hint="--of")
        return []
    if fields is not None or sort is not None or count_only:
        raise typer.BadParameter("goes with neither --fields, --sort nor --count", param_hint="--by")
    paths = [part.strip() for part in by.split(",") if part.strip()]
    if not paths:
        raise typer.BadParameter("names no field", param_hint="--by")
    return paths


def _print_groups(opened: Any, question: Any, by: list[str], of: str | None, style: TableFormat) -> None:
    from cathodeflow.campaign.grouping import grouped
    from cathodeflow.cli.output import note, print_json, print_table

    columns, rows = grouped(opened, question, by, of)
    if style in {TableFormat.JSON, TableFormat.JSONL}:
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        _print_lines(named) if style == TableFormat.JSONL else print_json(named)
    elif style == TableFormat.CSV:
        _print_csv(columns, rows)
    elif rows:
        print_table(columns, rows)
        if question.limit and len(rows) == question.limit:
            note(f"{len(rows)} rows shown; --limit 0 shows all")
    else:
        note(f"nothing in {question.collection} matches")


def _paths(fields: str | None, collection: str, style: TableFormat) -> tuple[str, ...]:
    from cathodeflow.campaign.query import DEFAULT_FIELDS

    in_json = style in {TableFormat.JSON, TableFormat.JSONL}
    if fields == "all":
        if in_json:
            return ()
        raise typer.BadParameter("whole documents are printed with --format json or jsonl only", param_hint="--fields")
    if fields is None:
        return () if in_json else DEFAULT_FIELDS[collection]
    chosen = tuple(field.strip() for field in fields.split(",") if field.strip())
    if not chosen:
        raise typer.BadParameter("names no field", param_hint="--fields")
    return chosen


def _print_lines(documents: Any) -> None:
    from cathodeflow.cli.output import plain, say

    for document in documents:
        say(json.dumps(plain(document), ensure_ascii=False, allow_nan=False))


def _print_csv(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from cathodeflow.cli.output import plain

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = (plain(value) for value in row)
        writer.writerow([json.dumps(cell) if isinstance(cell, dict | list | bool) else cell for cell in cells])


def _print_rows(opened: Any, question: Any, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from cathodeflow.campaign.query import count
    from cathodeflow.cli.output import note, print_table

    if not rows:
        note(f"nothing in {question.collection} matches")
        return
    print_table(columns, rows)
    if question.limit and len(rows) == question.limit:
        total = count(opened, question)
        if total > len(rows):
            note(f"{len(rows)} of {total:,} shown; --limit 0 shows all")
