"""The training loop and everything it needs: data, models, methods, checkpoints."""
