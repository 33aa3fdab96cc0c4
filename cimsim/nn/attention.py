"""Multi-head attention whose projections are separate layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn.computed import cast
from cimsim.nn.transforms import is_traced, node_of_graph
from cimsim.nn.unpacking import Ties, Unpacked, linear

_PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class UnpackedAttention(Unpacked, nn.MultiheadAttention):
    """``nn.MultiheadAttention`` with the layers ``q_proj``, ``k_proj``, ``v_proj``, ``out_proj``.

    Those can be analog; the products of queries with keys and of weights with values have two
    signals each, and are digital. Arguments and results as in torch.
    """

    torch_class: ClassVar[type[nn.Module]] = nn.MultiheadAttention
    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    # Read by torch's encoder layer.
    in_proj_weight: Any = None
    in_proj_bias: Any = None
    out_proj: Any

    @staticmethod
    def places(module: nn.Module) -> list[str]:
        """One packed matrix, or three; their biases together."""
        return ["in_proj_weight", *(f"{name}_weight" for name in _PROJECTIONS), "in_proj_bias"]

    def make_layers(self, packed: dict[str, Any], ties: Ties) -> None:
        """Three projections; and the last one as a layer that is called."""
        weights: Sequence[Any] = [packed.get(f"{name}_weight") for name in _PROJECTIONS]
        if (whole := packed.get("in_proj_weight")) is not None:
            weights = ties.replaced([whole], lambda: _thirds(whole))
        biases: Sequence[Any] = [None] * len(_PROJECTIONS)
        if (bias := packed.get("in_proj_bias")) is not None:
            biases = ties.replaced([bias], lambda: _thirds(bias))
        for name, *parameters in zip(_PROJECTIONS, weights, biases, strict=True):
            setattr(self, name, linear(*parameters))
        cast(self.out_proj, nn.Linear)  # torch's own is never called

    def pack(self, ties: Ties) -> None:
        """See :class:`Unpacked`."""
        layers = [getattr(self, name) for name in _PROJECTIONS]
        weights = [layer.weight for layer in layers]
        biases = [layer.bias for layer in layers]
        cast(self, nn.MultiheadAttention)
        for name in _PROJECTIONS:
            delattr(self, name)
        others = dict(self._parameters)
        self._parameters.clear()  # torch's order, which optimizer states depend on
        for name in UnpackedAttention.places(self):
            self.register_parameter(name, None)
        self._parameters.update(others)
        if self._qkv_same_embed_dim:
            (self.in_proj_weight,) = ties.replaced(weights, lambda: _joined(weights))
        else:
            for name, weight in zip(_PROJECTIONS, weights, strict=True):
                self.register_parameter(f"{name}_weight", weight)
        if biases[0] is not None:
            (self.in_proj_bias,) = ties.replaced(biases, lambda: _joined(biases))
        cast(self.out_proj, nn.modules.linear.NonDynamicallyQuantizableLinear)

    def replaced_by_packing(self) -> list[nn.Parameter]:
        """See :class:`Unpacked`."""
        layers = [getattr(self, name) for name in _PROJECTIONS]
        weights = [layer.weight for layer in layers] if self._qkv_same_embed_dim else []
        return weights + [layer.bias for layer in layers if layer.bias is not None]

    def split(self, packed: dict[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`Unpacked`."""
        state = {}
        if "in_proj_weight" in packed:
            weights = packed["in_proj_weight"].chunk(3)
            state = {f"{n}.weight": w for n, w in zip(_PROJECTIONS, weights, strict=True)}
        for name in _PROJECTIONS:
            if f"{name}_weight" in packed:
                state[f"{name}.weight"] = packed[f"{name}_weight"]
        if "in_proj_bias" in packed:
            biases = packed["in_proj_bias"].chunk(3)
            state |= {f"{n}.bias": b for n, b in zip(_PROJECTIONS, biases, strict=True)}
        return state

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``nn.MultiheadAttention``: the output, and the weights if requested.

        Raises:
            CimsimError: if shapes or masks do not match.
        """
        masks = (key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
        node: Any = node_of_graph(self, query, key, value, *masks)
        if node is not None:
            return node  # type: ignore[no-any-return]
        batched = query.dim() == 3
        if not is_traced():  # the layers reject tracing
            self._refuse_shapes(query, key, value)
            self._refuse_masks(query, key, key_padding_mask, attn_mask, is_causal)
        q, k, v = self.q_proj(query), self.k_proj(key), self.v_proj(value)
        if not batched:
            q, k, v = (t.unsqueeze(0) for t in (q, k, v))
        elif not self.batch_first:
            q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (
                torch.cat((t, b.expand(len(t), -1, -1)), 1)
                for t, b in ((k, self.bias_k), (v, self.bias_v))
            )
        if self.add_zero_attn:
            k, v = (F.pad(t, (0, 0, 0, 1)) for t in (k, v))
        mask = self._mask(q, k, key_padding_mask, attn_mask)
        q, k, v = (t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for t in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = (scores if mask is None else scores + mask).softmax(-1)
            weights = F.dropout(weights, dropout)
            y = weights @ v
        else:
            y, weights = F.scaled_dot_product_attention(q, k, v, mask, dropout), None
        y = y.transpose(1, 2).flatten(2)
        if not batched:
            y = y.squeeze(0)
        elif not self.batch_first:
            y = y.transpose(0, 1)
        y = self.out_proj(y)
        if weights is None:
            return y, None
        weights = weights.mean(1) if average_attn_weights else weights
        return y, weights if batched else weights.squeeze(0)

    def _refuse_shapes(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Raise for signals that torch rejects, and that would be broadcast here."""
        shapes = [list(t.shape) for t in (query, key, value)]
        dims = {len(shape) for shape in shapes}
        given = "query {}, key {} and value {}".format(*shapes)
        if dims not in ({2}, {3}):
            raise CimsimError(f"attention needs three tensors with 2 or 3 axes each, not {given}")
        if shapes[1][:-1] != shapes[2][:-1]:
            raise CimsimError(f"attention needs one value for each key, not {given}")
        of_batch = 0 if self.batch_first else 1
        if dims == {3} and shapes[0][of_batch] != shapes[1][of_batch]:
            raise CimsimError(f"attention needs queries and keys of one batch size, not {given}")

    def _refuse_masks(
        self,
        query: Tensor,
        key: Tensor,
        padding: Tensor | None,
        attention: Tensor | None,
        is_causal: bool,
    ) -> None:
        """Raise for masks that torch rejects, and that would be added or broadcast here."""
        batch: list[int] = []
        if query.dim() == 3:
            batch = [query.shape[0 if self.batch_first else 1]]
        of_time = 1 if batch and self.batch_first else 0
        queries, keys = query.shape[of_time], key.shape[of_time]
        heads = [batch[0] * self.num_heads if batch else self.num_heads, queries, keys]
        for name, mask, shapes in (
            ("key_padding_mask", padding, [[*batch, keys]]),
            ("attn_mask", attention, [[queries, keys], heads]),
        ):
            if mask is None:
                continue
            if mask.dtype != torch.bool and not mask.is_floating_point():
                raise CimsimError(
                    f"{name} is {mask.dtype}, but must be bool (True excludes a key) or "
                    "floating-point (added to the scores); if the mask is 1 for keys to attend to, "
                    "pass mask == 0"
                )
            if list(mask.shape) not in shapes:
                expected = " or ".join(str(shape) for shape in shapes)
                raise CimsimError(
                    f"{name} must have the shape {expected} for these inputs, "
                    f"not {list(mask.shape)}"
                )
        if is_causal and attention is None:
            raise CimsimError(
                "is_causal=True only describes attn_mask, so a mask is needed: attn_mask="
                "nn.Transformer.generate_square_subsequent_mask(length)"
            )

    def _mask(
        self, q: Tensor, k: Tensor, padding: Tensor | None, attention: Tensor | None
    ) -> Tensor | None:
        """Both masks, to be added to the scores ``[batch, heads, queries, keys]``."""
        masks = []
        if padding is not None:
            masks.append(_additive(padding, q).view(-1, 1, 1, padding.shape[-1]))
        if attention is not None:
            added = _additive(attention, q)
            heads = added.unflatten(0, (-1, self.num_heads)) if added.dim() == 3 else added
            masks.append(heads)
        if not masks:
            return None
        # Keys that this module adds to the sequence are never masked.
        return sum(
            (F.pad(mask, (0, k.shape[1] - mask.shape[-1])) for mask in masks), start=q.new_zeros(())
        )


def _thirds(whole: nn.Parameter) -> list[nn.Parameter]:
    """A parameter for each projection, of the matrix or the bias of all three."""
    parts = whole.detach().chunk(len(_PROJECTIONS))
    return [nn.Parameter(part.clone(), requires_grad=whole.requires_grad) for part in parts]


def _joined(parts: Sequence[Tensor]) -> list[nn.Parameter]:
    """The inverse of :func:`_thirds`."""
    trained = any(part.requires_grad for part in parts)
    return [nn.Parameter(torch.cat([part.detach() for part in parts]), requires_grad=trained)]


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return like.new_zeros(mask.shape).masked_fill_(mask, -torch.inf)
