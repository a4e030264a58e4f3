"""A suggester for tests."""

from search.space import RandomSuggester


class Recorder(RandomSuggester):
    """Draws at random and records the parameters."""

    def __init__(self, seed):
        super().__init__(seed)
        self.asked = {}

    def suggest_float(self, name, low, high, **options):
        self.asked[name] = super().suggest_float(name, low, high, **options)
        assert low <= self.asked[name] <= high
        return self.asked[name]

    def suggest_categorical(self, name, choices):
        self.asked[name] = super().suggest_categorical(name, choices)
        return self.asked[name]
