"""What is stated of each compressor: its paper, its formula, and whether vectors are unique.

Everything here is a statement; the tests hold each against the layers. Letters: n ids of width e,
tables of m rows; upper case letters are stored, ``[a, b]`` is side by side. The formula is that of
the layer as `memcom.plan` builds it when no option is given.
"""

from __future__ import annotations

from dataclasses import dataclass

UNIQUE = {
    "theorem": "different stored rows always give different vectors",
    "generic": "no two ids read the same; only a coincidence of numbers makes two vectors equal",
    "if multipliers differ": "ids of a bucket differ exactly when their own weights do",
    "by chance": "hashes decide; two ids may read the same, with a probability that is known",
    "as learned": "codes are learned, and training may give two ids the same",
    "lossy": "a row of its own, until rounding or pruning makes two rows equal",
    "never": "there are fewer rows than ids, so many ids must be copies of others",
}
"""The words for uniqueness, from the strongest down, and what each promises."""

_ARXIV = "https://arxiv.org/abs/"


@dataclass(frozen=True)
class Facts:
    """What is stated of one compressor.

    Attributes:
        authors: First author and "et al.", or two names; empty where there is no paper.
        year: Of publication; None where there is no paper.
        link: Address of the paper; empty where there is none.
        formula: The vector of id i in one line.
        unique: A word of `UNIQUE`.
        because: Why, or on which condition, as a clause.
    """

    authors: str
    year: int | None
    link: str
    formula: str
    unique: str
    because: str


def _folklore(formula: str, unique: str, because: str) -> Facts:
    return Facts("", None, "", formula, unique, because)


def _paper(authors: str, year: int, link: str, formula: str, unique: str, because: str) -> Facts:
    link = link if link.startswith("https") else _ARXIV + link
    return Facts(authors, year, link, formula, unique, because)


_SHI = ("Shi et al.", 2020, "1909.02107")
_MEMCOM = ("Pansare et al.", 2022, "2203.10135")
_SVENSTRUP = ("Svenstrup et al.", 2017, "1709.03933")
_GUAN = ("Guan et al.", 2019, "1911.02079")

