"""FLO's figures: each is a ratio against a stated ceiling, taken in one run. `python -m bench` lists them."""
