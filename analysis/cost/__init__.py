"""Cost of an inference on a chip: energy, latency, area, from the profile's ``cost`` section.

`workload` finds what a model multiplies, `counts` how often each part of a chip works for that,
`drive` and `reading` the power of its cells, `converters`, `scaling` and `prices` the cost of one
operation, `cost` their product, which is a `result`.

>>> import torch, cimsim
>>> net = cimsim.convert(torch.nn.Linear(512, 10), "pcm-hermes-2023")
>>> round(cimsim.analysis.cost.cost_of(net, torch.ones(1, 512)).tops_per_W, 2) > 0
True
"""

import lazy_loader as _lazy_loader

__getattr__, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)
