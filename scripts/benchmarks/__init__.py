"""What ``scripts/bench`` consists of: repositories, peers, a load client, scenarios with goals, and reports."""
