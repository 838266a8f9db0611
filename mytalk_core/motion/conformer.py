"""The two kinds of Conformer layer: the backbone's, with its conditions, and the speech encoder's plain one.

Every module works on (B, F, C) and takes the mask of valid frames, so that a sequence gives the same result
alone as it does padded in a batch. Parameters a layer: paper Table 9 (see MotionConfig).
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoid(position: Tensor, width: int) -> Tensor:
    """Sinusoidal encoding of `position` (...,) -> (..., width) float32: sines, then cosines."""
    half = width // 2
    exponent = torch.arange(half, device=position.device, dtype=torch.float32) / max(half - 1, 1)
    angle = position.to(torch.float32).unsqueeze(-1) * torch.exp(exponent * -math.log(10000.0))
    return F.pad(torch.cat((angle.sin(), angle.cos()), dim=-1), (0, width - 2 * half))


class FeedForward(nn.Sequential):
    """Position-wise feed-forward with its own pre-norm: (..., C) -> (..., C)."""

    def __init__(self, width: int, ffn_width: int, dropout: float):
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, ffn_width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(ffn_width, width),
            nn.Dropout(dropout),
        )


class RelativeSelfAttention(nn.Module):
    """Self-attention with Transformer-XL relative positions (Dai et al. 2019, section 3.3).

    Score of query i and key j: ((q_i + u) . k_j + (q_i + v) . W p(i - j)) / sqrt(C / heads).
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        if width % heads:
            raise ValueError(f"the width must be a multiple of the heads; got width {width}, {heads} heads")
        self.heads = heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.position = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(width))
        self.position_bias = nn.Parameter(torch.zeros(width))
        self.output = nn.Linear(width, width)

    def _position_scores(self, query: Tensor, frames: int) -> Tensor:
        """(H, B, S F, d) queries -> (H, B, S F, F): scores against p(i - j) of the S streams' F positions."""
        distance = torch.arange(frames - 1, -frames, -1, device=query.device)
        encoding = self.position(sinusoid(distance, self.position.in_features).to(self.position.weight.dtype))
        key = encoding.to(query.dtype).unflatten(-1, (self.heads, -1)).permute(1, 2, 0)
        # One product a head: the positions are the same for the whole batch.
        scores = torch.bmm(query.flatten(1, 2), key).unflatten(1, (-1, frames))
        # Row i needs columns frames-1-i ... 2*frames-2-i: a view whose rows are one element shorter.
        strides = (*scores.stride()[:2], scores.stride(2) - 1, 1)
        size = (*scores.shape[:3], frames)
        shifted = scores.as_strided(size, strides, scores.storage_offset() + frames - 1)
        return shifted.reshape(*query.shape[:3], frames)

    def forward(self, x: Tensor, valid: Tensor | None, streams: int) -> Tensor:
        """(B, S F, C) -> (B, S F, C); the S streams share the same F positions; valid (B, F) bool or None."""
        batch, length, width = x.shape
        query, key, value = self.query_key_value(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        scale = query.shape[-1] ** -0.5
        # Heads first, so that the position scores of a head are one large product (twice as fast on a CPU as
        # scaled_dot_product_attention with this bias, whose gradient is needed).
        content, position = (
            ((query + bias.to(query.dtype).unflatten(0, (self.heads, -1))) * scale).permute(2, 0, 1, 3)
            for bias in (self.content_bias, self.position_bias)
        )
        scores = torch.matmul(content, key.permute(2, 0, 3, 1))
        relative = self._position_scores(position, length // streams)
        if valid is not None:
            relative = relative.masked_fill(~valid[:, None, :], -math.inf)
        scores = scores + (relative if streams == 1 else relative.repeat(1, 1, 1, streams))
        weights = F.dropout(scores.softmax(dim=-1), self.dropout, self.training)
        attended = torch.matmul(weights, value.permute(2, 0, 1, 3))
        return self.output(attended.permute(1, 2, 0, 3).reshape(batch, length, width))


class CrossAttention(nn.Module):
    """Attention of every frame over K condition tokens and one parameter-free empty slot.

    The slot (key and value zero) keeps the attention meaningful for K = 1, where a softmax over one token
    would be constant and the query and key weights dead.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """(B, F, C) frames and (B, K, C) tokens -> (B, F, C)."""
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = F.pad(self.key_value(tokens), (0, 0, 0, 1)).unflatten(-1, (2, self.heads, -1)).unbind(2)
        scores = torch.matmul(query * query.shape[-1] ** -0.5, key.permute(0, 2, 3, 1))
        weights = F.dropout(scores.softmax(dim=-1), self.dropout, self.training)
        return self.output(torch.matmul(weights, value.transpose(1, 2)).transpose(1, 2).flatten(2))


class FrameNorm(nn.LayerNorm):
    """LayerNorm over the channels of each frame of (B, C, F): unlike BatchNorm it never sees padding."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise over time, pointwise; the pre-norm is the layer's."""

    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"the convolution kernel must be odd; got {kernel}")
        self.expand = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.contract = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None, streams: int) -> Tensor:
        """(B, S F, C) -> (B, S F, C), each of the S streams by itself; valid (B, F) bool or None."""
        x = F.glu(self.expand(x), dim=-1).unflatten(1, (streams, -1))
        if valid is not None:
            x = x.masked_fill(~valid[:, None, :, None], 0.0)
        x = self.depthwise(x.flatten(0, 1).transpose(1, 2)).transpose(1, 2)
        x = F.silu(self.norm(x)).unflatten(0, (-1, streams)).flatten(1, 2)
        return self.dropout(self.contract(x))


