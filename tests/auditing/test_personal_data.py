"""Personal data of training texts and outputs are counted, and shown without themselves."""

import json

import pytest

from lslm_lightning import audit
from lslm_lightning.auditing.masking import masked
from lslm_lightning.auditing.settings import AuditSettings
from lslm_lightning.auditing.subject import SAMPLES
from lslm_lightning.run_files import AUDIT
from tests.auditing.toy_runs import WORDS, trained_ngram

pytestmark = pytest.mark.slow
SECRETS = [f"person{i}@example.com" for i in range(20)]


@pytest.fixture
def run(project):
    """A model of words that repeats its few training texts, one in ten with an address."""
    texts = [
        f"Please write to {SECRETS[i // 10 % 20]} today."
        if i % 10 == 0
        else f"Nothing in text {i}."
        for i in range(1_000)
    ]
    texts += ["Nothing here."] * 300
    return trained_ngram(project / "letters", texts, 5, WORDS)


def test_what_a_model_repeats_is_counted_as_learned_and_not_shown(run):
    findings = audit(run, AuditSettings(n_sample=200), parts=["personal_data"]).findings
    [finding] = findings
    figures = {figure.key: figure.value for figure in finding.figures}
    assert figures["in_training"] == 100
    assert figures["in_outputs"] == figures["added"] == figures["learned"] > 0
    assert finding.severity == "look"
    [table] = finding.tables
    assert [row[1:] for row in table.rows] == [
        (100, figures["in_outputs"], figures["added"], figures["learned"])
    ]
    assert finding.examples
    assert all("[EMAIL]" in example.text for example in finding.examples)
    shown = json.dumps(finding.to_json()) + (run.path / "audit.html").read_text("utf-8")
    assert not any(secret in shown for secret in SECRETS)


def test_words_of_a_list_are_counted_in_what_it_writes(run):
    settings = AuditSettings(n_sample=200, lexicon=("nothing",))
    [finding] = audit(run, settings, parts=["lexicon"]).findings
    samples = json.loads((run.path / AUDIT / SAMPLES).read_text("utf-8"))["samples"]
    share = sum("Nothing" in text for _, text in samples) / len(samples)
    [outputs, training] = finding.figures
    assert outputs.value == pytest.approx(100 * share)
    assert outputs.low < outputs.value < outputs.high
    assert training.value == pytest.approx(90)
    assert not any("nothing" in example.note.lower() for example in finding.examples)
    [none] = audit(run, parts=["lexicon"]).findings
    assert none.severity == "unknown"
    assert "--lexicon" in none.summary[0]


def test_listed_names_are_hidden_in_every_example(project):
    names = ("Zenobia Quill", "欧阳青山")
    texts = [f"{names[i % 2]} came by and told us about every one of them." for i in range(600)]
    run = trained_ngram(project / "names", [*texts, *texts[:300]], 5, WORDS)
    parts = ["memorization", "contamination", "personal_data"]
    settings = AuditSettings(n_sample=40, names=names)
    audit(run, AuditSettings(n_sample=40), parts=parts)  # without a list, names are words
    found = audit(run, settings, parts=parts)
    assert {finding.part for finding in found.findings if finding.examples} == set(parts)
    kept = [(run.path / AUDIT / f"{part}.json").read_text("utf-8") for part in parts]
    for text in (*kept, found.page.read_text("utf-8")):
        assert not any(word in text for name in names for word in name.split())


def test_digits_and_addresses_in_full_width_are_masked():
    shown = masked("电话１３８００１３８０００，ａｂ@例子.cn", 40)
    assert not any(character.isdigit() for character in shown)
    assert "例子" not in shown
