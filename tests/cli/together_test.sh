#!/usr/bin/env bash
# Every control of painting together, in one scene with regions and three concepts on the embedded base.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"
export OMP_NUM_THREADS=1 # so that the bytes are the same

base=$project/base
concepts=
for name in wizard teddy racer; do
  # Hardly learned: what is promised here is that all of it goes together.
  accepts "$name is tuned" tune --base "$base" --data "$base/concepts/$name" --steps 2 --batch 2 \
    --micro-batch 2 --preview-pictures 0 --out "input/$name.safetensors"
  concepts+=input/$name.safetensors,
done
scene=(sample --base "$base" --concept "${concepts%,}" --steps 4 --guidance-scale 4 --seed 5
  --height 128 --width 256)
accepts "a picture to begin with" "${scene[@]:0:3}" "${scene[@]:5}" --prompt "a photo of a meadow" \
  --out input/meadow.png
cp input/meadow.png input/grey.png # as a mask: its greys are weights
cp input/meadow.png input/pose.png
cat >input/scene.json <<'JSON'
{"root_prompt": "a photo of", "prompt": "(a meadow:1.1) {at noon|at night}", "base_ratio": 0.1,
 "root_negative_prompt": "blurry", "negative_prompt": "[snow]", "overlap": "front", "isolate": true,
 "height": 128, "width": 256, "regions": [
  {"name": "wizard", "prompt": "a (<wizard1> <wizard2>:1.2) BREAK in a meadow++", "feather": 4,
   "negative_prompt": "a (dog:0.9)", "box": [0.05, 0, 1, 0.3], "weight": 0.9},
  {"name": "teddy", "prompt": "a <teddy1> <teddy2>", "mask": "input/grey.png", "end": 0.75},
  {"name": "racer", "prompt": "a <racer1> <racer2>", "start": 0.25,
   "drawing": [{"points": [[100, 180], [100, 240]], "width": 40}]},
  {"prompt": "trees", "polygon": [[0, 0], [0, 256], [30, 128]]},
  {"prompt": "grass", "background": true}]}
JSON
scene+=(--scene input/scene.json --adapter "$base/adapters/keypose" --condition input/pose.png
  --adapter-weight 0.7 --adapter-end 0.8 --preview 1 --out output/all.png)

# What cannot be had at once is spread over the lines; everything else is in each of them.
while read -r options; do
  read -ra words <<<"$options"
  accepts "all of it with $options" "${scene[@]}" "${words[@]}"
  holds "no preview is left" test ! -e output/all.preview.png
  accepts "its record paints it again" sample --rerun output/all.png --out output/again.png
  holds "to the byte" cmp output/all.png output/again.png
done <<'OPTIONS'
--scheduler dpm++2m_sde --sigmas karras --ancestral-eta 0.6 --noise a1111 --clip-skip 2 --guidance-rescale 0.5 --guidance-start 12 --guidance-end 0.1 --init input/meadow.png --strength 0.8 --hires 1.5 --hires-strength 0.6 --hires-upscale lanczos --vae-tile 128 --compose own
--scheduler ddim --eta 0.4 --spacing trailing --init input/meadow.png --mask input/grey.png --mask-feather 5 --compose layers
--scheduler euler_a --sigmas exponential --init input/meadow.png --redo-region teddy --strength 1 --compose text
--fast lcm --hires 1.5 --hires-strength 0.6 --vae-tile 128
--fast tcd --init input/meadow.png --strength 0.5 --plain-text
OPTIONS
# The canvas grows to what the scene has.
accepts "a smaller picture" sample --base "$base" --prompt "a photo of a meadow" --steps 2 --height 128 \
  --width 192 --out input/small.png
accepts "all of it beyond a picture" "${scene[@]}" --init input/small.png --grow 32,0,32,0 \
  --mask-feather 8 --scheduler unipc --sigmas beta
accepts "several in a grid" "${scene[@]}" --count 2 --batch 2 --grid output/grid.png --columns 2
accepts "which is measured column by column" evaluate output/grid.png --base "$base" --prompt "a sea" \
  --columns 2
holds "both of them" grep -qE 'pictures +2' <<<"$out"
refuses "columns of one picture" $exit_usage 'one picture, as its record says' \
  evaluate output/all-5.png --base "$base" --prompt "a sea" --columns 2
cp output/all-5.png input/from.png
accepts "one of them, with other options" sample --from input/from.png --seed 9 --scheduler heun \
  --hires 1.25 --hires-strength 0.5 --out output/from.png
finish
