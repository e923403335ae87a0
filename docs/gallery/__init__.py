"""Reports of tiny runs that the site shows: corpora, configs and the commands that make them."""
