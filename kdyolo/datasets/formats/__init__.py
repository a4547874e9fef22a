"""How data sets are written: one file per format, and `detect` that tells them apart."""
