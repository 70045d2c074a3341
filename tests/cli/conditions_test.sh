#!/usr/bin/env bash
# Spatial conditions steer pictures, are recorded in them, and are refused with one line when they
# do not fit.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

# pixels_of PNG: a hash of its data chunks.
pixels_of() {
  local offset
  offset=$(grep -a -b -o IDAT "$1" | head -n 1 | cut -d: -f1)
  tail -c "+$offset" "$1" | sha256sum
}

keypose=$golden/t2iadapter_keypose
controlnet=$golden/controlnet
paint=(sample --base "$tiny_base" --prompt "a dog" --steps 4 --height 64 --width 64
  --dtype float32)
accepts "a picture to use as condition" "${paint[@]}" --seed 7 --out input/pose.png
accepts "a picture without condition" "${paint[@]}" --out output/plain.png

accepts "a T2I-Adapter steers" "${paint[@]}" --adapter "$keypose" --condition input/pose.png \
  --out output/pose.png
holds "the picture is another one" \
  test "$(pixels_of output/plain.png)" != "$(pixels_of output/pose.png)"
accepts "it is made again from itself" sample --rerun output/pose.png --out output/again.png
holds "byte for byte" cmp output/pose.png output/again.png
accepts "a ControlNet steers, too, and several at once" "${paint[@]}" \
  --adapter "$keypose,$controlnet" --condition input/pose.png,input/pose.png \
  --adapter-weight 0.5,1 --adapter-end 1,0.5 --guess-mode --out output/both.png
accepts "weights by box" "${paint[@]}" --adapter "$keypose" --condition input/pose.png \
  --adapter-boxes "[0, 0, 32, 64]-0.5|[32, 0, 64, 64]-0" --out output/boxes.png
cat >input/scene.json <<END
{"prompt": "a dog", "conditions": [{"adapter": "$keypose", "picture": "input/pose.png",
  "boxes": [{"box": [0, 0, 0.5, 1], "weight": 0.5}, {"box": [0.5, 0, 1, 1], "weight": 0}]}]}
END
accepts "the same from a scene file" sample --base "$tiny_base" --scene input/scene.json --steps 4 \
  --height 64 --width 64 --dtype float32 --out output/scene.png
# The records differ in the canvas that the scene names; the pixels are the same.
holds "gives the same picture" test "$(pixels_of output/boxes.png)" = "$(pixels_of output/scene.png)"

accepts "the edges of a photo" condition input/pose.png --out input/edges.png
accepts "and a sketch adapter that follows them" "${paint[@]}" \
  --adapter "$golden/t2iadapter_sketch" --condition input/edges.png --out output/sketch.png
poses="[0.2, 0.1, 0.9, 0.4]-right|[20, 80, 60, 120]-left"
accepts "where subjects of the embedded base shall stand" world poses --boxes "$poses" \
  --height 64 --width 128 --out input/poses.png
refuses "a subject that looks up" $exit_usage '-left, or -right' world poses \
  --boxes "[0.2, 0.1, 0.9, 0.4]-up" --out output/x.png
refuses "a subject outside the picture" $exit_usage 'outside' world poses \
  --boxes "[0, 0, 200, 40]-left" --out output/x.png
refuses "edges of no photo" $exit_format 'README' condition "$project/README.md" \
  --out output/x.png
refuses "thresholds in the wrong order" $exit_usage 'low' condition input/pose.png --low 0.5 \
  --high 0.1 --out output/x.png
refuses "an adapter without a picture" $exit_usage 'condition' "${paint[@]}" --adapter "$keypose" \
  --out output/x.png
refuses "an adapter that is not there" $exit_format 'absent' "${paint[@]}" --adapter absent \
  --condition input/pose.png --out output/x.png
refuses "a file that is no adapter" $exit_format 'neither' "${paint[@]}" \
  --adapter "$golden/fusion/edlora_0.safetensors" --condition input/pose.png --out output/x.png
