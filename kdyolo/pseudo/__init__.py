"""Pseudo-labels: thresholds, tables, and merging with ground truth."""
