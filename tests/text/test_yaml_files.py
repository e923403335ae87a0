"""YAML says what it seems to say, or is refused by line."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lslm_lightning.configuration.config_files import check_files
from lslm_lightning.runs.parser import load_for_parser
from lslm_lightning.text.yaml_files import (
    CatalogueLoader,
    ConfigLoader,
    MeaningError,
    ParserLoader,
    dump_yaml,
    parse_yaml,
    read_yaml,
)

LOADERS = (ConfigLoader, ParserLoader, CatalogueLoader)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("a: 1\nb: 2\na: 3", 3, "a"),
        ("t:\n  x: 1\n  y: 2\n  x: 3", 4, "x"),
        ("- {b: 1, b: 1}", 1, "b"),
        ('{"a": {"b": 1,\n "b": 2}}', 2, "b"),
        ("a: 1\n'a': 2", 2, "a"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  b: 1\n  b: 2", 5, "b"),
        ("ключ: 1\nключ: 2", 2, "ключ"),
        ("t: {1: a,\n '1': b}", 2, "1"),
        ("t:\n  ? x\n  : 1\n  x: 2", 4, "x"),
    ],
)
def test_a_key_that_stands_twice_is_refused(loader, text, line, key):
    with pytest.raises(MeaningError, match=f"^line {line}: the key '{key}' stands twice"):
        parse_yaml(text, loader)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "line", "setting"),
    [
        ("t: {x: a}\nt.x: b", 2, "t.x"),
        ("t.x: a\nt:\n  x: b", 1, "t.x"),
        ("m:\n  n: {o: {p: a}}\n  n.o.p: b", 3, "n.o.p"),
        ("m:\n  n.o: {p: a}\n  n.o.p: b", 3, "n.o.p"),
        ("m.n: {o.p: a}\nm.n.o: {q: b}\nm.n.o.p: c", 3, "m.n.o.p"),
        ("- {a.b: {c: x}, a: {b: {d: y}}}", 1, "a.b"),
    ],
)
def test_a_setting_that_stands_twice_in_two_spellings_is_refused(loader, text, line, setting):
    with pytest.raises(MeaningError, match=f"^line {line}: the setting '{setting}' stands twice"):
        parse_yaml(text, loader)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text",
    [
        "t: {x: a}\nt.y: b",
        "a.b: {x: a}\na.c: b",
        "a: {b: {x: y}}\na.b.c: z",
        "t.x: a\nt: b",
        "a.: b\n.a: c",
    ],
)
def test_keys_with_dots_that_are_several_settings_are_read(loader, text):
    assert parse_yaml(text, loader) == yaml.safe_load(text)


MERGED = "base: &base {x: 1, y: 2}\nover: {<<: *base, x: 3}\nunder: {x: 4, <<: *base}\nagain: *base"
FROM_MERGED = "a: &a {<<: {x: 1}, x: 2}\nb: {<<: *a, x: 3}\nc: *a"


@pytest.mark.parametrize("text", [MERGED, FROM_MERGED])
@pytest.mark.parametrize("loader", LOADERS)
def test_merge_keys_and_anchors_work(loader, text):
    assert parse_yaml(text, loader) == yaml.safe_load(text)


@pytest.mark.parametrize("word", ["no", "No", "NO", "yes", "on", "ON", "off", "true", "False"])
@pytest.mark.parametrize(
    "text",
    [
        "target_language: {}",
        "data: {{init_args: {{source_language: {}}}}}",
        "languages: [en, {}]",
        "columns: {{en: {}}}",
        "columns: {{en: [a, {}]}}",
        "columns: {{{}: norsk}}",
        "corpus: {}",
        "data.target_language: {}",
        "systems: {{{}: 1}}",
    ],
)
def test_a_boolean_is_no_text(text, word):
    for loader in (ConfigLoader, ParserLoader):
        with pytest.raises(
            MeaningError, match=rf"^line 2: .*\b{word} is (true|false) .*write '{word}' in quotes"
        ):
            parse_yaml("seed: 1\n" + text.format(word), loader)
        quoted = parse_yaml(text.format(f'"{word}"'), loader)
        assert f'"{word}"' in json.dumps(quoted)


@pytest.mark.parametrize("word", ["012", "1:30", "0x1F", "1.5", "1_000", ".inf"])
def test_a_number_is_no_text(word):
    for text in (f"language: {word}", f"languages:\n- {word}", f"columns: {{a: {word}}}"):
        with pytest.raises(MeaningError, match="to YAML; write"):
            parse_yaml(text)


def test_an_index_of_a_column_is_a_number():
    assert parse_yaml("columns: {en: 0, de: 12}") == {"columns": {"en": 0, "de": 12}}


@pytest.mark.parametrize(
    "text", ["languages: [en, ~]", "columns: {de: }", "columns: {de: null}", "~: 1"]
)
def test_nothing_is_no_text(text):
    with pytest.raises(MeaningError, match="is null to YAML"):
        parse_yaml(text)


def test_settings_that_are_left_out_and_booleans_stay():
    text = "language: null\ncolumns:\ntrainer: {bar: no, fast: on, deterministic: off, best: yes}\n"
    assert parse_yaml(text) == yaml.safe_load(text)


WORDS = st.sampled_from(
    [
        "no",
        "on",
        "y",
        "1e3",
        "1.5e3",
        "012",
        "1:30",
        "2024-01-01",
        "~",
        "null",
        ".5e1",
        "=",
        "<<",
        "0o7",
        "",
    ]
)
TREES = st.recursive(
    WORDS
    | st.text(max_size=8)
    | st.integers()
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | WORDS, inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(TREES)
@example("\x85")
@example(["a\u2028b", {"\u2029": "a\x85"}])
def test_what_is_written_is_read_back_by_every_loader(tree):
    from jsonargparse import get_loader

    from lslm_lightning.configuration import errors as config_errors  # noqa: F401 (sets the loader)

    text = dump_yaml({"any": tree})
    for loader in LOADERS:
        assert parse_yaml(text, loader) == {"any": tree}
    if tree is not None:
        assert get_loader("yaml")(text) == {"any": tree}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", r"x\.yaml is not YAML, line"),
        (b"a: \xff", r"x\.yaml is not UTF-8 \(byte 3\)"),
        (b"a: 1\na: 2", r"x\.yaml, line 2: the key 'a' stands twice, in line 1 and here; keep one"),
        (b"b: 1\ncorpus: on", r"x\.yaml, line 2: on is true to YAML; write 'on' in quotes"),
    ],
)
def test_the_file_is_named(tmp_path: Path, content, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_yaml(path)


CHAIN = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 30)
)
LADDER = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000))
SQUARE = f"a: &a [{'x, ' * 2000}]\nb: [{'*a, ' * 2000}]"


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CHAIN, "aliases stand for"),
        (MERGES, "aliases stand for"),
        (SQUARE, "aliases stand for"),
        (LADDER, "nested deeper than 100 levels"),
        ("&a [*a]", "an alias stands for what it is a part of"),
        ("&a {b: {c: *a}}", "an alias stands for what it is a part of"),
        ("a: &a\n  <<: *a", "an alias stands for what it is a part of"),
        ("[" * 100_000, "nested deeper than 100 levels"),
        ("{a: " * 100_000, "nested deeper than 100 levels"),
        ("- " * 5000 + "a", "nested deeper than 100 levels"),
        ("\n".join(" " * i + "a:" for i in range(200)), "line 101: nested deeper than 100 levels"),
    ],
    ids=lambda text: text[:24],
)
def test_what_would_grow_without_end_is_refused(loader, text, words):
    with pytest.raises(MeaningError, match=words):
        parse_yaml(text, loader)


@pytest.mark.parametrize("depth", [50, 99])
def test_what_is_nested_as_configurations_are_is_read(depth):
    assert parse_yaml("[" * depth + "x, " * 200 + "]" * depth) == yaml.safe_load(
        "[" * depth + "x, " * 200 + "]" * depth
    )


def test_many_short_aliases_are_read():
    text = "a: &a {x: 1, y: [1, 2]}\nb: [" + "*a, " * 1000 + "]"
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize("value", ["9" * 5000, "!!int x", "!!timestamp 9999-99-99", "!!float x"])
def test_a_scalar_that_is_not_what_its_tag_says(value, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(f"a: {value}")
    with pytest.raises(ValueError, match=r"a\.yaml is not YAML: a value is not of the type"):
        read_yaml(path)


TAGS = ("int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "pairs")


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("content", ["x", "''", "é", "2024-99-99", "[1]", "{a: 1}"])
def test_a_value_is_of_its_tag_or_refused_in_one_line(tag, content, tmp_path):
    """In configs, catalogues, and values on the command line."""
    text = f"a: !!{tag} {content}"
    for loader in LOADERS:
        try:
            parse_yaml(text, loader)
        except yaml.YAMLError:
            (tmp_path / "a.yaml").write_text(text)
            with pytest.raises(ValueError, match=r"a\.yaml") as told:
                read_yaml(tmp_path / "a.yaml", loader=loader)
            assert "\n" not in str(told.value)
    with suppress(yaml.YAMLError):
        load_for_parser(f"!!{tag} {content}")
    with suppress(ValueError):
        check_files(["--a", f"{{{text}}}"])


@pytest.mark.parametrize(("tag", "content"), [("bool", "x"), ("timestamp", "x"), ("int", "''")])
def test_what_is_not_of_its_tag_has_a_way_out(tag, content):
    with pytest.raises(yaml.YAMLError, match=r"not of the type .* remove its tag"):
        parse_yaml(f"a: !!{tag} {content}", ParserLoader)
