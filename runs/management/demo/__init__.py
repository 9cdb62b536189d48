"""The demo's own story: who and what is in it (`cast.py`), what happens when (`story.py`), and who pays (`buyers.py`).

`seed_demo` lives it.
"""
