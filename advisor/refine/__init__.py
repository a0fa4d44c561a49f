"""Can a search do better? Short trainings around the advised learning rate, and a contest on fresh seeds."""
