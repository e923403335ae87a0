"""Models that find answers, to and from the layout of BERT."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lslm_lightning.contracts import Example
from lslm_lightning.decoding.engine import ENGINES
from lslm_lightning.interchange.exporting import TARGETS, export_model
from lslm_lightning.interchange.importing import import_model
from lslm_lightning.interchange.layouts import NoLayoutError
from lslm_lightning.interchange.layouts.bert import threshold_of
from lslm_lightning.interchange.made_runs import write_run
from lslm_lightning.interchange.span_verification import (
    BUILT_IN_QUESTIONS,
    QUESTIONS,
    compare_spans,
    reader_of,
)
from lslm_lightning.interchange.verification import SCRIPTS
from lslm_lightning.runs import load_run
from lslm_lightning.text.recipes import BytePair, Characters, Recipe, Unigram
from lslm_lightning.training.span_model import ScoredPair
from tasks.question_answering.extractive.task import SpanTask
from tests.interchange.models import EXAMPLES, build_task, task_spec
from tests.interchange.test_export import CORPUS
from tests.support.bert import write_bert

PARTS = replace(EXAMPLES["bert"][0], max_positions=48)
SIZES = {"max_length": 40, "stride": 12, "max_question_length": 12}
CLOSE = {"rtol": 0, "atol": 1e-9}  # float64
LETTERS = sorted(set("".join(SCRIPTS).lower()))
LEFT = {  # by the class of a checkpoint: what its run has no use for
    "BertModel": ["bert.pooler"],
    "BertForMaskedLM": ["cls.predictions"],
    "BertForPreTraining": ["bert.pooler", "cls.predictions", "cls.seq_relationship"],
    "BertForSequenceClassification": ["bert.pooler", "classifier"],
    "BertForQuestionAnswering": [],
    "ElectraForPreTraining": ["discriminator_predictions"],
}


def their_folder(folder: Path, name: str = "BertForQuestionAnswering") -> Path:
    """Save a random model of a class, whose WordPieces are letters and Chinese characters."""
    write_bert(folder, [*LETTERS, *(f"##{letter}" for letter in LETTERS)], 48)
    kind = getattr(transformers, name)
    config = kind.config_class.from_pretrained(folder, embedding_size=16)
    torch.manual_seed(1)
    model = kind(config)
    for weight in model.parameters():
        weight.data.add_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(folder)
    return folder


def make_run(folder: Path, recipe: Recipe, **changes: object) -> Path:
    """Write a run of a random model, and return its directory."""
    tokenizer = recipe.train([*CORPUS, *SCRIPTS])
    parts = replace(PARTS, vocab_size=tokenizer.vocab_size)
    task = build_task(parts, tokenizer, **SIZES | changes).float()
    task.threshold.fill_(PARTS.threshold)
    folder.mkdir()
    config = {"model": task_spec(parts, **SIZES | changes)}
    write_run(folder, "lslm test", config, tokenizer, task.state_dict(), {})
    return folder


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return their_folder(tmp_path_factory.mktemp("theirs") / "bert")


@pytest.fixture(scope="module")
def imported(theirs: Path) -> SpanTask:
    import_model(theirs, theirs.parent / "run")
    return load_run(theirs.parent / "run").task.double()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("runs") / "run", Characters())
    return export_model(run, run.parent / "out").path


def states(task: SpanTask, example: Example) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the ids, the segments and the encoder's output for the first window of an example."""
    [window] = task.first_windows([example])
    ids, segments = torch.tensor([window.ids]), torch.tensor([window.segments])
    return ids, segments, task.backbone.encode(task.marks(task.embedding(ids), segments))


@pytest.mark.parametrize("name", LEFT)
@torch.no_grad()
def test_a_checkpoint_of_each_class_becomes_a_run(name: str, tmp_path: Path) -> None:
    source = their_folder(tmp_path / "theirs", name)
    weights = load_file(source / "model.safetensors")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for new, before in old.items():  # as the first checkpoints have them
        weights = {key.replace(new, before): value for key, value in weights.items()}
    save_file(weights, source / "model.safetensors", {"format": "pt"})
    found = import_model(source, tmp_path / "run")
    assert found.task == "question_answering"
    assert name.lower().startswith(found.layout)
    assert found.verification.worst < 1e-9
    assert found.verification.n_equal == len(QUESTIONS)
    left = [note for note in found.notes if note.endswith(" was left behind")]
    assert sorted(left)[1:] == [f"{part} was left behind" for part in LEFT[name]]
    is_new = any(note.startswith("qa_outputs.weight and qa_outputs.bias") for note in found.notes)
    assert is_new == (name != "BertForQuestionAnswering")
    task = load_run(tmp_path / "run").task.double()
    model = transformers.AutoModel.from_pretrained(source, dtype=torch.float64).eval()
    for text in QUESTIONS:
        ids, segments, ours = states(task, task.answering.example("0", text))
        hidden = model(ids, token_type_ids=segments).last_hidden_state
        torch.testing.assert_close(ours, hidden, **CLOSE)


