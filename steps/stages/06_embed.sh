# shellcheck shell=bash disable=SC2154,SC2034
# Stage 6, embed: every utterance of every set becomes one vector.
# Reads the model and the features; makes exp/NAME/embeddings/<set>/xvector.{ark,scp}, means and deviations of features
# beside them (statistics.scp, the baseline), and <set>/<protocol>/xvector.scp for each of --protocols.

option protocols "" "how else to test, several in quotes: len2s, tta10x400, tta5x3s+full (default: whole utterances)"

stage_embed() {
  local name devices=()
  ((ngpu < 2)) || devices=(--num-devices "$ngpu")
  find_missing
  for name in $(units 6); do
    if unit "$name" "$embeddings" in "$model/final.pt" "{data}/feats.scp" out "{output}.scp"; then
      while next_row; do
        if [ "$task" = statistics ]; then
          steps/extract_statistics.py "$data_dir" "$output" ${normalize:+--normalize "$normalize"} "${missing[@]}" --nj "$nj"
        else
          steps/extract_embeddings.py "$model" "$data_dir" "$output" --protocol "$kind" --device "$device" \
            "${devices[@]}" "${missing[@]}" --nj "$nj"
        fi
      done 9< <(rows "$name")
    fi
  done
}
