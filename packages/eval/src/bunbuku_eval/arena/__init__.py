"""A blind arena: people see two answers without names, on random sides, and say which is better.

`links` knows who is invited, `store` keeps duels and votes, `app` is the web application over both. Answers are stored
ones, so that no model runs while people vote.
"""
