"""The out-of-core path: starts of any number of users, computed in bounded memory."""
