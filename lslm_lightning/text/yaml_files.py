"""Reader and writer of all YAML of the project: a key stands once, texts stay texts, errors name
file and line.

YAML 1.1 reads an unquoted `no` or `on` as a boolean, `012` as 10 and `1:30` as 90; of a key that
stands twice, the last wins. None of it is an error there.
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
    """Error in YAML that is valid but means something else than it seems to."""

    def __init__(self, problem: str, mark: "yaml.Mark | None") -> None:
        super().__init__(problem=problem, problem_mark=mark)
        self.line = 0 if mark is None else mark.line + 1

    def __str__(self) -> str:
        return f"line {self.line}: {self.problem}"


def without_resolvers(
    base: type[yaml.resolver.BaseResolver], *tags: str
) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Return first character -> resolvers of plain scalars, without those of some tags."""
    return {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in tags]
        for first, resolvers in base.yaml_implicit_resolvers.items()
    }


class ConfigLoader(BaseLoader):
    """Loader of configurations; dates are text."""

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
        """Refuse keys that stand twice or are no text, and other values where texts are meant.

        Args:
            is_text: whether the node is meant as text.
            seen: ids of the nodes that were checked.

        Raises:
            MeaningError: with the line.
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
        """Refuse keys that stand twice, or that YAML reads as null or a boolean."""
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
        """Refuse a plain scalar that is no text; with `or_index` an index of a column may be
        one.
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
    """Loader of configurations for jsonargparse, where 1e-3 is a number."""


ParserLoader.add_implicit_resolver(FLOAT, EXPONENT, list("-+0123456789"))


class CatalogueLoader(ConfigLoader):
    """Loader of catalogues of corpora, in which `no`, `on`, 012, 1:30 and dates are texts."""

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
    """Dumper that quotes texts which a loader here would take for a number, and escapes line breaks
    that it would read as a space.
    """

    yaml_implicit_resolvers = without_resolvers(yaml.SafeDumper)

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return the node of a text, between double quotes where YAML would fold its line
        breaks.
        """
        style = '"' if re.search("[\x85\u2028\u2029]", text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


Dumper.add_representer(str, Dumper.represent_text)

Dumper.add_implicit_resolver(FLOAT, EXPONENTS, list("-+0123456789."))


def key_of(node: yaml.Node, path: str, but: yaml.Node | None = None) -> yaml.Node | None:
    """Return the key, other than `but`, that sets a dotted path in a mapping or inside it."""
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
    """Return a scalar as YAML writes it."""
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def quoted_way_out(text: str) -> str:
    """Return the end of a message that says how to quote a scalar."""
    return f"; write '{text}' in quotes" if text else "; write it in quotes"


def refuse_nesting(text: str) -> None:
    """Refuse a text whose mappings and lists are nested deeper than `MAX_DEPTH`.

    Raises:
        MeaningError: with the line.
        yaml.YAMLError: it is not YAML.
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
    """Size of a node with all that it holds, each alias counted as what it stands for."""

    n_node: int
    depth: int


def refuse_expansion(root: yaml.Node) -> None:
    """Refuse aliases that contain themselves, or that stand for more values than any configuration
    has.

    Raises:
        MeaningError: with the line.
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
    """Return the value of a YAML document; a config with new names for old ones.

    Raises:
        MeaningError: a key stands twice, what should be text is something else, the nesting is too
            deep, or aliases contain themselves or stand for too many values.
        yaml.YAMLError: it is not YAML, or has a scalar that its own tag does not allow.
    """
    try:
        value = yaml.load(text, Loader=loader)
    except (ValueError, TypeError, OverflowError) as error:  # of PyYAML's constructors
        raise yaml.YAMLError(f"a value cannot be read ({error})") from None
    if not issubclass(loader, CatalogueLoader):
        value = renamed(value)
    learn_settings(value)  # so that no output shows the secrets of a configuration
    return value


def read_yaml(path: Path, name: str = "", loader: type = ConfigLoader) -> Json:
    """Return the value of a YAML file.

    Args:
        name: name of the file in errors; its path by default.

    Raises:
        ValueError: it is not UTF-8, not YAML, has a key twice, or has something else where text
            is meant; with the line.
        OSError: the file cannot be read.
    """
    name = name or str(path)
    try:
        return parse_yaml(path.read_text("utf-8"), loader)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except MeaningError as error:
        raise ValueError(f"{name}, {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ValueError(f"{name} is not YAML{where}: {reason}") from None


def dump_yaml(value: Json, flow: bool = False) -> str:
    """Return a value as YAML, keys in their order, which the loaders here read back as it was; with
    `flow` on one line.
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
    """Unquoted scalar that YAML does not take for text."""

    line: int
    text: str


def plain_scalars(path: Path) -> Iterator[tuple[str, Plain]]:
    """Yield the unquoted scalars of a file that are not text to YAML, by their keys joined with
    dots.
    """
    loader = ParserLoader(path.read_text("utf-8"))

    def walk(node: yaml.Node, path: str) -> Iterator[tuple[str, Plain]]:
        """Yield the scalars of a node at a dotted path."""
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
