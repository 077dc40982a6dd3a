# shellcheck shell=bash disable=SC2154,SC2034
# Stage 0, data: local/prepare_<corpus>.py turns corpora on disk into Kaldi data directories.
# Reads the corpus (and first unpacks its archives, with --download-dir); makes data/<corpus>/<set>/{wav.scp,utt2spk,
# spk2utt,trials,...}: a set `train`, and evaluation sets eval*. Corpora of --eval-corpora get folders of their own, of
# which only the evaluation sets are used; unlabelled audio of --adapt-dir becomes a set `adapt` in one of its own.

option corpus synth "corpus to run on: synth (made here), folder, kaldi, voxceleb, ... (local/prepare_*.py)"
option corpus-dir "" "path: where the corpus lies on disk (not for synth)"
option corpus-conf "" "file: YAML with options for local/prepare_CORPUS.py"
option download-dir "" "directory: archives of the corpus, fetched already, that are verified and unpacked into the former"
option eval-corpora "" "corpora: corpora to test on as well, in quotes: 'sitw=DIR cnceleb=DIR'; the training set stays as it is"
option adapt-dir "" "directory: data dir or folder of audio of the domain to recognise in, without labels: back-ends are adapted to it, beside those that are not (never audio that is tested on)"

stage_data() {
  [ -z "$download_dir" ] || [ "$plan" = true ] || mkdir -p "$corpus_dir"
  local name tables partial=()
  [ "$dress_rehearsal" = false ] || partial=(--partial true) # of the published corpus
  for name in $(units 0); do
    next_row 9< <(rows "$name")
    mapfile -t tables < <(tables_of "$output" "$kind")
    if unit "$name" "$output" in "{from}" "{with}" ${download_dir:+"$download_dir"} out "${tables[@]}" with "corpus $kind"; then
      if [ "$name" = data ] && [ -n "$download_dir" ]; then
        local/unpack.py "$download_dir" "$corpus_dir"
        rm -f "$stamp.inputs" # the corpus as it was before
      fi
      case "$kind" in
        synth) local/prepare_synth.py "$output" ${with:+--synth "$with"} --nj "$nj" ;;
        unlabelled) local/prepare_unlabelled.py "$from" "$output" ;;
        *) "local/prepare_$kind.py" "$from" "$output" ${with:+--config "$with"} "${partial[@]}" ;;
      esac
      mapfile -t unit_outputs < <(tables_of "$output")
    fi
  done
  end_unit
  make_plan # now that the sets are known
  save_plan
  say_once
}

tables_of() { # ROOT [KIND]: what tells that its sets are there
  local file found=() set=train
  [ "${2:-}" != unlabelled ] || set=adapt
  for file in "$1"/{train,eval*,adapt}/{wav.scp,feats.scp}; do [ ! -f "$file" ] || found+=("$file"); done
  printf '%s\n' "${found[@]:-$1/$set/wav.scp}"
}
