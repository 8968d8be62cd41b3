"""What all HTML pages share: their templates, their style, and the fields of their answers."""
