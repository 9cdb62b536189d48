"""The local Stripe, talked to by the real SDK over real HTTP; all it says is held against Stripe's schema."""