@torch.no_grad()
def test_windows_and_answers_are_those_of_transformers(theirs: Path, imported: SpanTask) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(theirs)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(theirs, dtype=torch.float64)
    sizes = imported.sizes
    imported.threshold.fill_(0.0)
    n_window = 0
    for text in ["a dog?\n" + " ".join(SCRIPTS), "谁\n" + "".join(SCRIPTS), *QUESTIONS]:
        example = imported.answering.example("0", text)
        asked, _, passage = text.partition("\n")
        asked_ids = tokenizer(asked, add_special_tokens=False).input_ids
        if len(asked_ids) > sizes.max_question_length:
            continue
        room = sizes.max_length - len(asked_ids) - 3
        batch = tokenizer(
            asked,
            passage,
            truncation="only_second",
            max_length=sizes.max_length,
            stride=room - sizes.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding=True,
            return_tensors="pt",
        )
        [(_, windows)] = imported.reader.read([example])
        ours = imported.reader.batch(windows)
        assert ours.source.equal(batch.input_ids)
        assert ours.kind.equal(batch.token_type_ids.int())
        assert (~ours.source_pad).long().equal(batch.attention_mask)
        output = model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        scores = torch.stack([output.start_logits, output.end_logits], -1)
        is_real = ~ours.source_pad
        torch.testing.assert_close(
            imported.token_scores(ours)[0][is_real], scores[is_real], **CLOSE
        )
        n_window += len(windows)
        if len(windows) == 1:
            expected = best_answer(scores[0], batch, passage, imported.max_answer_length)
            assert imported.answer([example])[0].output == expected
    assert n_window > 30


def best_answer(
    scores: torch.Tensor, batch: transformers.BatchEncoding, passage: str, longest: int
) -> str:
    """Return the span of a passage whose first and last token have the highest scores, "" if those
    of the first token of all are higher.

    Args:
        scores: (S, 2) start and end logits.
    """
    inside = [i for i, owner in enumerate(batch.sequence_ids(0)) if owner == 1]
    spans = [(i, j) for i in inside for j in range(i, min(i + longest, inside[-1] + 1))]
    start, end = max(spans, key=lambda span: float(scores[span[0], 0] + scores[span[1], 1]))
    if scores[0].sum() > scores[start, 0] + scores[end, 1]:
        return ""
    offsets = batch.offset_mapping[0].tolist()
    return passage[offsets[start][0] : offsets[end][1]]


@torch.no_grad()
def test_a_folder_gives_the_scores_and_the_states_of_the_run(exported: Path) -> None:
    task = load_run(exported.parent / "run").task.double()
    encoder, whole = (
        auto.from_pretrained(exported, dtype=torch.float64).eval()
        for auto in (transformers.AutoModel, transformers.AutoModelForQuestionAnswering)
    )
    assert type(whole).__name__ == "BertForQuestionAnswering"
    for text in QUESTIONS:
        example = task.answering.example("0", text)
        ids, segments, ours = states(task, example)
        hidden = encoder(ids, token_type_ids=segments).last_hidden_state
        torch.testing.assert_close(ours, hidden, **CLOSE)
        output = whole(ids, token_type_ids=segments)
        logits = torch.stack([output.start_logits, output.end_logits], -1)
        [window] = task.first_windows([example])
        torch.testing.assert_close(window.scores, logits[0], **CLOSE)
    card = (exported / "README.md").read_text()
    assert 'pipeline_tag: "question-answering"' in card
    assert "windows of 40 tokens, each 12 after the one before" in card
    assert "by more than 2.5" in card
    assert "whitespace in a question becomes single spaces" in card
    assert "of several windows, an answer has its highest sum" in card


def test_out_and_in_again_are_the_same_bits(exported: Path, tmp_path: Path) -> None:
    found = import_model(exported, tmp_path / "run")
    assert found.notes == ()
    before, after = (
        load_run(run).task.state_dict() for run in (exported.parent / "run", tmp_path / "run")
    )
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    assert before["threshold"] == 2.5
    export_model(tmp_path / "run", tmp_path / "again")
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (exported / name).read_bytes()


def test_in_and_out_again_are_the_same_bits(
    theirs: Path, imported: SpanTask, tmp_path: Path
) -> None:
    export_model(theirs.parent / "run", tmp_path / "again")
    before, after = (
        load_file(folder / "model.safetensors") for folder in (theirs, tmp_path / "again")
    )
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    first, second = map(
        transformers.AutoTokenizer.from_pretrained, (str(theirs), str(tmp_path / "again"))
    )
    for text in SCRIPTS:
        assert first([text], [text]) == second([text], [text])


