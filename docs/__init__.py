"""Documentation site: configuration, generated parts, and pages in two languages, en/ and zh/."""
