#!/usr/bin/env bash
# mos sample: samplers, pictures to begin with, regions of any shape, records of other programs.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

sample=(sample --base "$tiny_base" --height 64 --width 64 --steps 4 --dtype float32)
size_of() { head -c 24 "$1" | tail -c 8 | od -An -tx1; }  # of a PNG
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
refuses "a schedule beside a name that asks for another" $exit_usage \
  'sigmas is exponential.*asks for karras.*take scheduler euler' "${bear[@]}" \
  --scheduler "Euler Karras" --sigmas exponential
accepts "the same in both" "${bear[@]}" --scheduler "Euler Karras" \
  --sigmas Karras
accepts "A1111's Automatic" "${bear[@]}" --sigmas Automatic
holds "which its text says" grep -qa "Sampler: DPM++ 2M, Schedule type: Automatic" output/a.png
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
refuses "a layer that is not there" $exit_usage 'clip-skip is 99' "${bear[@]}" --clip-skip 99

accepts "a picture" "${sample[@]}" --prompt "a bear" --out input/bear.png
accepts "a picture from it" "${bear[@]}" --init input/bear.png --strength 0.5
accepts "and it says so" sample --rerun output/a.png --out output/again.png
holds "with the same bytes" cmp -s output/a.png output/again.png
cp input/bear.png input/mask.png
cp input/bear.png input/moved.png
accepts "a record whose picture has moved" sample --rerun output/a.png --init input/moved.png \
  --out output/again.png
holds "with the same bytes" cmp -s output/a.png output/again.png
refuses "a mask for a picture made without" $exit_usage 'made without' sample --rerun output/a.png \
  --mask input/mask.png --out output/c.png
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
refuses "options of a picture once more" $exit_usage '--rerun takes no --steps; --from takes' \
  sample --rerun output/a.png --steps 4
accepts "a preview that comes too late" "${bear[@]}" --preview 100 --batch 4
holds "is said" grep -q 'there is no preview: --preview is 100' <<<"$err"
holds "as is a batch of more than all" grep -q 'batch is 4, and there are no more' <<<"$err"
refuses "a seed by chance" $exit_usage 'drawn by chance' "${bear[@]}" --seed -1
refuses "a second pass of the same size" $exit_usage '64 x 64 .*that size again' "${bear[@]}" \
  --hires 1.01
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
refuses "a second pass of a region alone" $exit_usage 'with --redo-region, which paints a part' \
  sample --from output/redone.png --hires 2 --out output/b.png
accepts "one of a picture that it was painted in" sample --from output/redone.png \
  --init output/redone.png --hires 2 --out output/larger.png
holds "what is left out for it is said" grep -q 'region "bear".*left out for that of --init' <<<"$err"
accepts "a region of a picture of two passes" sample --from output/larger.png --redo-region bear \
  --seed 9 --strength 1 --out output/patched.png
holds "which stays as large" cmp -s <(size_of output/larger.png) <(size_of output/patched.png)
cp input/mask.png input/own.png
echo '{"prompt": "sea", "regions": [{"prompt": "a bear", "mask": "own.png"}]}' >input/masked.json
accepts "a region of a mask" "${shapes[@]}" --scene input/masked.json --height 64 --width 64 \
  --out output/masked.png
rm input/own.png
refuses "that it is gone on from, the mask being gone" $exit_format 'region-mask' sample \
  --from output/masked.png --seed 4 --out output/b.png
accepts "unless another is named" sample --from output/masked.png --seed 4 \
  --region-mask input/mask.png --out output/remasked.png
refuses "which is not there, either" $exit_format 'the mask absent.png of region 1' sample \
  --from output/masked.png --region-mask absent.png --out output/b.png
refuses "more of them than it has" $exit_usage 'there are 1 of them, and it names 2' sample \
  --from output/masked.png --region-mask input/mask.png,input/mask.png --out output/b.png
refuses "one for a picture that is new" $exit_usage 'there are 0 of them' "${bear[@]}" \
  --region-mask input/mask.png
accepts "another seed of a picture" sample --from input/shapes.png --seed 4 --out output/four.png
refuses "options of a picture without any" $exit_format 'does not say' sample \
  --from "$project/docs/world.png" --out output/b.png
