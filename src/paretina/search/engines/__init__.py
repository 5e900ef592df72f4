"""What carries out the tasks of a study: this machine, or a cluster of several; one file each."""
