"""All layers, a line a file, each of which lists its public names in ``__all__``.

The order of the lines is the order of `memcom.available`.
"""

# ruff: noqa: F403, I001
from memcom.embeddings.full import *
from memcom.embeddings.low_rank import *
from memcom.embeddings.hashing import *
from memcom.embeddings.bloom import *
from memcom.embeddings.hash_embedding import *
from memcom.embeddings.qr import *
from memcom.embeddings.mixed_radix import *
from memcom.embeddings.path import *
from memcom.embeddings.bch import *
from memcom.embeddings.memcom import *
from memcom.embeddings.tt import *
from memcom.embeddings.dhe import *
from memcom.embeddings.robe import *
from memcom.embeddings.lma import *
from memcom.embeddings.memcom_variants import *
from memcom.embeddings.mixed_dim import *
from memcom.embeddings.dpq import *
from memcom.embeddings.mgqe import *
from memcom.embeddings.product_codes import *
from memcom.embeddings.residual_codes import *
from memcom.embeddings.cce import *
from memcom.embeddings.lhf import *
from memcom.embeddings.gain_shape import *
from memcom.embeddings.quantized import *
from memcom.embeddings.jagged import *
from memcom.embeddings.csr import *
from memcom.embeddings.pep import *
from memcom.embeddings.amtl import *
from memcom.embeddings.fiited import *
from memcom.embeddings.scall import *

# Around other layers.
from memcom.embeddings.bag import *
from memcom.embeddings.head import *
from memcom.embeddings.multi import *
