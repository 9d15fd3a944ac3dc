"""Does a vLLM release still have what :mod:`origin_vllm.seam.contract` names? Found by parsing.

Nothing of vLLM is imported or run, so any release can be asked: an installed one, the wheel of a
newer one, a checkout.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from origin_vllm.seam.contract import (
    COLLECTOR_MAKERS,
    CONTRACT,
    ENGINE_BUILDER,
    ENGINE_IMPORTERS,
    ENGINE_MODULE,
    ENGINE_NAME,
    LAUNCH_PATHS,
    WAYS_IN,
    Importer,
    Touch,
)
from origin_vllm.seam.source import (
    Definition,
    Function,
    SourceTree,
    kind_of,
    parameters,
    required,
    words_of,
)

#: Bases from outside vLLM whose instances keep a ``__dict__``.
_PLAIN_BASES = {"object", "ABC", "abc.ABC", "Generic", "typing.Generic", "Protocol"}


@dataclass(frozen=True)
class Problem:
    """Something that a release changed.

    Attributes:
        touch: What it is about, as ``module:name``.
        what: What is different.
        why: What we need it for.
    """

    touch: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.touch}: {self.what} (needed: {self.why})"


@dataclass
class Report:
    """What the check of one release found.

    Attributes:
        problems: What breaks Origin vLLM.
        notes: What breaks nothing but wants to be looked at.
    """

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def compatible(self) -> bool:
        """Whether nothing broke."""
        return not self.problems


def check(tree: SourceTree) -> Report:
    """Check a release against the whole contract."""
    report = Report()
    for touch in CONTRACT:
        report.problems += check_touch(tree, touch)
    report.problems += check_ways_in(tree)
    report.problems += check_builder(tree)
    report.problems += check_launch_paths(tree)
    report.problems += check_importers(tree)
    public = check_public(tree, *our_public_names())
    return Report([*report.problems, *public.problems], public.notes)


# -- one name --------------------------------------------------------------------------------------


def check_touch(tree: SourceTree, touch: Touch) -> list[Problem]:
    """What no longer holds of one entry of the contract."""
    found: list[Definition] = []
    for module in (touch.module, *touch.also):
        found = tree.resolve(module, touch.name)
        if found:
            break
    if found:
        # However it is defined, each way must hold. Several ways may have the same fault.
        whats = {what: None for one in found for what in _faults(tree, touch, one)}
    elif touch.optional:
        whats = {}
    else:
        whats = {_missing(tree, touch): None}
    return [Problem(touch.id, what, touch.why) for what in whats]


def _missing(tree: SourceTree, touch: Touch) -> str:
    first, _, rest = touch.name.partition(".")
    modules = [one for one in (touch.module, *touch.also) if one in tree.modules]
    if not modules:
        text = f"there is no module {touch.module}"
    elif tree.tree(modules[0]) is None:
        return f"{modules[0]} is not Python that this Python can parse"
    elif rest and tree.resolve(modules[0], first):
        return f"{first} has no {rest}"
    else:
        text = f"there is no {first} in {modules[0]}"
    homes = _defined_in(tree, first)
    return f"{text}; {first} is now in {', '.join(homes)}" if homes else text


def _defined_in(tree: SourceTree, name: str) -> list[str]:
    """The modules that define a class or function of this name: where did it go?"""
    return list(tree.matching(name, rf"^(?:class|def|async def) {re.escape(name)}\b"))[:3]


def _faults(tree: SourceTree, touch: Touch, found: Definition) -> Iterator[str]:
    node = found.node
    kind = kind_of(node)
    if touch.kind and kind != touch.kind:
        yield f"it is a {kind}, no longer a {touch.kind}"
        return
    if isinstance(node, Function):
        yield from _parameter_faults(touch, node)
    elif touch.positional or touch.params:
        yield f"it is a {kind}: its parameters can't be seen"
    if touch.attributes:
        has = tree.attributes(found)
        for name in touch.attributes:
            if name not in has:
                yield f"its instances have no attribute {name}"
    if node is not None:
        words = words_of(node)
        for name in touch.uses:
            if name not in words:
                yield f"its body no longer uses {name}"
        for name in touch.only_called:
            if _used_otherwise(node, name):
                yield f"its body uses {name} for something else than calling it"
    if touch.in_place:
        yield from _layout_faults(tree, found)
        for name, module in _subclasses(tree, found):
            if name not in touch.subclasses:
                yield f"vLLM may make its subclass {name} (in {module}) in its place"


def _parameter_faults(touch: Touch, function: Function) -> Iterator[str]:
    positional, keyword_only = parameters(function)
    first = tuple(positional[: len(touch.positional)])
    if first != touch.positional:
        yield (
            f"its first parameters are ({', '.join(first)}), no longer "
            f"({', '.join(touch.positional)})"
        )
    for name in touch.params:
        if name not in positional and name not in keyword_only:
            yield f"it has no parameter {name}"
    if touch.complete:
        for name in required(function):
            if name not in touch.positional and name not in touch.params:
                yield f"it has a new parameter without a default: {name}"


def _used_otherwise(node: ast.AST, name: str) -> bool:
    called = {id(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
    return any(
        isinstance(part, ast.Name) and part.id == name and id(part) not in called
        for part in ast.walk(node)
    )


def _layout_faults(tree: SourceTree, found: Definition) -> Iterator[str]:
    """Why an instance could not change its class for a subclass that has attributes of its own."""
    for one in tree.mro(found):
        if not isinstance(one.node, ast.ClassDef):
            if one.module not in _PLAIN_BASES and one.module.rpartition(".")[2] not in _PLAIN_BASES:
                yield f"it derives from {one.module}: its instances may have no __dict__"
            continue
        for statement in one.node.body:
            if isinstance(statement, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "__slots__"
                for target in statement.targets
            ):
                yield f"{one.node.name} has __slots__: its instances have no __dict__"
        for decorator in one.node.decorator_list:
            for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
                if keyword.arg in ("slots", "frozen") and ast.unparse(keyword.value) == "True":
                    yield f"{one.node.name} is a dataclass with {keyword.arg}=True"


def _subclasses(tree: SourceTree, found: Definition) -> Iterator[tuple[str, str]]:
    """Names and modules of the direct subclasses that vLLM has."""
    assert isinstance(found.node, ast.ClassDef)  # noqa: S101 - in_place is for classes
    name = found.node.name
    for module in tree.matching(name, rf"class\s+\w+\s*\([^)]*\b{name}\b"):
        for node in ast.walk(tree.tree(module) or ast.Module([], [])):
            if isinstance(node, ast.ClassDef) and any(
                found in tree.follow(module, base) for base in node.bases
            ):
                yield node.name, module


# -- how requests get into the engine --------------------------------------------------------------


def check_ways_in(
    tree: SourceTree,
    makers: Sequence[str] = COLLECTOR_MAKERS,
    ways: Sequence[str] = WAYS_IN,
    module: str = ENGINE_MODULE,
) -> list[Problem]:
    """Whether a collector reaches the engine only where we turn it into ours."""
    why = "a collector must become ours before the first output can reach it"
    problems = []
    for maker in makers:
        for found in tree.resolve(module, maker):
            if not isinstance(found.node, Function):
                continue
            made = {
                target.id
                for node in ast.walk(found.node)
                if isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and ast.unparse(node.value.func).endswith("Collector")
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            here = f"{module}:{maker}"
            if not made:
                problems.append(Problem(here, "it no longer makes the collector itself", why))
            for node in ast.walk(found.node):
                if not isinstance(node, ast.Call):
                    continue
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                called = ast.unparse(node.func).removeprefix("self.")
                if called not in ways and any(
                    isinstance(one, ast.Name) and one.id in made for one in given
                ):
                    what = f"it hands the collector to {called} too (line {node.lineno})"
                    problems.append(Problem(here, what, why))
    return problems


# -- how our engine gets into the server -----------------------------------------------------------


def check_builder(
    tree: SourceTree,
    places: Sequence[str] = ENGINE_BUILDER,
    module: str = ENGINE_MODULE,
    name: str = ENGINE_NAME,
) -> list[Problem]:
    """Whether the function that builds the server's engine imports its class when called."""
    why = "that import is what we redirect to put our engine into vLLM's server"
    for place in places:
        where, _, function = place.partition(":")
        for found in tree.resolve(where, function):
            here = f"{found.module}:{function}"
            if not isinstance(found.node, Function):
                return [Problem(here, "it is not a function", why)]
            imports = tree.imports_inside(found)
            bound = {one.bound for one in imports if (one.module, one.name) == (module, name)}
            if not bound:
                return [Problem(here, f"it does not import {name} from {module} itself", why)]
            calls = (part.func for part in ast.walk(found.node) if isinstance(part, ast.Call))
            if not any(ast.unparse(call).partition(".")[0] in bound for call in calls):
                return [Problem(here, f"it does not build its engine with {name}", why)]
            return []
    return [Problem(places[0], "there is no function that builds the server's engine", why)]


