"""The stages of pre-training, one a module."""
