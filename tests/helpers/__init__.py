"""What tests of several rooms share: the zoo of problems with their oracles, tasks, and a study of a moment."""
