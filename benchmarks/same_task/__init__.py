"""Train a network for a chip and draw its accuracy over noise, with three libraries."""
