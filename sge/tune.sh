#!/bin/bash
# Searches for better settings as Grid Engine jobs: each task of an array is a worker of one study. On the login node, in
# the folder of the code:
#
#     qsub -t 1-4 -l tmem=16G,h_rt=12:0:0,gpu=true sge/tune.sh sex_clf                  four workers at once
#     qsub -t 1-30 -tc 4 -l tmem=16G,h_rt=4:0:0,gpu=true sge/tune.sh sex_clf --trials 1     a task a trial
#
# What follows the script goes to `tfmri tune` as it is (`tfmri tune --help`). A task that comes near its h_rt saves its
# trial, and Grid Engine runs it again: it goes on. A task that died leaves its trial to the others. The same command
# again goes on with the study until it has its trials. Resources as in sge/train.sh. The log is
# sge/logs/tfmri_tune.o<job id>.<task>.
#
#$ -S /bin/bash
#$ -N tfmri_tune
#$ -cwd
#$ -j y
#$ -notify
#$ -o sge/logs/

set -eu
[ -f sge/environment.sh ] || { echo "There is no sge/environment.sh in $PWD: submit from the folder of the code." >&2; exit 2; }
# shellcheck source=sge/environment.sh
. sge/environment.sh

run_program tfmri tune "$@"
