"""Models of transformers: what they write is what `generate` writes, and what they score is what
their logits say.
"""

import json
import shutil

import pytest
import torch
from transformers import MarianMTModel

from lslm_lightning.contracts import Example
from lslm_lightning.systems import hugging_face_scores
from lslm_lightning.systems.hugging_face import HuggingFaceSystem
from lslm_lightning.systems.hugging_face_scores import token_nats
from tests.systems.tiny import save_gpt2, save_marian, save_tokenizer


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    return save_marian(tmp_path_factory.mktemp("marian"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return save_gpt2(tmp_path_factory.mktemp("gpt2"))


EXAMPLES = [Example(str(i), " ".join("abcdefghijkl"[: 2 + i]), ("x",)) for i in range(6)]


@pytest.mark.slow
def test_batches_do_not_change_what_is_written(marian):
    def outputs(batch_size):
        system = HuggingFaceSystem(str(marian), max_new_tokens=8, batch_size=batch_size)
        return {p.id: (p.output, p.n_token) for p in system.generate(EXAMPLES)}

    assert outputs(1) == outputs(4)
    assert set(outputs(4)) == {e.id for e in EXAMPLES}


def test_a_causal_model_reads_the_question(gpt2):
    system = HuggingFaceSystem(str(gpt2), max_new_tokens=3)
    asked = [
        Example("0", "ignored", ("x",), question="a b c"),
        Example("1", "ignored", ("x",), question="a b c d e f"),
    ]
    found = {p.id: p.output for p in system.generate(asked)}
    model, tokenizer = system.loaded
    for example in asked:
        ids = tokenizer(example.question, return_tensors="pt").input_ids
        written = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False
        )[0, ids.size(1) :]
        assert found[example.id] == tokenizer.decode(written, skip_special_tokens=True)


def test_probabilities_are_those_of_the_logits(gpt2):
    """A text that one window holds; in passages and in one piece."""
    system = HuggingFaceSystem(str(gpt2))
    [whole] = system.log_prob([Example("t", "", ("a b c d e f",))])
    model, tokenizer = system.loaded
    ids = torch.tensor([[1, *tokenizer("a b c d e f").input_ids, 1]])
    logits = model(ids).logits[0, :-1].log_softmax(-1)
    assert whole.nats == pytest.approx(-logits.gather(1, ids[0, 1:, None]).sum().item(), rel=1e-5)
    assert whole.n_token == 7
    parts = list(system.log_prob([Example("t#0", "", ("a b c ",)), Example("t#1", "", ("d e f",))]))
    assert sum(p.nats for p in parts) == pytest.approx(whole.nats, rel=1e-5)
    assert [p.n_token for p in parts] == [3, 4]


def test_long_texts_are_scored_in_windows_that_see_enough(gpt2):
    """Each token once; the first window as if it stood alone."""
    system = HuggingFaceSystem(str(gpt2), context=8, stride=4)
    text = " ".join("abcdefghijklmnopqrstuvwxyz" * 2)
    [whole] = system.log_prob([Example("t", "", (text,))])
    assert whole.n_token == 53
    model, tokenizer = system.loaded
    ids = [1, *tokenizer(text).input_ids, 1]
    nats, contexts = token_nats(model, ids, 8, 4)
    alone, _ = token_nats(model, ids[:9], 8, 4)
    assert nats[:8] == pytest.approx(alone, rel=1e-4)
    assert nats.sum() == pytest.approx(whole.nats)
    assert contexts.tolist()[:8] == list(range(1, 9))
    assert min(contexts[8:]) == 5
    assert [(t.start, t.context) for t in whole.tokens[:3]] == [(0, 1), (2, 2), (4, 3)]
    assert sum(t.nats for t in whole.tokens) == pytest.approx(whole.nats, abs=1e-2)


def test_unknown_words_are_counted(gpt2):
    [found] = HuggingFaceSystem(str(gpt2)).log_prob([Example("t", "", ("a 猫 b",))])
    assert found.unknown == 1


def test_an_encoder_gives_no_probability_of_a_text_alone(marian):
    with pytest.raises(ValueError, match="encoder"):
        list(HuggingFaceSystem(str(marian)).log_prob(EXAMPLES))


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ValueError, match="no model that can be used"):
        HuggingFaceSystem(str(tmp_path)).prepare([])


