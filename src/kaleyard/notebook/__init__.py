"""The notebook as a person wrote it: an .ipynb file in; cells, tags, parameters and what it is composed of out.

Only `kale_adapter` and `kale_loader` use Kale. May import `config`, `pipeline`, `errors`.
"""
