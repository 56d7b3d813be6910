"""Talking to checkpoints: a web page and a terminal form over the same `Talker`s."""