def test_weights_that_could_hold_code_are_not_read(marian, tmp_path):
    model = MarianMTModel.from_pretrained(marian)
    model.config.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no model that can be used"):
        _ = HuggingFaceSystem(str(tmp_path)).loaded


def test_of_a_long_question_a_causal_model_reads_the_end(gpt2):
    """16 positions, 4 of them for the answer."""
    words = "abcdefghijklmnopqrstuvwxyz"
    system = HuggingFaceSystem(str(gpt2), max_new_tokens=4)
    long = Example("long", "", ("x",), question=" ".join(words))
    end = Example("end", "", ("x",), question=" ".join(words[-12:]))
    found = {p.id: p.output for p in system.generate([long, end])}
    assert found["long"] == found["end"]
    assert found["long"]
    assert system.signature("generate") == "|source:12"
    assert system.cut_sources([long, end]) == (
        1,
        "questions have more than 12 tokens and lost their beginning",
    )


def test_a_question_needs_room_beside_its_answer(gpt2):
    with pytest.raises(
        ValueError, match=r"max_new_tokens=16 .* leaves no room for a question in its 16 positions"
    ):
        list(
            HuggingFaceSystem(str(gpt2), max_new_tokens=16).generate(
                [Example("0", "", ("x",), question="a b")]
            )
        )


def test_of_a_long_source_an_encoder_reads_the_beginning(marian):
    """Its tokenizer names no limit, its positions end at 1024."""
    system = HuggingFaceSystem(str(marian), max_new_tokens=4)
    letters = "abcdefghijklmnopqrstuvwxyz" * 60
    long = Example("long", " ".join(letters), ("x",))
    beginning = Example("beginning", " ".join(letters[:1024]), ("x",))
    found = {p.id: p.output for p in system.generate([long, beginning])}
    assert found["long"] == found["beginning"]
    assert system.signature("generate") == "|source:1024"


def test_whose_tokens_are_counted_stands_in_the_signature(gpt2, tmp_path):
    again = HuggingFaceSystem(str(gpt2)).signature("log_prob")
    other = tmp_path / "other"
    shutil.copytree(gpt2, other)
    path = other / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace('"z"', '"ß"'), "utf-8")
    assert HuggingFaceSystem(str(gpt2)).signature("log_prob") == again
    assert HuggingFaceSystem(str(other)).signature("log_prob") != again


# Why answers end, and what the folder says of how to write


def configured(folder, copy, **settings):
    """A copy of a model's folder whose generation_config.json has these settings."""
    shutil.copytree(folder, copy)
    path = copy / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), "utf-8")
    return str(copy)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"forced_eos_token_id": 1}, {"eos_token_id": [1, 4, 5]}], ids=str
)
@pytest.mark.parametrize(("kind", "short", "long"), [("marian", 3, 60), ("gpt2", 2, 9)])
def test_an_answer_that_was_cut_goes_on_where_it_may_be_longer(
    kind, short, long, settings, request, tmp_path
):
    folder = configured(request.getfixturevalue(kind), tmp_path / "it", **settings)
    letters = "abcdefghijklmnopqrstuvwxyz"
    asked = [
        Example(str(i), (text := " ".join(letters[i : i + 3 + i % 3])), ("x",), question=text)
        for i in range(20)
    ]
    first, second = (
        {p.id: p for p in HuggingFaceSystem(folder, max_new_tokens=n).generate(asked)}
        for n in (short, long)
    )
    ended = {i for i, p in first.items() if p.finish_reason == "stop"}
    assert all(second[i].output.startswith(first[i].output) for i in first)
    assert all(first[i].output == second[i].output for i in ended)
    on = [second[i].n_token - first[i].n_token for i in first.keys() - ended]
    assert sum(on) > 0
    assert min(on) > 0 or "forced_eos_token_id" in settings, (
        "an end that is forced may be where an end would have been"
    )