RECIPES = [BytePair(vocab_size=300), Unigram(vocab_size=600), Characters()]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: type(recipe).__name__)
def test_pairs_of_texts_are_read_alike(recipe: Recipe, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", recipe, max_question_length=20)
    export = export_model(run, tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(export.path)
    frame = load_run(run).task.reader.frame
    ours = load_run(run).tokenizer
    texts = st.text(max_size=20) | st.sampled_from([*SCRIPTS, "<s> a</s>", "  ", "[CLS]"])

    @given(texts, texts)
    @settings(max_examples=30)
    def check(asked: str, passage: str) -> None:
        first = [*frame.before, *ours.encode(asked), *frame.between]
        second = [*ours.encode(passage), *frame.behind]
        read = tokenizer([asked], [passage])  # outside of a list, "" would be no text
        assert read.input_ids == [[*first, *second]]
        assert read.token_type_ids == [[0] * len(first) + [1] * len(second)]

    check()


def test_chinese_characters_and_other_scripts_are_read_alike(
    theirs: Path, imported: SpanTask
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(theirs)
    assert tokenizer.tokenize("狗dog跑") == ["狗", "d", "##o", "##g", "跑"]

    @given(st.text(max_size=20) | st.sampled_from(SCRIPTS))
    @settings(max_examples=60)
    def check(text: str) -> None:
        assert imported.tokenizer.encode(text) == tokenizer(text).input_ids[1:-1]

    check()


def test_settings_that_fit_are_named(tmp_path: Path) -> None:
    """The defaults of `SpanTask` and two modules of it, and what a model needs instead."""
    home = "tasks.question_answering.extractive"
    flow = {"class_path": f"{home}.bidaf.AttentionFlow", "init_args": {"modelling": LSTM}}
    head = {"class_path": f"{home}.answerability.AnswerabilityHead"}
    run = make_run(tmp_path / "run", Characters(), overlap_features=True)
    with pytest.raises(NoLayoutError, match=r"--model\.overlap_features false, a model"):
        export_model(run, tmp_path / "out")
    run = make_run(
        tmp_path / "more",
        Characters(),
        overlap_features=True,
        scale_embedding=True,
        flow=flow,
        answerability_head=head,
    )
    with pytest.raises(NoLayoutError) as error:
        export_model(run, tmp_path / "out", layout="bert")
    for told in (
        f"flow={home}.bidaf.AttentionFlow (must be null)",
        f"answerability_head={home}.answerability.AnswerabilityHead (must be null)",
        "--model.scale_embedding false --model.overlap_features false --model.flow null",
    ):
        assert told in str(error.value)


LSTM = {
    "class_path": "lslm_lightning.models.recurrent.LSTM",
    "init_args": {"n_encoder_layer": 1, "n_decoder_layer": 0},
}


@pytest.mark.parametrize("to", [name for name in TARGETS if name != "huggingface"])
def test_formats_for_models_that_write_are_refused(to: str, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"to='{to}' .* span-extraction; take to=huggingface"):
        export_model(exported.parent / "run", tmp_path / "out", to)


@pytest.mark.parametrize("name", ENGINES)
def test_engines_for_models_that_write_are_refused(name: str, imported: SpanTask) -> None:
    with pytest.raises(ValueError, match="model=SpanTask writes no text"):
        imported.answering.use_engine(name, "float32")


def test_models_that_bert_differs_from_are_refused(theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prefix='find: ' has no place in question_answering"):
        import_model(theirs, tmp_path / "run", prefix="find: ")
    with pytest.raises(ValueError, match="task='translation' must be question_answering for bert"):
        import_model(theirs, tmp_path / "run", task="translation")
    config = transformers.RobertaConfig(vocab_size=9, hidden_size=8, num_attention_heads=2)
    transformers.RobertaModel(config).save_pretrained(tmp_path / "roberta")
    with pytest.raises(ValueError, match=r"type roberta .*\.PretrainedEncoder with") as error:
        import_model(tmp_path / "roberta", tmp_path / "run")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["1.5", [1], True, float("nan"), -float("inf")])
def test_a_threshold_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"has no_answer_threshold=.* must be a finite number"):
        threshold_of({"no_answer_threshold": value})


def test_no_threshold_answers_every_question() -> None:
    assert threshold_of({}) == threshold_of({"no_answer_threshold": None}) == float("inf")
    assert threshold_of({"no_answer_threshold": -1}) == -1.0


def test_a_tokenizer_that_pads_on_the_left_is_read_too(theirs: Path, imported: SpanTask) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(theirs, padding_side="left")
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(theirs, dtype=torch.float64)
    found = compare_spans(imported, reader_of(model.eval(), tokenizer), BUILT_IN_QUESTIONS)
    assert found.n_equal == len(QUESTIONS)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ids": [5] * 9}, "other ids or segments"),
        ({"segments": [1] * 9}, "other ids or segments"),
        ({"scores": 1.0}, "logits differ from those of the run by"),
        ({"scores": torch.nan}, "its logits are infinite or NaN"),
    ],
)
def test_another_model_is_not_taken_for_the_run(
    changes: dict[str, object], told: str, imported: SpanTask
) -> None:
    def read(texts: Sequence[str], most: int) -> list[ScoredPair]:
        rules = imported.answering
        [*same, last] = imported.first_windows([rules.example("0", text) for text in texts])
        added = changes.get("scores", 0.0)
        return [*same, last._replace(**changes | {"scores": last.scores + added})]

    with pytest.raises(ValueError, match=told):
        compare_spans(imported, read, BUILT_IN_QUESTIONS)
