"""The report of an evaluation, for people: one page that opens offline, a model card, a draft of the methods."""
