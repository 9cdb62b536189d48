"""The demo's own story: who and what is in it (`cast.py`) and what happens when (`story.py`). `seed_demo` lives it."""
