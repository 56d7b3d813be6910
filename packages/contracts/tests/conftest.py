from hypothesis import settings

# The first example of a property pays for imports, and a busy machine for its neighbours: time says nothing here.
settings.register_profile("contracts", deadline=None)
settings.load_profile("contracts")
