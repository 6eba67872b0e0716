"""The regular expressions that a project writes into its settings: which of them can be used."""
