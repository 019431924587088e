"""The map from strings to ids, in few bytes: at high ratios it can outweigh the table.

The strings are kept in a MARISA trie, which shares prefixes and suffixes (Yata, "Dictionary
compression by nesting prefix/Patricia tries", 2011, https://github.com/s-yata/marisa-trie). A trie
numbers them in an order of its own; ids sorted by frequency need a permutation beside it, of
ceil(log2 n) bits an id.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from memcom._check import path_like, shown
from memcom._extras import MissingExtra
from memcom.export.saved import read_tensors, write_tensors
from memcom.kernels.bits import bits_for, pack, unpack

_COUNT = "memcom_vocabulary"


class Vocabulary:
    """Strings and their ids, 0 to n - 1.

    Args:
        strings: One for each id, in order of the ids; no two are equal.

    Raises:
        TypeError: One is no string.
        ValueError: There are none, or one occurs twice.
        MissingExtra: marisa-trie is not installed.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        found = list(strings)
        for each in found:
            if not isinstance(each, str):
                raise TypeError(f"strings must be str, got {shown(each)}")
        if not found:
            raise ValueError("strings must have at least one, got none")
        self._trie = _marisa().Trie(found)
        if len(self._trie) < len(found):
            seen: set[str] = set()
            twice = next(each for each in found if each in seen or seen.add(each))  # type: ignore[func-returns-value]
            raise ValueError(f"strings must differ, got {shown(twice)} twice")
        places = torch.tensor([self._trie[each] for each in found], dtype=torch.int64)
        order = torch.empty_like(places)
        order[places] = torch.arange(len(found))
        self._order = pack(order, bits_for(len(found)))

    def __len__(self) -> int:
        return len(self._trie)

    def __contains__(self, string: object) -> bool:
        return isinstance(string, str) and string in self._trie

    def ids(self, strings: Iterable[str]) -> Tensor:
        """Return the ids of strings.

        Args:
            strings: Any number of them.

        Returns:
            int64 ``(number of strings,)``.

        Raises:
            KeyError: One is not known; the message names it.
        """
        try:
            places = [self._trie[each] for each in strings]
        except KeyError as error:
            raise KeyError(f"{error.args[0]!r} is none of the {len(self)} strings") from None
        return unpack(self._order, torch.tensor(places, dtype=torch.int64), bits_for(len(self)))

    @property
    def nbytes(self) -> int:
        """Stored bytes: the trie and the order of the ids."""
        return sum(part.numel() for part in self._parts().values())

    def save(self, path: str | Path) -> Path:
        """Write the vocabulary to one file, beside that of its table.

        Args:
            path: Path of the file; an existing one is replaced.

        Returns:
            The path.
        """
        path_like("path", path)
        return write_tensors(path, self._parts(), {_COUNT: str(len(self))})

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read a vocabulary that `save` wrote.

        Args:
            path: The file.

        Returns:
            The vocabulary.

        Raises:
            ValueError: The file is damaged or altered, was written by a later version, or holds
                none.
            MissingExtra: marisa-trie is not installed.
        """
        path_like("path", path)
        header, parts = read_tensors(path)
        if _COUNT not in header or set(parts) != {"trie", "order"}:
            raise ValueError(f"{path} holds no vocabulary saved by memcom")
        found = cls.__new__(cls)
        found._trie = _marisa().Trie().frombytes(parts["trie"].numpy().tobytes())
        found._order = parts["order"]
        return found

    def _parts(self) -> dict[str, Tensor]:
        trie = torch.frombuffer(bytearray(self._trie.tobytes()), dtype=torch.uint8)
        return {"trie": trie, "order": self._order}

    _trie: Any
    _order: Tensor


def _marisa() -> ModuleType:
    try:
        import marisa_trie
    except ModuleNotFoundError as error:
        raise MissingExtra("a vocabulary", error.name, "export") from error
    module: ModuleType = marisa_trie
    return module
