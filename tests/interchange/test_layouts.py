"""Weights in the layouts of `transformers`, in both directions, against `transformers` itself."""

import dataclasses
from dataclasses import replace

import pytest
import torch
import transformers

from lslm_lightning.interchange.layouts import (
    LAYOUTS,
    Layout,
    NoLayoutError,
    choose_layout,
    layout_named,
)
from lslm_lightning.interchange.parts import ModelParts, key_of, read_parts
from lslm_lightning.interchange.weights import to_ours, to_theirs
from lslm_lightning.training.span_model import SpanModel
from lslm_lightning.training.task import Task
from tests.interchange.models import (
    CASE_NAMES,
    CASES,
    CAUSAL,
    EXAMPLES,
    GATED,
    IDS,
    LEARNED,
    PAIRS,
    SPANS,
    build_task,
    build_theirs,
    layout_parts,
    weights_of,
)

# float64, and models of two layers
CLOSE = {"rtol": 0, "atol": 1e-9}
each_case = pytest.mark.parametrize(("layout", "parts"), CASES, ids=CASE_NAMES)


def logits_of(task: Task, ids: torch.Tensor) -> torch.Tensor:
    """Return the logits (B, T, V) of a task for ids that are both source and target."""
    if read_parts(task).kind == "causal":
        return task.logits(ids)
    if isinstance(task, SpanModel):
        x = task.marks(task.embedding(ids), segments_of(ids))
        return task.ends(task.backbone.encode(x, ids == IDS.pad))
    memory = task.backbone.encode(task.embedding(ids), ids == IDS.pad)
    y, _ = task.backbone.decode(task.embedding(ids), memory=memory, memory_pad=ids == IDS.pad)
    return task.head(y, task.embedding.weight)


