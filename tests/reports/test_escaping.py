import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lslm_lightning.reports.escaping import code_block, code_span, in_cell, markdown
from lslm_lightning.safety.visible_text import visible

SPECIAL = st.text(alphabet="ab1 \n\t`*_#|<>&[]()!~$\\-+=:.{}\"'中", max_size=30)
PARSER = MarkdownIt("commonmark").enable("table")


@given(st.text(alphabet=st.characters(), max_size=50))
def test_visible_text_has_no_controls_and_can_be_written(text):
    shown = visible(text)
    assert all(unicodedata.category(c) not in ("Cc", "Cs") for c in shown if c not in "\t\n")
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(shown)
    shown.encode()


def test_harmless_text_is_not_changed():
    text = "naïve “quotes” 中文，标点。 👩‍💻 سلام\n\tline"
    assert visible(text) == text
    assert visible("a\r\nb") == "a\nb"
    assert visible("\x1b[31m\x00") == "[U+001B][31m[U+0000]"


def words(tokens):
    """Return the text of inline tokens, with a space for a line break."""
    return "".join(
        " " if token.content == "<br>" or token.type == "softbreak" else token.content
        for token in tokens
    )


@given(SPECIAL)
def test_markdown_shows_the_text_itself_and_nothing_more(text):
    for frame, kind in (
        ("p {}", "paragraph_open"),
        ("- p {}", "bullet_list_open"),
        ("|h|\n|---|\n| p {} |", "table_open"),
    ):
        tokens = PARSER.parse(frame.format(markdown(text)))
        assert tokens[0].type == kind
        assert all(
            token.type not in ("html_block", "code_block", "fence", "heading_open", "hr")
            for token in tokens
        )
        children = [token for token in tokens if token.type == "inline"][-1].children
        assert {token.type for token in children} <= {
            "text",
            "text_special",
            "html_inline",
            "softbreak",
        }
        assert all(token.content == "<br>" for token in children if token.type == "html_inline")
        assert words(children).split() == ["p", *text.split()]


@given(SPECIAL)
def test_markdown_at_the_start_of_a_line_is_a_paragraph(text):
    if text.strip():
        tokens = PARSER.parse(markdown(text))
        assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
        assert words(tokens[1].children).split() == text.split()


@given(SPECIAL)
def test_nothing_closes_code(text):
    tokens = PARSER.parse(code_block(text))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content == text + "\n"
    if text.strip():
        [span] = PARSER.parse("x" + code_span(text))[1].children[1:]
        assert span.type == "code_inline"
        assert span.content.split() == text.split()


@given(SPECIAL, SPECIAL)
def test_a_cell_of_a_table_stays_one_cell(text, code):
    tokens = PARSER.parse(
        "|h|i|\n|---|---|\n| p " + in_cell(f"{markdown(text)} {code_span('x' + code)}") + " | q |"
    )
    assert [token.type for token in tokens].count("td_open") == 2
    children = [token for token in tokens if token.type == "inline"][-2].children
    assert children[-1].type == "code_inline"
    assert words(children[:-1]).split() == ["p", *text.split()]
