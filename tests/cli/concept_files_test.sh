#!/usr/bin/env bash
# LoRA and embedding files of other programs: read, used, converted, and refused with their reasons.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

official=$golden/fusion/edlora_0.pth
layer=down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q

# ---- Conversion ----

accepts "the authors' file becomes a kohya LoRA" convert "$official" --only lora --to kohya \
  --out output/kohya.safetensors
round_trips output/kohya.safetensors
accepts "the authors' format is written" convert "$official" --to official --out output/one.pth
accepts "and written again" convert output/one.pth --to official --out output/two.pth
holds "with the same bytes as before" cmp output/one.pth output/two.pth
accepts "half precision is asked for" convert output/kohya.safetensors --to kohya --dtype float16 \
  --out output/half.safetensors

word=$("$mos" inspect "$official" | sed -n '/^words:/{n;s/^ *\(<[^>]*>\).*/\1/p}')
refuses "layer-wise rows do not fit in an A1111 embedding" $exit_mismatch \
  '16 layers.*--mean-rows' convert "$official" --only words --word "$word=toy" --to a1111 \
  --out output/toy.pt
accepts "their mean does" convert "$official" --only words --word "$word=toy" --to a1111 \
  --mean-rows --base "$tiny_base" --out output/toy.pt
holds "and what that changes is measured" grep -qE 'text features by [0-9.]+ %.*by [0-9.]+ %' \
  <<<"$out"
accepts "XTI has room for layers" convert "$official" --only words --word "$word=toy" --to xti \
  --out output/toy.safetensors
cp output/toy.safetensors 'input/a=b.safetensors' # which is what its word is called
accepts "a word with an equals sign is chosen" convert 'input/a=b.safetensors' --word 'a=b' \
  --to xti --out output/equals.safetensors
accepts "and named anew" convert 'input/a=b.safetensors' --word 'a=b=ab' --to xti \
  --out output/anew.safetensors
refuses "an embedding with LoRA" $exit_usage 'no LoRA.*--only words' \
  convert "$official" --to a1111 --out output/no.pt
refuses "a word of a LoRA without words" $exit_usage 'no word foo in .*which has no words' \
  convert output/kohya.safetensors --word foo --out output/no.safetensors
refuses "an embedding of a LoRA without words" $exit_usage 'there is no word to write' \
  convert output/kohya.safetensors --to a1111 --out output/no.pt
refuses "its words alone" $exit_usage 'has no words to write' \
  convert output/kohya.safetensors --only words --out output/no.safetensors
refuses "the LoRA of an embedding" $exit_usage 'has no LoRA to write' \
  convert output/toy.pt --only lora --out output/no.safetensors
refuses "one word of what leaves all words out" $exit_usage '--word chooses.*--only lora' \
  convert "$official" --only lora --word "$word" --out output/no.safetensors
refuses "a name that tells no format" $exit_usage 'does not tell the format.*kohya' \
  convert "$official" --out output/no.bin
refuses "a name that tells no format, of a fused LoRA" $exit_usage 'does not tell the format' \
  fuse --base "$tiny_base" --lora output/no "$official"
refuses "a format that nobody knows" $exit_usage 'kohia.*kohya' \
  convert "$official" --to kohia --out output/no.safetensors

# ---- Use ----

accepts "a plain LoRA is painted with" sample --base "$tiny_base" --concept output/half.safetensors \
  --prompt 'a red cat' --steps 1 --height 64 --width 64 --dtype float32 --out output/plain.png
holds "and its keys are counted" grep -qE 'half.safetensors: [0-9]+ keys matched, 0 missing, 0 unex' \
  <<<"$err"
accepts "an embedding is painted with" sample --base "$tiny_base" --concept output/toy.pt \
  --prompt 'a toy cat' --steps 1 --height 64 --width 64 --dtype float32 --out output/toy.png
refuses "a prompt without the embedding's word" $exit_usage 'toy' sample --base "$tiny_base" \
  --concept output/toy.pt --prompt 'a cat' --out output/no.png
refuses "fusing a LoRA without words" $exit_usage 'trigger words' fuse --base "$tiny_base" \
  --lora output/no.safetensors output/kohya.safetensors
