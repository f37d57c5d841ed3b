"""New projects from the template, and bringing a project to a newer template: cookiecutter renders, git merges."""
