# shellcheck shell=bash
# What every job here begins with, and how it runs its program. Sourced by the job scripts, not submitted.

TFMRI_STARTED=$(date +%s) # from then on the job's time (h_rt) counts
export TFMRI_STARTED

# The site: what `tfmri submit` says, else the person's own, else comic (sge/sites/, sge/user.mk).
if [ -z "${TFMRI_SITE:-}" ] && [ -f sge/user.mk ]; then
    TFMRI_SITE=$(sed -n 's/^SITE *:\{0,1\}= *\([A-Za-z0-9._-]*\).*/\1/p' sge/user.mk | tail -n 1)
fi
TFMRI_SITE=${TFMRI_SITE:-comic}
export TFMRI_SITE
scratch=${TMPDIR:-}
if [ -n "${JOB_ID:-}" ] && [ -f "sge/sites/$TFMRI_SITE.sh" ]; then
    # shellcheck source=sge/sites/comic.sh
    . "sge/sites/$TFMRI_SITE.sh"
fi

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

# A folder on the node's disk, which is removed however the job ends; if it is killed, by the next job there.
if [ -n "${JOB_ID:-}" ] && [ -n "$scratch" ]; then
    TFMRI_SCRATCH=$scratch/tfmri
    [ "$scratch" = "${TMPDIR:-}" ] || for owner in "${scratch%/*}"/*/tfmri/.owner; do
        if [ -f "$owner" ] && ! kill -0 "$(cat "$owner")" 2> /dev/null; then
            rm -rf "${owner%/tfmri/.owner}"
        fi
    done
    if mkdir -p "$TFMRI_SCRATCH" 2> /dev/null && echo $$ > "$TFMRI_SCRATCH/.owner"; then
        export TFMRI_SCRATCH
        trap 'rm -rf "$TFMRI_SCRATCH"; rmdir "$scratch" 2> /dev/null || true' EXIT
    else
        echo "sge: nothing can be written to $scratch; scans are read from where they lie" >&2
        unset TFMRI_SCRATCH
    fi
fi

# run_program COMMAND...: runs it and keeps its exit code. Grid Engine's signals reach it beside this shell, which lives on
# to clean up: it saves, and leaves with 99, on which Grid Engine runs the job again.
run_program() {
    trap '' USR1 USR2
    trap : TERM INT
    local code=0
    "$@" || code=$?
    echo "$(date '+%F %T')  $1 $2 ended with $code"
    return "$code"
}

echo "$(date '+%F %T')  job ${JOB_ID:-none}, task ${SGE_TASK_ID:-none}, on $(hostname), ${NSLOTS:-all} slots, in $PWD"
if [ "${RESTARTED:-0}" != 0 ]; then echo "Grid Engine runs this job again: it goes on where it was."; fi
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv,noheader || true
fi
