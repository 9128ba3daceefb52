"""Whether this machine, and the cluster, have what tfmri needs: checks that say what to do."""