FACTS: dict[str, Facts] = {
    "full": _folklore("T[i]", "theorem", "every id has a row"),
    "small-dim": _folklore("[T[i], 0 ... 0]", "theorem", "every id has a row"),
    "truncate": _folklore("T[min(i, K)]", "never", "all ids from K on are one"),
    "low-rank": _folklore("A[i] B", "generic", "rows of A differ, and B has full rank"),
    "hash": _paper(
        "Weinberger et al.", 2009, "0902.2206", "U[h(i)]", "never", "m rows for n > m ids"
    ),
    "double-hash": _paper(
        "Zhang et al.", 2020, "2007.14523", "U[h1(i)] + U[h2(i)]",
        "by chance", "a pair shares both rows with probability of about 2 / m^2",
    ),
    "bloom": _paper(
        "Serrà and Karatzoglou", 2017, "1706.03993", "U[h1(i)] + ... + U[hk(i)]",
        "by chance", "a pair shares all k rows with probability of about k! / m^k",
    ),
    "hash-embedding": _paper(
        *_SVENSTRUP, "P[i,1] E[h1(i)] + ... + P[i,k] E[hk(i)]",
        "if multipliers differ", "ids that read the same k rows differ by their k weights",
    ),
    "qr": _paper(
        *_SHI, "R[i mod m] * Q[i div m]",
        "generic", "the pair of rows is unique; a theorem for concat, not for products",
    ),
    "mixed-radix": _paper(
        *_SHI, "T1[a1(i)] * ... * Tk[ak(i)], a: digits of i",
        "generic", "no two ids share all digits",
    ),
    "crt": _paper(
        *_SHI, "T1[i mod m1] * ... * Tk[i mod mk]",
        "generic", "coprime moduli with a product of n or more",
    ),
    "path": _paper(
        *_SHI, "M[i div m](T[i mod m]), M: small maps", "generic", "no two ids take the same path"
    ),
    "bch": _paper(
        "Yan et al.", 2021, "2109.02471", "T1[bits 1 of i] + ... + TB[bits B of i]",
        "generic", "a table for each block; one shared table under a sum loses the order",
    ),
    "memcom": _paper(
        *_MEMCOM, "U[i mod m] V[i], V: one number per id",
        "if multipliers differ", "a bucket's vectors are multiples of one row",
    ),
    "memcom-bias": _paper(
        *_MEMCOM, "U[i mod m] V[i] + W[i]",
        "if multipliers differ", "or the biases do; the vectors of a bucket lie in one plane",
    ),
    "tt": _paper(
        "Yin et al.", 2021, "2101.11714", "G1[i1] G2[i2] G3[i3], matrix products over digits of i",
        "generic", "no two ids share all three slices",
    ),
    "dhe": _paper(
        "Kang et al.", 2021, "2010.10784", "MLP(h1(i), ..., hk(i))",
        "by chance", "k hashes of 32 bits hardly ever agree; the network may map two codes alike",
    ),
    "robe": _paper(
        "Desai et al.", 2022, "2108.02191", "[M[h1(i) ...], M[h2(i) ...], ...], runs of one array",
        "by chance", "all runs must start at the same cells",
    ),
    "lma": _paper(
        "Desai et al.", 2021, "2103.06124", "x[j] = M[hj(keys of S[i])], S: signatures",
        "by chance", "ids with the same signature are one",
    ),
    "scalar-qr": _paper(
        *_MEMCOM, "U[i mod m] V[i div m], V: one number per quotient",
        "if multipliers differ", "quotients differ within a bucket (this kit's own ablation)",
    ),
    "k-memcom": _paper(
        *_SVENSTRUP, "V[i,1] U[i mod m] + V[i,2] U[h(i)]",
        "if multipliers differ", "as hash-embedding (this kit's own ablation of MEmCom)",
    ),
    "mixed-dim": _paper(
        "Ginart et al.", 2019, "1909.11810", "Tf[i] Pf, f: popularity block of i",
        "generic", "every id has a row, and each projection has full rank",
    ),
    "dpq": _paper(
        "Chen et al.", 2020, "1908.09756", "[V1[c1(i)], ..., VD[cD(i)]], c: learned codes",
        "as learned", "D codes of log2(K) bits; nothing keeps two ids apart",
    ),
    "mgqe": _paper(
        "Kang et al.", 2020, "2002.08530", "[V1[c1(i)], ..., VD[cD(i)]], shorter codes for rare i",
        "as learned", "as dpq, with fewer codes for rare ids",
    ),
    "cce": _paper(
        "Tsang and Ahle", 2023, "2210.05974", "[T1[map1(i)] + U1[h1(i)], ...], map: clusters",
        "by chance", "cluster and hash must agree in every column",
    ),
    "lhf": _paper(
        "Ghaemmaghami et al.", 2022, "2203.15837", "U[map(i)], map: learned, stored",
        "never", "m rows for n > m ids, but those that share are alike",
    ),
    "int8": _paper(
        *_GUAN, "offset[i] + scale[i] q[i], q: 8 bits", "lossy", "two rows may round alike"
    ),
    "int4": _paper(
        *_GUAN, "offset[i] + scale[i] q[i], q: 4 bits", "lossy", "two rows may round alike"
    ),
    "jagged": _folklore(
        "the first k(i) numbers of T[i], then 0", "lossy", "rows of width 0 are one"
    ),
    "csr": _folklore("some numbers of T[i], else 0", "lossy", "empty rows are one"),
    "pep": _paper(
        "Liu et al.", 2021, "2101.07577", "sign(T[i]) relu(|T[i]| - threshold)",
        "lossy", "rows that fall below the threshold are one",
    ),
    "amtl": _paper(
        "Yan et al.", 2021, "2108.11513", "the first k(i) numbers of T[i], k: learned",
        "lossy", "rows of width 0 are one",
    ),
    "fiited": _paper(
        "Luo et al.", 2024, "2401.04408", "chunks of T[i] that are useful, else 0",
        "lossy", "rows that lost all chunks are one",
    ),
    "scall": _paper(
        "Qu et al.", 2024, "2407.15411", "the first k(i) numbers of T[i], k: by rank",
        "lossy", "rows of width 0 are one",
    ),
}  # fmt: skip
"""The statements by registry name."""
