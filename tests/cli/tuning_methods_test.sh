#!/usr/bin/env bash
# Every way to tune, from pictures over its file to a picture and a fused model; and what none of
# them, or no fusion, can do.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

mkdir -p input/data/images
accepts "something to tune on" sample --base "$tiny_base" --prompt "a ball" --height 64 --width 64 \
  --steps 1 --count 2 --out input/painted/
cp input/painted/*.png input/data/images
echo '{"words": ["<ball1>", "<ball2>"], "class_word": "ball"}' >input/data/concept.json

tune=(tune --base "$tiny_base" --data input/data --size 64 --batch 1 --variants 1 --steps 2
  --preview-pictures 0 --dtype float32)
# Where class pictures are used, two of one step are enough.
prior=(--prior 2 --prior-steps 1)
# With thresholds of real runs nothing is a neuron after two steps.
neurons=(--neuron-threshold 1e-9)

# tunes METHOD PHRASE OPTION...: to output/METHOD.safetensors, which answers to PHRASE.
tunes() {
  local method=$1 phrase=$2 word
  shift 2
  accepts "$method is tuned" "${tune[@]}" --method "$method" "$@" --out "output/$method.safetensors"
  accepts "$method is inspected" inspect "output/$method.safetensors"
  for word in $phrase; do holds "and says how it is called" grep -qF -- "$word" <<<"$out"; done
  accepts "$method is painted" sample --base "$tiny_base" --concept "output/$method.safetensors" \
    --prompt "a photo of a $phrase" --height 64 --width 64 --steps 2 --out "output/$method.png"
  accepts "without it" sample --base "$tiny_base" --prompt "a photo of a ${phrase//<*>/ball}" \
    --height 64 --width 64 --steps 2 --out "output/$method-without.png"
  holds "it changes the picture" test "$(pixels "output/$method.png")" != \
    "$(pixels "output/$method-without.png")"
  accepts "$method is fused" fuse --base "$tiny_base" --method weight \
    --out "output/$method-fused" "output/$method.safetensors"
  accepts "and painted from the fused model" sample --base "output/$method-fused" \
    --prompt "a photo of a $phrase" --height 64 --width 64 --steps 2 --out "output/$method-fused.png"
}

# pixels PICTURE: a hash of its image data, without the texts before them.
pixels() {
  tail -c "+$(grep -abo IDAT "$1" | head -n 1 | cut -d: -f1)" "$1" | cksum
}

tunes ed_lora "<ball1> <ball2>"
tunes ed_lora_paper "<ball1> <ball2>"
tunes lora "<ball1>"
tunes p_plus "<ball1>"
tunes textual_inversion "<ball1>"
tunes orthogonal_adaptation "<ball1> <ball2>"
tunes custom_diffusion "<ball1> ball" "${prior[@]}"
tunes dreambooth "sks ball" "${prior[@]}"
tunes svdiff "sks ball" "${prior[@]}"
tunes cones "sks ball" "${prior[@]}" "${neurons[@]}"

# ---- Class pictures ----

accepts "a prior of no pictures is none" "${tune[@]}" --method dreambooth --prior 0 \
  --out output/plain.safetensors
refuses "fewer class pictures than none" $exit_usage 'prior.*-1' \
  "${tune[@]}" --method dreambooth --prior -1 --out output/no.safetensors
refuses "a negative weight of them" $exit_usage 'prior-weight.*-1' \
  "${tune[@]}" --method dreambooth --prior-weight -1 --out output/no.safetensors
echo '{"words": ["<ball1>", "<ball2>"]}' >input/data/concept.json
refuses "class pictures of no class" $exit_usage 'class' \
  "${tune[@]}" --method custom_diffusion "${prior[@]}" --out output/no.safetensors
echo '{"words": ["<ball1>", "<ball2>"], "class_word": "ball"}' >input/data/concept.json

# ---- Neurons ----

cones=("${tune[@]}" --method cones "${prior[@]}" --out output/few.safetensors)
refuses "a negative threshold of neurons" $exit_usage 'neuron-threshold.*-1' \
  "${cones[@]}" --neuron-threshold -1
run_mos "${cones[@]}" --neuron-threshold 1e5
holds "a concept without a neuron is none" test "$status" -eq $exit_usage
holds "the largest sum and the threshold are named" \
  grep -qE 'no entry .*is a neuron.*[0-9], below --neuron-threshold 1e\+05.*few.safetensors.checkpoint' \
  stderr
holds "no file is written" test ! -e output/few.safetensors
accepts "a lower threshold takes what is kept" "${cones[@]}" "${neurons[@]}"
holds "without tuning again" grep -q 'going on from step 2' stderr
holds "and gives what it gives at once" cmp output/few.safetensors output/cones.safetensors

# ---- Forms that some methods of fusion and files cannot take ----

for method in dreambooth svdiff cones custom_diffusion; do
  for merge in concat ssr; do
    refuses "$merge does not take $method" $exit_usage \
      "method $merge merges LoRA pairs alone.*$method" \
      fuse --base "$tiny_base" --method $merge --out output/no "output/$method.safetensors"
  done
done
for method in dreambooth custom_diffusion; do
  accepts "the constrained merge takes $method" fuse --base "$tiny_base" --method custom_diffusion \
    --out "output/$method-constrained" "output/$method.safetensors"
done
accepts "neurons of two concepts are silent together" fuse --base "$tiny_base" --method ties \
  --density 1 --out output/silent output/cones.safetensors
refuses "shifts of singular values without their base, as pairs" $exit_mismatch 'base' \
  convert output/svdiff.safetensors --to kohya --only lora --out output/no.safetensors
refuses "a word that starts from no token" $exit_usage 'qqxx.*token' \
  "${tune[@]}" --method custom_diffusion --prior 0 --rare-word qqxx --out output/no.safetensors

# ---- Concepts that act in their regions alone ----

regions=(--height 64 --width 64 --steps 2 --prompt "grass"
  --regions "[a <ball1> <ball2>]-*-[]-*-[0,0,64,32]|[a sks ball]-*-[]-*-[0,32,64,64]")
concepts=(--concept "output/ed_lora_paper.safetensors,output/dreambooth.safetensors")
for compose in merged text layers own; do
  accepts "composing: $compose" sample --base "$tiny_base" "${concepts[@]}" "${regions[@]}" \
    --compose $compose --out output/$compose.png
  cp output/$compose.png again.png
  accepts "painted again from its record: $compose" sample --rerun output/$compose.png
  holds "it is the same picture: $compose" cmp output/$compose.png again.png
done
holds "own is not merged" test "$(pixels output/own.png)" != "$(pixels output/merged.png)"
accepts "concepts in turn" sample --base "$tiny_base" "${concepts[@]}" --height 64 --width 64 \
  --steps 4 --prompt "<ball1> <ball2> and a sks ball" --compose switch --switch-every 2 \
  --out output/switch.png
cp output/switch.png again.png
accepts "painted again" sample --rerun output/switch.png
holds "they are the same picture" cmp output/switch.png again.png
refuses "turns of regions" $exit_usage 'switch.*without regions.*own' sample --base "$tiny_base" \
  "${concepts[@]}" "${regions[@]}" --compose switch --out output/no.png
refuses "turns that nobody takes" $exit_usage '--switch-every is 3.*compose is merged' sample \
  --base "$tiny_base" --prompt "a ball" --switch-every 3 --out output/no.png
refuses "a way to compose that there is not" $exit_usage 'compose.*owm.*own' \
  sample --base "$tiny_base" "${concepts[@]}" "${regions[@]}" --compose owm --out output/no.png

# ---- What depends on the base model's weights becomes a plain LoRA on it ----

for method in svdiff cones; do
  file=output/$method.safetensors
  refuses "$method without the base model" $exit_mismatch 'name that with --base' \
    convert "$file" --only lora --to kohya --out output/plain-no.safetensors
  accepts "$method with it" convert "$file" --base "$tiny_base" --rank 16 --only lora --to peft \
    --out "output/$method-plain.safetensors"
  holds "and what that costs is said" grep -q 'of rank 16 at most' <<<"$out"
done
finish
