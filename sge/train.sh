#!/bin/bash
# Trains one experiment as a Grid Engine job; `tfmri submit` writes such lines. On the login node, in the folder of the code:
#
#     make setup EXTRAS=gpu                                                 once: compute nodes download nothing
#     qsub -l tmem=16G,gpu=true,h_rt=12:0:0 sge/train.sh sex_clf
#     qsub -l tmem=16G,gpu=true,h_rt=12:0:0 sge/train.sh sex_clf --run first --set training.epochs=40
#     qsub -l tmem=8G,gpu=true,h_rt=12:0:0 -pe gpu 2 -R y sge/train.sh sex_clf      two GPUs; tmem counts per slot
#     qsub -t 1-5 -l tmem=16G,gpu=true,h_rt=12:0:0 sge/train.sh sex_clf --set split.folds=5    a task for each fit
#     qsub -hold_jid tfmri_train -l tmem=8G,h_rt=1:0:0 sge/evaluate.sh sex_clf/latest
#
# What follows the script goes to `tfmri train` as it is (`tfmri train --help`). The same --run again goes on where that
# run stopped; without --run the run is named for the job. A job that comes near its h_rt saves, and Grid Engine runs it
# again: it goes on. Of the resources: h_vmem stays out, since TensorFlow reserves far more addresses than memory, and
# the job would end there; gpu_type='!(a|b)' avoids kinds of GPU. The log is sge/logs/tfmri_train.o<job id>.
# Without Grid Engine it is a plain script: bash sge/train.sh sex_clf
#
#$ -S /bin/bash
#$ -N tfmri_train
#$ -cwd
#$ -j y
#$ -notify
#$ -o sge/logs/

set -eu
[ -f sge/environment.sh ] || { echo "There is no sge/environment.sh in $PWD: submit from the folder of the code." >&2; exit 2; }
# shellcheck source=sge/environment.sh
. sge/environment.sh

case "${SGE_TASK_ID:-undefined}" in
    undefined) ;;
    *) set -- "$@" --fit "$SGE_TASK_ID" ;; # a task of an array trains the fit of its number
esac
run_program tfmri train "$@"