accepts "with trigger words it is fused" fuse --base "$tiny_base" --steps 2 --size 64 \
  --lora output/fused.safetensors --lora-format kohya --report output/report.json --list-keys \
  'output/kohya.safetensors=red cat' 'output/half.safetensors=blue dog'
holds "every key is listed when asked for" grep -q "matched     lora_unet_$layer.alpha" <<<"$err"
refuses "layer-wise words in a kohya file, before any work" $exit_mismatch '16 layers' fuse \
  --base "$tiny_base" --lora output/no.safetensors --lora-format kohya "$official"

# ---- Inspection ----

accepts "a LoRA is inspected" inspect output/half.safetensors
holds "its dialect is named" grep -q 'kohya LoRA' <<<"$out"
accepts "an embedding is inspected" inspect output/toy.safetensors
holds "its layers are counted" grep -q 'rows for 16 layers' <<<"$out"
holds "and the rows that the token embedding gets" grep -q 'rows of the token embedding: 16' <<<"$out"

# says WORDS...: the last output has a line with each of them.
# shellcheck disable=SC2317  # holds calls it
says() {
  local text
  for text in "$@"; do grep -qF -- "$text" <<<"$out" || return 1; done
}
accepts "what a concept loads onto" inspect "$official"
holds "is its text width and how many layers of which network" says \
  'cross-attention width: 32' 'text encoder layers: 16' 'U-Net layers: 128' \
  'rows of the token embedding: 32'
accepts "a concept that fits a base model" inspect "$official" --base "$tiny_base"
holds "is said to, with its keys" says "on $tiny_base:" 'fits: true' \
  '290 keys matched, 0 missing, 0 unexpected'
accepts "a base model is inspected" inspect "$tiny_base"
holds "what can be used with it is named" says 'for text of width 32' 'T2I-Adapters: of '
refuses "a base model that goes onto no base model" $exit_usage 'goes onto no base model' \
  inspect "$tiny_base" --base "$tiny_base"
refuses "a base model for inspection that is not there" $exit_format 'input/absent' \
  inspect "$official" --base input/absent

# ---- Refusal ----

