#!/bin/bash
# Evaluates a trained run as a Grid Engine job, without a GPU. On the login node, in the folder of the code:
#
#     qsub -l tmem=8G,h_rt=1:0:0 sge/evaluate.sh sex_clf/latest
#     qsub -hold_jid tfmri_train -l tmem=8G,h_rt=1:0:0 sge/evaluate.sh sex_clf/latest      after the job that trains it
#
# What follows the script goes to `tfmri evaluate` as it is. The log is sge/logs/tfmri_evaluate.o<job id>.
#
#$ -S /bin/bash
#$ -N tfmri_evaluate
#$ -cwd
#$ -j y
#$ -notify
#$ -o sge/logs/

set -eu
[ -f sge/environment.sh ] || { echo "There is no sge/environment.sh in $PWD: submit from the folder of the code." >&2; exit 2; }
# shellcheck source=sge/environment.sh
. sge/environment.sh

run_program tfmri evaluate "$@"
