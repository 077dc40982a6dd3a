# shellcheck shell=bash disable=SC2154,SC2034
# Stage 12, export (with --export): a pack that runs without torch and this repository, for `timbre.load` and `timbre`.
# Reads exp/NAME/decision/ and, for the card, exp/NAME/{results.json,analysis/}; makes exp/NAME/NAME.timbre: graphs for
# onnxruntime, tables of the decision, a card. Ranges of int8 are found, and what smaller variants lose is measured, on
# the recordings of the calibration's trials: of int8 too little is told by it (export_pack.py --fit-on parts the two).

option export false "true/false: at the end export the decision pack as exp/NAME/NAME.timbre"
option export-variants fp32 "fp32, and with commas beside it int8 (computed in 8 bits, faster), int8_weights, fp16 (stored smaller)"
option licence "" "licence of the weights, for the card"

stage_export() {
  [ "$export" = true ] || return 0
  local pack=$exp/${exp##*/}.timbre measured=()
  [ "$export_variants" = fp32 ] || measured=(--measure-on "$calibration")
  if unit export "$exp" in "$exp/decision/pack.yaml" "$exp/decision/model/final.pt" "$exp/results.json" out "$pack" \
    with "variants $export_variants, licence $licence"; then
    steps/export_pack.py "$exp/decision" "$pack" --variants "[$export_variants]" --run "$exp" \
      ${licence:+--licence "$licence"} "${measured[@]}"
  fi
}
