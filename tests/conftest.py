"""What every test shares: how hypothesis behaves."""

from hypothesis import settings

# A slow machine is no fault of the code, so examples have no deadline; a found example is printed, to be kept as a test.
settings.register_profile("omni", deadline=None, print_blob=True)
settings.load_profile("omni")
