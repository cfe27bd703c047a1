"""The reference page of the command line (docs/reference/command-line.md), made from the commands themselves."""

from __future__ import annotations

import click

from flo.faces.cli.main import cli

_HEAD = """# Command line

Made from the commands themselves; `flo COMMAND --help` prints the same.

Whatever reads takes `--to URL` (a running FLO, by default `http://127.0.0.1:8750`) or `--data PATH` (its data
directory, also while FLO is down). Results go to stdout, progress and errors to stderr; `--json` prints one JSON
document, and errors as one JSON line.

| exit code | |
|---|---|
| 0 | done |
| 1 | the answer is no, or it was not done |
| 2 | wrong use |
| 130 | stopped by Ctrl-C |

| environment | |
|---|---|
| `FLO_TOKEN` | the token to ask a FLO with |
| `FLO_TOKENS` | the token file of `flo run`, as `--tokens` |
| `FLO_DEBUG=1` | print the traceback of an error |
"""


def reference_page() -> str:
    """The whole page, as Markdown."""
    context = click.Context(cli, info_name="flo", **cli.context_settings)
    parts = [_HEAD]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        parts += _sections(command, context, f"flo {name}")
    return "".join(parts)


def _sections(command: click.Command, parent: click.Context, title: str) -> list[str]:
    context = click.Context(command, info_name=title.rpartition(" ")[2], parent=parent)
    about = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    if isinstance(command, click.Group):
        found = [f"\n## `{title}`\n\n{about}\n"]
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += _sections(child, context, f"{title} {name}")
        return found
    usage = " ".join(command.collect_usage_pieces(context))
    return [f"\n## `{title}`\n\n    {title} {usage}\n\n{about}\n\n", _options(command, context)]


def _options(command: click.Command, context: click.Context) -> str:
    records = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None
    ]
    rows = "".join(f"| `{_cell(names)}` | {_cell(text)} |\n" for names, text in records)
    return f"| option | |\n|---|---|\n{rows}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
