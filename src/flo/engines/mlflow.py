"""Engine `mlflow`: moves an alias of a registered model, and moves it back.

    swap  `with: {model: NAME, alias: ALIAS, version: VERSION}`, or `back: true` in place of a version: to where the alias
          stood before the swap that brought it to where it stands

An alias is moved and read back: what is reported as succeeded was seen in the registry. Class: honours the key, and can be
asked. The last swaps of an alias stand in the model's tag `flo.swaps.ALIAS`, each with its command's key, written before
the alias is moved. So a command that is sent again moves nothing twice, not even where another swap came between: it is
then told as overtaken, or as done before that. Who moves the alias by hand leaves no entry; such a move is not undone by
a repeat either.

MLflow has no compare-and-set. Swaps of one alias go one after the other within this engine; two FLOs, or a person at the
same moment, can lose an entry of the history, and the read-back then fails the swap.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec
from yarl import URL

from flo.core.bundle.settings import Setting
from flo.core.command import Command
from flo.core.loop.definition import EngineDefinition
from flo.core.secret import Secret
from flo.engines.configured import Revealed, settings_of
from flo.engines.http_client import BODY_BYTES_MAX, NS_PER_S, HttpClient, idempotency_key
from flo.ports.clock import Clock
from flo.ports.engine import Answer, EngineRejected, FateUnknown, KeyClass, OutcomeSink, Status

SWAPS_MAX = 10
"""Entries kept of an alias: at 320 characters each they fit the 5,000 of a tag's value."""

LOCKS_MAX = 1_000


