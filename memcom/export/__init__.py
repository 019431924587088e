"""Save and load a layer, and export it to the formats that devices run.

`saved` writes safetensors and serves lookups from the file, `onnx_file` writes ONNX, `vocabulary`
keeps the strings that ids stand for, `card` says what a file holds.
"""

from memcom.export.card import write_card
from memcom.export.onnx_file import to_onnx
from memcom.export.saved import load, open, save
from memcom.export.vocabulary import Vocabulary

__all__ = ["Vocabulary", "load", "open", "save", "to_onnx", "write_card"]
