"""Reader and writer of all YAML files: duplicate keys are rejected, texts stay texts, and errors
name file and line.

Plain YAML 1.1 silently reads an unquoted `no` or `on` as a boolean, `012` as 10 and `1:30` as 90,
and keeps the last of two equal keys.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from lslm_lightning.renamed import renamed
from lslm_lightning.safety.redaction import learn_settings
from lslm_lightning.types import Json

if TYPE_CHECKING:
    from yaml import SafeLoader as BaseLoader
else:
    BaseLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Values of these keys are texts, in mappings and lists too, whatever the types of a class say
TEXTS = {"corpus", "language", "languages", "source_language", "target_language", "columns"}
DATE, FLOAT, BOOL, INT = (
    f"tag:yaml.org,2002:{name}" for name in ("timestamp", "float", "bool", "int")
)
EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$")
EXPONENTS = re.compile(r"[-+]?[0-9._]+[eE][-+]?[0-9]+$")
MAX_DEPTH = 100  # levels of nesting; libyaml and Python's own recursion fail on thousands
MAX_NODES = 100_000  # that aliases may stand for in all, so that walking a configuration ends


class MeaningError(yaml.MarkedYAMLError):
    """Error for valid YAML that probably does not mean what its author intended."""

    def __init__(self, problem: str, mark: "yaml.Mark | None") -> None:
        super().__init__(problem=problem, problem_mark=mark)
        self.line = 0 if mark is None else mark.line + 1

    def __str__(self) -> str:
        return f"line {self.line}: {self.problem}"


def without_resolvers(
    base: type[yaml.resolver.BaseResolver], *tags: str
) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Return a loader's implicit resolvers (first character -> rules for plain scalars) without
    those for `tags`.
    """
    return {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in tags]
        for first, resolvers in base.yaml_implicit_resolvers.items()
    }


