"""Orders: a small resource service. It asks nobody who a caller is: the access token says so, and is verified here."""
