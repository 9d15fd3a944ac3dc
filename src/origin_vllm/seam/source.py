"""Reading Python source without running it: which names a release has, and what is in them.

Only what :mod:`origin_vllm.seam.check` asks for: where a name leads through imports, lazy tables
and base classes, what a function takes, what a module imports the moment it is imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One imported name: ``from module import name``, or ``import module`` (name is None).

    Attributes:
        module: Absolute dotted name.
        name: What is taken from it, ``*`` included.
        bound: The name it gets here.
        line: Where.
    """

    module: str
    name: str | None
    bound: str
    line: int = 0


@dataclass(frozen=True)
class Definition:
    """Where a name leads: a class, a function or a value, and the module whose text holds it.

    ``node`` is None for what lies outside the tree (``torch.Tensor``) and for modules.
    """

    module: str
    node: ast.AST | None


_Bindings = dict[str, list[ast.AST | Import]]


class SourceTree:
    """A package's source in a folder.

    Args:
        root: The folder that holds the package's folder, as ``site-packages`` or a checkout does.
        package: Name of the package.
    """

    def __init__(self, root: Path, package: str = "vllm") -> None:
        self.root = root
        self.package = package
        self._trees: dict[str, ast.Module | None] = {}
        self._names: dict[str, _Bindings] = {}

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Every module's file, by dotted name."""
        found = {}
        for path in sorted((self.root / self.package).rglob("*.py")):
            parts = path.relative_to(self.root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return found

    def tree(self, module: str) -> ast.Module | None:
        """The parsed module; None if there is none, or if it isn't Python that we can parse."""
        if module not in self._trees:
            path = self.modules.get(module)
            try:
                self._trees[module] = None if path is None else ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                self._trees[module] = None
        return self._trees[module]

    @cached_property
    def _texts(self) -> dict[str, bytes]:
        return {module: path.read_bytes() for module, path in self.modules.items()}

    def matching(self, word: str, pattern: str) -> Iterator[str]:
        """The modules worth parsing: parsing all of them would take a minute.

        Args:
            word: Must occur in the text; far quicker to look for than the pattern.
            pattern: Regular expression that must match, too.
        """
        needle, wanted = word.encode(), re.compile(pattern.encode(), re.MULTILINE)
        for module, text in self._texts.items():
            if needle in text and wanted.search(text):
                yield module

    # -- names ---------------------------------------------------------------------------------

    def names(self, module: str) -> _Bindings:
        """What each top-level name may be bound to once the module has been imported."""
        if module not in self._names:
            tree = self.tree(module)
            self._names[module] = {}
            if tree is not None:
                self._names[module] = _bindings(tree.body, self._package_of(module), {})
        return self._names[module]

    def resolve(self, module: str, dotted: str) -> list[Definition]:
        """Where ``Name`` or ``Class.attribute`` leads; one entry for each way it may be defined.

        Empty when there is no such name. Imports are followed as far as the tree goes, base
        classes too.
        """
        first, _, rest = dotted.partition(".")
        found = self._name(module, first, ())
        if not rest:
            return found
        return [
            attribute
            for owner in found
            if isinstance(owner.node, ast.ClassDef)
            for attribute in self._attribute(owner, rest)
        ]

    def mro(self, owner: Definition) -> list[Definition]:
        """The class and its bases, nearest first; ``node`` is None for bases outside the tree."""
        found: list[Definition] = []
        queue = [owner]
        while queue:
            one = queue.pop(0)
            if one in found:
                continue
            found.append(one)
            if not isinstance(one.node, ast.ClassDef):
                continue
            bases: list[Definition] = []
            for base in one.node.bases:
                outside = ast.unparse(base).partition("[")[0]
                bases += self.follow(one.module, base) or [Definition(outside, None)]
            queue = bases + queue
        return found

    def follow(self, module: str, expression: ast.expr) -> list[Definition]:
        """Where ``Name``, ``module.Name`` or ``Name[...]`` in the text of a module leads."""
        if isinstance(expression, ast.Subscript):
            expression = expression.value
        return self._expression(module, expression, ())

    def attributes(self, owner: Definition) -> set[str]:
        """Names that instances have: set in ``__init__``, or in the class body, or in a base's."""
        found: set[str] = set()
        for one in self.mro(owner):
            if not isinstance(one.node, ast.ClassDef):
                continue
            package = self._package_of(one.module)
            found |= _bindings(one.node.body, package, {}, annotations=True).keys()
            for method in one.node.body:
                if isinstance(method, Function) and method.name in ("__init__", "__post_init__"):
                    found |= set(_set_on_self(method))
        return found

    def _package_of(self, module: str) -> str:
        path = self.modules.get(module)
        if path is not None and path.name == "__init__.py":
            return module
        return module.rpartition(".")[0]

    def _inside(self, module: str) -> bool:
        return module.partition(".")[0] == self.package

    def _name(self, module: str, name: str, seen: tuple[tuple[str, str], ...]) -> list[Definition]:
        if (module, name) in seen:
            return []
        seen = (*seen, (module, name))
        names = self.names(module)
        found: list[Definition] = []
        for binding in names.get(name, []):
            found += self._binding(module, binding, seen)
        if found:
            return found
        for star in names.get("*", []):
            if isinstance(star, Import) and self._inside(star.module):
                found += self._name(star.module, name, seen)
        if not found and "__getattr__" in names:
            found = self._lazy(module, name, seen)
        if not found and f"{module}.{name}" in self.modules:
            found = [Definition(f"{module}.{name}", None)]
        return found

    def _binding(
        self, module: str, binding: ast.AST | Import, seen: tuple[tuple[str, str], ...]
    ) -> list[Definition]:
        if isinstance(binding, Import):
            if not self._inside(binding.module):
                outside = f"{binding.module}.{binding.name}" if binding.name else binding.module
                return [Definition(outside, None)]
            if binding.name is None:
                return [Definition(binding.module, None)] if binding.module in self.modules else []
            return self._name(binding.module, binding.name, seen)
        if isinstance(binding, ast.Name | ast.Attribute):  # an alias: follow it if we can
            return self._expression(module, binding, seen) or [Definition(module, binding)]
        return [Definition(module, binding)]

    def _expression(
        self, module: str, node: ast.AST, seen: tuple[tuple[str, str], ...]
    ) -> list[Definition]:
        """Where ``Name`` or ``module.Name`` in the text of a module leads."""
        if isinstance(node, ast.Name):
            return self._name(module, node.id, seen)
        if not isinstance(node, ast.Attribute):
            return []
        found = []
        for owner in self._expression(module, node.value, seen):
            if isinstance(owner.node, ast.ClassDef):
                found += self._attribute(owner, node.attr)
            elif owner.node is None and owner.module in self.modules:
                found += self._name(owner.module, node.attr, seen)
            elif owner.node is None and not self._inside(owner.module):
                found.append(Definition(f"{owner.module}.{node.attr}", None))
        return found

    def _attribute(self, owner: Definition, name: str) -> list[Definition]:
        for one in self.mro(owner):
            if not isinstance(one.node, ast.ClassDef):
                continue
            here = _bindings(one.node.body, self._package_of(one.module), {}).get(name)
            if here:
                return [found for b in here for found in self._binding(one.module, b, ())]
        return []

    def _lazy(self, module: str, name: str, seen: tuple[tuple[str, str], ...]) -> list[Definition]:
        """A name that the module's ``__getattr__`` makes: from a table, or by an ``if``."""
        names = self.names(module)
        for values in list(names.values()):
            for table in values:
                if not isinstance(table, ast.Dict):
                    continue
                for key, value in zip(table.keys, table.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == name:
                        return self._lazy_target(module, name, value, seen)
        for function in names["__getattr__"]:
            for node in ast.walk(function) if isinstance(function, ast.AST) else ():
                if isinstance(node, ast.Compare) and any(
                    isinstance(part, ast.Constant) and part.value == name for part in ast.walk(node)
                ):
                    return [Definition(module, node)]
        return []

    def _lazy_target(
        self, module: str, name: str, value: ast.expr, seen: tuple[tuple[str, str], ...]
    ) -> list[Definition]:
        try:
            target = ast.literal_eval(value)
        except ValueError:
            return [Definition(module, value)]
        if isinstance(target, tuple | list) and target and isinstance(target[0], str):
            where, what = target[0], str(target[-1] if len(target) > 1 else name)
        elif isinstance(target, str):
            where, _, what = target.partition(":")
        else:
            return [Definition(module, value)]
        where = _absolute(where, self._package_of(module))
        return self._name(where, what or name, seen)

    # -- imports -------------------------------------------------------------------------------

    def imports(self, module: str) -> Iterator[Import]:
        """What importing the module imports, that is not what its functions import when called."""
        tree = self.tree(module)
        if tree is not None:
            for statement in _executed(tree.body):
                yield from imported(statement, self._package_of(module))

    def imports_inside(self, found: Definition) -> Iterator[Import]:
        """What a function imports when it is called."""
        for statement in ast.walk(found.node) if found.node is not None else ():
            yield from imported(statement, self._package_of(found.module))


def imported(statement: ast.AST, package: str) -> Iterator[Import]:
    """The names of an import statement; nothing for any other statement."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            first = alias.name.partition(".")[0]
            # `import a.b` binds a; `import a.b as c` binds a.b.
            target = alias.name if alias.asname else first
            yield Import(target, None, alias.asname or first, statement.lineno)
            if target != alias.name:
                yield Import(alias.name, None, alias.name, statement.lineno)
    elif isinstance(statement, ast.ImportFrom):
        module = _absolute("." * statement.level + (statement.module or ""), package)
        for alias in statement.names:
            yield Import(module, alias.name, alias.asname or alias.name, statement.lineno)


def is_type_checking(node: ast.AST) -> bool:
    """Whether it is an ``if TYPE_CHECKING:``, whose body never runs."""
    return isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"


def parameters(function: Function) -> tuple[list[str], list[str]]:
    """Names of the parameters that take positions, and of the keyword-only ones; no ``self``."""
    arguments = function.args
    positional = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    if positional and positional[0] in ("self", "cls"):
        del positional[0]
    return positional, [one.arg for one in arguments.kwonlyargs]


def required(function: Function) -> list[str]:
    """Names of the parameters without a default; no ``self``."""
    positional, keyword_only = parameters(function)
    defaults = len(function.args.defaults)
    needed = positional[: len(positional) - defaults] if defaults else positional
    values = function.args.kw_defaults
    return needed + [n for n, value in zip(keyword_only, values, strict=True) if value is None]


def kind_of(node: ast.AST | None) -> str:
    """``class``, ``function``, ``coroutine``, ``async generator`` and so on, or ``value``."""
    if isinstance(node, ast.ClassDef):
        return "class"
    if not isinstance(node, Function):
        return "value"
    for decorator in node.decorator_list:
        name = ast.unparse(decorator)
        if name in ("classmethod", "staticmethod", "property"):
            return name
    yields = any(isinstance(part, ast.Yield | ast.YieldFrom) for part in _own(node))
    if isinstance(node, ast.AsyncFunctionDef):
        return "async generator" if yields else "coroutine"
    return "generator" if yields else "function"


def words_of(node: ast.AST) -> set[str]:
    """Every identifier, attribute, imported name and whole string that its body holds.

    Annotations and decorators don't count: they do nothing.
    """
    found: set[str] = set()
    queue: list[ast.AST] = list(node.body) if isinstance(node, Function) else [node]
    while queue:
        part = queue.pop()
        match part:
            case ast.Name():
                found.add(part.id)
            case ast.Attribute():
                found.add(part.attr)
            case ast.Import() | ast.ImportFrom():
                found |= {alias.name for alias in part.names}
            case ast.Constant(value=str(text)):
                found.add(text)
        for field, value in ast.iter_fields(part):
            if field not in ("annotation", "returns", "decorator_list"):
                parts = value if isinstance(value, list) else [value]
                queue += [one for one in parts if isinstance(one, ast.AST)]
    return found


def _own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    queue: list[ast.AST] = list(function.body)
    while queue:
        node = queue.pop()
        yield node
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            queue += ast.iter_child_nodes(node)


def _absolute(module: str, package: str) -> str:
    """``..x`` as seen from a package, as a dotted name."""
    name = module.lstrip(".")
    level = len(module) - len(name)
    if not level:
        return module
    parents = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*parents, name] if name else parents)


def _branches(node: ast.AST) -> list[Sequence[ast.stmt]]:
    """The bodies of which importing the module runs at least one."""
    match node:
        case ast.If() if is_type_checking(node):
            return [node.orelse]
        case ast.If() | ast.For() | ast.While():
            return [node.body, node.orelse]
        case ast.Try() | ast.TryStar():
            rest = [*node.orelse, *node.finalbody]
            return [
                [*node.body, *rest],
                *([*one.body, *node.finalbody] for one in node.handlers),
            ]
        case ast.With():
            return [node.body]
        case ast.Match():
            return [case.body for case in node.cases]
    return []


def _executed(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Every statement that may run when the module is imported, class bodies included."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.ClassDef):
            yield from _executed(statement.body)
        for branch in _branches(statement):
            yield from _executed(branch)


def _bindings(
    body: Iterable[ast.stmt], package: str, before: _Bindings, annotations: bool = False
) -> _Bindings:
    """What each name may be bound to after these statements.

    Args:
        body: The statements of a module or class.
        package: For relative imports.
        before: What was bound before them.
        annotations: Whether ``name: type`` without a value counts (fields of dataclasses).
    """
    names = dict(before)
    for node in body:
        branches = _branches(node)
        if branches:
            ends = [_bindings(branch, package, names, annotations) for branch in branches]
            merged: _Bindings = {}
            for end in ends:
                for name, values in end.items():
                    known = merged.setdefault(name, [])
                    known += [value for value in values if value not in known]
            names = merged
        elif isinstance(node, Function | ast.ClassDef):
            overloaded = any(
                ast.unparse(one).rpartition(".")[2] == "overload" for one in node.decorator_list
            )
            if not overloaded:
                names[node.name] = [node]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for one in imported(node, package):
                stars = names.get("*", []) if one.bound == "*" else []
                names[one.bound] = [*stars, one]
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name):
                        names[part.id] = [node.value]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if node.value is not None or annotations:
                names[node.target.id] = [node.value or node.annotation]
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    names.pop(target.id, None)
    return names


def _set_on_self(method: Function) -> Iterator[str]:
    arguments = [*method.args.posonlyargs, *method.args.args]
    if not arguments:
        return
    for node in ast.walk(method):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == arguments[0].arg
        ):
            yield node.attr
