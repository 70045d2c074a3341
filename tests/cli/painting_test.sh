#!/usr/bin/env bash
# mos sample: samplers, pictures to begin with, regions of any shape, records of other programs.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

sample=(sample --base "$tiny_base" --height 64 --width 64 --steps 4 --dtype float32)
bear=("${sample[@]}" --prompt "a bear" --out output/a.png)

accepts "the list of schedulers" sample --list-schedulers
for name in "DPM++ 2S a" dpmpp_3m_sde UniPCMultistepScheduler karras; do
  holds "has $name" grep -qF -- "$name" <<<"$out"
done
for name in euler_a "DPM++ 2M SDE" heun dpm_2 UniPCMultistepScheduler lcm tcd; do
  accepts "--scheduler $name" "${bear[@]}" --scheduler "$name"
done
accepts "sigmas, rescaled guidance between two levels, clip skip and a GPU's noise" "${bear[@]}" \
  --scheduler "dpm++ 2m" --sigmas karras --guidance-rescale 0.5 --guidance-start 8 \
  --guidance-end 0.5 --clip-skip 2 --noise a1111
refuses "zero terminal SNR for a model that predicts noise" $exit_usage 'predicts noise' \
  "${bear[@]}" --zero-snr
accepts "and takes it for v-prediction" "${bear[@]}" --zero-snr --prediction-type v_prediction
refuses "sigmas of a scheduler that has none" $exit_usage 'ddim.*timesteps' "${bear[@]}" \
  --scheduler ddim --sigmas karras
refuses "sigmas that nobody has" $exit_usage 'karas.*karras' "${bear[@]}" --sigmas karas
refuses "fresh noise of a scheduler without any" $exit_usage 'heun adds no noise' "${bear[@]}" \
  --scheduler heun --ancestral-eta 0.5
refuses "an SDE for a network of few steps" $exit_usage 'adds noise' "${bear[@]}" --fast lcm \
  --scheduler dpm++2m_sde
refuses "a kind of few steps that nobody knows" $exit_usage 'lcm' "${bear[@]}" --fast lmc
refuses "more steps than a distillation has" $exit_usage '50' "${sample[@]:0:7}" --steps 60 \
  --prompt "a bear" --out output/a.png --scheduler lcm
refuses "guidance that ends before it begins" $exit_usage 'larger' "${bear[@]}" \
  --guidance-start 1 --guidance-end 2
refuses "a noise that is none" $exit_usage 'a1111' "${bear[@]}" --noise gpu
refuses "a layer that is not there" $exit_usage 'clip_skip' "${bear[@]}" --clip-skip 99

accepts "a picture" "${sample[@]}" --prompt "a bear" --out input/bear.png
accepts "a picture from it" "${bear[@]}" --init input/bear.png --strength 0.5
accepts "and it says so" sample --rerun output/a.png --out output/again.png
holds "with the same bytes" cmp -s output/a.png output/again.png
cp input/bear.png input/mask.png
accepts "a mask" "${bear[@]}" --init input/bear.png --mask input/mask.png --mask-feather 4
accepts "growing" sample --base "$tiny_base" --steps 4 --prompt "a bear" --out output/a.png \
  --init input/bear.png --grow 16,0,16,8
accepts "a second pass" "${bear[@]}" --hires 1.5 --hires-strength 0.5
refuses "a mask without a picture" $exit_usage '--init' "${bear[@]}" --mask input/mask.png
refuses "a mask and growing" $exit_usage 'give one' "${bear[@]}" --init input/bear.png \
  --mask input/mask.png --grow 8,0,0,0
refuses "a strength of nothing" $exit_usage 'strength' "${bear[@]}" --init input/bear.png --strength 0
refuses "a strength that takes no step" $exit_usage 'none of 4 steps' "${bear[@]}" \
  --init input/bear.png --strength 0.1
refuses "a picture that is not there" $exit_format 'absent' "${bear[@]}" --init input/absent.png
refuses "a picture of another aspect" $exit_usage 'aspect' "${sample[@]:0:3}" --height 64 \
  --width 128 --steps 1 --prompt "a bear" --out output/a.png --init input/bear.png
refuses "a tile larger than the canvas" $exit_usage 'larger than the canvas' "${bear[@]}" \
  --vae-tile 512
refuses "a second pass with a mask" $exit_usage '--hires' "${bear[@]}" --init input/bear.png \
  --mask input/mask.png --hires 2

cat >input/scene.json <<'JSON'
{"prompt": "sea", "root_prompt": "a photo", "overlap": "front", "base_ratio": 0.1, "isolate": true,
 "height": 64, "width": 64, "regions": [
  {"prompt": "a bear", "name": "bear", "polygon": [[0, 0], [0, 40], [64, 20]], "feather": 4},
  {"prompt": "a cat", "box": [0, 0.5, 1, 1], "end": 0.5},
  {"prompt": "sand", "background": true}]}
JSON
shapes=(sample --base "$tiny_base" --steps 4 --dtype float32)
accepts "regions of any shape" "${shapes[@]}" --scene input/scene.json --out output/shapes.png
accepts "which a record holds" sample --rerun output/shapes.png --out output/again.png
holds "to the byte" cmp -s output/shapes.png output/again.png
cp output/shapes.png input/shapes.png
accepts "one of them again" sample --from input/shapes.png --redo-region bear --seed 9 --strength 1 \
  --out output/redone.png
refuses "one that is not there" $exit_usage 'bear, 2, 3' sample --from input/shapes.png \
  --redo-region cow --out output/redone.png
accepts "another seed of a picture" sample --from input/shapes.png --seed 4 --out output/four.png
refuses "options of a picture without any" $exit_format 'does not say' sample \
  --from "$project/docs/world.png" --out output/b.png
holds "pictures have A1111's text" grep -qa "Steps: 4, Sampler: DPM++ 2M" output/shapes.png

accepts "a preview" "${bear[@]}" --preview 1
holds "is gone at the end" test ! -e output/a.preview.png
finish
