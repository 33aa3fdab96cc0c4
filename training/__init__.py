"""Training: the loop, data sets, models, methods and checkpoints."""

if __name__ != "cimsim.training":  # an editable installation has the checkout on its path
    raise ImportError(f"no module named {__name__!r}; import cimsim.training")
