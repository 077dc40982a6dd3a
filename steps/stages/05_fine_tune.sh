# shellcheck shell=bash disable=SC2154,SC2034
# Stage 5, fine-tune (with --fine-tune-conf): a model is trained further, the one of stage 4 or that of --init-model.
# Reads the model and the features; makes exp/NAME/fine_tuned/, a model that stages 6 to 9 use, and, where conf/fine_tune/
# asks for other training examples than stage 3's, exp/NAME/fine_tune/{train,egs}. Killed, it goes on exactly where it was.
# Class weights go by the names of speakers; held out are speakers that the model does not know.

option fine-tune-conf "" "file: YAML of how a model is trained further, such as conf/fine_tune/large_margin.yaml (default: it is not)"
option init-model "" "directory: of a trained model, exp/OTHER/model, to begin with; stages 3 and 4 are left out (default: stage 4's)"
option mix-dir "" "directory: data dir with features of the speech that init-model was trained on, such as data/OTHER/fbank80/train, to mix in"

stage_fine_tune() {
  [ -n "$tuned_from" ] || return 0
  local options=(--init-model "$tuned_from" --init-parts "$tuning_parts" --init-classes "$tuning_classes")
  local tables=("$feats/train/feats.scp") vad=()
  [ "$given" = true ] || tables+=("$feats/train/vad.scp")
  if [ "$tuning_data" != "$feats/train" ] && unit tuning-data "$exp/fine_tune" in "${tables[@]}" "$feats/train/utt2spk" \
    "$tuned_from/spk2int" ${mix_dir:+"$mix_dir/feats.scp"} out "$tuning_data/feats.scp" \
    with "altered $tuning_altered" "share $tuning_share"; then
    steps/mix_data_dir.py "$feats/train" "$tuning_data" --altered-speakers "$tuning_altered" \
      ${mix_dir:+--mix-dir "$mix_dir" --share "$tuning_share" --model-dir "$tuned_from"}
  fi
  [ "$given" = true ] || vad=("$tuning_data/vad.scp")
  if [ "$tuning_egs" != "$egs" ] && unit tuning-egs "$exp/fine_tune" in "$tuning_data/feats.scp" "${vad[@]}" \
    "$tuned_from/spk2int" ${normalize:+"$normalize"} out "$tuning_egs/manifest.json" \
    with "egs $(said_options "$tuning_egs_options")" ${egs_compression:+"compression $egs_compression"}; then
    steps/get_egs.py "$tuning_data" "$tuning_egs" --egs "$tuning_egs_options" ${normalize:+--normalize "$normalize"} \
      ${egs_compression:+--egs.compression "$egs_compression"} --unknown-to "$tuned_from" --held-from "$feats/train" \
      --nj "$nj"
  fi
  [ -z "$tuning_freeze" ] || options+=(--freeze "$tuning_freeze")
  [ -z "$tuning_lr_scale" ] || options+=(--lr-scale "$tuning_lr_scale")
  [ -z "$tuning_objective" ] || options+=(--objective "$tuning_objective")
  [ "$tuning_objective_args" = "{}" ] || options+=(--objective-args "$tuning_objective_args")
  find_training_sources
  if unit fine-tune "$model" in "$tuning_egs/manifest.json" "$tuned_from/final.pt" "$fine_tune_conf" \
    ${tuning_objective:+"$tuning_objective"} "${online_inputs[@]}" out "$model/final.pt" with "$ranks"; then
    [ "$force" = false ] || rm -rf "$model"
    python -m timbre.utils.environment "$exp/environment.json"
    launch steps/train.py "$tuning_egs" "$model" "${options[@]}" --train "$tuning_train" --train.device "$device" \
      "${online[@]}" ${stage_egs_to:+--stage-egs-to "$stage_egs_to"}
    steps/plot_training.py "$model"
  fi
}

said_options() { # FILE|TEXT: options of egs as they stand, wherever they are written
  if [ -f "$1" ]; then cat "$1"; else echo "$1"; fi
}
