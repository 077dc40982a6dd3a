# shellcheck shell=bash disable=SC2154,SC2034
# Stage 4, train: a network from conf/network/ and an objective from conf/objective/, on a CPU, a GPU or several.
# Reads the egs; makes exp/NAME/model/{config.yaml,spk2int,checkpoints/,final.pt,log.jsonl,epochs.jsonl}. Killed, it
# goes on exactly where it was. With --model DIR nothing is trained: that model is evaluated.

option network conf/network/ecapa128.yaml "file: YAML of the network"
option objective conf/objective/aam.yaml "file: YAML of the objective"
option train-conf conf/train/cpu.yaml "file: YAML with the options of training"
option seed "" "number: of initialisation, order and augmentation in training and fine-tuning (default: as their options say)"
option batch "" "file: batch script that training and extraction are submitted as, such as conf/cluster/batch/slurm.sh (default: they run here)"
option nodes 1 "number: nodes that --batch asks for, with --ngpu GPUs each"
option max-restarts "" "number: how often training or extraction on several GPUs begins again, with what is done, when a process fails (default: 1; 3 in a job of --batch)"
option stage-egs-to "" "path: folder on a disk of the node itself, to which the egs are copied before training"
option teacher "" "directory: of a trained model that training and fine-tuning learn from, where the options of training have a teacher (conf/train/teacher.yaml)"
option train-pairs false "true/false: where the objective compares pairs, train on those that the corpus lists (train/pairs.csv) alone"
option model "" "directory: of a trained model, exp/OTHER/model or what steps/import_model.py wrote, to evaluate instead of training one"

gpus_to_use() { # as many of those there are as the batch of --train-conf can be shared evenly by
  local number batch parts conf
  number=$(visible_gpus)
  for conf in "$train_conf" ${fine_tune_conf:+"$fine_tune_conf"}; do
    batch=$(sed -n 's/^ *batch_size: *\([0-9]*\).*/\1/p' "$conf")
    parts=$(sed -n 's/^ *accumulation: *\([0-9]*\).*/\1/p' "$conf")
    while ((number > 1 && ${batch:-64} % (number * ${parts:-1}))); do number=$((number - 1)); done
  done
  echo "$number"
}

find_training_sources() { # sets online and online_inputs, the options and inputs of --train-augment, --teacher, --train-pairs and --seed, and ranks
  online=() online_inputs=() ranks="ngpu $ngpu"
  if [ -n "$train_augment" ]; then
    find_sources
    online=(--augment-conf "$train_augment" "${source_options[@]}")
    online_inputs=("$train_augment" "${source_inputs[@]}")
  fi
  if [ -n "$teacher" ]; then
    online+=(--train.teacher.model "$teacher") online_inputs+=("$teacher/final.pt")
  fi
  [ -z "$seed" ] || online+=(--train.seed "$seed")
  if [ "$train_pairs" = true ]; then
    online+=(--train.pair_table "$data/train/pairs.csv") online_inputs+=("$data/train/pairs.csv")
  fi
  [ "$nodes" = 1 ] || ranks="nodes $nodes $ranks"
  [ -z "${online[*]}" ] || ranks+=" ${online[*]}"
}

stage_train() {
  [ "$has_train" = true ] && [ -n "$trained" ] || return 0
  find_training_sources
  if unit train "$trained" in "$egs/manifest.json" "$network" "$objective" "$train_conf" "${online_inputs[@]}" \
    out "$trained/final.pt" with "$ranks"; then
    [ "$force" = false ] || rm -rf "$trained"
    python -m timbre.utils.environment "$exp/environment.json"
    launch steps/train.py "$egs" "$trained" --network "$network" --objective "$objective" --train "$train_conf" \
      --train.device "$device" "${online[@]}" ${stage_egs_to:+--stage-egs-to "$stage_egs_to"}
    steps/plot_training.py "$trained"
  fi
}
