"""The sentences of the reports, one typed catalogue a language."""
