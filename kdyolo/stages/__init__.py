"""The stages of the chain, one file per command; they meet only through files in the run directory."""
