"""Differentiable product quantisation: codes that are learned with the model.

Chen, Li, Sun, "Differentiable Product Quantization for End-to-End Embedding Compression", ICML
2020, https://arxiv.org/abs/1908.09756.

    x_i = V_1[c_1(i)] | ... | V_D[c_D(i)]      V_j: K x (e / D),   c_j(i) in {0, ..., K - 1}

    q_i = Q[i], cut into D groups             Q: n x e, thrown away after training
    softmax    c_j = argmax_k <q_ij, K_jk>    gradient as of sum_k softmax_k(<q_ij, K_jk>) V_jk
    centroid   c_j = argmin_k |q_ij - V_jk|   gradient passed straight through to q_ij

The responses <q_ij, K_jk>, or -|q_ij - V_jk|^2, can be normalised over the batch before the choice:
``batch_norm=True``, without scale and shift, one mean and variance for each k over all ids and
groups, as in the official code [1]. In evaluation, and in the codes that are frozen, running
statistics stand for those of the batch.

With ``centroid`` training adds to the loss, for the ids of a batch,

    mean (V_jc - sg(q_ij))^2 + commitment * mean (q_ij - sg(V_jc))^2        sg: no gradient

[1] has batch norm on by default, a commitment of 0, and one codebook for all groups unless asked
otherwise; in its centroid form the term above is all that moves the codewords.

Training stores *more* than a full table. `freeze` gives the small layer, a `CodebookEmbedding` of
D log2(K) bits per id beside the codewords; budgets are held against that.

[1] https://github.com/chentingpc/dpq_embedding_compression, core/kd_quantizer.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from memcom.addresses import check_ids, lacks_values
from memcom.embeddings._arguments import (
    MAX_HASHES,
    Sizes,
    choice,
    divisors,
    factor_std,
    flag,
    group_count,
    real,
    whole,
)
from memcom.embeddings._card import Card, Paper, Statement, fewer_codes
from memcom.embeddings._contract import Common, CompressedEmbedding
from memcom.embeddings._fit import FitError, Target
from memcom.embeddings._kmeans import assign, kmeans, means, sample
from memcom.embeddings.quantized_table import pack_table
from memcom.embeddings.registry import register
from memcom.kernels import (
    CodewordChoice,
    Ranges,
    Read,
    Reading,
    Recipe,
    chosen_codes,
    chosen_codewords,
    gather_rows,
)
from memcom.kernels.bits import Stored, bits_for, pack, packed_nbytes, unpack

__all__ = ["CodebookEmbedding", "DPQEmbedding"]

EPSILON, MOMENTUM = 1e-3, 0.1  # of batch norm


@register("dpq")
class DPQEmbedding(CompressedEmbedding):
    """A code of ``num_groups`` symbols for each id, learned with the model.

    Args:
        num_embeddings: Number of ids, n.
        embedding_dim: Width of the vectors, e; a multiple of ``num_groups``.
        num_groups: Codes of an id, D.
        num_codewords: Values of a code, K; best a power of two.
        form: ``"softmax"`` (DPQ-SX) or ``"centroid"`` (DPQ-VQ).
        batch_norm: Normalise the responses over the batch, before the choice. A padding id counts
            in the batch; a batch of one id is normalised as in evaluation.
        commitment: Weight of moving queries to codewords against codewords to queries, in the term
            that training adds to the loss; None leaves the term out. For ``"centroid"`` only.
        **common: See `Common`.

    State: ``query`` (n, e) drawn from N(0, 1); ``values`` (D * K, e / D), codebook after codebook;
    with ``"softmax"`` also ``keys`` of the same shape, drawn from N(0, D / e); with batch norm
    ``response_mean`` and ``response_variance`` (K,), which start at 0 and 1. Values are drawn so
    that the composed row has variance 1; with ``"centroid"`` they and the query are scaled to it.

    The codes move in jumps, so finite differences do not see the gradient of ``query`` and
    ``keys``. With ``"centroid"`` the codewords get the model's gradient like rows of any table,
    which is this kit's choice; the official code moves them by `regularizer` alone.
    """

    card = Card(
        label="DPQ",
        formula="[V1[c1(i)], ..., VD[cD(i)]], c: learned codes",
        distinct="learned",
        because="D codes of log2(K) bits; nothing keeps two ids apart",
        use_when="If training memory is plentiful and only the shipped table must be small.",
        look=("codes", 0),
        paper=Paper("Chen et al.", 2020, "https://arxiv.org/abs/1908.09756"),
        note="dpq and mgqe choose codes without batch norm over the responses; the official code "
        "of DPQ has it, as has dpq(batch_norm=True). With form=centroid they train with the term "
        "of that code which draws codewords to queries.",
    )

    response_mean: Tensor
    response_variance: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_groups: int,
        num_codewords: int,
        form: str = "softmax",
        batch_norm: bool = False,
        commitment: float | None = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.num_groups = group_count(embedding_dim, num_groups)
        self.num_codewords = whole("num_codewords", num_codewords, 2, 2**16)
        self.form = choice("form", form, ("softmax", "centroid"))
        self.batch_norm = flag("batch_norm", batch_norm)
        if commitment is not None:
            commitment = real("commitment", commitment, 0, 1e9)
        self.commitment = commitment
        self.query = self.new_table(num_embeddings, embedding_dim)
        shape = num_groups * num_codewords, embedding_dim // num_groups
        self.values = self.new_table(*shape)
        self.keys = self.new_table(*shape) if form == "softmax" else None
        if batch_norm:
            self.register_buffer("response_mean", torch.empty(num_codewords, **self._factory))
            self.register_buffer("response_variance", torch.empty(num_codewords, **self._factory))
        self.reset_parameters()

    def tiers(self) -> list[tuple[int, int]]:
        """Return pairs (number of ids, codewords they may use), most frequent ids first."""
        return [(self.num_embeddings, self.num_codewords)]

    @property
    def each_once(self) -> bool:  # type: ignore[override]
        """False in training with batch norm: how often an id occurs in the batch matters there."""
        return not (self.batch_norm and self.training)

    def compose(self, ids: Tensor) -> Tensor:
        """Read the chosen codewords, with a gradient for the choice."""
        choice = self._choice(ids)

        def plainly(queries: Tensor, targets: Tensor, values: Tensor) -> Tensor:
            return self._plainly(choice._replace(queries=queries, targets=targets, values=values))

        vectors = None if self.batch_norm else chosen_codewords(choice, plainly)
        if vectors is None:
            vectors = self._plainly(choice)
        return vectors.view(*ids.shape, self.embedding_dim)

    def _choice(self, ids: Tensor) -> CodewordChoice:
        flat = ids.reshape(-1)
        start, limits = 0, torch.zeros_like(flat)
        for size, codewords in self.tiers():
            limits = torch.where(flat >= start, codewords, limits)
            start += size
        nearest = self.keys is None
        return CodewordChoice(
            queries=gather_rows(self.query, flat, sparse=self.sparse),
            targets=self.values.detach() if self.keys is None else self.keys,
            values=self.values,
            limits=limits,
            groups=self.num_groups,
            nearest=nearest,
            sparse=self.sparse,
        )

    def _plainly(self, choice: CodewordChoice) -> Tensor:
        query, scores = self._scores(choice, MOMENTUM if self.training else None)
        rows = gather_rows(choice.values, self._rows(scores), sparse=self.sparse)
        if choice.nearest:
            soft = query
        else:
            codebooks = choice.values.detach().view(self.num_groups, self.num_codewords, -1)
            weights = scores.softmax(-1).to(codebooks.dtype)
            soft = torch.einsum("ndk,dkw->ndw", weights, codebooks)
        return (rows + (soft - soft.detach())).flatten(-2)  # exactly the rows, plus exactly 0

    def _scores(
        self, choice: CodewordChoice, momentum: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Queries (n, D, e / D), and how well each codeword suits them, (n, D, K).

        With batch norm, of this batch if ``momentum`` says how far running statistics follow it.
        """
        query = choice.queries.unflatten(-1, (self.num_groups, -1))
        targets = choice.targets.view(self.num_groups, self.num_codewords, -1)
        # In half precision near codewords tie, and another one would be chosen.
        exact = torch.promote_types(query.dtype, torch.float32)
        scores = torch.einsum("ndw,dkw->ndk", query.to(exact), targets.to(exact))
        if choice.nearest:
            # -|q - v|^2 / 2, less what q decides
            scores = scores - targets.to(exact).square().sum(-1) / 2
        if self.batch_norm:
            if choice.nearest:
                scores = 2 * scores - query.to(exact).square().sum(-1, keepdim=True)
            scores = self._normalized(scores, momentum)
        number = torch.arange(self.num_codewords, device=scores.device)
        return query, scores.masked_fill(number >= choice.limits[:, None, None], -torch.inf)

    def _normalized(self, scores: Tensor, momentum: float | None) -> Tensor:
        mean, variance = self.response_mean, self.response_variance
        if momentum is not None and len(scores) > 1:
            variance, mean = torch.var_mean(scores, (0, 1), correction=0)
            with torch.no_grad():
                self.response_mean.lerp_(mean.to(self.response_mean.dtype), momentum)
                self.response_variance.lerp_(variance.to(self.response_variance.dtype), momentum)
        return (scores - mean) * (variance.to(scores.dtype) + EPSILON).rsqrt()

    def _rows(self, scores: Tensor) -> Tensor:
        return scores.argmax(-1) + self._first(scores.device)

    def _first(self, device: torch.device) -> Tensor:
        """First row of each codebook."""
        return torch.arange(self.num_groups, device=device) * self.num_codewords

    @torch.no_grad()
    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return ``values``: the chosen row of each group. The query only makes the choice."""
        return {"values": self._chosen_rows(check_ids(ids, self.num_embeddings))}

    @torch.no_grad()
    def _chosen_rows(self, ids: Tensor, momentum: float | None = None) -> Tensor:
        choice = self._choice(ids)
        codes = None if self.batch_norm else chosen_codes(choice)
        rows = (
            self._rows(self._scores(choice, momentum)[1])
            if codes is None
            else codes + self._first(ids.device)
        )
        return rows.view(*ids.shape, self.num_groups)

    def regularizer(self, ids: Tensor) -> Tensor | None:
        """Return the term that draws codewords and queries together, for ``form="centroid"``.

        Args:
            ids: int32 or int64 tensor of any shape. A padding id adds nothing.

        Returns:
            Scalar ``mean |v - sg(q)|^2 + commitment * mean |q - sg(v)|^2``, over all ids and
            coordinates; None for ``form="softmax"`` or without a commitment.
        """
        if self.keys is not None or self.commitment is None:
            return None
        ids = check_ids(ids, self.num_embeddings).reshape(-1)
        chosen = self._chosen_rows(ids, 0.0 if self.training else None)
        if self.padding_idx is not None:
            kept = ids != self.padding_idx
            ids, chosen = ids[kept], chosen[kept]
        query = gather_rows(self.query, ids, sparse=self.sparse)
        rows = gather_rows(self.values, chosen, sparse=self.sparse).flatten(-2)
        pulled = (rows - query.detach()).square()
        committed = (query - rows.detach()).square()
        return (pulled + self.commitment * committed).sum() / max(1, query.numel())

    def fit_to(self, target: Target) -> None:
        """Cluster each group's coordinates by k-means; the query becomes the table.

        Tiers of fewer codewords come first: the codewords that they may use are the centres of
        their ids, and further ones those of the ids that may use more.
        """
        if self.keys is not None or self.batch_norm:
            raise FitError(
                f"{type(self).__name__} chooses codes by keys or normalised responses, which are "
                "trained; fit one with form=centroid and without batch norm"
            )
        generator, importance = target.generator(), target.weights.float()
        ends = list(accumulate(size for size, _ in self.tiers()))
        spans = [slice(end - size, end) for end, (size, _) in zip(ends, self.tiers(), strict=True)]
        codebooks = self.values.view(self.num_groups, self.num_codewords, -1)
        groups = target.table.float().unflatten(1, (self.num_groups, -1)).unbind(1)
        for points, codebook in zip(groups, codebooks, strict=True):
            found = points[:0]
            for span, (_, codewords) in sorted(
                zip(spans, self.tiers(), strict=True), key=lambda tier: tier[1][1]
            ):
                more = codewords - len(found)
                if more:
                    drawn = sample(len(points[span]), more, generator).to(points.device)
                    own, weights = points[span][drawn], importance[span][drawn]
                    centres = kmeans(own, more, generator=generator, weights=weights)
                    found = torch.cat([found, centres])
            codes = torch.cat(
                [
                    assign(points[span], found[:codewords])[0]
                    for span, (_, codewords) in zip(spans, self.tiers(), strict=True)
                ]
            )
            centres, sizes = means(points, codes, len(found), importance)
            codebook[: len(found)] = torch.where(sizes.unsqueeze(1) > 0, centres, found)
        self.query.copy_(target.table)

    @torch.no_grad()
    def freeze(self) -> CompressedEmbedding:
        """Return the present codes, packed, and the codewords; the query table is dropped."""
        sizes: dict[str, Any] = {"num_groups": self.num_groups, "tiers": self.tiers()}
        frozen = self.undrawn(CodebookEmbedding, self.values.dtype, **sizes)
        if lacks_values(self.values):
            return frozen
        frozen = frozen.to_empty(device=self.device)
        # A codebook is as long as the most codewords that an id may use.
        used = self.values.view(self.num_groups, self.num_codewords, -1)[:, : frozen.num_codewords]
        frozen.values.copy_(used.flatten(0, 1))
        first = self._first(self.device)
        codes = [(self.addresses(ids)["values"] - first).int() for ids in self.all_ids(4096)]
        for tier, part in enumerate(torch.cat(codes).split([size for size, _ in self.tiers()])):
            frozen.set_codes(tier, part)
        return frozen

    @torch.no_grad()
    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw everything, so that a composed row has variance ``std**2``."""
        if self.batch_norm:
            self.response_mean.zero_()
            self.response_variance.fill_(1)
        nn.init.normal_(self.query)
        nn.init.normal_(self.values, std=std if self.keys is not None else 1.0)
        if self.keys is not None:
            nn.init.normal_(self.keys, std=self.keys.shape[1] ** -0.5)
            return
        # The nearest of many codewords is shorter than a codeword at large. Scaling queries and
        # codewords alike leaves every choice as it is.
        sample = torch.arange(min(self.num_embeddings, 4096), device=self.device)
        size = self.values[self._chosen_rows(sample)].square().mean().sqrt()
        self.values.mul_(std / size)
        self.query.mul_(std / size)

    def row_tables(self) -> list[str]:
        """Name the codewords, which are all of it that is stored by rows."""
        return ["values"]

    def distinctness(self) -> Statement:
        """Return the statement for the number of codes."""
        codes = self.num_codewords**self.num_groups
        return fewer_codes(codes, self.num_embeddings, "codes", self.card.statement)

    @classmethod
    def sizes(
        cls, num_embeddings: int, embedding_dim: int, *, bits: int | None = None, **options: Any
    ) -> Sizes:
        """Offer numbers of groups and codewords, by bytes; more bytes always mean longer codes.

        Codes have 4 to 8 bits: with fewer, groups are so narrow that little is left to learn.
        """
        most = min(8, max(2, num_embeddings.bit_length() - 1))
        groups = [options["num_groups"]] if "num_groups" in options else divisors(embedding_dim)
        books = [2**b for b in range(min(4, most), most + 1)]
        if "num_codewords" in options:
            books = [options["num_codewords"]]

        def arguments(size: tuple[int, int]) -> dict[str, int]:
            return {"num_groups": size[0], "num_codewords": size[1]}

        def stored(size: tuple[int, int]) -> int:
            own = {**options, **arguments(size)}
            frozen = cls(num_embeddings, embedding_dim, device="meta", **own).freeze()
            values = frozen.get_parameter("values")
            return frozen.nbytes - values.nbytes + rows_nbytes(values, bits)

        kept = longer_codes(((d, k) for d in groups for k in books), stored)
        floor = "the codewords are stored in fp32 beside the codes of every id"
        return Sizes(range(len(kept)), lambda scale: arguments(kept[scale]), floor)


