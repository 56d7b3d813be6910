"""The stages, one module each: read, run the pure core, write."""