holds "pictures have A1111's text" grep -qa "Steps: 4, Sampler: DPM++ 2M" output/shapes.png

accepts "a picture, a preview and a grid with endings in capitals" "${sample[@]}" \
  --prompt "a bear" --preview 1 --grid output/GRID.Png --out output/CAPITALS.PNG
holds "under the names that were given" test -s output/CAPITALS.PNG -a -s output/CAPITALS.json \
  -a -s output/GRID.Png -a ! -e output/CAPITALS.png
accepts "several of them" "${sample[@]}" --prompt "a bear" --count 2 --out output/CAPITALS.PNG
holds "with the same ending" test -s output/CAPITALS-0.PNG -a -s output/CAPITALS-1.PNG
accepts "and the first one again in its place" sample --rerun output/CAPITALS.PNG
accepts "edges of it" condition output/CAPITALS.PNG --out output/EDGES.PNG
refuses "a model under the name of a picture" $exit_usage 'model is written' convert "$tiny_base" \
  --out output/MODEL.PNG

accepts "a preview" "${bear[@]}" --preview 1
holds "is gone at the end" test ! -e output/a.preview.png
accepts "previews in a folder that is not there yet" "${sample[@]}" --prompt "a bear" --preview 1 \
  --out output/new

# Every option together with regions of any shape, a concept, weights, choices and a condition: it
# paints, and its record paints the same bytes.
cat >input/all.json <<'JSON'
{"prompt": "sea", "root_prompt": "a photo", "height": 64, "width": 64, "isolate": true, "regions": [
  {"prompt": "a <hina1> <hina2>", "name": "hina", "polygon": [[0, 0], [0, 40], [64, 20]], "feather": 4},
  {"prompt": "(a cat:1.2) {red|blue}", "box": [0, 0.5, 1, 1], "end": 0.5, "weight": 0.7},
  {"prompt": "a dog", "drawing": [{"points": [[50, 10], [60, 30]], "width": 9}]},
  {"prompt": "sand", "background": true}]}
JSON
cp input/bear.png input/condition.png
all=(sample --base "$tiny_base" --steps 4 --dtype float32 --scene input/all.json
  --concept "$golden/fusion/edlora_0.safetensors" --adapter "$golden/controlnet"
  --condition input/condition.png --out output/all.png)
while read -r options; do
  read -ra words <<<"$options"
  accepts "all of a scene with $options" "${all[@]}" "${words[@]}"
  accepts "and its record" sample --rerun output/all.png --out output/all-again.png
  holds "to the byte" cmp -s output/all.png output/all-again.png
done <<'OPTIONS'
--scheduler euler_a --sigmas karras --ancestral-eta 0.5
--scheduler dpm++sde --sigmas exponential --noise a1111
--scheduler DPM++_2M_SDE --sigmas beta
--scheduler lcm --guidance-scale 1
--spacing trailing --eta 0.5 --scheduler ddim
--guidance-rescale 0.5 --guidance-start 8 --guidance-end 1
--clip-skip 2 --zero-snr --prediction-type v_prediction
--init input/bear.png --strength 0.5
--init input/bear.png --mask input/mask.png --mask-feather 3
--init input/bear.png --redo-region hina --strength 1
--hires 3 --hires-upscale lanczos --vae-tile 128
--guess-mode --adapter-weight 0.5 --adapter-end 0.5
OPTIONS

# Pictures of earlier versions, where numbers are rounded as they were there.
if [ "$("$mos" --version | grep -c "LibTorch 1.13")" = 1 ] && grep -qw avx512f /proc/cpuinfo; then
  records=$golden/records
  accepts "a picture from before there was all this" sample --rerun "$records/boxes.png" \
    --base "$tiny_base" --out output/old.png \
    --concept "$golden/fusion/edlora_0.safetensors,$golden/fusion/edlora_1.safetensors"
  holds "is painted to the byte" cmp -s "$records/boxes.png" output/old.png
  accepts "and one with it" sample --rerun "$records/shapes.png" --base "$tiny_base" \
    --out output/old.png --concept "$golden/fusion/edlora_0.safetensors"
  holds "is, too" cmp -s "$records/shapes.png" output/old.png