def longer_codes(
    shapes: Iterable[tuple[int, int]], stored: Callable[[tuple[int, int]], int]
) -> list[tuple[int, int]]:
    """Choose shapes of codes: by bytes, and more bytes always mean longer codes.

    Args:
        shapes: Pairs (codes of an id, values of a code).
        stored: Returns the bytes that a layer of such a shape stores.

    Returns:
        Those of ``shapes`` that are left, the smallest first.
    """
    kept: list[tuple[int, int]] = []
    longest = 0
    for shape in sorted(shapes, key=stored):
        length = shape[0] * bits_for(shape[1])
        if length > longest:
            longest = length
            kept.append(shape)
    return kept


def rows_nbytes(table: Tensor, bits: int | None) -> int:
    """Return the bytes of a table on the meta device once it is stored in few bits, if it is."""
    if bits is None:
        return table.nbytes
    return sum(part.nbytes for part in pack_table(table, bits).state_dict().values())


class CodebookEmbedding(CompressedEmbedding):
    """Fixed codes, packed in bits, and codewords that can still be trained.

    Args:
        num_embeddings: Number of ids.
        embedding_dim: Width of the vectors; with ``"concat"`` a multiple of ``num_groups``.
        num_groups: Codes of an id, D.
        tiers: Pairs (number of ids, codewords they may use), most frequent ids first; their ids
            add up to ``num_embeddings``. All tiers use the same codebooks, rarer ones the first
            few codewords of it.
        fusion: ``"concat"``: codewords of width embedding_dim / D, side by side; ``"sum"``: whole
            vectors, added up.
        **common: See `Common`.

    State: ``values`` (num_groups * K, width of a codeword), codebook after codebook, where K is
    the most codewords of a tier; ``codes.0``, ... uint8, one per tier.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        num_groups: int,
        tiers: Sequence[tuple[int, int]],
        fusion: str = "concat",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **common)
        self.fusion = choice("fusion", fusion, ("concat", "sum"))
        concat = fusion == "concat"
        self.num_groups = (
            group_count(embedding_dim, num_groups)
            if concat
            else whole("num_groups", num_groups, 1, MAX_HASHES)
        )
        self.tiers = tuple(tiers)
        if sum(ids for ids, _ in self.tiers) != num_embeddings:
            raise ValueError(f"the ids of tiers must add up to {num_embeddings}, got {self.tiers}")
        self.num_codewords = max(codewords for _, codewords in self.tiers)
        width = embedding_dim // num_groups if concat else embedding_dim
        self.values = self.new_table(num_groups * self.num_codewords, width)
        self.codes = nn.Module()
        for t, (ids, codewords) in enumerate(self.tiers):
            size = packed_nbytes(ids * num_groups, bits_for(codewords))
            empty = torch.empty(size, dtype=torch.uint8, device=self._factory["device"])
            self.codes.register_buffer(str(t), empty)
        self.mark_integers(empty.device)
        self.reset_parameters()

    def compose(self, ids: Tensor) -> Tensor:
        """Read one codeword per group; put them side by side, or add them up."""
        rows = gather_rows(self.values, self._rows(ids), sparse=self.sparse)
        if self.fusion == "concat":
            return rows.flatten(-2)
        return reduce(torch.add, rows.unbind(-2))  # onnxruntime's sum of no ids has a wrong shape

    def reading(self) -> Reading:
        """Say the same as a range of ids for each tier, their codewords fused."""
        groups, rows = self.num_groups, self.num_codewords
        parts: list[tuple[int, Reading]] = []
        for (size, codewords), packed in zip(self.tiers, self.codes.buffers(), strict=True):
            code = partial(Stored, packed, bits_for(codewords), groups)
            reads = (Read("values", self.values, code(j), j * rows) for j in range(groups))
            parts.append((size, Recipe(tuple(reads), self.fusion)))
        return Ranges(tuple(parts))

    def _rows(self, ids: Tensor) -> Tensor:
        groups = torch.arange(self.num_groups, device=ids.device)
        start, codes = 0, torch.zeros_like(ids).unsqueeze(-1) + groups
        for (size, codewords), packed in zip(self.tiers, self.codes.buffers(), strict=True):
            # Ids of other tiers wrap round; their reads are thrown away.
            own = ((ids - start) % size).unsqueeze(-1) * self.num_groups + groups
            found = unpack(packed, own, bits_for(codewords))
            codes = torch.where((ids >= start).unsqueeze(-1), found, codes)
            start += size
        return codes + groups * self.num_codewords

    def addresses(self, ids: Tensor) -> dict[str, Tensor]:
        """Return ``values``: one row per group."""
        return {"values": self._rows(check_ids(ids, self.num_embeddings))}

    def row_tables(self) -> list[str]:
        """Name the codebooks."""
        return ["values"]

    @torch.no_grad()
    def set_codes(self, tier: int, codes: Tensor) -> None:
        """Store int64 ``codes`` of shape (ids of the tier, num_groups)."""
        bits = bits_for(self.tiers[tier][1])
        self.codes.get_buffer(str(tier)).copy_(pack(codes, bits))

    def distinctness(self) -> Statement:
        """Return the statement for the number of codes."""
        learned = Statement("learned", "two ids are equal if all their codes are")
        codes = self.num_codewords**self.num_groups
        return fewer_codes(codes, self.num_embeddings, "codes", learned)

    def reset_parameters(self, std: float = 1.0) -> None:
        """Draw codewords, so that a composed row has variance ``std**2``, and codes at random."""
        nn.init.normal_(self.values, std=factor_std(std, self.num_groups, self.fusion))
        for tier, (ids, codewords) in enumerate(self.tiers):
            device = self.values.device
            self.set_codes(tier, torch.randint(codewords, (ids, self.num_groups), device=device))