class Swap(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """One swap of an alias, in the model's tag."""

    key: str
    before: str | None  # None: the alias was not there
    after: str
    back: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an alias stands, and its last swaps, newest first."""

    version: str | None
    swaps: tuple[Swap, ...]

    def position(self, key: str) -> int | None:
        return next((place for place, swap in enumerate(self.swaps) if swap.key == key), None)

    def before(self) -> str | None:
        """Where it stood before the swap that brought it here; None: no such swap is known."""
        swap = next((each for each in self.swaps if each.after == self.version and not each.back), None)
        return None if swap is None else swap.before


@dataclass(frozen=True, slots=True)
class Wish:
    """What a command wants. `version` None: back."""

    key: str
    model: str
    alias: str
    version: str | None

    def answer(self, swap: Swap, status: Status, detail: str = "") -> Answer:
        told = {"model": self.model, "alias": self.alias, "version": swap.after, "previous": swap.before}
        reference = f"models:/{self.model}@{self.alias}"
        return Answer(status=status, detail=detail, result=told, reference=reference)


class MlflowEngine:
    """See the module."""

    kind: ClassVar[str] = "mlflow"
    verbs: ClassVar[frozenset[str]] = frozenset({"swap"})
    key_class: ClassVar[KeyClass] = KeyClass.HONOURS_KEY
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "url": Setting("url", required=True, help="the tracking server, as https://mlflow.example.com"),
            "headers": Setting("map", help="as `Authorization`; values may be ${env:...} or ${file:...}"),
            "allow_private": Setting("bool", default=False, help="the url may lead to private addresses"),
        }
    )

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        headers: Mapping[str, str] | None = None,
        allow_private: bool = False,
        hidden: tuple[str, ...] = (),
    ) -> None:
        self._client = HttpClient(
            url, clock, kind=self.kind, keeps_connections=True, allow_private=allow_private, hidden=hidden
        )
        self._clock = clock
        self._headers = dict(headers or {})
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def start(self, outcome: OutcomeSink) -> None:
        await self._client.start()

    async def send(self, command: Command, *, timeout_s: float) -> Answer:
        if command.verb != "swap":
            raise EngineRejected(f"an mlflow engine knows no `{command.verb}`; it knows swap")
        wish = _wish(command)
        registry = self._registry(timeout_s)
        async with self._lock(wish):
            return await _swap(registry, wish)

    async def ask(self, command: Command, *, timeout_s: float) -> Answer:
        wish = _wish(command)
        registry = self._registry(timeout_s)
        standing = await registry.standing(wish)
        place = standing.position(wish.key)
        if place is None:
            return Answer(status=Status.UNKNOWN, detail="no swap of this alias carries the command's key")
        return _told(wish, standing, place) or Answer(
            status=Status.UNKNOWN, detail="the alias was not moved yet"
        )

    async def close(self) -> None:
        await self._client.close()

    def _registry(self, timeout_s: float) -> Registry:
        return Registry(self._client, self._headers, self._clock, timeout_s)

    def _lock(self, wish: Wish) -> asyncio.Lock:
        if len(self._locks) >= LOCKS_MAX:
            self._locks = {name: lock for name, lock in self._locks.items() if lock.locked()}
        return self._locks.setdefault((wish.model, wish.alias), asyncio.Lock())


class Registry:
    """MLflow's REST API, as one swap uses it, within its time-out."""

    def __init__(
        self, client: HttpClient, headers: Mapping[str, str], clock: Clock, timeout_s: float
    ) -> None:
        self._client = client
        self._headers = headers
        self._clock = clock
        self._limit_ns = clock.now_ns() + round(timeout_s * NS_PER_S)

    async def standing(self, wish: Wish) -> Standing:
        model = (await self._get("registered-models/get", name=wish.model))["registered_model"]
        aliases = {each["alias"]: str(each["version"]) for each in model.get("aliases", ())}
        tags = {each["key"]: each.get("value", "") for each in model.get("tags", ())}
        return Standing(aliases.get(wish.alias), _swaps(tags.get(_tag(wish.alias), "[]"), wish))

    async def check_version(self, wish: Wish, version: str) -> None:
        await self._get("model-versions/get", name=wish.model, version=version)

    async def note(self, wish: Wish, swaps: tuple[Swap, ...]) -> None:
        value = msgspec.json.encode(swaps[:SWAPS_MAX]).decode()
        await self._post("registered-models/set-tag", name=wish.model, key=_tag(wish.alias), value=value)

    async def move(self, wish: Wish, version: str) -> None:
        await self._post("registered-models/alias", name=wish.model, alias=wish.alias, version=version)

    async def _get(self, path: str, **query: str) -> Any:
        return await self._ask("GET", f"{path}?{urlencode(query, errors='surrogatepass')}", None)

    async def _post(self, path: str, **value: str) -> Any:
        return await self._ask("POST", path, json.dumps(value).encode())

    async def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        url = URL(f"{self._client.url.rstrip('/')}/api/2.0/mlflow/{path}", encoded=True)
        left_s = max(0.001, (self._limit_ns - self._clock.now_ns()) / NS_PER_S)
        headers = {**self._headers, **({} if body is None else {"Content-Type": "application/json"})}
        reply = await self._client.request(method, url, body=body, headers=headers, timeout_s=left_s)
        if reply.status != 200:
            raise self._client.error_of(reply)
        if reply.body is None:
            raise FateUnknown(
                f"{self._client.host} answered more than {BODY_BYTES_MAX} bytes to {method} {path.partition('?')[0]}: "
                "the model's tags and descriptions are too long, or the answer was cut off"
            )
        value = reply.json()
        if not isinstance(value, dict):
            raise FateUnknown(
                f"{self._client.host} answered no JSON object to {method} {path.partition('?')[0]}"
            )
        return value


async def _swap(registry: Registry, wish: Wish) -> Answer:
    standing = await registry.standing(wish)
    place = standing.position(wish.key)
    if place is None:
        swap = await _new(registry, wish, standing)
        await registry.note(wish, (swap, *standing.swaps))
    else:
        told = _told(wish, standing, place)
        if told is not None:
            return told
        swap = standing.swaps[place]
    await registry.move(wish, swap.after)
    seen = (await registry.standing(wish)).version
    if seen != swap.after:
        return wish.answer(swap, Status.FAILED, f"moved to version {swap.after}, and read back as {seen}")
    return wish.answer(swap, Status.SUCCEEDED)


async def _new(registry: Registry, wish: Wish, standing: Standing) -> Swap:
    version = wish.version if wish.version is not None else standing.before()
    if version is None:
        raise EngineRejected(
            f"{wish.model}@{wish.alias} stands at version {standing.version}, and no swap is known that brought it there "
            "from another: name the version to go to"
        )
    await registry.check_version(wish, version)
    return Swap(key=wish.key, before=standing.version, after=version, back=wish.version is None)


def _told(wish: Wish, standing: Standing, place: int) -> Answer | None:
    """What became of a swap that the history holds; None: it was written down, and the alias not moved."""
    swap = standing.swaps[place]
    if place == 0:
        if standing.version == swap.after:
            return wish.answer(swap, Status.SUCCEEDED)
        if standing.version == swap.before:
            return None
        return wish.answer(
            swap, Status.FAILED, f"somebody moved the alias to version {standing.version} since"
        )
    if standing.swaps[place - 1].before == swap.after:
        return wish.answer(swap, Status.SUCCEEDED, "and swapped again since")
    return wish.answer(swap, Status.FAILED, "a later swap overtook it")


def _wish(command: Command) -> Wish:
    arguments = command.arguments
    unknown = set(arguments) - {"model", "alias", "version", "back"}
    if unknown:
        names = ", ".join(sorted(map(repr, unknown)))
        raise EngineRejected(f"swap does not know {names}: it takes model, alias, version, back")
    model, alias = arguments.get("model"), arguments.get("alias")
    if not (isinstance(model, str) and model and isinstance(alias, str) and alias):
        raise EngineRejected("swap needs `with: {model: NAME, alias: ALIAS}`, and `version:` or `back: true`")
    version, back = arguments.get("version"), arguments.get("back", False)
    if isinstance(version, int) and not isinstance(version, bool):
        version = str(version)
    if back is True and version is None:
        return Wish(idempotency_key(command.key), model, alias, None)
    if back is False and isinstance(version, str) and version.isascii() and version.isdecimal():
        return Wish(idempotency_key(command.key), model, alias, version)
    raise EngineRejected("swap needs one of `version:`, a version's number, and `back: true`")


def _tag(alias: str) -> str:
    return f"flo.swaps.{alias}"


def _swaps(text: str, wish: Wish) -> tuple[Swap, ...]:
    try:
        return msgspec.json.decode(text, type=tuple[Swap, ...])
    except msgspec.DecodeError as error:
        raise EngineRejected(
            f"the tag {_tag(wish.alias)} of {wish.model} is not as FLO wrote it ({error}): delete it to begin anew"
        ) from None


def mlflow_from_settings(
    definition: EngineDefinition, reveal: Callable[[Secret], str], clock: Clock
) -> MlflowEngine:
    """The engine as flo.yaml configures it. Secrets are revealed here, and kept by the engine alone."""
    values, revealed = settings_of(definition, MlflowEngine.settings), Revealed(reveal)
    return MlflowEngine(
        revealed.text(values["url"]),
        clock,
        headers=revealed.texts(values["headers"]),
        allow_private=values["allow_private"],
        hidden=revealed.hidden,
    )
