"""Where templates run: Jinja2's sandbox without globals, with a bound on what a template computes and writes.

A template may come with a downloaded artifact. Jinja2's sandbox keeps it from Python, but not from looping for ever,
padding a text to 2 GB, or writing a function's address where a column is missing. Here whatever grows or repeats is
charged to the rendering's budget before it happens: loops by their steps, operators, filters, tests and calls by the
size of what they are given, so time and memory are bounded by a number that depends on the row's size alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, MappingView
from typing import Any

import jinja2
import jinja2.runtime
from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from dhrd.data.budget import TooMuch, charge, size_of

_CALL = 32  # a macro's call takes so many times a loop's step
_DIGITS = 64  # of two large numbers that are divided or multiplied, pairs of bytes that take a step
_NUMBER = re.compile(r"\d+")
# Whose numbers are sizes that are added, and whose arguments multiply the text: `x | indent(8)`, `", ".join(x)`.
_ADD = {"center", "ljust", "rjust", "zfill", "batch", "slice", "truncate", "round", "to_bytes"}
_MULTIPLY = {"indent", "wordwrap", "tojson", "replace", "join", "expandtabs", "translate"}
# `random` is another text each time; `attr` is for methods; the others are for web pages.
_NO_FILTERS = {"attr", "random", "pprint", "urlize", "xmlattr"}
# Filters and methods that write a value, where Jinja2 and Python would write the word None, or 0 of `int` and `float`.
_WRITE = {
    *("capitalize", "center", "e", "escape", "float", "forceescape", "format", "indent", "int", "join", "lower"),
    *("replace", "safe", "string", "striptags", "title", "trim", "truncate", "upper"),
    *("urlencode", "wordcount", "wordwrap"),
}
# `%99999d`, `%.*f`, `{:99999}`, and `{:{}}`, whose width comes from elsewhere.
_FIELD = re.compile(r"%(?:\([^)]*\))?[-#0 +]*([\d.]*)|\{[^{}:]*:?([^{}]*)")  # with its widths
_WIDE_FORMAT = re.compile(r"%(\([^)]*\))?[-#0 +]*\d*\.?(\*|\d{5})|\{[^{}]*\d{5}|\{[^{}]+\{")


def _charge_use(name: str, values: list[object]) -> None:
    """Charge a filter, a test or a method by what it is given."""
    sizes = [size_of(value) for value in values]
    numbers = [abs(value) if isinstance(value, int) else 0 for value in values[1:]]
    charge(sum(sizes))
    if name in _ADD:
        charge(sum(numbers))
    elif name in _MULTIPLY:
        charge(sizes[0] * max([0, *sizes[1:], *numbers]))


def charged(name: str, function: Any) -> Callable[..., object]:
    """A filter or a test that is charged for; with what Jinja2 marked it with (`pass_context` and the like)."""
    skipped = 1 if hasattr(function, "jinja_pass_arg") else 0

    def call(*args: object, **options: object) -> object:
        values = list(args[skipped:])
        if values and isinstance(values[0], Iterator):  # what `map` gives: count it, then use it
            values[0] = list(values[0])
        if name == "format":
            _charge_format(*values, *options.values())
        _charge_use(name, [*values, *options.values()])
        if name in _WRITE:
            _check_written(*values, *options.values(), within=name == "join")
        return function(*args[:skipped], *values, **options)

    call.__dict__.update(getattr(function, "__dict__", {}))
    return call


def _charge_format(text: object, *values: object) -> None:
    """Charge for what a format writes: its widths, and a value in each of its fields."""
    if not isinstance(text, str):
        return
    if _WIDE_FORMAT.search(text):
        raise TooMuch("a format width above 9999, or a computed one; give a width of up to 9999")
    fields = _FIELD.findall(text)
    charge(sum(int(width) for field in fields for part in field for width in _NUMBER.findall(part)))
    charge(len(fields) * max([0, *map(size_of, values)]))


class _Guards(NodeTransformer):
    """Puts the guards into a template's syntax tree.

    A name after a dot is an item or plain attribute of a value, never a method of it, unless it is called: a nested
    column may be called `items`.
    """

    def __init__(self) -> None:
        self._num_around = 0
        """Loops and macros around the node: what is in one may be written any number of times."""

    def _visit_repeated(self, node: nodes.Node) -> nodes.Node:
        self._num_around += 1
        self.generic_visit(node)
        self._num_around -= 1
        return node

    visit_Macro = visit_CallBlock = _visit_repeated

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        if node.name == "self":
            raise jinja2.TemplateSyntaxError('self is a name of Jinja2; write row["self"] for a column', node.lineno)
        return node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:
        item = nodes.Getitem(self.visit(node.node), nodes.Const(node.attr), node.ctx)
        return item.set_lineno(node.lineno)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        if not isinstance(node.node, nodes.Getattr):
            return self.generic_visit(node)
        callee = node.node
        self.generic_visit(callee)  # what is before the dot; the method itself stays
        node.node = nodes.Const(None)
        self.generic_visit(node)
        node.node = callee
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self._visit_repeated(node)
        node.iter = _guarded("steps", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _guarded("concatenated", *node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _guarded("weighed", node.expr)
        for operand in node.ops:
            operand.expr = _guarded("weighed", operand.expr)
        return node

    def visit_List(self, node: nodes.Node) -> nodes.Node:
        return _guarded("weighed", self.generic_visit(node))

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return node if node.ctx != "load" else _guarded("weighed", node)

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:
        if not self._num_around:  # written once at most: the template's own size bounds it
            return node
        return nodes.Const(node.data).set_lineno(node.lineno)  # so that it passes `finalize`, which charges for it


def _guarded(name: str, *arguments: nodes.Node) -> nodes.Call:
    """A call of a method of the environment in the place of a node."""
    method = nodes.EnvironmentAttribute(name)
    call = nodes.Call(method, list(arguments), [], None, None)
    call.set_lineno(arguments[0].lineno)
    return call


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2 over a row's columns: no globals, bounded, and nothing but data is written."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self, *, finalize: Callable[..., object] | None = None, **options: Any) -> None:
        # No optimizer: it computes constants while it compiles, without bounds.
        super().__init__(optimized=False, finalize=finalize or _finalize, **options)
        self.globals.clear()
        self.filters = {n: charged(n, f) for n, f in self.filters.items() if n not in _NO_FILTERS}
        self.tests = {n: charged(n, f) for n, f in self.tests.items()}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = _Guards().visit(super()._parse(source, name, filename))
        tree.set_environment(self)
        return tree

    def call(self, context: Context, function: Callable[..., object], /, *args: object, **options: object) -> object:
        """Call a method of a value, a macro, or one of the guards below."""
        owner = getattr(function, "__self__", None)
        if owner is self:  # a guard; no template gets hold of another method of ours
            return function(*args)
        charge(_CALL)
        values = [*args, *options.values()]
        name = getattr(function, "__name__", "")
        _charge_use(name, values if owner is None else [owner, *values])
        if name in ("format", "format_map"):
            text = getattr(getattr(function, "__wrapped__", function), "__self__", None)  # Jinja2 wraps these two
            _charge_format(text, *values)
            _check_written(*values, within=name == "format_map")
        return super().call(context, function, *args, **options)

    def getitem(self, obj: Any, argument: Any) -> object:
        """A column, an element, or an attribute such as `loop.index`; never a method."""
        if isinstance(argument, slice):
            charge(len(obj))
        try:
            return obj[argument]
        except (TypeError, LookupError):
            if not isinstance(argument, str):
                return self.undefined(obj=obj, name=argument)
        value = super().getattr(obj, argument)
        return self.undefined(obj=obj, name=argument) if callable(value) else value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> object:
        """The result of an operator whose result may be large."""
        sizes = size_of(left) + size_of(right)
        if operator == "*" and isinstance(left, int) != isinstance(right, int):
            number, other = (left, right) if isinstance(left, int) else (right, left)
            sizes = sizes if isinstance(other, float) else size_of(other) * max(1, abs(number))
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            sizes = left.bit_length() * abs(right)
        elif operator == "%" and isinstance(left, str):
            _charge_format(left, right)
            _check_written(right, within=isinstance(right, tuple | dict))
        elif isinstance(left, int) and isinstance(right, int) and operator not in "+-":
            sizes += size_of(left) * size_of(right) // _DIGITS
        charge(sizes)
        return super().call_binop(context, operator, left, right)

    def steps(self, values: Iterable[object]) -> Iterator[object]:
        """The values of a loop, each charged."""
        for value in values:
            charge(1)
            yield value

    def weighed(self, value: object) -> object:
        """A value that is compared, or a list that was made: charged by its size."""
        charge(size_of(value))
        return value

    def concatenated(self, *values: object) -> str:
        """What `~` gives."""
        charge(sum(map(size_of, values)))
        _check_written(*values)
        return "".join(map(str, values))


@jinja2.pass_context  # with the context nothing is computed while the template is compiled
def _finalize(context: Context, value: object) -> object:
    """What is about to be written, if it is data."""
    if type(value) is str:
        charge(len(value))
    else:
        charge(size_of(value))
        _check_written(value)
    return value


def _check_written(*values: object, within: bool = False) -> None:
    """Refuse to write what is no data.

    Args:
        *values: What is about to become text.
        within: Whether the parts of lists and dicts are written each, so that none of them may be null.

    Raises:
        jinja2.UndefinedError: It is null or undefined, code, or something that Python would name by its address.
    """
    for value in values:
        if type(value) is str:
            continue
        if value is None:  # Jinja2 would write the word None
            raise jinja2.UndefinedError('a column that it uses is null; fill it in, or write {{ column or "" }}')
        for part in _parts(value):
            if isinstance(part, jinja2.Undefined):
                str(part)  # says which; in a list it would be the word Undefined
            elif not _is_data(part):
                kind = type(part).__name__
                raise jinja2.UndefinedError(f"what it writes is a {kind}, not text; name a column of text")
        if within and isinstance(value, list | tuple | dict):
            _check_written(*(value.values() if isinstance(value, dict) else value))


def _parts(value: object) -> Iterator[object]:
    """A value and all that is in it. What is written was weighed before, so there is an end."""
    pending = [value]
    while pending:
        yield (part := pending.pop())
        pending += part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()


def _is_data(value: object) -> bool:
    """Whether a value has a text of its own: no code, no bytes, nothing that is `<… object at 0x…>`."""
    kind = type(value)
    is_code = kind.__module__.startswith("jinja2.runtime") or callable(value)
    if is_code or isinstance(value, bytes | Iterator | MappingView):
        return False
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__
