"""The transformer for tokens: Hugging Face's numbers at equal weights, causality, both attention paths, SynFlow."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from commons import InputError
from sparse_training import models
from sparse_training.losses import cross_entropy, token_losses
from sparse_training.masks import make_masks
from sparse_training.models import GPT
from sparse_training.models.decoder import TokenLosses, of_tokens
from sparse_training.models.sampling import continued
from sparse_training.reparam import sparsify
from sparse_training.sharpness import HessianOperator, layer_eigenvalues, max_eigenvalue

KINDS = ("q", "k", "v", "o", "up", "down")


def tiny(tied: bool = False) -> GPT:
    torch.manual_seed(0)
    return GPT(width=16, depth=2, heads=2, num_classes=19, tied=tied)


def grown(scale: float = 0.3) -> GPT:
    """A network whose attention looks somewhere, as at first the products q · k are all but 0."""
    model = tiny()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def batch(vocabulary: int = 19, length: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(vocabulary, (3, length + 1), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


def test_loss_and_gradients_are_those_of_gpt_neox() -> None:
    transformers = pytest.importorskip("transformers")
    ours = grown()
    config = transformers.GPTNeoXConfig(
        vocab_size=19,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        rotary_pct=1.0,
        use_parallel_residual=False,
        layer_norm_eps=1e-5,
        tie_word_embeddings=False,
        attention_bias=False,
    )
    theirs = transformers.GPTNeoXForCausalLM(config)
    head = next(name for name in theirs.state_dict() if name in ("embed_out.weight", "lm_head.weight"))
    pairs = {"gpt_neox.embed_in.weight": "embedding.weight", head: "head.weight"}
    for kind in ("weight", "bias"):
        pairs[f"gpt_neox.final_layer_norm.{kind}"] = f"norm.{kind}"
        for i in range(2):
            pairs[f"gpt_neox.layers.{i}.input_layernorm.{kind}"] = f"blocks.{i}.norm1.{kind}"
            pairs[f"gpt_neox.layers.{i}.post_attention_layernorm.{kind}"] = f"blocks.{i}.norm2.{kind}"
    for i in range(2):
        pairs[f"gpt_neox.layers.{i}.attention.dense.weight"] = f"blocks.{i}.attention.o.weight"
        pairs[f"gpt_neox.layers.{i}.mlp.dense_h_to_4h.weight"] = f"blocks.{i}.mlp.up.weight"
        pairs[f"gpt_neox.layers.{i}.mlp.dense_4h_to_h.weight"] = f"blocks.{i}.mlp.down.weight"
    state = dict(theirs.state_dict())
    for name in state:
        if name.endswith("bias"):
            state[name] = torch.zeros_like(state[name])
    for name, own in pairs.items():
        state[name] = ours.get_parameter(own).detach()

    def fused(parts: list[torch.Tensor]) -> torch.Tensor:
        """Theirs has (head, q k v, entry of a head) as rows."""
        return torch.stack([part.view(2, 8, 16) for part in parts], 1).reshape(48, 16)

    for i in range(2):
        parts = [ours.get_parameter(f"blocks.{i}.attention.{kind}.weight").detach() for kind in "qkv"]
        state[f"gpt_neox.layers.{i}.attention.query_key_value.weight"] = fused(parts)
    theirs.load_state_dict(state)
    theirs.train()
    x, y = batch()
    logits = theirs(x).logits
    torch.testing.assert_close(ours(x), logits, rtol=1e-5, atol=1e-5)
    losses = [cross_entropy(logits, y), cross_entropy(ours(x), y)]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=0)
    for loss in losses:
        loss.backward()
    their_gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    for name, own in pairs.items():
        torch.testing.assert_close(gradients[own], their_gradients[name], rtol=1e-4, atol=1e-6)
    for i in range(2):
        parts = [gradients[f"blocks.{i}.attention.{kind}.weight"] for kind in "qkv"]
        found = their_gradients[f"gpt_neox.layers.{i}.attention.query_key_value.weight"]
        torch.testing.assert_close(fused(parts), found, rtol=1e-4, atol=1e-6)


def test_a_logit_sees_no_later_token_and_every_earlier_one() -> None:
    model, (x, _) = tiny(), batch()
    for place in (0, 5, 11):
        other = x.clone()
        other[:, place] = (other[:, place] + 1) % 19
        moved = (model(other) - model(x)).abs().amax((0, 2))
        assert bool((moved[:place] == 0).all())
        assert bool((moved[place:] > 0).all())


def test_attention_sees_distances_and_not_places() -> None:
    """The same tokens later in a text of one token give the same scores between each other."""
    from sparse_training.models.decoder import rotary, rotated

    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    cos, sin = rotary(20, 8, q)
    scores = rotated(q.expand(1, 1, 20, 8), cos, sin) @ rotated(k.expand(1, 1, 20, 8), cos, sin).transpose(-1, -2)
    for distance in (0, 3, 7):
        along = scores[0, 0].diagonal(-distance)
        torch.testing.assert_close(along, along[:1].expand_as(along))
    assert bool((scores[0, 0, 10] - scores[0, 0, 10, 10]).abs().sort().values[1:].gt(1e-6).all())


def test_fused_and_mathematical_attention_agree_and_the_latter_has_second_derivatives() -> None:
    model, (x, y) = tiny(), batch()
    with sdpa_kernel(SDPBackend.MATH):
        exact = cross_entropy(model(x), y)
        slopes = torch.autograd.grad(exact, list(model.parameters()), create_graph=True)
        second = torch.autograd.grad(sum(slope.square().sum() for slope in slopes), model.blocks[0].attention.q.weight)
    torch.testing.assert_close(cross_entropy(model(x), y), exact, rtol=1e-6, atol=0)
    assert bool(second[0].abs().sum() > 0)


def test_bfloat16_is_close_and_tying_shares_the_matrix() -> None:
    model, (x, y) = tiny(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(model(x).float(), y)
    torch.testing.assert_close(loss, cross_entropy(model(x), y), rtol=1e-2, atol=0)
    tied = models.build("gpt_tied", num_classes=19)
    assert tied.head.weight is tied.embedding.weight
    assert sum(p.numel() for p in models.build("gpt").parameters()) == 1_051_392
    with torch.device("meta"):
        assert sum(p.numel() for p in models.gpt_small().parameters()) == 28_593_152


@pytest.mark.parametrize("score", ["snip", "grasp", "synflow"])
def test_scores_rank_every_matrix(score: str) -> None:
    model = grown()
    masks = make_masks(model, 0.3, score, "global", batch(), loss=cross_entropy, include=["blocks.*"])
    assert {name.split(".")[-2] for name in masks} == set(KINDS)
    assert masks.active == round(0.3 * masks.total)
    if score == "synflow":  # which was made to leave no layer empty
        assert all(bool(mask.any()) for mask in masks.values())


def test_synflow_is_conserved_over_the_matrices_of_an_attention_and_of_an_mlp() -> None:
    from sparse_training.masks.scores import SCORES, Setting

    model = tiny()
    weights = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    scores = SCORES["synflow"].score(Setting(model, weights, batch(), cross_entropy, 0, "shapes"))
    assert all(bool((score >= 0).all()) for score in scores.values())
    for i in range(2):
        for kinds in (("attention.q", "attention.k", "attention.v", "attention.o"), ("mlp.up", "mlp.down")):
            sums = [float(scores[f"blocks.{i}.{kind}.weight"].sum()) for kind in kinds]
            assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-9)
            assert sums[0] > 0


def test_images_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="it reads tokens"):
        tiny()(torch.rand(2, 3, 8, 8))
    assert isinstance(models.build("gpt", num_classes=5).head, nn.Linear)


def test_losses_in_pieces_have_the_derivatives_of_the_whole() -> None:
    torch.manual_seed(0)
    hidden, weight = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((7, 4), (11, 4)))
    y, scale = torch.randint(11, (7,)), torch.randn(7, dtype=torch.float64, requires_grad=True)

    def pieces(h: torch.Tensor, w: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return token_losses(h, w, y, tokens=3) * s

    whole = torch.nn.functional.cross_entropy(hidden @ weight.T, y, reduction="none")
    torch.testing.assert_close(token_losses(hidden, weight, y, 3), whole)
    assert torch.autograd.gradcheck(pieces, (hidden, weight, scale))
    assert torch.autograd.gradgradcheck(pieces, (hidden, weight, scale))


@pytest.mark.parametrize("in_pieces", [False, True])
def test_the_largest_eigenvalue_is_that_of_the_dense_hessian(in_pieces: bool) -> None:
    model = grown().double()
    x, y = batch()
    masks = make_masks(model, 0.2, "random", include=["blocks.*"])
    names = list(masks)
    places = {name: mask.nonzero(as_tuple=True) for name, mask in masks.items()}
    sparsify(model, masks)
    sizes = [int(mask.sum()) for mask in masks.values()]

    def loss(values: torch.Tensor) -> torch.Tensor:
        parts = zip(names, torch.split(values, sizes), strict=True)
        weights = {
            name: torch.zeros_like(masks[name], dtype=values.dtype).index_put(places[name], v) for name, v in parts
        }
        return cross_entropy(torch.func.functional_call(model, weights, (x,)), y)

    start = torch.cat([model.get_parameter(name).detach()[places[name]] for name in names])
    with sdpa_kernel(SDPBackend.MATH):
        dense = torch.autograd.functional.hessian(loss, start)
    exact = float(torch.linalg.eigvalsh(dense)[-1])
    if in_pieces:
        lossy = TokenLosses(model)
        lossy.PIECE = 5
        samples = (torch.stack((x, y), 1), y)
        operator = HessianOperator(lossy, of_tokens, samples, masks=masks, params=names, graph="rebuilt")
        top = torch.linalg.eigh(dense)[1][:, -1]
        found = float(operator @ top @ top)
    else:
        found = max_eigenvalue(model, cross_entropy, (x, y), masks, params=names, tol=1e-8).value
    assert found == pytest.approx(exact, rel=1e-6)


def test_kinds_are_blocks_of_the_hessian() -> None:
    model = grown().double()
    masks = make_masks(model, 0.3, "random", include=["blocks.*"])
    sparsify(model, masks)
    pairs = layer_eigenvalues(model, cross_entropy, batch(), masks, kinds=True, tol=1e-4)
    assert list(pairs) == [*KINDS, "head"]  # which is not masked and counts as a whole
    single = layer_eigenvalues(model, cross_entropy, batch(), masks, tol=1e-4)
    for kind, pair in pairs.items():
        assert pair.value >= max(own.value for name, own in single.items() if f"{kind}." in name) * (1 - 1e-3)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returned."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        sizes = [each.numel() for each in tree_leaves(found) if isinstance(each, torch.Tensor)]
        self.entries = max(self.entries, *sizes, 0)
        return found


def test_the_largest_eigenvalue_of_a_kind_never_needs_all_logits() -> None:
    """What is held grows with the vocabulary as the head does, and not with the number of tokens times it."""
    torch.manual_seed(0)
    model = GPT(width=8, depth=1, heads=2, num_classes=1000).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x, y = batch(1000, 20)
    masks = make_masks(model, 0.3, "random", include=["blocks.*"])
    sparsify(model, masks)
    chosen = [name for name in masks if ".q." in name or ".up." in name]
    options: dict[str, Any] = {"params": chosen, "kinds": True, "tol": 1e-3}
    with Largest() as whole:
        expected = layer_eigenvalues(model, cross_entropy, (x, y), masks, **options)
    lossy = TokenLosses(model)
    lossy.PIECE = 20
    with Largest() as pieces:
        found = layer_eigenvalues(lossy, of_tokens, (torch.stack((x, y), 1), y), masks, graph="rebuilt", **options)
    assert list(found) == ["q", "up"]
    for kind, pair in found.items():
        assert pair.value == pytest.approx(expected[kind].value, rel=2e-3)
    assert whole.entries >= 60 * 1000
    assert pieces.entries <= 20 * 1000  # a piece's logits; the head has 8 · 1000


def test_text_is_continued_by_the_seed_and_the_likeliest_byte_at_temperature_zero() -> None:
    model, start = grown(), torch.tensor([1, 2, 3])
    found = continued(model, start, 20, context=8, seed=1)
    assert torch.equal(found[:3], start)
    assert torch.equal(found, continued(model, start, 20, context=8, seed=1))
    assert not torch.equal(found, continued(model, start, 20, context=8, seed=2))
    likeliest = continued(model, start, 20, context=8, temperature=0)
    for end in range(4, 23):
        assert int(likeliest[end]) == int(model.eval()(likeliest[None, max(0, end - 8) : end])[0, -1].argmax())
    with pytest.raises(InputError, match="tokens='none'"):
        continued(model, torch.tensor([], dtype=torch.int64), 3)
