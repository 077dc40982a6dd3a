# shellcheck shell=bash disable=SC2154,SC2034
# Stage 4, train: a network from conf/network/ and an objective from conf/objective/, on a CPU, a GPU or several.
# Reads the egs; makes exp/NAME/model/{config.yaml,spk2int,checkpoints/,final.pt,log.jsonl}. Killed, it goes on exactly
# where it was. With --model DIR nothing is trained: that model is evaluated.

option network conf/network/ecapa128.yaml "file: YAML of the network"
option objective conf/objective/aam.yaml "file: YAML of the objective"
option train-conf conf/train/cpu.yaml "file: YAML with the options of training"
option batch "" "file: batch script that training and extraction are submitted as, such as conf/cluster/batch/slurm.sh (default: they run here)"
option nodes 1 "number: nodes that --batch asks for, with --ngpu GPUs each"
option max-restarts 3 "number: how often a job of --batch starts its processes again when one fails"
option stage-egs-to "" "path: folder on a disk of the node itself, to which the egs are copied before training"
option model "" "directory: of a trained model, exp/OTHER/model or what steps/import_model.py wrote, to evaluate instead of training one"

gpus_to_use() { # as many of those there are as the batch of --train-conf can be shared evenly by
  local number batch parts
  number=$(visible_gpus)
  batch=$(sed -n 's/^batch_size: *\([0-9]*\).*/\1/p' "$train_conf")
  parts=$(sed -n 's/^accumulation: *\([0-9]*\).*/\1/p' "$train_conf")
  while ((number > 1 && ${batch:-64} % (number * ${parts:-1}))); do number=$((number - 1)); done
  echo "$number"
}

stage_train() {
  [ "$has_train" = true ] && [ "$model" = "$exp/model" ] || return 0
  local inputs=("$egs/manifest.json" "$network" "$objective" "$train_conf") online=() ranks="ngpu $ngpu"
  if [ -n "$train_augment" ]; then
    find_sources
    online=(--augment-conf "$train_augment" "${source_options[@]}")
    inputs+=("$train_augment" "${source_inputs[@]}")
  fi
  [ "$nodes" = 1 ] || ranks="nodes $nodes $ranks"
  if unit train "$model" in "${inputs[@]}" out "$model/final.pt" with "$ranks${online[*]:+ ${online[*]}}"; then
    [ "$force" = false ] || rm -rf "$model"
    python -m timbre.utils.environment "$exp/environment.json"
    launch steps/train.py "$egs" "$model" --network "$network" --objective "$objective" --train "$train_conf" \
      --train.device "$device" "${online[@]}" ${stage_egs_to:+--stage-egs-to "$stage_egs_to"}
    steps/plot_training.py "$model"
  fi
}