def check_launch_paths(
    tree: SourceTree,
    launcher: tuple[str, str] = ("vllm.entrypoints.cli.serve", "ServeSubcommand.cmd"),
    known: dict[str, str] | None = None,
) -> list[Problem]:
    """Whether ``vllm serve`` starts servers in ways that nobody has looked at."""
    known = LAUNCH_PATHS if known is None else known
    problems = []
    for found in tree.resolve(*launcher):
        if not isinstance(found.node, Function):
            continue
        flags = parameters(found.node)[0][0]
        called = {
            node.func.id
            for node in ast.walk(found.node)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and any(isinstance(one, ast.Name) and one.id == flags for one in node.args)
        }
        problems += [
            Problem(
                ":".join(launcher),
                f"a new way to start: {name}({flags})",
                "our engine must run on every launch path (LAUNCH_PATHS in contract.py)",
            )
            for name in sorted(called - known.keys() - {"hasattr", "getattr", "setattr", "vars"})
        ]
    return problems


def check_importers(
    tree: SourceTree,
    known: Sequence[Importer] = ENGINE_IMPORTERS,
    module: str = ENGINE_MODULE,
    name: str = ENGINE_NAME,
) -> list[Problem]:
    """Which modules hold the engine class from before we could replace it.

    That is: every module that takes it by name from its home, or from another such module, the
    moment it is imported; and every module that imports one which must come late.
    """
    why = (
        "replacing the name reaches only imports that come later (ENGINE_IMPORTERS in contract.py)"
    )
    table = {one.module: one for one in known}
    holders = {module: {name}}
    problems: dict[str, Problem] = {}
    queue = [module]
    while queue:
        holder = queue.pop(0)
        late = holder in table and table[holder].late
        leaf = holder.rpartition(".")[2]
        for other in tree.matching(leaf, rf"\b{leaf}\b"):
            if other == module:
                continue
            taken = [one for one in tree.imports(other) if _from(one.module, one.name, holder)]
            held = {
                one.bound
                for one in taken
                if one.module == holder and (one.name in holders[holder] or one.name == "*")
            }
            if not held and not (late and taken):
                continue
            if other not in table:
                what = f"imports {name} by way of {holder} at module level (line {taken[0].line})"
                problems.setdefault(other, Problem(other, what, why))
            if other not in holders:
                holders[other] = set()
                queue.append(other)
            held |= _aliases(tree, other, held)
            if held - holders[other]:
                holders[other] |= held
                queue.append(other)
    return list(problems.values())