position=0
entry() {
  printf '"%s":{"dtype":"F32","shape":%s,"data_offsets":[%d,%d]}' "$1" "$2" $position \
    $((position + $3))
}
# file_of KEY SHAPE BYTES...: input/file.safetensors with these tensors of zeros.
file_of() {
  local header=''
  position=0
  while [ $# -gt 0 ]; do
    header+=${header:+,}$(entry "$1" "$2" "$3")
    position=$((position + $3))
    shift 3
  done
  safetensors "{$header}" $position >input/file.safetensors
}
refuses_file() {
  refuses "$1" $exit_mismatch "$2" sample --base "$tiny_base" --concept input/file.safetensors \
    --prompt 'a cat' --out output/no.png
}
down="lora_unet_$layer.lora_down.weight" up="lora_unet_$layer.lora_up.weight"
file_of "$down" '[1,16]' 64
refuses_file "down without up" "up factor of unet/down_blocks.0.*$down"
file_of "$down" '[1,16]' 64 "$up" '[16,1]' 64 "lora_unet_$layer.alpha" '[2]' 8
refuses_file "an alpha that is no scalar" 'alpha must be one finite number'
file_of "$down" '[1,16]' 64 "$up" '[16,2]' 128
refuses_file "factors that do not multiply" 'do not multiply'
file_of "$down" '[1,24]' 96 "$up" '[24,1]' 96
refuses_file "a LoRA for another family" "down_blocks.0.*layer is"
refuses "inspection says that it does not fit" $exit_mismatch '1 of 2 files do not fit.*file.safe' \
  inspect input/file.safetensors output/half.safetensors --base "$tiny_base"
holds "and which shapes are wrong" says 'fits: false' \
  '0 keys matched, 0 missing, 0 unexpected, 2 of a wrong shape' 'layer is [16, 16]' 'fits: true'
file_of lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight \
  '[1,768]' 3072 \
  lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight '[320,1]' 1280
accepts "a LoRA of Stable Diffusion 1.x is inspected" inspect input/file.safetensors
holds "its family is named" says 'family: Stable Diffusion 1.x' 'cross-attention width: 768' \
  'U-Net layers: 1'
for unknown in oft_blocks:OFT on_input:IA a1.weight:GLoRA; do
  file_of "$down" '[1,16]' 64 "$up" '[16,1]' 64 "lora_unet_$layer.${unknown%%:*}" '[1]' 4
  refuses_file "${unknown##*:} by its name" "${unknown##*:}"
  accepts "inspecting ${unknown##*:}" inspect input/file.safetensors
done
file_of lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha '[]' 4
refuses_file "a LoRA for Stable Diffusion XL" 'Stable Diffusion XL'
file_of "$down" '[1,16]' 64 "$up" '[16,1]' 64 apples '[1]' 4
refuses_file "a key that means nothing" 'apples.*--allow-unexpected'
accepts "a key that means nothing, left out" sample --base "$tiny_base" --allow-unexpected \
  --concept input/file.safetensors --prompt 'a cat' --steps 1 --height 64 --width 64 \
  --dtype float32 --out output/left.png
holds "it is counted" grep -q '2 keys matched, 0 missing, 1 unexpected' <<<"$err"
file_of lora_unet_mid_block_attentions_9_proj_in.lora_down.weight '[1,16]' 64 \
  lora_unet_mid_block_attentions_9_proj_in.lora_up.weight '[16,1]' 64
refuses_file "a layer that the base lacks" 'mid_block.attentions.9.proj_in'
refuses "inspection says so too" $exit_mismatch 'do not fit' inspect input/file.safetensors \
  --base "$tiny_base"
holds "with its keys" says '0 keys matched, 0 missing, 2 unexpected' 'proj_in.lora_up.weight (unexpected: the base'
many=("$down" '[1,16]' 64 "$up" '[16,1]' 64)
for number in $(seq 150); do many+=("apple_$number" '[1]' 4); done
file_of "${many[@]}"
accepts "a file of many keys that mean nothing is inspected" inspect input/file.safetensors
holds "a hundred of them are named" test "$(grep -c 'apple_' <<<"$out")" -eq 100
holds "and the others counted" grep -qE '^  and 50 more$' <<<"$out"
refuses "nor does it fit" $exit_mismatch 'do not fit' inspect input/file.safetensors \
  --base "$tiny_base"
holds "and what does not is as short, twice" test "$(grep -c 'apple_' <<<"$out")" -eq 200
accepts "as JSON" inspect input/file.safetensors --json
holds "it has all of them" test "$(grep -c 'apple_' <<<"$out")" -eq 150
head -c 5000 output/kohya.safetensors >input/file.safetensors
refuses "a LoRA cut off" $exit_format 'file.safetensors' inspect input/file.safetensors
hada=lora_unet_$layer.hada_w
file_of "${hada}1_a" '[16,1]' 64 "${hada}1_b" '[1,16]' 64 "${hada}2_a" '[16,1]' 64 \
  "${hada}2_b" '[1,16]' 64
accepts "a product of products becomes a pair" convert input/file.safetensors --to official \
  --out output/pair.pth
holds "at a cost" grep -q 'became a pair' <<<"$out"
refuses "the wrong ending of a pair" $exit_usage 'end in .pth' convert input/file.safetensors \
  --to official --out output/no.safetensors
holds "is said before the work" test -z "$out"

# ---- Several files at once ----

printf 'no tensors' >input/bad.png
refuses "one file among others that cannot be read" $exit_format '^mos: cannot read input/bad.png' \
  inspect input/bad.png output/half.safetensors
holds "keeps none from being said" says 'file: output/half.safetensors'
refuses "two of them" $exit_format '2 of 3 files cannot be inspected: .*bad.png, .*absent.pth' \
  inspect input/bad.png output/half.safetensors input/absent.pth
holds "are said each, with what lies between" says 'file: output/half.safetensors'
holds "with their reasons" test "$(grep -cE '^warning: cannot read input/(bad|absent)' <<<"$err")" -eq 2
refuses "as JSON" $exit_format 'bad.png' inspect input/bad.png output/half.safetensors --json
holds "each has its object" test "$(grep -cE '^  "(file|error)":' <<<"$out")" -eq 3
finish
