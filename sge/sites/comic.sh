# shellcheck shell=bash disable=SC2034
# What a job on comic's nodes begins with. A Python that the nodes have: ls /share/apps/source_files/python

# A node's disk, for what a job asked for with `-l tscratch=20G`. The job removes the folder when it ends.
scratch=/scratch0/$USER/$JOB_ID
[ "$SGE_TASK_ID" = undefined ] || scratch=$scratch.$SGE_TASK_ID
