"""The loops of the scenario, before and after. Nothing else changes: no job is redeployed, no process restarted."""

from __future__ import annotations

from collections.abc import Mapping

JOBS = ("score", "retrain", "report")

LOOP = """loop: {name}
about: {about}
on: {on}
key: data.day
ttl: 10m
reads: [{reads}]
writes: [{writes}]
{feeds}rules:
  - id: {rule}
    when: 'true'
    then:
      - do: {name}-job.call
        with: {{day: '${{data.day}}', source: '${{data.source}}', features: '${{data.features}}', compute: {compute}}}
"""

WATCH = """loop: waste-watch
about: Asks a person to look at work that is done more than once.
on: flo.data.recomputed
key: data.subject
rules:
  - id: look
    when: data.figures.recomputations > 0
    then: [{do: review, with: {queue: waste, about: '${data.detail}'}}]
"""


def bundle(addresses: Mapping[str, str], *, shared: bool) -> dict[str, str]:
    """All files. `shared`: one loop makes the features and feeds the others, which read them."""
    engines = "".join(
        f'  {name}-job: {{kind: webhook, url: "{address}", allow_private: true, honours_key: true, timeout: 30s}}\n'
        for name, address in addresses.items()
    )
    files = {"flo.yaml": f"engines:\n{engines}", "loops/waste-watch.yaml": WATCH}
    for name in JOBS:
        makes = not shared or name == JOBS[0]
        files[f"loops/{name}.yaml"] = LOOP.format(
            name=name,
            about="Makes the features of the day, then its own result."
            if makes
            else "Reads the features of the day.",
            on="tx.landed" if makes else "features.computed",
            reads="dataset:tx" if makes else "dataset:features",
            writes=f"dataset:{name}-result" + (", dataset:features" if makes else ""),
            feeds=f"feeds: [{', '.join(JOBS[1:])}]\n" if shared and makes else "",
            rule="compute" if makes else "use",
            compute="true" if makes else "false",
        )
    return files
