"""Prefixes, language codes and chat templates of models of `transformers`, in both directions."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import transformers
from safetensors.torch import load_file

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Greedy
from lslm_lightning.interchange.exporting import export_model
from lslm_lightning.interchange.importing import import_model
from lslm_lightning.interchange.layouts import layout_named
from lslm_lightning.interchange.layouts.layout import SpecialIds
from lslm_lightning.runs import load_run
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.hugging_face import HuggingFaceSystem
from lslm_lightning.text.hugging_face import prompt_of
from lslm_lightning.text.prompts import Prompt
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from tasks.translation import TranslationData
from tests.interchange.models import EXAMPLES, build_theirs
from tests.interchange.test_import import LLAMA, PEGASUS, edited, their_folder
from tests.text.test_hugging_face import IDS, SOURCE, TARGET, pieces

TEXTS = ["the quick brown fox", "jumps over", "lazy dogs run"]
QUESTIONS = [Example(str(i), text, (text,)) for i, text in enumerate(TEXTS)]
CODES = {">>deu<<": 15, ">>zho<<": 16}
CHAT = (
    "{{ bos_token }}{% for turn in messages %}{{ turn.role }}: {{ turn.content | trim }}<pad>"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def many_languages(folder: Path) -> Path:
    """Save a Marian model with codes of target languages."""
    ids = IDS | CODES
    parts = replace(EXAMPLES["marian"][0], vocab_size=len(ids))
    special = SpecialIds(ids["<pad>"], ids["<pad>"], ids["</s>"])
    build_theirs(layout_named("marian").config(parts, special)).float().save_pretrained(folder)
    pieces(folder / "source.spm", SOURCE)
    pieces(folder / "target.spm", TARGET)
    (folder / "vocab.json").write_text(json.dumps(ids), "utf-8")
    languages = {"source_lang": "en", "target_lang": "mul"}
    (folder / "tokenizer_config.json").write_text(json.dumps(languages))
    return folder


def answers(run: Path, max_length: int = 8) -> list[str]:
    """Return the greedy answers of a run to `QUESTIONS`."""
    system = Checkpoint(str(run), search=Greedy(), device="cpu")
    system.loaded.task.max_length = max_length
    system.loaded.task.min_length = 0
    return [prediction.output.strip() for prediction in system.generate(QUESTIONS)]


def their_answers(folder: Path, prefix: str = "") -> list[str]:
    """Return the greedy answers of `transformers` to `QUESTIONS`."""
    system = HuggingFaceSystem(str(folder), prefix, max_new_tokens=8, device="cpu")
    return [prediction.output for prediction in system.generate(QUESTIONS)]


def test_a_language_code_is_part_of_the_run(tmp_path: Path) -> None:
    source = many_languages(tmp_path / "theirs")
    found = import_model(source, tmp_path / "run", prefix=">>zho<< ")
    assert "each source is read behind '>>zho<< '" in found.notes
    task = load_run(tmp_path / "run").task
    assert task.prompt == Prompt(">>zho<< ")
    theirs = transformers.AutoTokenizer.from_pretrained(source)
    texts = [f">>zho<< {text}" for text in TEXTS]
    assert task.read(QUESTIONS) == theirs(texts).input_ids
    assert [ids[0] for ids in task.read(QUESTIONS)] == [16] * len(TEXTS)
    assert answers(tmp_path / "run") == their_answers(source, ">>zho<< ")


def test_a_source_may_begin_with_a_code(tmp_path: Path) -> None:
    source = many_languages(tmp_path / "theirs")
    found = import_model(source, tmp_path / "run")
    assert any("'>>deu<<', '>>zho<<'" in note for note in found.notes)
    tokenizer = load_run(tmp_path / "run").tokenizer
    theirs = transformers.AutoTokenizer.from_pretrained(source)
    for text in (">>deu<< the cat", ">>zho<<the cat", "the >>deu<< cat", "the cat", ">>"):
        ids, spans = tokenizer.encode_with_offsets(text)
        assert [*ids, 0] == theirs(text).input_ids
        assert ids == tokenizer.encode(text)
        assert all(0 <= start <= end <= len(text) for start, end in spans)
    with pytest.raises(ValueError, match=r"prefix='>>fra<< ' must begin .* '>>deu<<', '>>zho<<'"):
        import_model(source, tmp_path / "none", prefix=">>fra<< ")


PREFIX = "summarize: "
T5_LIKE = {
    "task_specific_params": {
        "summarization": {"prefix": PREFIX, "num_beams": 3},
        "translation_en_to_de": {"prefix": "translate English to German: "},
        "translation_en_to_fr": {"prefix": "translate English to French: "},
    }
}


def test_a_task_prefix_is_part_of_the_run_and_leaves_with_it(tmp_path: Path) -> None:
    folder = their_folder(tmp_path / "plain", "pegasus", **PEGASUS)
    source = edited(folder, tmp_path / "theirs", **T5_LIKE)
    assert import_model(source, tmp_path / "run", task="summarization").notes
    task = load_run(tmp_path / "run").task
    assert (task.prompt, task.search.beam_size) == (Prompt(PREFIX), 3)
    ours = answers(tmp_path / "run")
    assert ours == their_answers(source, PREFIX)
    assert ours != their_answers(source)
    export = export_model(tmp_path / "run", tmp_path / "out", layout="pegasus")
    assert f"each source is read behind {PREFIX!r}" in export.notes
    assert f'tokenizer(["{PREFIX}TEXT"]' in (tmp_path / "out" / "README.md").read_text()
    assert their_answers(tmp_path / "out", PREFIX) == ours
    import_model(tmp_path / "out", tmp_path / "again")
    assert load_run(tmp_path / "again").task.prompt == Prompt(PREFIX)
    found = import_model(source, tmp_path / "two", task="translation")
    assert any("French" in note and "German" in note for note in found.notes)
    assert load_run(tmp_path / "two").task.prompt == Prompt()


def test_a_prefix_leaves_for_ctranslate2_too(tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    folder = their_folder(tmp_path / "theirs", "pegasus", **PEGASUS)
    import_model(folder, tmp_path / "run", prefix=PREFIX)
    export = export_model(tmp_path / "run", tmp_path / "out", "ctranslate2")
    assert export.verification.n_equal == export.verification.n_text
    assert f"each source is read behind {PREFIX!r}" in export.notes
    assert f'["{PREFIX}TEXT"]' in (tmp_path / "out" / "README.md").read_text()


class TwoPairs(TranslationData):
    """Pairs without a corpus, of which one has an empty source."""

    def rows(self, split: str) -> list[dict[str, str]]:
        return [
            {"id": "0", "en": "the fox", "de": "der Fuchs"},
            {"id": "1", "en": "", "de": "nichts"},
            {"id": "2", "en": "a b c", "de": "a b c"},
        ]


def test_training_reads_the_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = their_folder(tmp_path / "theirs", "pegasus", **PEGASUS)
    import_model(folder, tmp_path / "run", prefix=PREFIX, task="translation")
    task = load_run(tmp_path / "run").task
    assert isinstance(task, SequenceToSequenceTask)
    data = TwoPairs("cldr", source_language="en", target_language="de")
    data._tokenizer = task.tokenizer
    without = data.identity
    del data.identity
    task.requirements.bind(data)
    assert data.identity != without, "a training with another prefix has other batches"
    encoded: list[str] = []
    encode = type(task.tokenizer).encode_batch
    monkeypatch.setattr(
        type(task.tokenizer),
        "encode_batch",
        lambda self, texts: encoded.extend(texts) or encode(self, texts),
    )
    pairs = data.encode("train")
    assert [text for text in encoded if "fox" in text] == [f"{PREFIX}the fox"], "encoded once"
    assert [pairs.source[0].tolist()] == task.read([Example("0", "the fox", ())])
    assert len(pairs) == 2, "an empty source is empty behind a prefix too"


def chat_folder(folder: Path, template: str | dict[str, str]) -> Path:
    """Save a Llama model with a chat template, or several with names."""
    made = their_folder(folder, "llama", **LLAMA)
    tokenizer = transformers.AutoTokenizer.from_pretrained(made)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(made)
    return made


def test_a_chat_template_is_part_of_the_run_and_leaves_with_it(tmp_path: Path) -> None:
    source = chat_folder(tmp_path / "theirs", CHAT)
    found = import_model(source, tmp_path / "run")
    assert "questions are put into its chat template" in found.notes
    prompt = load_run(tmp_path / "run").task.prompt
    assert (prompt.chat_template, prompt.special_tokens) == (CHAT, {"bos_token": "<s>"})
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    turns = [{"role": "user", "content": TEXTS[0]}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert load_run(tmp_path / "run").task.prompts(QUESTIONS)[0] == ids
    written = answers(tmp_path / "run")
    assert written == their_answers(source)
    ours = Checkpoint(str(tmp_path / "run"), device="cpu")
    theirs = HuggingFaceSystem(str(source), device="cpu")
    given = {example.id: ["a dog"] for example in QUESTIONS}
    assert [p.nats for p in ours.log_prob(QUESTIONS, given)] == pytest.approx(
        [p.nats for p in theirs.log_prob(QUESTIONS, given)], rel=1e-4
    )
    export_model(tmp_path / "run", tmp_path / "out", layout="llama")
    assert "apply_chat_template" in (tmp_path / "out" / "README.md").read_text()
    assert their_answers(tmp_path / "out") == written
    import_model(tmp_path / "out", tmp_path / "again")
    assert answers(tmp_path / "again") == written
    export_model(tmp_path / "again", tmp_path / "twice", layout="llama")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "twice"))
    assert all(after[name].equal(before[name]) for name in before)


HARMFUL = "{{ ''.__class__.__mro__[1].__subclasses__() }}"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages[0].content }}</s>", "writes id 2, the end of a text"),
        ("{% if %}", "cannot be rendered"),
        (HARMFUL, "cannot be rendered"),
        ("{{ '' }}", "writes nothing"),
    ],
)
def test_a_template_that_cannot_be_used_is_left_behind(
    template: str, reason: str, tmp_path: Path
) -> None:
    source = chat_folder(tmp_path / "theirs", template)
    found = import_model(source, tmp_path / "run")
    [note] = [note for note in found.notes if note.startswith("its chat template was left behind")]
    assert reason in note
    assert "\n" not in note
    assert load_run(tmp_path / "run").task.prompt == Prompt()


@pytest.mark.parametrize(
    ("names", "chosen"),
    [(["rag"], "rag"), (["rag", "default"], "default"), (["rag", "tool_use"], None)],
)
def test_templates_with_names(names: list[str], chosen: str | None) -> None:
    templates = {name: f"{{{{ '{name}' }}}}" for name in names}
    tokenizer = SimpleNamespace(chat_template=templates, special_tokens_map={})
    if chosen:
        assert prompt_of(tokenizer).text("a question") == chosen
        return
    with pytest.raises(ValueError, match=r"chat templates rag, tool_use, and none .* default"):
        prompt_of(tokenizer)


def test_templates_without_a_default_are_left_behind(tmp_path: Path) -> None:
    source = chat_folder(tmp_path / "theirs", {"rag": CHAT, "tool_use": CHAT})
    found = import_model(source, tmp_path / "run")
    assert any("left behind" in note and "rag, tool_use" in note for note in found.notes)
    assert load_run(tmp_path / "run").task.prompt == Prompt()


def test_templates_run_in_a_sandbox() -> None:
    with pytest.raises(ValueError, match=r"chat_template cannot be rendered .*unsafe"):
        Prompt(chat_template=HARMFUL).text("a question")
