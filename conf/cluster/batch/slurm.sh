#!/usr/bin/env bash
# Slurm: what run.sh --batch submits for training and extraction: torchrun on --nodes nodes with --ngpu GPUs each.
# Number of nodes, GPUs, name and log are given to sbatch by steps/launch.py; words such as @procs@ are filled in there.
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
##SBATCH --account=ACCOUNT --partition=PARTITION
set -uo pipefail
cd @folder@ || exit
. ./path.sh || exit

# 120 s before the time limit: training saves and ends, and the job goes back into the queue. When it is preempted or
# cancelled, Slurm itself sends SIGTERM to training, which saves, and puts back what it has preempted.
requeue=false
rm -f @status@
trap 'requeue=true; scancel --signal=TERM "$SLURM_JOB_ID.0"' USR1
trap : TERM

# In a container: srun --container-image=IMAGE --container-mounts="$PWD" (pyxis), or srun apptainer exec --nv IMAGE
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 # else a node that comes back waits for what is not said again
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=@procs@ \
  --max-restarts=@max_restarts@ --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}" \
  --rdzv-endpoint="$head:$((20000 + SLURM_JOB_ID % 20000))" @command@ &
step=$!
while :; do
  wait "$step"
  status=$?
  kill -0 "$step" 2> /dev/null || break # a signal has ended the wait, not the step
done
if [ "$requeue" = true ] && ((status != 0)); then
  scontrol requeue "$SLURM_JOB_ID"
  exit
fi
echo "$status" > @status@
exit "$status"
