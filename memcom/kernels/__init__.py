"""The one lookup under all address-based compressors, written plainly and compiled.

`recipe` says what a lookup reads, `plain` carries it out with torch. `program` turns rows that are
fused into numbers, `assembly` any other reading; `cached` keeps these with a layer, `gate` lets
tensors through to the kernels in `cpu` and `gpu`, `backend` chooses among them, and `bags` pools.
"""

from memcom.kernels.backend import Backend as Backend
from memcom.kernels.backend import choose as choose
from memcom.kernels.backend import explain as explain
from memcom.kernels.backend import lookup as lookup
from memcom.kernels.backend import warm_up as warm_up
from memcom.kernels.bags import fused_bag as fused_bag
from memcom.kernels.codebooks import CodewordChoice as CodewordChoice
from memcom.kernels.codebooks import chosen_codes as chosen_codes
from memcom.kernels.codebooks import chosen_codewords as chosen_codewords
from memcom.kernels.distinct import dedup as dedup
from memcom.kernels.grouped import class_product as class_product
from memcom.kernels.networks import hash_numbers as hash_numbers
from memcom.kernels.networks import mish as mish
from memcom.kernels.plain import all_rows as all_rows
from memcom.kernels.plain import gather_rows as gather_rows
from memcom.kernels.plain import plain as plain
from memcom.kernels.plain import plain_lookup as plain_lookup
from memcom.kernels.recipe import FUSIONS as FUSIONS
from memcom.kernels.recipe import Mapped as Mapped
from memcom.kernels.recipe import Ragged as Ragged
from memcom.kernels.recipe import Ranges as Ranges
from memcom.kernels.recipe import Read as Read
from memcom.kernels.recipe import Reading as Reading
from memcom.kernels.recipe import Recipe as Recipe
from memcom.kernels.recipe import Run as Run
from memcom.kernels.step import apply_step as apply_step
from memcom.kernels.step import computed as computed
from memcom.kernels.step import defer_gradients as defer_gradients
from memcom.kernels.step import deferred_lookup as deferred_lookup
from memcom.kernels.step import fused_step as fused_step
from memcom.kernels.tensor_train import tensor_train as tensor_train
from memcom.kernels.topk import topk as topk
