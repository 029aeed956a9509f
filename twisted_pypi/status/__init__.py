"""What people and programs are told of the daemon as a whole: the status page and `/+status`."""
