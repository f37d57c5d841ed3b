"""What is missing, too old or too small on this machine, and the fix: small coded checks, asked all at once."""
