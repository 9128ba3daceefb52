#!/bin/bash
# Trains one experiment as a Grid Engine job. On the login node, in the folder of the code:
#
#     make setup EXTRAS=gpu                                                 once: compute nodes download nothing
#     qsub -l tmem=16G,h_rt=12:0:0,gpu=true sge/train.sh sex_clf
#     qsub -l tmem=16G,h_rt=12:0:0,gpu=true sge/train.sh sex_clf --run first --set training.epochs=40
#     qsub -l tmem=8G,h_rt=12:0:0 -pe gpu 2 -R y sge/train.sh sex_clf      two GPUs; tmem counts per slot
#
# What follows the script goes to `tfmri train` as it is (`tfmri train --help`). The same --run again goes on where that run
# stopped. Of the resources: h_vmem stays out, since TensorFlow reserves far more addresses than memory, and the job ends there;
# gpu_type='!(a|b)' avoids kinds of GPU. The log is sge/logs/tfmri_train.o<job id>; afterwards: tfmri evaluate sex_clf/latest.
# Without Grid Engine it is a plain script: bash sge/train.sh sex_clf
#
#$ -S /bin/bash
#$ -N tfmri_train
#$ -cwd
#$ -j y
#$ -o sge/logs/

set -eu

# Grid Engine runs a copy of this file from elsewhere; the code is where qsub was called (-cwd).
if [ -f .venv/bin/activate ]; then
    # shellcheck source=/dev/null
    . .venv/bin/activate
elif ! command -v tfmri > /dev/null; then
    echo "sge/train.sh: no .venv in $PWD. Submit from the folder of the code, after 'make setup EXTRAS=gpu' there." >&2
    exit 2
fi

# No more threads than slots were asked for. CUDA_VISIBLE_DEVICES is Grid Engine's to set.
if [ -n "${NSLOTS:-}" ]; then
    export OMP_NUM_THREADS="$NSLOTS" TF_NUM_INTRAOP_THREADS="$NSLOTS"
fi

# Code that TensorFlow brings as PTX is compiled once for a kind of GPU, and kept for the jobs that follow.
export CUDA_CACHE_PATH="${CUDA_CACHE_PATH:-${TFMRI_CACHE:-$PWD/cache}/cuda}" CUDA_CACHE_MAXSIZE=4294967296
mkdir -p "$CUDA_CACHE_PATH"

# XLA looks for libdevice below a CUDA toolkit, which a node may lack: it lies among .venv's packages (EXTRAS=gpu).
for nvcc in .venv/lib/python3.*/site-packages/nvidia/cuda_nvcc; do
    if [ -d "$nvcc" ]; then
        export XLA_FLAGS="--xla_gpu_cuda_data_dir=$nvcc ${XLA_FLAGS:-}"
    fi
done

echo "$(date '+%F %T')  job ${JOB_ID:-none}, task ${SGE_TASK_ID:-none}, on $(hostname), ${NSLOTS:-all} slots, in $PWD"
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv,noheader || true
fi

# Temporary files go to TMPDIR, which Grid Engine makes for the job and removes after it. exec: the signals that Grid Engine
# sends reach the program, and no shell dies of them in its place.
exec tfmri train "$@"
