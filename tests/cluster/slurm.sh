#!/usr/bin/env bash
# A private Slurm of one pretended node, for tests: slurmctld, slurmd and munged (Debian: slurm-wlm, munge; as root).
#
#   . tests/cluster/slurm.sh start FOLDER [CPUS]     # sets SLURM_CONF
#   . tests/cluster/slurm.sh stop FOLDER
slurm_start() { # FOLDER CPUS
  local folder=$1 host
  host=$(hostname -s)
  mkdir -p "$folder"/{state,spool,munge}
  dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
  chmod 700 "$folder/munge" && chmod 600 "$folder/munge/key"
  munged --key-file="$folder/munge/key" --socket="$folder/munge.socket" --pid-file="$folder/munge/pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" --num-threads=2 --force > "$folder/munge/out" 2>&1
  cat > "$folder/slurm.conf" << END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CryptoType=crypto/munge
SlurmctldPort=${slurm_port:-6817}
SlurmdPort=$((${slurm_port:-6817} + 1))
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MinJobAge=300
KillWait=5
SchedulerParameters=sched_interval=1,bf_interval=1,requeue_delay=1
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=${2:-8} RealMemory=16000 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
  export SLURM_CONF=$folder/slurm.conf
  slurmctld -f "$SLURM_CONF" -c
  slurmd -f "$SLURM_CONF" -N "$host"
  for _ in $(seq 100); do
    [ "$(sinfo -h -o %t 2> /dev/null)" != idle ] || return 0
    sleep 0.2
  done
  echo "slurm.sh: the node does not become idle; see $folder/slurmctld.log" >&2
  return 1
}

slurm_stop() { # FOLDER
  export SLURM_CONF=$1/slurm.conf
  scancel -u "$(id -un)" 2> /dev/null
  scontrol shutdown 2> /dev/null
  sleep 1
  kill "$(cat "$1/munge/pid")"
}

"slurm_$1" "${@:2}"
