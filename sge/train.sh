#!/bin/bash
# Trains one experiment as a Grid Engine job. On the login node, in the folder of the code:
#
#     make setup EXTRAS=gpu                                                 once: compute nodes download nothing
#     qsub -l tmem=16G,h_rt=12:0:0,gpu=true sge/train.sh sex_clf
#     qsub -l tmem=16G,h_rt=12:0:0,gpu=true sge/train.sh sex_clf --run first --set training.epochs=40
#     qsub -l tmem=8G,h_rt=12:0:0 -pe gpu 2 -R y sge/train.sh sex_clf      two GPUs; tmem counts per slot
#     qsub -hold_jid tfmri_train -l tmem=8G,h_rt=1:0:0 sge/evaluate.sh sex_clf/latest
#
# What follows the script goes to `tfmri train` as it is (`tfmri train --help`). The same --run again goes on where that
# run stopped; without --run the run is named for the job, and goes on when Grid Engine runs the job again. Of the
# resources: h_vmem stays out, since TensorFlow reserves far more addresses than memory, and the job would end there;
# gpu_type='!(a|b)' avoids kinds of GPU. The log is sge/logs/tfmri_train.o<job id>.
# Without Grid Engine it is a plain script: bash sge/train.sh sex_clf
#
#$ -S /bin/bash
#$ -N tfmri_train
#$ -cwd
#$ -j y
#$ -o sge/logs/

set -eu
[ -f sge/environment.sh ] || { echo "There is no sge/environment.sh in $PWD: submit from the folder of the code." >&2; exit 2; }
# shellcheck source=sge/environment.sh
. sge/environment.sh

# Temporary files go to TMPDIR, which Grid Engine makes for the job and removes after it. exec: the signals that Grid
# Engine sends reach the program, and no shell dies of them in its place.
exec tfmri train "$@"
