# shellcheck shell=bash
# What a job on Myriad's nodes begins with. Its disk there, `-l tmpfs=20G`, is TMPDIR, which Grid Engine makes and removes.
# shellcheck source=/dev/null
. /etc/profile.d/modules.sh
module load python3/3.11
