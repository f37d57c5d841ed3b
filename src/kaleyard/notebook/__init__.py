"""The notebook as its author wrote it: an .ipynb file in; cells, tags, parameters and composed notebooks out.

Only `kale_adapter` and `kale_loader` use Kale. May import `config`, `pipeline`, `errors`.
"""
