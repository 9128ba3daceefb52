#!/bin/bash
# Prepares the scans of an experiment as a Grid Engine job, without a GPU: what `train` then finds in the cache.
#
#     qsub -pe smp 4 -l tmem=4G,h_rt=4:0:0 sge/prepare.sh sex_clf
#
# What follows the script goes to `tfmri prepare` as it is. If it fails, the job goes into Grid Engine's error state (exit
# code 100), and those that wait for it never start. The log is sge/logs/tfmri_prepare.o<job id>.
#
#$ -S /bin/bash
#$ -N tfmri_prepare
#$ -cwd
#$ -j y
#$ -notify
#$ -o sge/logs/

set -eu
[ -f sge/environment.sh ] || { echo "There is no sge/environment.sh in $PWD: submit from the folder of the code." >&2; exit 2; }
# shellcheck source=sge/environment.sh
. sge/environment.sh

code=0
run_program tfmri prepare "$@" || code=$?
case "$code" in
    0 | 99) exit "$code" ;;
    *) [ -z "${JOB_ID:-}" ] || code=100; exit "$code" ;;
esac
