"""Labelled images: formats, checks, splits that cannot leak, and the demo set."""
