"""The report of a run: what its files say as tables, plots and one self-contained page. Never opens a model."""
