"""The only importer of ultralytics: hardened environment, models, training, prediction, the fast path."""
