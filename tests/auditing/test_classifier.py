"""A classifier on this machine gives the probabilities that `transformers` computes."""

import pytest
import torch

from lslm_lightning.auditing.classifier import TextClassifier

TEXTS = ["you are a fool", "you are kind", "kind fool " * 40, ""] * 6
LABELS = {0: "kind", 1: "rude", 2: "vulgar"}


@pytest.fixture(
    scope="module", params=["single_label_classification", "multi_label_classification"]
)
def folder(request, tmp_path_factory):
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    path = tmp_path_factory.mktemp("classifier")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "you", "are", "a", "fool", "kind"]
    (path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(path / "vocab.txt"), model_max_length=16).save_pretrained(path)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        id2label=LABELS,
        label2id={label: i for i, label in LABELS.items()},
        problem_type=request.param,
        initializer_range=0.3,
    )
    BertForSequenceClassification(config).save_pretrained(path)
    return path


@pytest.mark.slow
def test_the_probabilities_are_those_of_the_pipeline(folder):
    from transformers import pipeline

    reference = pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
    given = reference(TEXTS, truncation=True)
    by_label = [{each["label"]: each["score"] for each in row} for row in given]
    one = TextClassifier(str(folder), ["rude"]).probabilities(TEXTS)
    assert one == pytest.approx([row["rude"] for row in by_label], abs=1e-5)
    two = TextClassifier(str(folder), ["rude", "vulgar"])
    is_multi = two.model.config.problem_type == "multi_label_classification"
    join = max if is_multi else sum
    expected = [join((row["rude"], row["vulgar"])) for row in by_label]
    assert two.probabilities(TEXTS) == pytest.approx(expected, abs=1e-5)
    assert max(one) - min(one) > 0.01


@pytest.mark.slow
def test_what_is_no_classifier_or_no_label_is_refused_by_name(folder, tmp_path):
    with pytest.raises(ValueError, match="kind, rude, vulgar, not insult"):
        TextClassifier(str(folder), ["rude", "insult"])
    with pytest.raises(ValueError, match="not none"):
        TextClassifier(str(folder), [])
    with pytest.raises(ValueError, match=f"--classifier={tmp_path}"):
        TextClassifier(str(tmp_path), ["rude"])
