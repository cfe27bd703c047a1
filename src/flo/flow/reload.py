"""From a bundle's files to compiled loops, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flo.core.bundle import EngineKind, read_parts
from flo.core.contract import Contract, load_contract
from flo.core.errors import BundleError, Problem
from flo.core.expression import FunctionDecl
from flo.core.loop.compiler import compile_loop
from flo.core.loop.definition import BundleDefinition, LoopDefinition
from flo.core.loop.program import CompiledAction, LoopProgram
from flo.core.mask import Mask

FunctionLoader = Callable[[bytes], tuple[Mapping[str, FunctionDecl], list[Problem]]]
"""Loads a bundle's functions.py; an adapter, because loading runs its code."""


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle that can run: every loop compiled, every contract built."""

    definition: BundleDefinition
    programs: Mapping[str, LoopProgram]
    contracts: Mapping[tuple[str, int], Contract]
    functions: Mapping[str, FunctionDecl]

    @property
    def revision(self) -> str:
        return self.definition.revision

    def action(self, loop: str, rule: str, n: int) -> CompiledAction | None:
        program = self.programs.get(loop)
        actions = () if program is None else program.actions.get(rule, ())
        return actions[n] if n < len(actions) else None


def load_bundle(
    files: Mapping[str, bytes], engine_kinds: Mapping[str, EngineKind], load_functions: FunctionLoader
) -> LoadedBundle:
    """Read, check and compile. Raises `BundleError` with every problem of every file, in file order."""
    definition, problems = read_parts(files, engine_kinds)
    broken = {problem.file for problem in problems}
    functions: Mapping[str, FunctionDecl] = {}
    if "functions.py" in files:
        functions, found = load_functions(files["functions.py"])
        problems += found
    contracts, found = _load_contracts(files)
    problems += found
    programs: dict[str, LoopProgram] = {}
    for loop in definition.loops.values():
        contract = None if loop.contract is None else contracts.get(loop.contract)
        if loop.place.file in broken or (loop.contract is not None and contract is None):
            continue  # what its expressions would say then is only what is said already
        program, found = compile_loop(
            loop,
            contract,
            functions,
            revision=definition.revision,
            on_call=_on_call(definition, loop),
            mask=_mask_met(definition, loop),
        )
        problems += found
        if program is not None:
            programs[loop.name] = program
    if problems:
        raise BundleError(_in_order(problems))
    return LoadedBundle(definition, programs, contracts, functions)


def _load_contracts(files: Mapping[str, bytes]) -> tuple[dict[tuple[str, int], Contract], list[Problem]]:
    contracts: dict[tuple[str, int], Contract] = {}
    problems: list[Problem] = []
    for path, document in files.items():
        parts = path.split("/")
        if len(parts) != 3 or parts[0] != "contracts" or not parts[2].endswith(".json"):
            continue
        version = parts[2].removesuffix(".json")
        if not version.isdecimal():
            problems.append(
                Problem(path, 1, 1, f'"{version}" is not a version number', "name it 1.json, 2.json ...")
            )
            continue
        contract, found = load_contract(name=parts[1], version=int(version), document=document, file=path)
        problems += found
        if contract is not None:
            contracts[parts[1], int(version)] = contract
    return contracts, problems


def _mask_met(definition: BundleDefinition, loop: LoopDefinition) -> Mask:
    """What is masked of the signals a loop meets, by itself or by another loop that listens to them."""
    types = set(loop.on)
    return Mask(path for other in definition.loops.values() if types & set(other.on) for path in other.mask)


def _on_call(definition: BundleDefinition, loop: LoopDefinition) -> str | None:
    for pipeline in definition.pipelines.values():
        if loop.name in pipeline.loops:
            return pipeline.on_call
    return None


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))
