"""The phases of a study, a module each; `search.study` runs them in order."""
