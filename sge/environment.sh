# shellcheck shell=bash
# What every job here needs before it starts: .venv, threads, where compiled GPU code is kept. Sourced, not submitted.

# Grid Engine runs a copy of a job's script from elsewhere; the code is where qsub was called (-cwd).
if [ -f .venv/bin/activate ]; then
    # shellcheck source=/dev/null
    . .venv/bin/activate
elif ! command -v tfmri > /dev/null; then
    echo "sge: no .venv in $PWD. Submit from the folder of the code, after 'make setup EXTRAS=gpu' there." >&2
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
