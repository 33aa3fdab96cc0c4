"""Sweeps: axes, the engines that evaluate trials, their store, statistics and metrics."""
