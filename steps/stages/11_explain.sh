# shellcheck shell=bash disable=SC2154,SC2034
# Stage 11, explain (with --explain): where the scores of the worst false alarm and the worst miss of each list come from.
# Reads the model, the back-end, the features and exp/NAME/analysis/; makes exp/NAME/explain/<list>/{false_alarm,miss}.png
# with their maps (.npz), and exp/NAME/report.html anew, with them.

option explain false "true/false: at the end explain the worst trials of each list, in report.html too"
option explain-method occlusion "gradient, gradcam, gradcam++, layercam, fullgrad, integrated_gradients or occlusion"

stage_explain() {
  [ "$explain$has_trials" = truetrue ] || return 0
  if unit explain "$exp/explain" in "$exp/results.json" "{from}" "$model/final.pt" "{with}" "{data}/feats.scp" \
    out "{output}" "$exp/report.html" with "method $explain_method"; then
    rm -rf "$exp/explain"
    while next_row; do
      steps/explain_worst.py "$model" "$data_dir" "$from" "$output" --method "$explain_method" \
        ${with:+--backend-dir "$with"} ${models:+--enroll-spk2utt "$models"} --device "$device"
    done 9< <(rows explain)
    steps/make_report.py "$exp"
  fi
}