class ConfigLoader(BaseLoader):
    """YAML loader for configurations; dates are read as text."""

    yaml_implicit_resolvers = without_resolvers(yaml.SafeLoader, DATE)

    def __init__(self, stream: str) -> None:
        refuse_nesting(stream)  # first: libyaml composes nodes by recursion in C
        super().__init__(stream)

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            refuse_expansion(node)
            self.check(node, False, set())
        return node

    def check(self, node: yaml.Node, is_text: bool, seen: set[int]) -> None:
        """Check a node and all nodes within it for duplicate or invalid keys, and for other values
        in place of texts.

        Args:
            is_text: whether the values of the node must be texts.
            seen: ids of the nodes checked so far.

        Raises:
            MeaningError: a check failed; the message states the line.
        """
        if id(node) in seen:  # an alias
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for inner in node.value:
                if is_text:
                    self.check_text(inner)
                self.check(inner, is_text, seen)
        elif isinstance(node, yaml.MappingNode):
            self.check_keys(node)
            for key, inner in node.value:
                name = str(key.value).rpartition(".")[2]
                if is_text or (
                    name in TEXTS and inner.value not in ("", "~", "null", "Null", "NULL")
                ):
                    self.check_text(inner, name == "columns" or is_text)
                self.check(inner, is_text or name in TEXTS, seen)

    def check_keys(self, node: yaml.MappingNode) -> None:
        """Raise MeaningError for a duplicate key, or a key that YAML reads as null or a boolean."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue
            value = self.construct_object(key)
            if not key.style and (value is None or isinstance(value, bool)):
                shown = key.value or "(empty)"
                message = f"the key {shown} is {as_yaml(value)} to YAML{quoted_way_out(key.value)}"
                raise MeaningError(message, key.start_mark)
            if not key.style and not isinstance(value, str) and str(value) != key.value:
                key.tag = "tag:yaml.org,2002:str"
                value = key.value
                self.constructed_objects.pop(key, None)
            if str(value) in lines:  # 1 and "1" are one setting
                line = lines[str(value)]
                message = f"the key {value!r} stands twice, in line {line} and here; keep one"
                raise MeaningError(message, key.start_mark)
            lines[str(value)] = key.start_mark.line + 1
        for key, _ in node.value:
            path = key.value if isinstance(key, yaml.ScalarNode) else ""
            if "." in path and (other := key_of(node, path, but=key)) is not None:
                line = other.start_mark.line + 1
                message = f"the setting {path!r} stands twice, in line {line} and here; keep one"
                raise MeaningError(message, key.start_mark)

    def check_text(self, node: yaml.Node, or_index: bool = False) -> None:
        """Raise MeaningError if a plain scalar is not text.

        Args:
            or_index: also accept an integer, the index of a column.
        """
        if not isinstance(node, yaml.ScalarNode) or node.style:
            return
        value = self.construct_object(node)
        is_index = or_index and type(value) is int and str(value) == node.value
        if not isinstance(value, str) and not is_index:
            shown = node.value or "an empty value"
            raise MeaningError(
                f"{shown} is {as_yaml(value)} to YAML{quoted_way_out(node.value)}", node.start_mark
            )


class ParserLoader(ConfigLoader):
    """Loader of configurations for jsonargparse, which reads 1e-3 as a number."""


ParserLoader.add_implicit_resolver(FLOAT, EXPONENT, list("-+0123456789"))


class CatalogueLoader(ConfigLoader):
    """Loader of corpus catalogues, which reads `no`, `on`, 012, 1:30 and dates as texts."""

    yaml_implicit_resolvers = without_resolvers(yaml.SafeLoader, DATE, FLOAT, BOOL, INT)

    def check_keys(self, node: yaml.MappingNode) -> None:
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge"):
                key.tag = "tag:yaml.org,2002:str"
        super().check_keys(node)

    def check_text(self, node: yaml.Node, or_index: bool = False) -> None:
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null"):
            super().check_text(node, or_index)


for tag, pattern, first in (  # those of YAML 1.2
    (BOOL, "(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    (INT, "[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    (FLOAT, r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|\.inf)$", "-+0123456789."),
):
    CatalogueLoader.add_implicit_resolver(tag, re.compile(pattern), list(first))


class Dumper(yaml.SafeDumper):
    """YAML dumper that quotes texts that a loader of this module would read as numbers, and escapes
    line breaks that it would read as spaces.
    """

    yaml_implicit_resolvers = without_resolvers(yaml.SafeDumper)

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return the YAML node of a text, in double quotes if YAML would fold its line breaks."""
        style = '"' if re.search("[\x85\u2028\u2029]", text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


Dumper.add_representer(str, Dumper.represent_text)

Dumper.add_implicit_resolver(FLOAT, EXPONENTS, list("-+0123456789."))


def key_of(node: yaml.Node, path: str, but: yaml.Node | None = None) -> yaml.Node | None:
    """Return the key node, other than `but`, that sets the dotted path in a mapping or a nested
    mapping; None if there is none.
    """
    for key, inner in node.value if isinstance(node, yaml.MappingNode) else ():
        if key is but or not isinstance(key, yaml.ScalarNode):
            continue
        if key.value == path:
            return key
        rest = path.removeprefix(f"{key.value}.")
        if rest != path and (found := key_of(inner, rest)):
            return found
    return None


def as_yaml(value: Json) -> str:
    """Return a scalar in YAML notation."""
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def quoted_way_out(text: str) -> str:
    """Return the end of an error message that advises to put the scalar `text` in quotes."""
    return f"; write '{text}' in quotes" if text else "; write it in quotes"


def refuse_nesting(text: str) -> None:
    """Raise MeaningError, which states the line, if a YAML text is nested deeper than `MAX_DEPTH`
    levels.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    if len(text) <= MAX_DEPTH:
        return
    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise MeaningError(message, event.start_mark)  # type: ignore[arg-type]  # of libyaml


class Extent(NamedTuple):
    """Size of a YAML node with all nodes below it, where each alias counts as its full content."""

    n_node: int
    depth: int


def refuse_expansion(root: yaml.Node) -> None:
    """Raise MeaningError, which states the line, if aliases contain themselves or expand to too
    many values.
    """
    extents: dict[int, Extent | None] = {}  # None while a node is being measured

    def measure(node: yaml.Node) -> Extent:
        """Return the extent of a node."""
        if id(node) in extents:
            if (known := extents[id(node)]) is None:
                raise MeaningError("an alias stands for what it is a part of", node.start_mark)
            return known
        extents[id(node)] = None
        held: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            held = [inner for pair in node.value for inner in pair]
        elif isinstance(node, yaml.SequenceNode):
            held = node.value
        inside = [measure(inner) for inner in held]
        n_node = 1 + sum(each.n_node for each in inside)
        depth = 1 + max((each.depth for each in inside), default=0)
        if depth > MAX_DEPTH + 1:  # a scalar is one more
            raise MeaningError(f"nested deeper than {MAX_DEPTH} levels", node.start_mark)
        extent = Extent(n_node, depth)
        extents[id(node)] = extent
        return extent

    n_node = measure(root).n_node
    if n_node > MAX_NODES and n_node > 2 * len(extents):
        message = f"aliases stand for {n_node:,} values, more than {MAX_NODES:,}; write them out"
        raise MeaningError(message, root.start_mark)


def parse_yaml(text: str, loader: type = ConfigLoader) -> Json:
    """Return the value of a YAML document; old setting names in a configuration are replaced by new
    ones.

    Raises:
        MeaningError: a key is duplicated, a value that must be text is not, the nesting is too
            deep, or aliases expand too far.
        yaml.YAMLError: the text is not YAML, or a scalar does not match its explicit tag.
    """
    try:
        value = yaml.load(text, Loader=loader)
    # of PyYAML's constructors
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError) as error:
        raise yaml.YAMLError(
            f"a value is not of the type that its form or tag says ({error}); quote it if it is "
            "text, and remove its tag"
        ) from None
    if not issubclass(loader, CatalogueLoader):
        value = renamed(value)
    learn_settings(value)  # so that no output shows the secrets of a configuration
    return value


def read_yaml(path: Path, name: str = "", loader: type = ConfigLoader) -> Json:
    """Return the value of a YAML file.

    Args:
        name: name of the file in errors; its path by default.

    Raises:
        ValueError: the file is not UTF-8 or not YAML, or `parse_yaml` rejects it; the message
            states the line.
        OSError: the file cannot be read.
    """
    name = name or str(path)
    try:
        return parse_yaml(path.read_text("utf-8"), loader)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except MeaningError as error:
        raise ValueError(f"{name}, line {error.line}: {error.problem}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ValueError(f"{name} is not YAML{where}: {reason}") from None


def dump_yaml(value: Json, flow: bool = False) -> str:
    """Return a value as YAML that the loaders of this module read back unchanged; keys keep their
    order.

    Args:
        flow: write everything on one line.
    """
    return yaml.dump(
        value,
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=flow,
        width=10**6 if flow else None,
    )


class Plain(NamedTuple):
    """Unquoted scalar that YAML does not read as text."""

    line: int
    text: str


def plain_scalars(path: Path) -> Iterator[tuple[str, Plain]]:
    """Yield (dotted path, scalar) for the unquoted scalars of a file that YAML does not read as
    text.
    """
    loader = ParserLoader(path.read_text("utf-8"))

    def walk(node: yaml.Node, path: str) -> Iterator[tuple[str, Plain]]:
        """Yield (dotted path, scalar) for the unquoted scalars below the node at the dotted path
        `path`.
        """
        if isinstance(node, yaml.MappingNode):
            for key, inner in node.value:
                yield from walk(inner, f"{path}.{key.value}".lstrip("."))
        elif isinstance(node, yaml.SequenceNode):
            for inner in node.value:
                yield from walk(inner, path)
        elif isinstance(node, yaml.ScalarNode) and not (node.style or node.tag.endswith(":str")):
            yield path, Plain(node.start_mark.line + 1, node.value)

    try:
        node = loader.get_single_node()
        if node is not None:
            yield from walk(node, "")
    finally:
        loader.dispose()
