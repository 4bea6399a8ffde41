"""The fit of files of any size: a range of users at a time, in bounded memory."""
