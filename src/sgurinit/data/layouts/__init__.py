"""On-disk layouts, one file each; `registry` finds out which one a folder has."""