def their_logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Return the logits (B, T, V) of a model of `transformers` for ids."""
    given = {"attention_mask": (ids != IDS.pad).long()}
    if model.config.is_encoder_decoder:
        return model(ids, **given, decoder_input_ids=ids).logits
    if not model.can_generate():
        output = model(ids, **given, token_type_ids=segments_of(ids))
        return torch.stack([output.start_logits, output.end_logits], -1)
    return model(ids).logits


def segments_of(ids: torch.Tensor) -> torch.Tensor:
    """Return the segments (B, T) of ids (B, T): the second begins at the fifth token."""
    return (torch.arange(ids.size(1)) > 3).long().expand_as(ids)


def some_ids(parts: ModelParts) -> torch.Tensor:
    """Return ids (3, 9), the last row with padding at its end."""
    ids = torch.randint(4, parts.vocab_size, (3, 9), generator=torch.Generator().manual_seed(1))
    ids[2, 6:] = IDS.pad
    return ids


def set_what_they_lack(layout: Layout, task: Task, parts: ModelParts) -> None:
    """Set weights that a layout lacks to what it reads for them, such as zero for a bias."""
    own = task.state_dict()
    for row in layout.rows(parts):
        if not row.theirs:
            own[row.ours[0]].copy_(row.inward([])[0])


@each_case
def test_parts_are_what_they_build(layout: Layout, parts: ModelParts) -> None:
    assert read_parts(build_task(parts)) == parts


@each_case
def test_config_gives_the_parts_back(layout: Layout, parts: ModelParts) -> None:
    _, found = layout_parts(layout, parts)
    # zeros of theirs for biases that we lack; a table of sinusoids has an end
    kept = {"dropout", "feed_forward_bias", "attention_bias", "head_bias", "context"}
    for field in dataclasses.fields(ModelParts):
        if field.name not in kept:
            assert getattr(found, field.name) == getattr(parts, field.name), field.name
    assert found.dropout == (parts.dropout if layout.dropouts else 0)


@each_case
@torch.no_grad()
def test_exported_weights_give_the_same_logits(layout: Layout, parts: ModelParts) -> None:
    task = build_task(parts)
    set_what_they_lack(layout, task, parts)
    model = build_theirs(layout.config(parts, IDS))
    theirs = to_theirs(layout.rows(parts), task.state_dict())
    missing, unknown = model.load_state_dict(theirs, strict=False)
    assert not unknown
    assert set(missing) <= {"lm_head.weight", *layout.aliases(parts)}
    ids = some_ids(parts)
    is_real = ids != IDS.pad
    torch.testing.assert_close(
        logits_of(task, ids)[is_real], their_logits(model, ids)[is_real], **CLOSE
    )


@each_case
@torch.no_grad()
def test_imported_weights_give_the_same_logits(layout: Layout, parts: ModelParts) -> None:
    model = build_theirs(layout.config(parts, IDS))
    weights = weights_of(model)
    config, _ = layout_parts(layout, parts)
    found = layout.parts(config, weights)
    task = build_task(found)
    rows = list(layout.rows(found))
    task.load_state_dict(to_ours(rows, weights, layout.aliases(found), layout.ignored))
    ids = some_ids(parts)
    is_real = ids != IDS.pad
    torch.testing.assert_close(
        logits_of(task, ids)[is_real], their_logits(model, ids)[is_real], **CLOSE
    )


@each_case
def test_out_and_in_again_are_the_same_bits(layout: Layout, parts: ModelParts) -> None:
    task = build_task(parts)
    set_what_they_lack(layout, task, parts)
    before = task.state_dict()
    rows = list(layout.rows(parts))
    after = to_ours(rows, to_theirs(rows, before), layout.aliases(parts), layout.ignored)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@each_case
def test_the_layout_that_is_named_is_chosen_else_the_first(
    layout: Layout, parts: ModelParts
) -> None:
    assert choose_layout(parts, layout.model_type) is layout
    expressing = [other for other in LAYOUTS if parts in EXAMPLES[other.model_type]]
    assert LAYOUTS.index(choose_layout(parts)) <= LAYOUTS.index(expressing[0])


def test_every_layout_has_examples() -> None:
    assert {layout.model_type for layout in LAYOUTS} == EXAMPLES.keys()


OLD = ("rope_theta", "partial_rotary_factor", "rotary_emb_base", "rotary_pct")


@pytest.mark.parametrize(
    ("layout", "parts"), [case for case in CASES if case[1].position == "Rotary"]
)
def test_rotary_positions_are_read_without_the_newer_setting(
    layout: Layout, parts: ModelParts
) -> None:
    written = layout.config(dataclasses.replace(parts, position_base=500.0), IDS)
    older = {name: value for name, value in written.items() if name != "rope_parameters"}
    newer = {name: value for name, value in written.items() if name not in OLD}
    expected = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 1.0}
    for config in (written, older, newer):
        assert transformers.AutoConfig.for_model(**config).rope_parameters == expected


@pytest.mark.parametrize(
    ("changes", "key", "option"),
    [
        ({"position": "ALiBi"}, "backbone.position=ALiBi", "--model.backbone.position"),
        ({"head_bias": True}, "head.bias=true", "--model.head.bias false"),
        ({"norm_first": False}, "backbone.norm_first=false", "--model.backbone.norm_first true"),
        ({"feed_forward": "ChainedReLU"}, "backbone.feed_forward=ChainedReLU", "GELU"),
    ],
)
def test_parts_in_the_way_are_named(changes: dict[str, object], key: str, option: str) -> None:
    with pytest.raises(NoLayoutError) as error:
        choose_layout(dataclasses.replace(CAUSAL, **changes))
    assert key in str(error.value)
    assert option in str(error.value)


ODD = {
    "three heads": replace(CAUSAL, n_head=3, n_kv_head=3, d_k=6, d_v=6),
    "wide heads": replace(CAUSAL, **LEARNED, n_head=16, n_kv_head=1, d_k=1, d_v=8),
    "another norm": replace(CAUSAL, **GATED, norm_first=False, head_bias=True),
    "a table of distances": replace(CAUSAL, position="ALiBi", position_base=None),
    "pairs": replace(CAUSAL, **PAIRS, n_head=3, n_kv_head=1, scale_embedding=True),
    "two networks": replace(
        CAUSAL,
        **SPANS | {"norm_first": True, "n_head": 3, "scale_embedding": True},
        overlap_features=True,
        flow="tasks.question_answering.AttentionFlow",
        answerability_head="tasks.question_answering.AnswerabilityHead",
    ),
    "blocked": replace(CAUSAL, blocked_ids=(4, 5), feed_forward="ReLU", approximate=""),
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.model_type)
@pytest.mark.parametrize("parts", ODD.values(), ids=ODD.keys())
def test_advice_can_be_followed(parts: ModelParts, layout: Layout) -> None:
    if layout.kind != parts.kind:
        return
    advised = {}
    for obstacle in layout.obstacles(parts):
        assert obstacle.option().endswith("[]") or not obstacle.option().endswith("]")
        fields = [
            each.name for each in dataclasses.fields(parts) if key_of(each.name) == obstacle.key
        ]
        advised |= dict.fromkeys(fields, obstacle.allowed[0])
    if advised.get("position") == "Learned":
        advised |= {"position_base": None, "max_positions": 32}
    if advised.get("position") in ("Rotary", "Sinusoidal"):
        advised |= {"position_base": 10_000.0, "max_positions": None}
    if advised.get("position") == "RelativeBuckets":
        advised |= {"position_base": None, "max_positions": None}
        advised |= {"n_bucket": 8, "max_distance": 12}
    if advised.get("feed_forward") in ("GELU", "GEGLU"):
        advised["approximate"] = "none"
    followed = replace(parts, **advised)
    assert layout.obstacles(followed) == []
    assert layout.obstacles(read_parts(build_task(followed))) == layout.obstacles(
        replace(followed, has_output_bias=followed.attention_bias)
    )


@pytest.mark.parametrize("name", ["stablelm", "qwen2"])
def test_a_trained_bias_behind_attention_is_an_obstacle(name: str) -> None:
    parts = next(each for each in EXAMPLES[name] if each.attention_bias)
    task = build_task(parts)
    [obstacle] = layout_named(name).obstacles(read_parts(task))
    assert obstacle.option() == "--model.backbone.bias false"
    set_what_they_lack(layout_named(name), task, parts)
    assert layout_named(name).obstacles(read_parts(task)) == []


def test_an_unknown_layout_is_named() -> None:
    with pytest.raises(ValueError, match=r"layout='gpt5' .* gpt2, gpt_neox"):
        layout_named("gpt5")


def test_weights_that_must_be_zero_are_refused_otherwise() -> None:
    layout = layout_named("gpt_neox")
    parts = dataclasses.replace(CAUSAL, feed_forward_bias=False)
    rows = list(layout.rows(parts))
    theirs = to_theirs(rows, build_task(parts).state_dict())
    name = "gpt_neox.layers.0.mlp.dense_h_to_4h.bias"
    theirs[name][3] = 1.0
    with pytest.raises(ValueError, match=name):
        to_ours(rows, theirs, {}, layout.ignored)
    qwen = layout_named("qwen2")
    [parts] = EXAMPLES["qwen2"]
    with pytest.raises(ValueError, match=r"output\.bias must be zero"):
        to_theirs(qwen.rows(parts), build_task(parts).state_dict())


def test_missing_and_unknown_weights_are_named() -> None:
    layout = layout_named("gpt2")
    [parts, *_] = EXAMPLES["gpt2"]
    rows = list(layout.rows(parts))
    theirs = to_theirs(rows, build_task(parts).state_dict())
    del theirs["transformer.h.1.ln_2.bias"]
    with pytest.raises(ValueError, match=r"transformer\.h\.1\.ln_2\.bias is missing"):
        to_ours(rows, theirs, {}, layout.ignored)
    theirs["transformer.h.1.ln_2.bias"] = torch.zeros(16)
    theirs["transformer.h.7.ln_1.bias"] = torch.zeros(16)
    with pytest.raises(ValueError, match=r"transformer\.h\.7\.ln_1\.bias belongs to no part"):
        to_ours(rows, theirs, {}, layout.ignored)
    del theirs["transformer.h.7.ln_1.bias"]
    theirs["lm_head.weight"] = theirs["transformer.wte.weight"] + 1
    with pytest.raises(ValueError, match=r"lm_head\.weight and transformer\.wte\.weight"):
        to_ours(rows, theirs, layout.aliases(parts), layout.ignored)
