#!/usr/bin/env bash
# Two agents of torchrun in two network namespaces, as two nodes, train on EGS_DIR; one node is killed and comes back. The
# model is, to the bit, that of two processes on one node which nobody disturbed. As root, with iproute2.
#
#   tests/cluster/check_nodes.sh EGS_DIR [OPTIONS OF steps/train.py]      # about two minutes on two cores
set -euo pipefail
egs=$(realpath "$1") && shift
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. ./path.sh
[ $# != 0 ] || set -- --network conf/network/xvector_smoke.yaml --train conf/train/smoke.yaml --train.device cpu \
  --train.checkpoint_interval 20
folder=$(mktemp -d)
export OMP_NUM_THREADS=1
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 # else an agent that comes back waits for what the others do not say again

remove_nodes() {
  local node
  for node in timbre1 timbre2; do
    ip netns pids "$node" 2> /dev/null | xargs -r kill -9 2> /dev/null || true
    ip netns del "$node" 2> /dev/null || true
  done
}
trap remove_nodes EXIT

make_nodes() {
  ip netns add timbre1
  ip netns add timbre2
  ip link add timbre1 netns timbre1 type veth peer name timbre2 netns timbre2
  local number
  for number in 1 2; do
    ip -n "timbre$number" addr add "10.77.0.$number/24" dev "timbre$number"
    ip -n "timbre$number" link set "timbre$number" up
    ip -n "timbre$number" link set lo up
  done
}

start_agent() { # NUMBER OPTIONS OF steps/train.py
  local number=$1
  shift
  GLOO_SOCKET_IFNAME=timbre$number ip netns exec "timbre$number" torchrun --nnodes=2 --nproc-per-node=1 \
    --max-restarts=3 --rdzv-backend=c10d --rdzv-id=timbre --rdzv-endpoint=10.77.0.1:29500 \
    --rdzv-conf="is_host=$((number == 1)),join_timeout=120" --local-addr="10.77.0.$number" \
    steps/train.py "$egs" "$folder/two/model" "$@" >> "$folder/node$number.log" 2>&1 &
}

await() { # TEXT FILE
  local _
  for _ in $(seq 600); do
    ! grep -q -- "$1" "$2" || return 0
    sleep 0.2
  done
  echo "check_nodes.sh: no '$1' in $2" >&2
  return 1
}

torchrun --standalone --nproc-per-node=2 steps/train.py "$egs" "$folder/one/model" "$@" > "$folder/one.log" 2>&1
remove_nodes
make_nodes
start_agent 1 "$@"
first=$!
start_agent 2 "$@"
await "step 60 " "$folder/node1.log"
ip netns pids timbre2 | xargs kill -9
echo "node 2 is killed after: $(grep -o 'step [0-9]* ' "$folder/node1.log" | tail -n 1)"
sleep 3
start_agent 2 "$@"
wait "$first"
wait
grep "steps are done" "$folder/node1.log"
python - "$folder/one/model/final.pt" "$folder/two/model/final.pt" << 'END'
import sys, torch
one, two = (torch.load(path, weights_only=True)["network"] for path in sys.argv[1:])
differ = [name for name in one if not torch.equal(one[name], two[name])]
sys.exit(f"{len(differ)} of {len(one)} tensors differ" if differ else print(f"all {len(one)} tensors are the same"))
END
rm -r "$folder"
