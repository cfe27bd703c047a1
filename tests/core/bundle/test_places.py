"""Every character of an expression is found in its file, however YAML writes the text."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flo.core.bundle.document import MapNode, read_document
from flo.core.bundle.report import Report
from flo.core.bundle.section import expression_of, template_of
from flo.core.loop.definition import ExpressionText, place_at


def expression(yaml_text: str) -> ExpressionText:
    report = Report()
    node = read_document("x.yaml", yaml_text.encode(), report)
    assert not report.problems()
    assert isinstance(node, MapNode)
    found = node.get("when")
    assert found is not None
    return expression_of(found)


@pytest.mark.parametrize(
    "yaml_text",
    [
        "when: a.b > BAD\n",
        "  \nwhen:    a.b > BAD # why\n",
        "when: 'a.b > BAD'\n",
        'when: "a.b > BAD"\n',
        "when: 'a == ''x'' && b > BAD'\n",
        'when: "a == \\"x\\" && b > BAD"\n',
        'when: "a == \\u00e9 && \\x41 > BAD"\n',
        'when: "a ==\\tb\\\n   \\n && BAD"\n',
        "when: |\n  a.b\n    > 3 &&\n\n  BAD\n",
        "when: |2\n    a.b && BAD\n",
        "when: >-\n  a.b\n  > 3\n\n  && BAD\n",
        "when: a.b\n  > 3\n  && BAD\n",
        "when: 'a.b\n  > 3\n\n  && BAD'\n",
        'when: " a ü && BAD"\n',
        "when: &anchor a.b > BAD\n",
        "when: &anchor 'a.b > BAD'\n",
        "when:\r\n  a.b\r\n  && BAD\r\n",
        "x: {y: [é, ü]}\nwhen: é && BAD\n",
    ],
)
def test_the_place_of_any_character_is_exact_in_every_style(yaml_text: str) -> None:
    text = expression(yaml_text)
    place = place_at(text.place, text.turns, text.text.index("BAD"))
    lines = yaml_text.split("\n")
    assert lines[place.line - 1][place.column - 1 :].startswith("BAD")


def test_a_line_and_column_of_the_text_become_those_of_the_file() -> None:
    text = expression("when: |\n    a.b\n      > BAD\n")
    assert text.text == "a.b\n  > BAD\n"
    place = text.place_at(2, 5)
    assert (place.line, place.column) == (3, 9)
    assert (text.place.line, text.place.column) == (2, 5)


def test_every_part_of_a_template_has_its_place() -> None:
    report = Report()
    source = "when: {dag: x, conf: {since: '${BAD}'}, list: [1, \"a ${BAD}\"]}\n"
    node = read_document("x.yaml", source.encode(), report)
    assert isinstance(node, MapNode)
    found = node.get("when")
    assert found is not None
    template = template_of(found)
    assert template.value == {"dag": "x", "conf": {"since": "${BAD}"}, "list": [1, "a ${BAD}"]}
    for path, column in ((("conf", "since"), 3), (("list", 1), 5)):
        place = template.place_at(path, 1, column)
        assert source[place.column - 1 :].startswith("BAD")
    assert template.place_at(()).column == 7


@given(
    st.text(alphabet="ab'\"\\ \n\té:#,[]", min_size=1, max_size=40).filter(str.strip),
    st.sampled_from(["'", '"', "|", ">", None]),
)
@settings(print_blob=True, max_examples=300)
def test_every_visible_character_is_found_where_it_stands(text: str, style: str | None) -> None:
    written = yaml.safe_dump({"when": text}, default_style=style, allow_unicode=True, width=20)
    if written.startswith(('"', "'", "|", ">", "?")):  # the key is quoted too: not what is looked at here
        written = written.replace('"when"', "when", 1).replace("'when'", "when", 1)
    if not written.startswith("when:"):
        return
    found = expression(written)
    lines = written.split("\n")
    for offset, character in enumerate(found.text):
        if character.isspace() or not found.turns:
            continue
        place = place_at(found.place, found.turns, offset)
        here = lines[place.line - 1][place.column - 1]
        assert here in (character, "\\"), (written, offset)
