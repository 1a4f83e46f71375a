"""What is wrong, and what would go wrong: findings with remedies."""
