"""Sweep files that several tests run."""

# To be formatted with the numbers of seeds and epochs.
FOUR_ARMS = """
preset = "digits-mlp"
seeds = {seeds}
[base]
epochs = {epochs}
mask.density = 0.1
engine.device = "cpu"
[arms]
plain = {{}}
"Sign-In" = {{ reparam.name = "sign-in" }}
HAM = {{ reparam.name = "ham", reparam.alpha = 5 }}
RiGL = {{ method.name = "rigl", method.every = 10 }}
"""