fi

# What does not go together, or is no place, is one line.
refuses "a strength without a picture" $exit_usage '--init' "${bear[@]}" --strength 0.5
refuses "a strength of the second pass without one" $exit_usage '--hires' "${bear[@]}" \
  --hires-strength 0.5
refuses "growing without a picture" $exit_usage '--init' "${bear[@]}" --grow 8,0,0,0
refuses "growing to a size that the model has not" $exit_usage 'multiples of' \
  sample --base "$tiny_base" --steps 4 --prompt "a bear" --out output/a.png --init input/bear.png \
  --grow 3,0,0,0
refuses "a tile that is none" $exit_usage 'VAE tile of 13' "${bear[@]}" --vae-tile 13
refuses "a preview of less than nothing" $exit_usage 'preview' "${bear[@]}" --preview -1
refuses "an upscaling that nobody has" $exit_usage 'lanczos' "${bear[@]}" --hires 2 \
  --hires-upscale esrgan
refuses "--fast without a LoRA that says of which kind it is" $exit_usage 'say --fast lcm' \
  "${bear[@]}" --fast auto
refuses "a LoRA in a prompt that is nowhere" $exit_usage 'absent' "${sample[@]}" \
  --prompt "a bear <lora:absent:1>" --out output/a.png
refuses "a prompt that changes between steps" $exit_usage 'bear:cat' "${sample[@]}" \
  --prompt "a [bear:cat:0.5]" --out output/a.png
refuses "a region again of a picture without regions" $exit_usage 'the scene has none' \
  sample --from input/bear.png --redo-region 1 --out output/a.png

# Options are called as they were given: as flags, or as a file has them.
echo '{"switch_every": 3, "prompt": "a bear"}' >input/turns.json
refuses "turns of nobody, in a file" $exit_usage 'mos: switch_every is 3' "${sample[@]}" \
  --config input/turns.json --out output/a.png
refuses "a seed beyond all" $exit_usage 'whole number from 0 to 9223372036854775807' "${bear[@]}" \
  --seed 18446744073709551615
refuses "a flag that is near none" $exit_usage 'unknown option --foo; --help shows all$' "${bear[@]}" --foo 1
refuses "a flag that is near one" $exit_usage "did you mean '--steps'" "${bear[@]}" --stesp 1
for option in redo-region init mask subjects grow; do
  refuses "nothing behind --$option" $exit_usage "--$option is empty" "${bear[@]}" --$option ""
done
echo '{"prompt": null, "scene": "input/scene.json"}' >input/null.json
accepts "null in a file, which is no prompt" "${sample[@]}" --config input/null.json --out output/a.png
echo '{"eta": null}' >input/null.json
refuses "null for what must have a value" $exit_usage '"eta" is null' "${bear[@]}" \
  --config input/null.json
refuses "a folder of LoRA that is not there" $exit_format 'absent' "${bear[@]}" --lora-folder absent
accepts "one that no prompt needs" "${bear[@]}" --lora-folder input
holds "is said" grep -q 'lora-folder changes nothing' <<<"$err"
refuses "a region of nothing" $exit_usage 'region 1 of --regions is empty' "${bear[@]}" --regions ''

head -c 200 input/bear.png >input/half.png
printf 'no picture' >input/text.png
mkdir input/folder
both=("${bear[@]}" --init input/bear.png --mask input/mask.png)
refuses "a picture that is cut off" $exit_format 'half.png.*damaged' "${bear[@]}" --init input/half.png
refuses "a mask that is no picture" $exit_format 'text.png' "${bear[@]}" --init input/bear.png \
  --mask input/text.png
refuses "a folder as a picture" $exit_format 'folder' "${bear[@]}" --init input/folder
refuses "a feather of no mask" $exit_usage 'there is none' "${bear[@]}" --init input/bear.png \
  --mask-feather 4
