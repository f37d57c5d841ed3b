"""What is missing, too old or too small on this machine, and what to do: small coded probes, asked all at once.

May import `config`, `compatibility` and what lies below them, and `images` and `kubeflow` for the services they reach.
"""
