"""The one lookup under all address-based compressors, written plainly and compiled."""

from memcom.kernels._changes import carry_out as carry_out
from memcom.kernels._changes import change as change
from memcom.kernels._changes import change_during_backward as change_during_backward
from memcom.kernels._dispatch import Path as Path
from memcom.kernels._dispatch import explain as explain
from memcom.kernels._dispatch import fused as fused
from memcom.kernels._dispatch import fused_bag as fused_bag
from memcom.kernels._dispatch import lookup as lookup
from memcom.kernels._dispatch import plain as plain
from memcom.kernels._dispatch import warm_up as warm_up
from memcom.kernels._distinct import once_each as once_each
from memcom.kernels._lookup import FUSIONS as FUSIONS
from memcom.kernels._lookup import Read as Read
from memcom.kernels._lookup import Recipe as Recipe
from memcom.kernels._lookup import plain_lookup as plain_lookup
from memcom.kernels._lookup import read_rows as read_rows
