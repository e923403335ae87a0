"""Linear layers of a network by their role, whatever the network calls them."""

from collections.abc import Sequence

from torch import nn

ATTENTION_OUTPUT = "attention.output"
FEED_FORWARD_OUTPUT = "feed_forward.output"
ALL = "all"
# role -> how names of modules that have it end, in our networks and in those of `transformers`;
# the longest end counts
ENDS: dict[str, tuple[str, ...]] = {
    "query": ("query", "q_proj", "q", "q_lin", "query_proj"),
    "key": ("key", "k_proj", "k", "k_lin", "key_proj"),
    "value": ("value", "v_proj", "v", "v_lin", "value_proj"),
    ATTENTION_OUTPUT: (
        "self_attention.output",
        "cross_attention.output",
        "attention.output.dense",
        "attention.dense",
        "self_attention.dense",
        "self_attn.dense",
        "attn.c_proj",
        "crossattention.c_proj",
        "attn.Wo",
        "o_proj",
        "out_proj",
        "out_lin",
        "o",
    ),
    "inner": (
        "inner",
        "linear_1",
        "intermediate.dense",
        "up_proj",
        "c_fc",
        "fc1",
        "fc_in",
        "lin1",
        "wi",
        "wi_1",
        "ffn",
        "dense_h_to_4h",
    ),
    "gate": ("gate", "gate_proj", "wi_0"),
    FEED_FORWARD_OUTPUT: (
        "feed_forward.output",
        "output.dense",
        "down_proj",
        "mlp.c_proj",
        "fc2",
        "fc_out",
        "lin2",
        "wo",
        "ffn_output",
        "mlp.Wo",
        "dense_4h_to_h",
    ),
}
FUSED: dict[tuple[str, ...], tuple[str, ...]] = {  # one layer with several roles
    ("query", "key", "value"): ("c_attn", "query_key_value", "qkv_proj", "Wqkv"),
    ("gate", "inner"): ("gate_up_proj", "mlp.Wi"),
}
ROLES = {
    end: roles
    for roles, ends in [*(((role,), ends) for role, ends in ENDS.items()), *FUSED.items()]
    for end in ends
}
GROUPS = {"output": (ATTENTION_OUTPUT, FEED_FORWARD_OUTPUT)}  # target -> its roles


def target_modules(network: nn.Module, targets: Sequence[str]) -> list[str]:
    """Return the names of the linear layers of a network that targets name.

    A target is a role, "output" for the outputs of attention and of feed-forward layers, "all", or
    the name of modules or its end. A layer that computes query, key and value together has all
    three roles.

    Raises:
        ValueError: no layer has a target's role or name.
    """
    roles = {name: roles_of(name) for name in linear_layers(network)}
    chosen: set[str] = set()
    for target in targets:
        wanted = GROUPS.get(target, (target,))
        found = {
            name
            for name, has in roles.items()
            if target == ALL or has.intersection(wanted) or ends_with(name, target)
        }
        if not found:
            there = sorted({role for has in roles.values() for role in has})
            names = sorted({name.rpartition(".")[2] for name in roles})
            raise ValueError(
                f"model.adapter.targets: this network has no linear layer {target!r}; it has "
                f"{', '.join(there) or 'none of the usual ones'}, called "
                f"{', '.join(names) or 'nothing'} in it"
            )
        chosen |= found
    return sorted(chosen)


def roles_of(name: str) -> set[str]:
    """Return the roles of the layer with this name; an empty set if they are not known."""
    ends = [end for end in ROLES if ends_with(name, end)]
    return set(ROLES[max(ends, key=len)]) if ends else set()


def ends_with(name: str, end: str) -> bool:
    """Return whether a dotted name ends with the components of `end`."""
    return name == end or name.endswith(f".{end}")


def linear_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return the linear layers of a network by name, without its output layer over the
    vocabulary.
    """
    head = getattr(network, "get_output_embeddings", lambda: None)()
    return {
        name: module
        for name, module in network.named_modules()
        if is_linear(module) and module is not head
    }


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is a linear layer: torch's, or `Conv1D` of `transformers`, which has
    a transposed weight.
    """
    return isinstance(module, nn.Linear) or is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Return whether a module is a linear layer with a weight (inputs, outputs)."""
    return type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers.")
