"""The commands with their modules and summaries.

Written by ``python -m cimsim.cli.list_commands``.
"""

LISTED = {
    "train": (
        "cimsim.cli.train",
        "Train a model for the chips of a profile.",
    ),
    "sweep": (
        "cimsim.cli.sweep",
        "Evaluate each run at each level of an axis on the same chips.",
    ),
    "plot": (
        "cimsim.cli.plot",
        "Draw accuracy (perplexity for text) over a swept axis: mean, 95 % band, worst chip.",
    ),
    "tolerance": (
        "cimsim.analysis.studies.tolerance",
        "Find the largest level at which a run stays close to the digital model.",
    ),
    "map": (
        "cimsim.analysis.studies.heat_map",
        "Evaluate a run at every pair of levels of two axes and draw a heat map with contours.",
    ),
    "budget": (
        "cimsim.analysis.studies.budget",
        "Measure the effect of each non-ideality of a profile on a run.",
    ),
    "sensitivity": (
        "cimsim.analysis.studies.sensitivity",
        "Measure the effect of each layer of a run: only that layer on the chip, and all other "
        "layers.",
    ),
    "advise": (
        "cimsim.analysis.studies.advise",
        "Propose a mixed assignment: which layers to compute digitally or to give more bits.",
    ),
    "life": (
        "cimsim.analysis.studies.life",
        "Evaluate a run while its chips age.",
    ),
    "adapt": (
        "cimsim.analysis.studies.adapt",
        "Adapt each chip of a run after programming, and evaluate it before and after.",
    ),
    "yield": (
        "cimsim.analysis.studies.chip_yield",
        "Evaluate a run on many chips and report the share that reaches a threshold.",
    ),
    "explore": (
        "cimsim.analysis.studies.explore",
        "Search designs of a chip (run, profile, converters, tiles) for accuracy at low cost.",
    ),
    "cost": (
        "cimsim.cli.cost",
        "Compute energy, latency and area of one inference, by layer and by part of the chip.",
    ),
    "compare": (
        "cimsim.cli.compare",
        "Train several methods with the same settings and evaluate them on the same chips.",
    ),
    "report": (
        "cimsim.cli.report",
        "Write one HTML page about runs: training, profile, and all results.",
    ),
    "app": (
        "cimsim.cli.app",
        "Show trained networks in the browser, on chips that you change with sliders.",
    ),
    "generate": (
        "cimsim.cli.generate",
        "Generate text with a trained model on a chip of a given age.",
    ),
    "methods": (
        "cimsim.cli.methods",
        "List methods, rules, quantizers, objectives, correctors, optimizers, recipes, "
        "adaptations.",
    ),
    "models": (
        "cimsim.cli.models",
        "List the trained networks that are shipped with cimsim.",
    ),
    "doctor": (
        "cimsim.cli.doctor",
        "Check versions, devices, compiler, kernels, data and write access.",
    ),
    "profiles": (
        "cimsim.cli.profiles",
        "List, explain, check, fit, import and export profiles.",
    ),
}