class ConformerLayer(nn.Module):
    """Time step, speech and identity enter every layer (paper 3.3, "Conditioning"; Fig. 3a).

    `speech_width` and `token_width` are the widths of the conditions before this layer's own projections;
    with `token_mode="cross-attention"` the tokens are attended to, with "add" their mean is added to every
    frame, with "none" the layer has no part for them.
    """

    def __init__(
        self,
        width: int,
        ffn_width: int,
        heads: int,
        kernel: int,
        dropout: float,
        attention_dropout: float,
        speech_width: int,
        token_width: int,
        token_mode: str,
    ):
        super().__init__()
        self.time = nn.Linear(width, width)
        self.speech = nn.Linear(speech_width, width)
        self.tokens = nn.Linear(token_width, width) if token_mode != "none" else None
        self.feed_forward_1 = FeedForward(width, ffn_width, dropout)
        self.self_attention_norm = nn.LayerNorm(width)
        self.self_attention = RelativeSelfAttention(width, heads, attention_dropout)
        self.cross_attention_norm = nn.LayerNorm(width) if token_mode == "cross-attention" else None
        self.cross_attention = (
            CrossAttention(width, heads, attention_dropout) if token_mode == "cross-attention" else None
        )
        self.convolution_norm = nn.LayerNorm(width)
        self.convolution = ConvolutionModule(width, kernel, dropout)
        self.feed_forward_2 = FeedForward(width, ffn_width, dropout)
        self.final_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, time: Tensor, speech: Tensor, tokens: Tensor, valid: Tensor | None, streams: int
    ) -> Tensor:
        """x (B, S F, C), time (B, C), speech (B, F, Cs), tokens (B, K, Ct), valid (B, F) -> (B, S F, C)."""
        x = x + self.time(time).unsqueeze(1) + self.speech(speech).repeat(1, streams, 1)
        tokens = self.tokens(tokens) if self.tokens is not None else tokens
        if self.tokens is not None and self.cross_attention is None:
            x = x + tokens.mean(dim=1, keepdim=True)
        x = x + 0.5 * self.feed_forward_1(x)
        x = x + self.dropout(self.self_attention(self.self_attention_norm(x), valid, streams))
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            x = x + self.dropout(self.cross_attention(self.cross_attention_norm(x), tokens))
        x = x + self.convolution(self.convolution_norm(x), valid, streams)
        x = x + 0.5 * self.feed_forward_2(x)
        return self.final_norm(x)


class SpeechConvolution(nn.Module):
    """Pre-norm, gated pointwise, depthwise over time, pointwise.

    Of the published Conformer it departs in two ways, neither of which changes the parameter count: the norm
    is a LayerNorm a frame, as padding would spoil BatchNorm's statistics, and padded frames are zero where
    the depthwise convolution reads them.
    """

    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"the convolution kernel must be odd; got {kernel}")
        self.layer_norm = nn.LayerNorm(width)
        self.sequential = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1),
            nn.GLU(dim=1),
            nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width),
            FrameNorm(width),
            nn.SiLU(),
            nn.Conv1d(width, width, 1),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(B, T, C) -> (B, T, C); valid (B, T) bool or None."""
        gated = self.sequential[:2](self.layer_norm(x).transpose(1, 2))
        if valid is not None:
            gated = gated.masked_fill(~valid.unsqueeze(1), 0.0)
        return self.sequential[2:](gated).transpose(1, 2)


class SpeechLayer(nn.Module):
    """A plain Conformer layer (Gulati et al. 2020), its parameters named as torchaudio's layer names them."""

    def __init__(
        self, width: int, ffn_width: int, heads: int, kernel: int, dropout: float, attention_dropout: float
    ):
        super().__init__()
        self.ffn1 = nn.Sequential(OrderedDict(sequential=FeedForward(width, ffn_width, dropout)))
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=attention_dropout)
        self.self_attn_dropout = nn.Dropout(dropout)
        self.conv_module = SpeechConvolution(width, kernel, dropout)
        self.ffn2 = nn.Sequential(OrderedDict(sequential=FeedForward(width, ffn_width, dropout)))
        self.final_layer_norm = nn.LayerNorm(width)

    def _attend(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """`self_attn` through scaled_dot_product_attention, batch first."""
        attention = self.self_attn
        projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = (
            part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in projected.chunk(3, -1)
        )
        mask = None if valid is None else valid[:, None, None, :]
        dropout = attention.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, mask, dropout)
        return self.self_attn_dropout(attention.out_proj(attended.transpose(1, 2).flatten(2)))

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(B, T, C) -> (B, T, C); valid (B, T) bool or None."""
        x = x + 0.5 * self.ffn1(x)
        x = x + self._attend(self.self_attn_layer_norm(x), valid)
        x = x + self.conv_module(x, valid)
        x = x + 0.5 * self.ffn2(x)
        return self.final_layer_norm(x)