refuses "a condition that is no picture" $exit_format 'README' "${paint[@]}" --adapter "$keypose" \
  --condition "$project/README.md" --out output/x.png
refuses "a condition of another aspect" $exit_usage 'aspect' sample --base "$tiny_base" \
  --prompt "a dog" --steps 2 --height 64 --width 128 --adapter "$keypose" \
  --condition input/pose.png --out output/x.png
refuses "an end before the start" $exit_usage 'start' "${paint[@]}" --adapter "$keypose" \
  --condition input/pose.png --adapter-start 0.6 --adapter-end 0.4 --out output/x.png
refuses "weights for another number of adapters" $exit_usage 'adapter-weight' "${paint[@]}" \
  --adapter "$keypose" --condition input/pose.png --adapter-weight 1,2 --out output/x.png
refuses "a box outside the canvas" $exit_usage 'outside' "${paint[@]}" --adapter "$keypose" \
  --condition input/pose.png --adapter-boxes "[0, 0, 65, 64]-1" --out output/x.png
refuses "a weight that is no number" $exit_usage 'number|weight' "${paint[@]}" --adapter "$keypose" \
  --condition input/pose.png --adapter-boxes "[0, 0, 64, 64]-strong" --out output/x.png

base=$project/base
accepts "edges to paint along" condition input/poses.png --out input/lines.png
accepts "the embedded base's own adapters, both at once" sample --base "$base" --steps 2 \
  --prompt "a lion and a car" --height 64 --width 128 \
  --adapter "$base/adapters/keypose,$base/adapters/sketch" \
  --condition input/poses.png,input/lines.png --out output/own.png

cp -r "$keypose" input/other
chmod -R u+w input/other
sed -i 's/ 24,/ 48,/' input/other/config.json
refuses "an adapter for another family" $exit_mismatch 'channels' "${paint[@]}" \
  --adapter input/other --condition input/pose.png --out output/x.png
sed -i 's/ 48,/ 24,/; s/"num_res_blocks": 2/"num_res_blocks": 3/' input/other/config.json
refuses "an adapter that lacks tensors" $exit_mismatch 'missing.*resnets.2' "${paint[@]}" \
  --adapter input/other --condition input/pose.png --out output/x.png

cp input/pose.png input/moved.png
accepts "a picture with a condition" "${paint[@]}" --adapter "$keypose" --condition input/moved.png \
  --out output/moved.png
mv input/moved.png input/elsewhere.png
accepts "it is made again with a condition that has moved" sample --rerun output/moved.png \
  --condition input/elsewhere.png --out output/moved_again.png
holds "byte for byte, too" cmp output/moved.png output/moved_again.png
refuses "more conditions than it was made with" $exit_usage 'condition' sample \
  --rerun output/moved.png --condition input/elsewhere.png,input/pose.png --out output/x.png
cp output/plain.png input/moved.png
refuses "a condition that has changed since" $exit_mismatch 'changed since' \
  sample --rerun output/moved.png --out output/x.png

accepts "a ControlNet is inspected" inspect "$golden/controlnet" --base "$tiny_base"
holds "and fits" grep -q 'fits: true' <<<"$out"
holds "its text width is named" grep -q 'cross-attention width: 32' <<<"$out"
accepts "a T2I-Adapter is inspected" inspect "$golden/t2iadapter_sketch" --base "$tiny_base"
holds "it is for grey pictures" grep -q 'pictures: grey' <<<"$out"
holds "its channels are named" grep -qE 'channels: \[[0-9,]+\]' <<<"$out"
holds "and it fits" grep -qE 'fits: true' <<<"$out"
refuses "an adapter for another base model" $exit_mismatch '1 of 1 files do not fit' \
  inspect "$golden/t2iadapter_sketch" --base "$project/base"
holds "whose channels are other ones" grep -qE 'fits: false' <<<"$out"
finish
