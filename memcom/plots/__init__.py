"""Pictures of sweeps and of costs, in one theme; functions return a matplotlib `Figure`.

`show(figure, alt=...)` puts one into a notebook with a description; `theme()` gives your own
figures the same look.
"""

# ruff: noqa: E402
from __future__ import annotations

from memcom._extras import require as _require

_require("memcom.plots", "matplotlib")

from memcom.plots.costs import Growth as Growth
from memcom.plots.costs import bytes_by_method as bytes_by_method
from memcom.plots.costs import cost_against_growth as cost_against_growth
from memcom.plots.costs import speed_against_table as speed_against_table
from memcom.plots.curves import loss_by_data as loss_by_data
from memcom.plots.curves import quality_against_bytes as quality_against_bytes
from memcom.plots.curves import quality_against_ratio as quality_against_ratio
from memcom.plots.display import show as show
from memcom.plots.display import to_html as to_html
from memcom.plots.display import to_png as to_png
from memcom.plots.standing import describe_standing as describe_standing
from memcom.plots.standing import loss_against as loss_against
from memcom.plots.standing import standing as standing
from memcom.plots.theme import CONTROLS as CONTROLS
from memcom.plots.theme import FAMILIES as FAMILIES
from memcom.plots.theme import PALETTE as PALETTE
from memcom.plots.theme import method_style as method_style
from memcom.plots.theme import theme as theme
