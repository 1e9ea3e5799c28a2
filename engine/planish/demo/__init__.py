"""A trained network and its real data, embedded so that the whole story runs without a download."""
