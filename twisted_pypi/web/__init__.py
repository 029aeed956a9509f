"""The HTTP face: the resource that answers for every mount, and what operators look at."""
