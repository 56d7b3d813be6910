"""A blind arena: people see two answers without names, on random sides, and say which is better.

`links` knows who is invited and `gate` who may come in; `tables` and `store` keep duels and votes; `live` lets two models
answer while a voter watches; `app` is the web application over them. `suspects` finds voters who do not read, `board` rates
what is left, `ballots` takes it home, `moderation` and `imports` are for who runs the arena.
"""