refuses "a feather below 0" $exit_usage 'mask-feather is -4' "${both[@]}" --mask-feather -4
refuses "growing by two numbers" $exit_usage 'four numbers' "${bear[@]}" --init input/bear.png --grow 8,8
refuses "growing by words" $exit_usage 'whole number' "${bear[@]}" --init input/bear.png --grow a,b,c,d
refuses "growing by nothing" $exit_usage 'one above 0' "${bear[@]}" --init input/bear.png --grow 0,0,0,0
refuses "a region again of no picture" $exit_usage '--init' "${bear[@]}" --redo-region 1
refuses "a second pass that is smaller" $exit_usage 'hires is 0.5' "${bear[@]}" --hires 0.5
refuses "a second pass that is huge" $exit_usage 'hires is 9' "${bear[@]}" --hires 9
refuses "a second pass of no step" $exit_usage 'none of 4 steps' "${bear[@]}" --hires 2 \
  --hires-strength 0.1
refuses "a tile larger than the second pass" $exit_usage '128 x 128' "${bear[@]}" --hires 2 --vae-tile 1024
refuses "a scheduler that nobody has" $exit_usage "did you mean 'euler'" "${bear[@]}" --scheduler eulr
refuses "a spacing that nobody has" $exit_usage 'linspace' "${bear[@]}" --spacing lead
refuses "the eta of a scheduler that has none" $exit_usage 'use ddim' "${bear[@]}" --eta 0.5
refuses "an eta above 1" $exit_usage 'eta is 2' "${bear[@]}" --eta 2
refuses "fresh noise above 1" $exit_usage 'ancestral-eta is 2' "${bear[@]}" --scheduler euler_a \
  --ancestral-eta 2
refuses "guidance that is rescaled twice" $exit_usage 'guidance-rescale is 2' "${bear[@]}" \
  --guidance-rescale 2
refuses "the layer before the first" $exit_usage 'clip-skip is 0' "${bear[@]}" --clip-skip 0
refuses "a composition that nobody has" $exit_usage "did you mean 'own'" "${bear[@]}" --compose owns
refuses "turns of no concepts" $exit_usage 'give some with --concept' "${bear[@]}" --compose switch \
  --regions '[a]-*-[]-*-[0,0,1,0.5]'
refuses "turns of nobody" $exit_usage '--switch-every is 3' "${bear[@]}" --switch-every 3
refuses "turns of no steps" $exit_usage 'switch-every is 0' "${bear[@]}" --compose switch --switch-every 0
refuses "no pictures" $exit_usage 'count is 0' "${bear[@]}" --count 0
refuses "no pictures at a time" $exit_usage 'batch is 0' "${bear[@]}" --batch 0
refuses "columns of no grid" $exit_usage '--grid' "${bear[@]}" --columns 3
refuses "a grid that is no PNG" $exit_usage 'ends in .png' "${bear[@]}" --grid output/g.jpg
refuses "no steps" $exit_usage 'steps is 0' "${sample[@]:0:7}" --steps 0 --prompt "a bear" \
  --out output/a.png
for side in 65 -8; do
  refuses "$side pixels" $exit_usage 'multiples of|from 0 to' "${sample[@]:0:5}" --width $side \
    --steps 1 --prompt "a bear" --out output/a.png
done
refuses "an adapter without its picture" $exit_usage '--condition' "${bear[@]}" \
  --adapter "$golden/controlnet"
refuses "a picture without its adapter" $exit_usage 'adapters, and there is none' "${bear[@]}" --condition input/bear.png
refuses "guessing without a ControlNet" $exit_usage '--adapter' "${bear[@]}" --guess-mode
refuses "two weights of one adapter" $exit_usage '2 entries for 1' "${bear[@]}" \
  --adapter "$golden/controlnet" --condition input/bear.png --adapter-weight 1,2
refuses "an adapter that ends before it begins" $exit_usage 'start before end' "${bear[@]}" \
  --adapter "$golden/controlnet" --condition input/bear.png --adapter-start 0.5 --adapter-end 0.2
refuses "a condition that is cut off" $exit_format 'half.png' "${bear[@]}" \
  --adapter "$golden/controlnet" --condition input/half.png
refuses "a scale of no concepts" $exit_usage '--concept' "${bear[@]}" --merge-scale 0.5