def test_what_a_folder_says_of_how_to_write_is_in_the_record(marian, tmp_path, caplog):
    """Two folders with the same weights that answer otherwise are told apart."""
    plain = HuggingFaceSystem(str(marian), max_new_tokens=8)
    penalty = HuggingFaceSystem(
        configured(marian, tmp_path / "penalty", repetition_penalty=9.0, suppress_tokens=[5]),
        max_new_tokens=8,
    )
    assert [p.output for p in plain.generate(EXAMPLES)] != [
        p.output for p in penalty.generate(EXAMPLES)
    ]
    assert "repetition_penalty" not in plain.info().get("generation_config", {})
    told = penalty.info()["generation_config"]
    assert (told["repetition_penalty"], told["suppress_tokens"]) == (9.0, [5])
    assert "generation_config_set_aside" not in penalty.info()
    assert "ignored" not in caplog.text


def test_what_of_a_folder_does_not_hold_is_said(marian, tmp_path, caplog):
    folder = configured(
        marian,
        tmp_path / "chance",
        do_sample=True,
        temperature=0.6,
        num_beams=4,
        max_length=512,
        no_repeat_ngram_size=3,
    )
    system = HuggingFaceSystem(folder, max_new_tokens=8)
    first = [p.output for p in system.generate(EXAMPLES)]
    assert first == [
        p.output for p in HuggingFaceSystem(folder, max_new_tokens=8).generate(EXAMPLES)
    ], "no chance"
    assert system.info()["generation_config_set_aside"] == {
        "do_sample": True,
        "temperature": 0.6,
        "num_beams": 4,
        "max_length": 512,
    }
    assert system.info()["generation_config"]["no_repeat_ngram_size"] == 3
    assert system.info()["limit"] == "max_new_tokens=8"
    for word in (
        "do_sample=True",
        "temperature=0.6",
        "num_beams=4",
        "max_length=512",
        "greedy search",
    ):
        assert word in caplog.text
    json.dumps(system.info())
    assert "num_beams" not in HuggingFaceSystem(folder, n_beam=4, max_new_tokens=8).set_aside


# log p of given answers


def summed(system: HuggingFaceSystem, source: str, answer: str) -> tuple[float, int]:
    """log p of an answer and its end, by one pass of the model over this pair alone."""
    model, tokenizer = system.loaded
    given = tokenizer(source).input_ids
    ids = [*tokenizer(answer).input_ids, 1]
    with torch.no_grad():
        if system.reads_sources:
            begin = torch.tensor([[model.config.decoder_start_token_id, *ids[:-1]]])
            logits = model(input_ids=torch.tensor([given]), decoder_input_ids=begin).logits[0]
        else:
            row = torch.tensor([[*(given or [1]), *ids]])
            logits = model(row).logits[0, -len(ids) - 1 : -1]
    log_p = logits.log_softmax(-1)
    return sum(float(log_p[t, token]) for t, token in enumerate(ids)), len(ids)


