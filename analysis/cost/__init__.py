"""What an inference costs on a chip: energy, latency, area, from the profile's ``cost`` section.

`workload` finds what a model multiplies, `counts` how often each part of a chip works for that,
`drive` and `reading` what its cells take, `converters`, `scaling` and `prices` what one operation
costs, `cost` puts them together; `files` keeps and `draw` shows the result.

>>> import torch, cimsim
>>> from cimsim.analysis.cost import cost_of
>>> net = cimsim.convert(torch.nn.Linear(512, 10), "pcm-hermes-2023")
>>> round(cost_of(net, torch.ones(1, 512)).tops_per_W, 2) > 0
True
"""

from cimsim.analysis.cost.cost import PARTS, Cost, LayerCost, Parts, cost_of
from cimsim.analysis.cost.counts import Counts, count
from cimsim.analysis.cost.draw import draw_cost
from cimsim.analysis.cost.files import read_cost, write_cost
from cimsim.analysis.cost.workload import OPS_PER_MAC, Workload, workload_of

__all__ = [
    "OPS_PER_MAC",
    "PARTS",
    "Cost",
    "Counts",
    "LayerCost",
    "Parts",
    "Workload",
    "cost_of",
    "count",
    "draw_cost",
    "read_cost",
    "workload_of",
    "write_cost",
]