# prompt PROMISE PATTERN TEXT: a prompt that is refused.
prompt() { refuses "$1" $exit_usage "$2" "${sample[@]}" --out output/a.png --prompt "$3"; }
prompt "a weight beyond all" 'weight 1e\+09' "a (bear:1e9)"
prompt "a file without a name" 'names no file' "a bear <lora:>"
prompt "a scale that is no number" 'no number' "a bear <lora:x:y>"
prompt "a hypernetwork" 'not supported' "a bear <hypernet:x:1>"
accepts "a choice that nothing closes" "${bear[@]:0:9}" --prompt "a {red|blue bear" --out output/a.png
holds "is said" grep -q 'nothing closes its brace' <<<"$err"

# region PROMISE PATTERN JSON: a scene with this region is refused with a line that matches.
region() {
  printf '{"prompt": "sea", "height": 64, "width": 64, "regions": [%s]}\n' "$3" >input/bad.json
  refuses "$1" $exit_usage "$2" "${shapes[@]}" --scene input/bad.json --out output/b.png
}
region "a region without a place" 'box' '{"prompt": "a"}'
region "two places" 'more than one' '{"prompt": "a", "box": [0, 0, 1, 1], "background": true}'
region "a polygon of two corners" '3 to' '{"prompt": "a", "polygon": [[0, 0], [1, 1]]}'
region "a stroke beside the canvas" 'outside the canvas' \
  '{"prompt": "a", "drawing": [{"points": [[0, 99]], "width": 4}]}'
region "a time that ends before it begins" 'start before end' \
  '{"prompt": "a", "box": [0, 0, 1, 1], "start": 0.5, "end": 0.2}'
region "a feather as wide as nothing" 'feather' '{"prompt": "a", "box": [0, 0, 1, 1], "feather": -1}'
region "a key that means nothing" 'fether' '{"prompt": "a", "box": [0, 0, 1, 1], "fether": 1}'
echo '{"prompt": "sea", "overlap": "top", "regions": []}' >input/bad.json
refuses "an overlap that is none" $exit_usage 'mean or front' "${shapes[@]}" --scene input/bad.json \
  --out output/b.png
echo '{"prompt": "sea", "base_ratio": 1, "regions": []}' >input/bad.json
refuses "a base ratio that leaves nothing" $exit_usage 'base_ratio' "${shapes[@]}" \
  --scene input/bad.json --out output/b.png

# Several subjects: each way paints, is in the record, and comes out of it again byte for byte.
cat >input/two.json <<'EOF'
{"prompt": "a cat and a bear", "regions": [
  {"subject": "cat", "box": [0, 0, 1, 0.5]}, {"subject": "bear", "box": [0, 0.5, 1, 1]}]}
EOF
two=("${sample[@]}" --scene input/two.json --out output/two.png)
both=("${sample[@]}" --prompt "a cat and a bear" --out output/two.png)
comes_back() {
  holds "and it says so" grep -qF "$1" output/two.json
  accepts "and it is painted again" sample --rerun output/two.png --out output/again.png
  holds "with the same bytes" cmp -s output/two.png output/again.png
}
accepts "every subject attended to" "${both[@]}" --guide attend --subjects cat,bear
comes_back '"guide": "attend"'
for guide in layout bounded composer; do
  accepts "subjects in their boxes by $guide" "${two[@]}" --guide "$guide"
  comes_back "\"guide\": \"$guide\""
done
accepts "phrases with their own values" "${both[@]}" --structure values --subjects "a cat,a bear"
comes_back '"structure": "values"'
accepts "regions alone at first" "${two[@]}" --hard-binding 2
comes_back '"hard_binding": 2'
accepts "regions that are found" "${both[@]}" --auto-regions --subjects cat,bear
comes_back '"subject": "cat"'
refuses "a guide to places without any" $exit_usage 'region' "${both[@]}" --guide layout \
  --subjects cat
refuses "a subject that is not in the prompt" $exit_usage 'dog.*does not stand' "${both[@]}" \
  --guide attend --subjects dog
refuses "subjects that nobody asks for" $exit_usage 'guide' "${both[@]}" --subjects cat
refuses "a guide that nobody has" $exit_usage 'attend' "${both[@]}" --guide atend
finish
