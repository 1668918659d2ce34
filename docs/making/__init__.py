"""How the site is made of the pages, the docstrings, the commands and the errors."""
