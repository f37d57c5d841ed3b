"""New projects from the template, and bringing a project to a newer one: cookiecutter renders, git merges.

May import `config` and what lies below it.
"""