def _from(module: str, name: str | None, holder: str) -> bool:
    return module == holder or f"{module}.{name}" == holder


def _aliases(tree: SourceTree, module: str, names: set[str]) -> set[str]:
    """Other top-level names of a module for the same thing (``AsyncLLMEngine = AsyncLLM``)."""
    return {
        bound
        for bound, values in tree.names(module).items()
        if any(isinstance(value, ast.Name) and value.id in names for value in values)
    }


# -- public names ----------------------------------------------------------------------------------


def our_public_names() -> tuple[set[str], set[str]]:
    """All of ``origin_vllm.__all__``, and those of them that are vLLM's own objects."""
    import origin_vllm

    package = Path(origin_vllm.__file__).parent
    written = SourceTree(package.parent, package.name).names(package.name)
    everything = set(origin_vllm.__all__)
    return everything, everything - origin_vllm._OURS.keys() - written.keys()


def check_public(tree: SourceTree, everything: set[str], handed_on: set[str]) -> Report:
    """Compare ``vllm.__all__`` with ours.

    Args:
        tree: The release.
        everything: The names in ``origin_vllm.__all__``.
        handed_on: Those that vLLM must have, because we take them from it.
    """
    found = tree.resolve("vllm", "__all__")
    try:
        public = set(ast.literal_eval(found[0].node))  # type: ignore[arg-type]
    except (IndexError, ValueError, TypeError):
        why = "origin_vllm.__all__ holds every public name"
        return Report([Problem("vllm:__all__", "it is not a plain list of names", why)])
    problems = [
        Problem("vllm:__all__", f"it has no {name}", f"origin_vllm.{name} is vLLM's own")
        for name in sorted(handed_on - public)
    ]
    problems += [
        Problem(f"vllm:{name}", "vllm.__all__ has it, but it leads nowhere", "a public name")
        for name in sorted(public)
        if not tree.resolve("vllm", name)
    ]
    notes = [f"vllm.__all__ has {name}, ours not yet" for name in sorted(public - everything)]
    return Report(problems, notes)
