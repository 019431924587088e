"""The one lookup under all address-based compressors."""

from memcom.kernels._lookup import FUSIONS as FUSIONS
from memcom.kernels._lookup import Read as Read
from memcom.kernels._lookup import Recipe as Recipe
from memcom.kernels._lookup import lookup as lookup
from memcom.kernels._lookup import read_rows as read_rows
