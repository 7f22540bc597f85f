"""The demo: real flights of 2013 replayed as live traffic against three trained models.

`flights` and `addresses` are what runs; they need nothing but the standard library. `dataset`, `models`, `figures`,
`train` and `countries` made the committed files under `data/`; they need the development dependencies, and nothing
that runs imports them.
"""
