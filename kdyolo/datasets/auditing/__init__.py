"""What shows when a whole data set is seen together, and what each kind of finding means."""