@pytest.mark.parametrize("most", [hugging_face_scores.SCORED_TOKENS, 10])
@pytest.mark.parametrize("kind", ["gpt2", "marian"])
def test_answers_are_scored_as_the_model_itself_scores_them(kind, most, request, monkeypatch):
    """Batches of unlike pairs; an empty answer, an unknown word, several for one example."""
    monkeypatch.setattr(hugging_face_scores, "SCORED_TOKENS", most)
    system = HuggingFaceSystem(str(request.getfixturevalue(kind)), dtype="float64", batch_size=3)
    examples = [Example("0", "a b c", ()), Example("1", "d", ()), Example("2", "x y z e f", ())]
    answers = [["d e", "", "a 猫 b c d"], ["q"], ["a", "b b b"]]
    found = list(system.log_prob(examples, answers))
    expected = [(e, a) for e, given in zip(examples, answers, strict=True) for a in given]
    assert [(p.id, p.output) for p in found] == [(e.id, a) for e, a in expected]
    for (example, answer), prediction in zip(expected, found, strict=True):
        log_p, n_token = summed(system, example.source, answer)
        assert -prediction.nats == pytest.approx(log_p, rel=0, abs=1e-6)
        assert prediction.n_token == n_token
    assert [p.unknown for p in found] == [0, 0, 1, 0, 0, 0]


def test_a_text_is_an_answer_without_a_source(gpt2):
    """Read in one window, and in several."""
    texts = ["a b c", "", " ".join("abcdefghijklmnopqrstuvwxyz")]
    examples = [Example(str(i), "", (text,)) for i, text in enumerate(texts)]
    system = HuggingFaceSystem(str(gpt2), dtype="float64", context=8, stride=4)
    whole = list(system.log_prob(examples))
    answers = list(system.log_prob(examples, texts))
    assert [p.nats for p in answers] == pytest.approx([p.nats for p in whole], abs=1e-9)
    assert [(p.n_token, p.tokens) for p in answers] == [(p.n_token, p.tokens) for p in whole]


def test_an_answer_beyond_the_positions_of_a_decoder_is_refused(marian):
    with pytest.raises(ValueError, match=r"example '0': its answer has 1,101 tokens.* 1,024 pos"):
        list(HuggingFaceSystem(str(marian)).log_prob(EXAMPLES[:1], ["a " * 1100]))


@pytest.mark.parametrize("kind", ["gpt2", "marian"])
def test_n_best_are_those_of_the_folder(kind, request):
    """Batched; log p is that of the tokens, whatever the length penalty makes of it."""
    folder = request.getfixturevalue(kind)
    system = HuggingFaceSystem(
        str(folder), dtype="float64", n_beam=4, max_new_tokens=5, batch_size=4
    )
    model, tokenizer = system.loaded
    model.generation_config.length_penalty = 0.5
    model.generation_config.forced_eos_token_id = None
    found = {p.id: p for p in system.generate(EXAMPLES, n_best=3)}
    alone = {p.id: p.output for p in system.generate(EXAMPLES)}
    for example in EXAMPLES:
        prediction = found[example.id]
        ids = tokenizer([example.source], return_tensors="pt").input_ids
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        n_read = 1 if system.reads_sources else ids.size(1)
        settings = {"num_beams": 4, "max_new_tokens": 5, "do_sample": False}
        written = model.generate(**given, **settings, num_return_sequences=3)[:, n_read:]
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        assert [each.output for each in prediction.alternatives] == [t.strip() for t in texts]
        assert prediction.output == alone[example.id]
        first, nats = written[0].tolist(), 0.0
        end = first.index(1) + 1 if 1 in first else len(first)
        for t in range(end):
            with torch.no_grad():
                if system.reads_sources:
                    logits = model(
                        **given, decoder_input_ids=torch.tensor([[0, *first[:t]]])
                    ).logits
                else:
                    logits = model(torch.tensor([[*ids[0].tolist(), *first[:t]]])).logits
            nats -= float(logits[0, -1].log_softmax(-1)[first[t]])
        assert prediction.nats == pytest.approx(nats, rel=1e-6)  # they are added up in float32
        assert prediction.n_token == end


def test_n_best_needs_as_many_beams(marian):
    with pytest.raises(ValueError, match="n_best=3 must be at least 1 and at most n_beam=2"):
        list(HuggingFaceSystem(str(marian), n_beam=2).generate(EXAMPLES, n_best=3))
