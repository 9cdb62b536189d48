"""What only the demo has: a Stripe beside it, and time that people may move. Nothing of this is in production.

`sandbox.py` reaches the local Stripe and sees to it that it and the database belong together, `moving.py` moves the
time of both, `views.py` is the page for that. Like `urls.py` it puts the house together, so it may import all of it.
"""
