"""The reference page of the bundle's keys, made from the tables that validate them."""

from __future__ import annotations

from collections.abc import Mapping

from flo.core.bundle.settings import EngineKind, Setting, shown
from flo.core.bundle.tables import (
    TABLES,
    UNBUILT_ACTION_KEYS,
    UNBUILT_LOOP_KEYS,
    UNBUILT_RETENTION_KEYS,
    UNBUILT_RULE_KEYS,
)

_TYPES = {
    "text": "text",
    "plain": "text",
    "name": "name",
    "url": "URL",
    "secret": "secret",
    "duration": "duration",
    "rate": "rate",
    "size": "size",
    "int": "whole number",
    "number": "number",
    "probability": "number, 0 to 1",
    "fraction": "number between 0 and 1",
    "bool": "true or false",
    "texts": "text or list of texts",
    "list": "list",
    "map": "map",
    "expression": "expression",
    "template": "value with `${expression}`",
}

_HEAD = """# Keys of a bundle

This page is generated from the tables that check a bundle. Every other key is refused, naming the nearest
valid one.

How values are written:

| type | written like |
|---|---|
| duration | `250ms`, `10s`, `10m`, `1h30m`, `1d`; `0` for none; units `ns us ms s m h d w`, large to small |
| rate | `20/s`, `500/m`, `10/h` |
| size | `512B`, `10kB` (1,000), `10KiB` (1,024), `64MiB` |
| name | a letter, then letters, digits, `_`, `-`; at most 64 |
| secret | `${env:NAME}` or `${file:PATH}`, never the secret itself |
| expression | CEL; quote it where YAML needs that: `'!data.test'`, `'data.kind == "a: b"'` |

YAML is read as its plain core of version 1.2: `on`, `off`, `yes` and `no` are texts. There are no tags and no
merge keys; one document a file, at most 256 KiB, 32 levels and 20,000 values, aliases counted as they expand.
"""


def reference_page(engine_kinds: Mapping[str, EngineKind] | None = None) -> str:
    """The page, as Markdown; with the keys of the given kinds of engine at the end."""
    parts = [_HEAD]
    for table, (title, keys) in TABLES.items():
        parts.append(f'<a id="{table}"></a>\n\n## {title}\n\n{_rows(keys)}')
    unbuilt = {
        **UNBUILT_LOOP_KEYS,
        **UNBUILT_RULE_KEYS,
        **UNBUILT_ACTION_KEYS,
        **{f"retention: {name}": instead for name, instead in UNBUILT_RETENTION_KEYS.items()},
        **_later_choices(),
    }
    rows = "\n".join(f"| `{name}` | {instead} |" for name, instead in unbuilt.items())
    parts.append(f"## Not in this release\n\n| key | instead |\n|---|---|\n{rows}\n")
    for kind in sorted((engine_kinds or {}).values(), key=lambda kind: kind.name):
        verbs = ", ".join(f"`{verb}`" for verb in sorted(kind.verbs))
        parts.append(f"## Engine of kind `{kind.name}`\n\nVerbs: {verbs}\n\n{_rows(kind.settings)}")
    return "\n".join(parts)


def _later_choices() -> dict[str, str]:
    return {
        f"{name}: {choice}": instead
        for _, keys in TABLES.values()
        for name, key in keys.items()
        for choice, instead in key.later.items()
    }


def _rows(keys: Mapping[str, Setting]) -> str:
    if not keys:
        return "No keys of its own.\n"
    rows = "\n".join(
        f"| `{name}` | {_type(key)} | {_default(key)} | {_help(key)} |" for name, key in keys.items()
    )
    return f"| key | type | default | |\n|---|---|---|---|\n{rows}\n"


def _type(setting: Setting) -> str:
    if setting.type == "choice":
        return " or ".join(f"`{choice}`" for choice in setting.choices)
    if setting.type in ("section", "sections", "rows"):
        form = {"section": "keys", "sections": "named entries", "rows": "list"}[setting.type]
        return f"[{form}](#{setting.table})"
    limits = [
        f"{word} {limit}"
        for word, limit in (("at least", setting.minimum), ("at most", setting.maximum))
        if limit is not None
    ]
    unit = f" of {setting.unit}" if setting.unit else ""
    return _TYPES[setting.type] + unit + (f", {', '.join(limits)}" if limits else "")


def _default(setting: Setting) -> str:
    if setting.required:
        return "**required**"
    if setting.default in (None, "", [], {}):
        return ""
    return shown(setting.default) if not isinstance(setting.default, bool) else f"`{shown(setting.default)}`"


def _help(setting: Setting) -> str:
    return setting.help.replace("|", "\\|")
