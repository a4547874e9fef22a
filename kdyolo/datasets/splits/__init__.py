"""Dividing images: what must stay together, how evenly, splits a user gives, folds and label budgets."""
